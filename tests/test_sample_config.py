"""The sample configuration, and the manual's page about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from petitbleu import element_data, elements, parse_xml
from petitbleu.config import Config, build_config, findings, read_config
from petitbleu.config.findings import SAMPLE_PASSWORD
from petitbleu.config.settings import DeliverySettings, Sections
from petitbleu.config.yamltree import parse
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.intake.contract import Contract
from petitbleu.lifecycle import STATUSES

ROOT = Path(__file__).parent.parent

ORDER = b"""<rtEvent><ctx><client><firstname>Nora</firstname></client><order number="20931" currency="EUR">
<line sku="KB-31"><name>Clavier m\xc3\xa9canique</name><quantity>1</quantity><price>89.90</price></line>
<line sku="CB-08"><name>C\xc3\xa2ble HDMI &amp; adaptateur</name><quantity>2</quantity><price>9.95</price></line>
<total>109.80</total></order></ctx></rtEvent>"""


@pytest.fixture(scope="module")
def sample() -> Config:
    raw = read_config(ROOT / "config", (), {})
    return build_config(raw, Calls(load(raw.plugin_names()), 1.0).settings_types())


def contract(config: Config, event_type: str) -> Contract:
    ctx = config.event_types[event_type].ctx
    assert ctx is not None
    return Contract(dict(ctx.required), ctx.max_size)


def test_the_sample_is_sound(sample: Config) -> None:
    assert list(sample.plugin_settings) == ["email", "sms", "push", "soap_ingest", "rest_ingest", "console", "webhooks"]
    assert findings(sample) == []
    password = sample.operators["mc"].password
    assert password is not None
    assert password.get_secret_value() == SAMPLE_PASSWORD
    folders = {path.parent.parent.name for path in (ROOT / "config" / "templates").glob("*/email/template.yaml")}
    assert folders == set(sample.event_types)


def test_the_sample_takes_the_order_of_the_manual(sample: Config) -> None:
    data: Any = element_data(parse_xml(ORDER))
    assert contract(sample, "order_confirmation").problems(elements(data)["ctx"]) == []
    del data["ctx"]["order"]["@number"]
    data["ctx"]["order"]["line"][1]["quantity"] = "two"
    assert [path for path, _ in contract(sample, "order_confirmation").problems(elements(data)["ctx"])] == [
        "ctx.order.number",
        "ctx.order.line[2].quantity",
    ]


def test_the_sample_takes_its_own_seeds(sample: Config) -> None:
    checked = 0
    for file in (ROOT / "config" / "templates").glob("*/email/seeds.yaml"):
        seeds = parse(file.read_text(encoding="utf-8"), str(file)).plain()
        for seed in seeds["seeds"]:
            found = contract(sample, file.parent.parent.name).problems(elements(seed["ctx"]))
            assert found == [], f"{file}: {seed['name']}"
            checked += 1
    assert checked >= 2 * len(sample.event_types)


def _settings(schema: Mapping[str, Any], model: Mapping[str, Any], path: str) -> list[tuple[str, Mapping[str, Any]]]:
    found = []
    for name, field in model["properties"].items():
        inner = json.dumps(field)
        reference = re.search(r'"#/\$defs/(\w+)"', inner)
        below = schema["$defs"][reference[1]] if reference else {}
        many = ".NAME" if '"additionalProperties"' in inner else ".N" if '"items"' in inner else ""
        if "properties" in below:
            found += _settings(schema, below, f"{path}{name}{many}.")
        else:
            found.append((path + name, field))
    return found


def test_the_manual_lists_every_setting_with_its_default() -> None:
    schema = Sections.model_json_schema()
    manual = (ROOT / "docs" / "admins.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|", manual, re.MULTILINE))
    settings = dict(_settings(schema, schema, ""))
    assert set(rows) == set(settings)
    for path, field in settings.items():
        if "duration" in str(field.get("$comment")):
            assert DeliverySettings.model_validate({"poll": rows[path]}).poll == field["default"], path
        elif isinstance(field.get("default"), int | str) and field["default"]:
            assert rows[path] == str(field["default"]), path
    numbers = dict(re.findall(r"^\| (\w+) \| (\d+) \|", manual, re.MULTILINE))
    assert numbers == {name: str(status.code) for name, status in STATUSES.items()}
