"""The configuration: YAML 1.2, includes, secrets, overrides, and every problem at once with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
from petitbleu import Settings
from petitbleu.auth import hash_password
from petitbleu.config import (
    SAMPLE,
    Config,
    RawConfig,
    build_config,
    check_channels,
    check_deadlines,
    find_config,
    findings,
    json_schema,
    read_config,
)
from petitbleu.config.findings import SAMPLE_PASSWORD
from petitbleu.config.settings import Sections
from petitbleu.errors import ConfigError
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.instance import plan
from pydantic import AfterValidator, Field, SecretStr, ValidationError

ROOT = Path(__file__).parent.parent
SECRET = "hunter2-Zwiebelkuchen"


def _quotes(text: str) -> str:
    raise ValueError(f"{text} will not do")


class Provider(Settings):
    host: str = Field(min_length=1)
    port: int = Field(25, ge=1, le=65535)
    password: SecretStr = SecretStr("")
    odd: Annotated[str, AfterValidator(_quotes)] | None = None


class MailSettings(Settings):
    providers: dict[Annotated[str, Field(pattern="^[a-z]+$")], Provider] = Field(min_length=1)
    either: int | Provider | None = None


TYPES: Mapping[str, type[Settings]] = {"mail": MailSettings}


def write(directory: Path, **files: str) -> Path:
    (directory / "templates").mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text, encoding="utf-8")
    return directory


def read(directory: Path, *overrides: str, **environ: str) -> RawConfig:
    return read_config(directory, overrides, environ)


def build(directory: Path, *overrides: str, **environ: str) -> Config:
    return build_config(read(directory, *overrides, **environ), TYPES)


def refusals(directory: Path, *overrides: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        build(directory, *overrides, **environ)
    assert refused.value.__cause__ is None
    return [line.replace(f"{directory}/", "") for line in str(refused.value).splitlines()]


def test_files_are_utf_8(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "petitbleu.yaml").write_bytes(b"instance:\n  name: caf\xe9\n")
    assert refusals(tmp_path) == ["petitbleu.yaml:2:12: should be UTF-8 text"]


# ------------------------------------------------------------------------------------------------------------- include


def test_includes_are_merged(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write(tmp_path / "more", two="include: ../three.yaml\nbrands: {two: }\n")
    config = build(
        write(
            tmp_path,
            petitbleu="include: [one.yaml, more/two.yaml, three.yaml]\nbrands: {shop: }\n",
            one="http: {port: 1}\nbrands: {one: }\n",
            three="http: {host: '::1'}\n",
        )
    )
    assert list(config.brands) == ["shop", "one", "two"]
    assert (config.http.host, config.http.port) == ("::1", 1)


def test_an_include_cannot_contradict(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="include: one.yaml\nhttp:\n  port: 1\nplugins: [mail]\n",
        one="http: {port: 2}\nplugins: [other]\n",
    )
    assert refusals(tmp_path) == [
        "one.yaml:1:8: http.port: is set a second time; the first is at petitbleu.yaml:3:3",
        "one.yaml:2:1: plugins: is set a second time; the first is at petitbleu.yaml:4:1",
    ]


def test_includes_that_lead_nowhere(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="include: [one.yaml, none.yaml, 3]",
        one="include: two.yaml",
        two="include: [petitbleu.yaml]",
    )
    assert refusals(tmp_path) == [
        "two.yaml:1:11: include: petitbleu.yaml includes this file in turn",
        "petitbleu.yaml:1:21: include: there is no file none.yaml",
        "petitbleu.yaml:1:32: include: should be the path of a file, or a list of them",
    ]


def test_paths_that_are_none(tmp_path: Path) -> None:
    long = "é" * 300
    write(
        tmp_path,
        petitbleu=f'include: ["a\\0b", {long}]\ndatabase: {{file: "a\\0b"}}\nhttp: {{host: {{file: {long}}}}}\n',
    )
    assert refusals(tmp_path) == [
        "petitbleu.yaml:1:11: include: there is no file a\0b",
        f"petitbleu.yaml:1:19: include: there is no file {long}",
        "petitbleu.yaml:2:18: database.file: 'a\\x00b' is no path: embedded null byte",
        f"petitbleu.yaml:3:21: http.host.file: {long} cannot be read: File name too long",
    ]


# ------------------------------------------------------------------------------------------------------------- secrets


def test_secrets_come_from_outside(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "password").write_text(f"{SECRET}\n\n")
    write(
        tmp_path,
        petitbleu="http: {port: '${PORT}'}\ninstance: {public_url: 'https://${HOST}:${PORT}'}\n"
        "brands: {shop: {variables: {text: 'a $${b} $c'}}}\n"
        "plugins:\n- mail: {providers: {main: {host: x, password: {file: run/password}}}}\n",
    )
    config = build(tmp_path, HOST="example.com", PORT="81")
    mail = config.plugin_settings["mail"]
    assert isinstance(mail, MailSettings)
    assert mail.providers["main"].password.get_secret_value() == f"{SECRET}\n"
    assert (config.http.port, config.instance.public_url) == (81, "https://example.com:81")
    assert config.brands["shop"].variables == {"text": "a ${b} $c"}
    assert SECRET not in repr(config)


def test_secrets_that_are_not_there(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="instance: {name: '${NAME}'}\ndatabase: {file: none}\ndurability: '${a b}'\nhttp: {host: '${HOST'}\n",
    )
    assert refusals(tmp_path) == [
        "petitbleu.yaml:1:18: instance.name: the environment variable NAME is not set",
        "petitbleu.yaml:2:18: database.file: none cannot be read: No such file or directory",
        "petitbleu.yaml:3:13: durability: should be ${NAME} with the name of an environment variable, or $${ for ${",
        "petitbleu.yaml:4:14: http.host: should be ${NAME} with the name of an environment variable, or $${ for ${",
    ]


def test_what_is_no_text_comes_from_nowhere(tmp_path: Path) -> None:
    write(tmp_path, petitbleu="instance: {name: '${NAME}'}\n")
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert refusals(tmp_path, f"http.host={odd}", NAME=odd) == [
        "--set http.host=…: should be UTF-8 text",
        "petitbleu.yaml:1:18: instance.name: the environment variable NAME should be UTF-8 text",
    ]


def test_no_error_shows_a_secret(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="instance: {name: 'a ${S}', time_zone: '${S}', cell: '${S}', brand: '${S}'}\ndatabase: '${S}'\n"
        "durability: '${S}'\nhttp: {host: '${S}', port: '${S}'}\ndelivery: {lease: '${S}'}\n"
        "operators: {mc: {password: '${S}', rights: ['${S}'], trusted_from: ['${S}']}}\n"
        "statuses: {sent: '${S}'}\ntemplates: {directory: templates}\n"
        "plugins:\n- mail: {providers: {main: {host: '', password: '${S}', odd: '${S}'}}, either: '${S}'}\n",
    )
    problems = refusals(tmp_path, S=SECRET)
    assert len(problems) >= 13
    assert not [line for line in problems if any(SECRET[at : at + 4] in line for at in range(len(SECRET) - 3))]
    assert any("providers.main.odd: is not valid; its value comes from a secret" in line for line in problems)
    assert any("password: should be an Argon2id hash" in line for line in problems)


# ----------------------------------------------------------------------------------------------------------- overrides


def test_overrides(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="http: {port: 1}\nplugins:\n- bare\n- mail: {providers: {main: {host: x}}}\n"
        "event_types: {order.placed: {label: x}}\noperators: {mc: {rights: [push, read]}}\n",
    )
    config = build(
        tmp_path,
        "http.port=8090",
        "database=sqlite:////tmp/x.db",
        "plugins.mail.providers.main.port=2525",
        "plugins.mail.providers.more={host: y, port: 26}",
        "event_types.order.placed.label='Placed: at last'",
        "operators.mc.rights.1=admin",
        "sessions.lifetime=2h",
        "instance.public_url=",
    )
    mail = config.plugin_settings["mail"]
    assert isinstance(mail, MailSettings)
    assert config.http.port == 8090
    assert config.database_url() == "sqlite:///tmp/x.db"
    assert {name: provider.port for name, provider in mail.providers.items()} == {"main": 2525, "more": 26}
    assert config.event_types["order.placed"].label == "Placed: at last"
    assert config.operators["mc"].rights == {"push", "admin"}
    assert config.sessions.lifetime == 7200


def test_an_override_inside_a_plugin_without_settings(tmp_path: Path) -> None:
    write(tmp_path, petitbleu="plugins: [mail]\n")
    config = build(tmp_path, "plugins.mail.providers.main.host=x")
    assert config.plugin_settings["mail"] == MailSettings(providers={"main": Provider(host="x")})


def test_overrides_that_mean_nothing(tmp_path: Path) -> None:
    write(tmp_path, petitbleu="plugins: [mail]\noperators: {mc: {rights: [push]}}\n")
    assert refusals(tmp_path, "http.port", "=1", "plugins.mial.x=1", "operators.mc.rights.7=x", "instance.name=[") == [
        "--set http.port: should be key.path=value, such as http.port=8090",
        "--set : should be key.path=value, such as http.port=8090",
        "--set plugins.mial.x=…: plugins.mial: is not in the list of plugins; did you mean 'mail'?",
        "--set operators.mc.rights.7=…: operators.mc.rights.7: should be the number of an item, from 0 to 0",
        "--set instance.name=…: is not YAML: did not find expected node content while parsing a flow node",
    ]
    assert refusals(tmp_path, "http.prot=1", "plugins.mail.providers.a.host=x", "http.port=no", "durability.x=1") == [
        "--set durability.x=…: durability: should be full or relaxed",
        "--set http.port=…: http.port: should be a whole number between 0 and 65535",
        "--set http.prot=…: http.prot: is not a setting here; did you mean 'port'?",
    ]


@pytest.mark.parametrize(
    "host",
    [
        "mail..example.com",
        ".example.com",
        "a" * 64 + ".example",
        "mail.example.com:25",
        "smtp://mail",
        "[::1]",
        "a@b",
        "two words",
    ],
)
def test_a_host_that_no_resolver_takes(tmp_path: Path, host: str) -> None:
    write(tmp_path, petitbleu="plugins: []\n")
    assert refusals(tmp_path, f"http.host='{host}'") == [
        "--set http.host=…: http.host: should be a host, such as mail.example.com or 192.0.2.1, without a port"
    ]


@pytest.mark.parametrize(
    "host", ["localhost", "smtp_relay", "mail.example.com.", "0.0.0.0", "::", "fe80::1%lo", "münchen.de"]
)
def test_hosts_are_names_and_addresses(tmp_path: Path, host: str) -> None:
    write(tmp_path, petitbleu="plugins: []\n")
    assert build(tmp_path, f"http.host='{host}'").http.host == host


class Patient(Settings):
    patience: float


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_no_setting_is_without_end(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Patient(patience=value)


# -------------------------------------------------------------------------------------------------------- all at once


def test_every_problem_at_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="""\
instance: {cell: 300, nmae: x, time_zone: Europe/Pari, name: 12, public_url: "ftp://x", brand: sohp}
htpp: {}
http:
  port: eighty
  trusted: yes
durability: relxed
plugins:
- mail:
    providers:
      main: {host: '', port: 99999, pasword: x}
      second: {port: 25}
    either: many
- mail
- [x]
- bare: {a: 1}
event_types:
  a: {queue: batsch, brand: shpo, ctx: {required: {a.b: txt, "c d": any}}}
  "b c": {}
brands:
  shop: {sender: {address: nope}, variables: {sender: x}}
operators:
  mc: {rights: [push, raed], event_types: [aa], trusted_from: [10.0.0.1/8]}
  m/c: {rights: push}
  none:
routing:
  rules:
  - {when: {typ: a}, template: zz}
  - when: {type: c}
    brand: [shop]
  - when: {}
  languages: {France: fr}
statuses: {sent: 3}
delivery: {poll: soon, lease: 0}
sessions: {cache: -1}
templates: {directory: tempaltes}
""",
    )
    assert refusals(tmp_path) == [
        "petitbleu.yaml:1:18: instance.cell: should be a whole number between 1 and 127",
        "petitbleu.yaml:1:23: instance.nmae: is not a setting here; did you mean 'name'?",
        "petitbleu.yaml:1:43: instance.time_zone: should be a time zone such as Europe/Paris; "
        "did you mean 'Europe/Paris'?",
        "petitbleu.yaml:1:62: instance.name: should be text; put it in quotes",
        "petitbleu.yaml:1:78: instance.public_url: should be an address such as https://mail.example.com, "
        "without / at the end",
        "petitbleu.yaml:1:96: instance.brand: 'sohp' is not declared in brands; did you mean 'shop'?",
        "petitbleu.yaml:2:1: htpp: is not a setting here; did you mean 'http'?",
        "petitbleu.yaml:4:9: http.port: should be a whole number between 0 and 65535",
        "petitbleu.yaml:5:3: http.trusted: is not a setting here; settings here are host, port, body_limit, requests, "
        "farewell, shutdown",
        "petitbleu.yaml:6:13: durability: should be full or relaxed; did you mean 'relaxed'?",
        "petitbleu.yaml:10:20: plugins.mail.providers.main.host: should be text that is not empty",
        "petitbleu.yaml:10:30: plugins.mail.providers.main.port: should be a whole number between 1 and 65535",
        "petitbleu.yaml:10:37: plugins.mail.providers.main.pasword: is not a setting here; did you mean 'password'?",
        "petitbleu.yaml:11:15: plugins.mail.providers.second.host: is missing; it should be text that is not empty",
        "petitbleu.yaml:12:13: plugins.mail.either: should be a whole number or a mapping (`key: value`)",
        "petitbleu.yaml:13:3: plugins.mail: is listed twice; the first is at petitbleu.yaml:8:3",
        "petitbleu.yaml:14:3: plugins.2: should be the name of a plugin, or one name with its settings "
        "(`- email:`, settings indented below)",
        "petitbleu.yaml:15:10: plugins.bare.a: is not a setting here; nothing is to be set here",
        "petitbleu.yaml:17:14: event_types.a.queue: should be realtime or batch; did you mean 'batch'?",
        "petitbleu.yaml:17:29: event_types.a.brand: 'shpo' is not declared in brands; did you mean 'shop'?",
        "petitbleu.yaml:17:57: event_types.a.ctx.required.a.b: should be text, integer, number, date, boolean, list "
        "or any; did you mean 'text'?",
        "petitbleu.yaml:17:62: event_types.a.ctx.required.c d: should be a path into ctx such as client.firstname",
        "petitbleu.yaml:18:3: event_types.b c: should be a name of letters, digits, _, . and -",
        "petitbleu.yaml:20:28: brands.shop.sender.address: is not an email address: "
        "An email address must have an @-sign.",
        "petitbleu.yaml:20:46: brands.shop.variables: sender has a meaning of its own and cannot be a variable",
        "petitbleu.yaml:22:23: operators.mc.rights.1: should be push, read, data, publish, suppress, audit or admin; "
        "did you mean 'read'?",
        "petitbleu.yaml:22:44: operators.mc.event_types.0: 'aa' is not declared in event_types; did you mean 'a'?",
        "petitbleu.yaml:22:64: operators.mc.trusted_from.0: should be a network such as 10.0.0.0/8 or 2001:db8::/32, "
        "or one address: it has bits set beyond its length",
        "petitbleu.yaml:23:3: operators.m/c: should be a login without spaces and without /",
        "petitbleu.yaml:23:17: operators.m/c.rights: should be a list",
        "petitbleu.yaml:24:8: operators.none.rights: is missing; it should be a list",
        "petitbleu.yaml:27:13: routing.rules.0.when.typ: should be one of type, channel, queue, origin, language, "
        "country; did you mean 'type'?",
        "petitbleu.yaml:27:32: routing.rules.0.template: 'zz' is not declared in event_types; there are: a, b c",
        "petitbleu.yaml:28:18: routing.rules.1.when.type: 'c' is not declared in event_types; there are: a, b c",
        "petitbleu.yaml:29:12: routing.rules.1.brand: should be text",
        "petitbleu.yaml:30:5: routing.rules.2: should set channel, brand or template",
        "petitbleu.yaml:31:15: routing.languages.France: should be a country of two capital letters (ISO 3166-1), "
        "such as FR",
        "petitbleu.yaml:32:11: statuses: sent and ignored both have the number 3",
        "petitbleu.yaml:33:18: delivery.poll: should be a duration: seconds, or a number with s, m, h or d, "
        "such as 30s or 24h",
        "petitbleu.yaml:33:31: delivery.lease: should be a duration greater than 0, such as 30s, 5m, 24h or 7d",
        "petitbleu.yaml:34:19: sessions.cache: should be a duration greater than 0, such as 30s, 5m, 24h or 7d",
        "petitbleu.yaml:35:24: templates.directory: there is no directory tempaltes",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plugins: {mail: {}}", "petitbleu.yaml:1:10: plugins: should be a list, because its order is the order of "
         "calls: `- email:` with its settings below it"),
        ("plugins: [mail]", "petitbleu.yaml:1:11: plugins.mail.providers: is missing; it should be a mapping "
         "(`key: value`) that is not empty"),
        ("- a", "petitbleu.yaml:1:1: should be a mapping of sections, such as `http:` with lines below it"),
        ("http: 8080", "petitbleu.yaml:1:7: http: should be a mapping (`key: value`)"),
        ("delivery: {concurrency: 5, reserved: 5}", "petitbleu.yaml:1:11: delivery: reserved should be less than "
         "concurrency, or the batch queue stands still"),
        ("operators: {a: {rights: [], trusted_from: [10.0.0.0/8]}, b: {rights: [], trusted_from: [10.1.0.0/16]}}",
         "petitbleu.yaml:1:12: operators: a and b are both trusted from 10.0.0.0/8; only one can be meant"),
        ("event_types: {a: {ctx: {max_size: 0}}}", "petitbleu.yaml:1:35: event_types.a.ctx.max_size: should be a "
         "whole number of at least 1"),
        ("database: mysql://x", "petitbleu.yaml:1:11: database: should be sqlite://PATH or "
         "postgres://USER:PASSWORD@HOST/DATABASE"),
    ],
)  # fmt: skip
def test_one_problem(tmp_path: Path, text: str, problem: str) -> None:
    assert refusals(write(tmp_path, petitbleu=text)) == [problem]


def test_an_empty_file_and_empty_sections(tmp_path: Path) -> None:
    defaults = dict(Sections())
    for text in ("", "# nothing\n", "http:\nplugins:\nevent_types:\nstatuses: ~\n"):
        config = build(write(tmp_path, petitbleu=text))
        same = set(defaults) - {"database", "templates"}
        assert {name: getattr(config, name) for name in same} == {name: defaults[name] for name in same}
        assert config.plugin_settings == {}
        assert config.file == tmp_path / "petitbleu.yaml"
        assert config.template_directory() == tmp_path / "templates"


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("0.5", 0.5), ("30s", 30), ("5m", 300), ("24 h", 86400), ("7d", 604800)]
)
def test_durations(tmp_path: Path, text: str, seconds: float) -> None:
    assert build(write(tmp_path, petitbleu=f"delivery: {{lease: {text}}}")).delivery.lease == seconds


@pytest.mark.parametrize("text", ["-1", "1w", "1h30m", ".inf", "true", "''", "99999d"])
def test_durations_that_are_none(tmp_path: Path, text: str) -> None:
    (problem,) = refusals(write(tmp_path, petitbleu=f"delivery: {{lease: {text}}}"))
    assert problem.startswith("petitbleu.yaml:1:19: delivery.lease: should be a duration")


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("sqlite://var/x.db", "sqlite://{}/var/x.db"),
        ("sqlite://../x.db?cache=shared", "sqlite://{parent}/x.db?cache=shared"),
        ("sqlite:///tmp/x.db", "sqlite:///tmp/x.db"),
        ("sqlite:////tmp/x.db", "sqlite:///tmp/x.db"),
        ("sqlite://:memory:", "sqlite://:memory:"),
        ("postgres://u:p@h/d?x=1", "postgres://u:p@h/d?x=1"),
    ],
)
def test_a_database_file_counts_from_the_configuration(tmp_path: Path, url: str, resolved: str) -> None:
    config = build(write(tmp_path, petitbleu=f"database: '{url}'"))
    assert config.database_url() == resolved.format(tmp_path, parent=tmp_path.parent)


def test_the_order_of_plugins_is_that_of_the_list(tmp_path: Path) -> None:
    write(tmp_path, petitbleu="plugins:\n- zebra\n- mail: {providers: {a: {host: x}}}\n- {}\n- apple:\n")
    assert read(tmp_path).plugin_names() == ["zebra", "mail", "apple"]


def test_brands_as_templates_see_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="instance: {brand: shop}\nbrands:\n  shop:\n    sender: {name: Shop, address: a@example.com}\n"
        "    variables: {url: x, n: 1}\n  other:\n",
    )
    config = build(tmp_path)
    shop = {"name": "shop", "sender": {"name": "Shop", "address": "a@example.com"}, "reply_to": None, "url": "x"}
    assert config.brand_values("shop") == config.brand_values("") == {**shop, "n": 1}
    assert config.brand_values("other") == {"name": "other", "sender": None, "reply_to": None}
    assert config.brand_values("unknown") == {}


def test_channels_nobody_serves(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="routing:\n  rules:\n  - {when: {channel: email}, channel: sms}\n  - {when: {}, channel: emial}\n"
        "delivery:\n  retry: {email: {tries: 3}, fax: {}}\n  providers:\n"
        "    email/main: {rate: 5, destinations: {a.example: {concurrency: 1}, '*': {rate: 2.5}}}\n    fax/main: {}\n",
    )
    raw = read(tmp_path)
    delivery = build_config(raw, {}).delivery
    assert delivery.retry["email"].tries == 3
    assert delivery.providers["email/main"].destinations["*"].rate == 2.5
    check_channels(raw, ["email", "sms", "emial", "fax"])
    with pytest.raises(ConfigError) as refused:
        check_channels(raw, ["email", "sms"])
    paths = ["routing.rules.1.channel", "delivery.retry.fax", "delivery.providers.fax/main"]
    assert [problem.path for problem in refused.value.problems] == paths
    assert "did you mean 'email'?" in str(refused.value)


def test_deadlines_for_plugins_and_hooks_there_are_none_of(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="delivery:\n  deadlines:\n    email: {deliver: 1m, '*': 500ms}\n    sms:\n      delivr: 1m\n"
        "    emial: {deliver: 1m}\n",
    )
    hooks = {"email": ["deliver", "lifespan"], "sms": ["deliver"], "push": []}
    with pytest.raises(ConfigError, match=r"deadlines.email.\*: should be a duration"):
        build_config(read(tmp_path), {})
    file = tmp_path / "petitbleu.yaml"
    file.write_text(file.read_text().replace("500ms", "0.5s"))
    raw = read(tmp_path)
    assert build_config(raw, {}).delivery.deadlines["email"] == {"deliver": 60.0, "*": 0.5}
    with pytest.raises(ConfigError) as refused:
        check_deadlines(raw, hooks)
    assert [f"{one.where.rpartition('/')[2]}: {one.path}: {one.text}" for one in refused.value.problems] == [
        "petitbleu.yaml:5:7: delivery.deadlines.sms.delivr: sms has no hook 'delivr' that takes time; "
        "did you mean 'deliver'?",
        "petitbleu.yaml:6:5: delivery.deadlines.emial: 'emial' is not in the list of plugins; did you mean 'email'?",
    ]
    file.write_text("delivery: {deadlines: {email: {Deliver!: 1m}}}")
    with pytest.raises(ConfigError, match=r"should be a hook such as deliver, or \* for each other one"):
        build_config(read(tmp_path), {})


def test_providers_nobody_has(tmp_path: Path) -> None:
    write(
        tmp_path,
        petitbleu="delivery:\n  providers:\n    email/main: {rate: 5}\n    email/mian: {rate: 5}\n    sms/x: {}\n",
    )
    raw = read(tmp_path)
    check_channels(raw, ["email", "sms"], {"email": (), "sms": ()})
    with pytest.raises(ConfigError) as refused:
        check_channels(raw, ["email", "sms"], {"email": ("main", "other"), "sms": ()})
    (problem,) = refused.value.problems
    assert (problem.path, problem.text) == (
        "delivery.providers.email/mian",
        "email has no provider 'mian'; did you mean 'main'?",
    )


@pytest.mark.parametrize(
    ("limits", "path", "text"),
    [
        ("main: {rate: 5}", "main", "should be channel/provider, such as email/main"),
        ("email/main: {rate: 0}", "email/main.rate", "should be a number between 0.01 and 1000000"),
        ("email/main: {concurrency: 0}", "email/main.concurrency", "should be a whole number of at least 1"),
        ("email/main: {destinations: {'a b': {}}}", "email/main.destinations.a b", "should be a destination such as"),
    ],
)
def test_limits_of_providers_that_make_no_sense(tmp_path: Path, limits: str, path: str, text: str) -> None:
    write(tmp_path, petitbleu=f"delivery: {{providers: {{{limits}}}}}\n")
    with pytest.raises(ConfigError) as refused:
        build(tmp_path)
    (problem,) = refused.value.problems
    assert problem.path == f"delivery.providers.{path}"
    assert text in problem.text


# -------------------------------------------------------------------------------------------- finding, schema, advice


def test_finding_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape("nowhere: should be a directory that holds petitbleu.yaml")):
        find_config(Path("nowhere"))
    (tmp_path / "config").mkdir()
    write(tmp_path / "config", petitbleu="")
    assert find_config(None) == Path("config")
    assert find_config(tmp_path / "config") == tmp_path / "config"


def test_the_json_schema_holds_everything() -> None:
    schema = json_schema(TYPES)
    assert set(schema["properties"]) == {*Sections.model_fields, "plugins", "include"}
    references = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
    assert references == set(schema["$defs"])
    port = schema["$defs"]["Http"]["properties"]["port"]
    assert (port["description"], port["default"]) == ("Port to listen on; 0 takes a free one.", 8080)
    assert port["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 65535}
    named = [item["properties"] for item in schema["properties"]["plugins"]["items"]["anyOf"] if "properties" in item]
    assert named == [{"mail": {"anyOf": [{"$ref": "#/$defs/MailSettings"}, {"type": "null"}]}}]


def test_every_setting_is_described() -> None:
    schema = Sections.model_json_schema()
    models = [schema, *(model for model in schema["$defs"].values() if "properties" in model)]
    assert len(models) > 15
    assert not [
        f"{model['title']}.{name}"
        for model in models
        for name, field in model["properties"].items()
        if not field.get("description")
    ]


SAFE = "plugins: [bare]\nevent_types: {a: }\noperators: {a: {rights: [push]}}\n"


def test_nothing_to_say_about_a_sound_configuration(tmp_path: Path) -> None:
    assert findings(build(write(tmp_path, petitbleu=SAFE))) == []


@pytest.mark.parametrize(
    ("overrides", "finding"),
    [
        ([f"operators.a.password={SAMPLE_PASSWORD}", "http.host=0.0.0.0"], "operators.a.password: is the sample's"),
        ([f"operators.a.password={SAMPLE_PASSWORD}", "http.host=mail.example.com"], "operators.a.password: is the"),
        (["operators.a.password_token_from=[10.0.0.0/8]"], "operators.a.password_token_from: login/password is taken"),
        (["operators.a.trusted_from=[10.0.0.0/8]"], "operators.a.trusted_from: every program on those machines"),
        (["instance.public_url=http://x.example", "http.host='::'"], "instance.public_url: callers come by http://"),
        (["instance.trusted_proxies=[0.0.0.0/0]"], "instance.trusted_proxies: everyone may claim any address"),
        (["durability=relaxed"], "durability: relaxed: a crash may lose events"),
        (["operators.a.rights=[read]"], "operators: none has the right push"),
        (["event_types={}"], "event_types: none is declared"),
        (["plugins=[]"], "plugins: none is listed"),
    ],
)
def test_findings(tmp_path: Path, overrides: list[str], finding: str) -> None:
    (found,) = findings(build(write(tmp_path, petitbleu=SAFE), *overrides))
    assert found.startswith(finding)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_the_sample_password_is_fine_on_loopback(tmp_path: Path, host: str) -> None:
    write(tmp_path, petitbleu=SAFE)
    overrides = (f"operators.a.password={SAMPLE_PASSWORD}", f"http.host='{host}'")
    assert findings(build(tmp_path, *overrides)) == []


def test_a_hash_made_here_is_one_the_configuration_takes(tmp_path: Path) -> None:
    write(tmp_path, petitbleu=SAFE)
    assert build(tmp_path, f"operators.a.password={hash_password('x')}").operators["a"].password is not None


def test_nothing_is_written_into_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config() == SAMPLE
    raw = read_config(SAMPLE)
    url = build_config(raw, Calls(load(raw.plugin_names()), 1.0).settings_types()).database_url()
    assert url == f"sqlite://{tmp_path}/var/petitbleu.db"


def test_every_number_that_bounds_something_is_told() -> None:
    """What is none: numbers that name something, and what belongs to one event type or brand."""
    config = plan(SAMPLE, ["delivery.retry.email.tries=4"]).config
    others = {"instance", "event_types", "brands", "statuses", "plugin_settings", "operators", "watchdog"}
    sections = {name: value for name, value in config if name not in others}
    told = config.bounds()
    assert told == {name: value for name, value in numbers("", sections) if name != "http.port"}
    assert (told["limits.pending"], told["delivery.retry.email.tries"]) == (100_000, 4)
    assert told["templates.limits.seconds"] == 2


def numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield name.removeprefix("."), value
    elif isinstance(value, Settings | dict):
        for key, inner in value.items() if isinstance(value, dict) else value:
            yield from numbers(f"{name}.{key}", inner)
