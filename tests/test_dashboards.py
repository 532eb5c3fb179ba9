"""The Prometheus rules and the Grafana dashboard ask for what `/metrics` has, by its names and labels."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from aiohttp import ClientSession
from petitbleu import Failed, Scope
from petitbleu.lifecycle import STATUSES
from petitbleu.testing import RecordingChannel, serving
from petitbleu.testing.databases import copy_sqlite
from prometheus_client.parser import text_string_to_metric_families
from webhook_receiver import SECRET

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "petitbleu.json"
MANUAL = (ROOT / "docs" / "operators.md").read_text("utf-8")
SCRAPED = {"job", "instance", "process"}
"""Labels that Prometheus gives, and that several processes behind one port have."""
METRIC = re.compile(r"\b((?:petitbleu|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return found


def asked() -> Iterator[tuple[str, str]]:
    """(where, expression)"""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


EXPRESSIONS = [*asked()]


class Page:
    """A page of `/metrics`: the labels and values of each sample's name, None where there is no sample yet."""

    def __init__(self, text: str) -> None:
        self.labels: dict[str, dict[str, set[str]] | None] = {}
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            self.labels.update(dict.fromkeys((name + end for end in ends), None))
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                seen = self.labels[sample.name] = self.labels.get(sample.name) or {}
                for label, value in sample.labels.items():
                    seen.setdefault(label, set()).add(value)


def documented() -> dict[str, tuple[set[str], str]]:
    """By metric its labels and what the manual says of it."""
    rows = re.findall(r"^\| `(petitbleu_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", MANUAL, re.MULTILINE)
    found = {}
    for name, kind, labels, text in rows:
        own = set(re.findall(r"`(\w+)`", labels))
        for end in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            found[name + end] = (own | ({"le"} if end == "_bucket" else set()), text)
    return found


DOCUMENTED = documented()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(petitbleu_model: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    """Of a server that has had traffic of several kinds."""
    folder, channel = tmp_path_factory.mktemp("dashboards"), RecordingChannel()
    webhooks = {"subscriptions": {"crm": {"url": "https://crm.example.com/in", "secrets": [SECRET]}}}
    watchdog = {"type": "note", "attributes": {"email": "dog@example.com", "wishedChannel": "record"}, "every": 0.2}
    async with (
        serving(
            folder / "shop",
            plugins={"webhooks": webhooks},
            modules={"recorder": channel},
            templates={"note/record": {"body.txt.j2": "Hello"}},
            database=copy_sqlite(petitbleu_model, folder / "test.db"),
            settings={"watchdog": watchdog, "alerts": {"every": 0.2}},
        ) as server,
        ClientSession() as client,
    ):
        channel.answers.append(Failed("recorder", "no", Scope.MESSAGE))
        events = [await server.push(email="zoe@example.com", wishedChannel="record") for _ in range(3)]
        await server.all_settled(events)
        async with asyncio.timeout(60):
            text = ""
            while not all(f"\n{name}" in text for name in ("petitbleu_watchdog_seconds ", "petitbleu_outbox_waiting{")):
                await asyncio.sleep(0.2)
                async with client.get(f"{server.url}/metrics") as response:
                    text = await response.text()
        yield Page(text)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_manual_has_the_labels_that_the_server_gives(page: Page) -> None:
    """So that it can stand for samples that there are none of."""
    found = {name: set(seen) for name, seen in page.labels.items() if seen is not None and name in DOCUMENTED}
    assert found == {name: DOCUMENTED[name][0] for name in found}
    assert len(found) > 30


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
async def test_what_is_asked_for_is_there(page: Page, where: str, expression: str) -> None:
    metrics = METRIC.findall(expression)
    assert metrics
    known = set(SCRAPED)
    for name, matchers in metrics:
        assert name in page.labels, f"{name} is no metric"
        labels, text = DOCUMENTED.get(name, (set(), ""))
        known |= labels
        seen = page.labels[name] or {}
        for label, _, value in MATCHER.findall(matchers):
            assert label in labels | SCRAPED, f"{name} has no label {label}"
            for one in value.split("|"):
                said = one in seen.get(label, ()) or f"`{one}`" in text
                assert said or label == "job" or (label == "status" and one in STATUSES), f"{name}: no {label} {one}"
    for names in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression):
        assert {name.strip() for name in names.split(",")} <= known, names


def test_each_alarm_of_the_manual_has_its_rule() -> None:
    table = MANUAL.split("### Alarms")[1].split("\n## ")[0]
    alarms = {name for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for name in METRIC.findall(row)}
    ruled = {name for rule in rules() for name, _ in METRIC.findall(rule["expr"])}
    # what is usual nobody but the administrator can say
    assert {name for name, _ in alarms} - ruled == {"petitbleu_suppressions_added_total"}
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        by = re.search(r"by \(([^)]*)\)", rule["expr"])
        assert labels <= {name.strip() for name in (by[1] if by else "").split(",")}


def test_the_dashboard_is_one() -> None:
    found = panels()
    ids = [panel["id"] for panel in found]
    assert len(ids) == len(set(ids))
    places: set[tuple[int, int]] = set()
    for panel in found:
        at = panel["gridPos"]
        mine = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not mine & places, panel["title"]
        places |= mine
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(references) == len(set(references))
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            legends = {name for one in panel["targets"] for name in re.findall(r"{{(\w+)}}", one["legendFormat"])}
            assert all(
                legend in "".join(one["expr"] for one in panel["targets"]) or legend in SCRAPED for legend in legends
            )


BEHAVIOUR = """
rule_files: [RULES]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'petitbleu_build_info{job="p", instance="a"}', values: '1x20'}
      - {series: 'petitbleu_alert_level{job="p", instance="a", alert="queuing"}', values: '2x20'}
      - {series: 'petitbleu_alert_level{job="p", instance="b", alert="queuing"}', values: '2x20'}
      - {series: 'petitbleu_alert_level{job="p", instance="a", alert="queue"}', values: '1x20'}
      - {series: 'petitbleu_alert_level{job="p", instance="a", alert="sending"}', values: '0x20'}
      - {series: 'petitbleu_limit{job="p", instance="a", limit="monitoring.outbox"}', values: '900x20'}
      - {series: 'petitbleu_limit{job="p", instance="b", limit="monitoring.outbox"}', values: '900x20'}
      - {series: 'petitbleu_outbox_oldest_seconds{job="p", instance="a", subscription="crm"}', values: '901x20'}
      - {series: 'petitbleu_outbox_oldest_seconds{job="p", instance="a", subscription="erp"}', values: '899x20'}
    alert_rule_test:
      - eval_time: 10m
        alertname: PetitbleuAlert
        exp_alerts:
          - exp_labels: {job: p, alert: queuing, severity: critical}
            exp_annotations:
              summary: queuing is beyond its threshold for an alert
              description: petitbleu alerts says by how much
      - eval_time: 10m
        alertname: PetitbleuWarning
        exp_alerts:
          - exp_labels: {job: p, alert: queue, severity: warning}
            exp_annotations:
              summary: queue is beyond its threshold for a warning
              description: petitbleu alerts says by how much
      - eval_time: 10m
        alertname: PetitbleuReceiverBehind
        exp_alerts:
          - exp_labels: {job: p, subscription: crm, severity: warning}
            exp_annotations:
              summary: the receiver of crm is down or too slow
              description: petitbleu webhooks list has its words; nothing is lost until retention.outbox is over
      - {eval_time: 10m, alertname: PetitbleuNotScraped, exp_alerts: []}
"""


def test_prometheus_reads_them(tmp_path: Path, real_parts: Any) -> None:
    """With Prometheus's own tool: every expression is one, and some rules do what they say."""
    promtool = shutil.which("promtool")
    if promtool is None:
        real_parts.lacked("promtool", "expressions were checked by their names and labels alone")
        return

    def run(*words: str) -> None:
        done = subprocess.run([str(promtool), *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    version = subprocess.run([promtool, "--version"], capture_output=True, text=True, timeout=60, check=True)
    real_parts.used("promtool", (version.stdout or version.stderr).split()[2])
    run("check", "rules", str(RULES))
    queries = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m").replace("$job", ".*")}
        for number, (_, expression) in enumerate(EXPRESSIONS)
    ]
    (tmp_path / "panels.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": queries}]}), "utf-8")
    run("check", "rules", str(tmp_path / "panels.yaml"))
    (tmp_path / "test.yaml").write_text(BEHAVIOUR.replace("RULES", str(RULES)), "utf-8")
    run("test", "rules", str(tmp_path / "test.yaml"))
