"""Settings, the apps that events name, and the tokens of their devices."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import Deferred, Event, Failed, GuardSettings, Scope
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu_push.devices import DeviceRefused, registered, subscription
from petitbleu_push.outcomes import APNS_RULES, FCM_RULES, WEB_RULES, Rule, plain
from petitbleu_push.sender import provider_names
from petitbleu_push.settings import Apns, App, Fcm, PushSettings, Timeouts, Web
from push_rig import DEVICE, SHOP, TOKEN, Apple, Browser, Google, b64, make, opened, pem, send, verdict
from pydantic import BaseModel, ValidationError

pytest_plugins = ("push_servers",)

README = Path(__file__).parents[1] / "README.md"
KEY = ec.generate_private_key(ec.SECP256R1())
APNS = {"team": "TEAM123456", "key_id": "KEY1234567", "key": pem(KEY), "topic": "com.example.shop"}
WEB = {"key": pem(KEY), "contact": "mailto:ops@example.com"}
PUSH = "https://fcm.googleapis.com/fcm/send/x"


def settings(**app: Any) -> PushSettings:
    return PushSettings.model_validate({"apps": {"shop": {"uuid": SHOP, **app}}})


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ({}, "no service reaches it"),
        ({"apns": {**APNS, "team": "team"}}, "team"),
        ({"apns": {**APNS, "key": "no key"}}, "P-256 private key"),
        ({"apns": {**APNS, "key": pem(rsa.generate_private_key(65537, 2048))}}, "P-256 private key"),
        ({"apns": {**APNS, "key": pem(ec.generate_private_key(ec.SECP384R1()))}}, "P-256 private key"),
        ({"apns": {**APNS, "topic": "a b"}}, "bundle id"),
        ({"apns": {**APNS, "environment": "test"}}, "'production' or 'sandbox'"),
        ({"apns": {**APNS, "url": "http://push.example.com"}}, "use https"),
        ({"apns": {**APNS, "url": "api.push.apple.com"}}, "scheme and host"),
        ({"apns": {**APNS, "url": "https://api..apple.com"}}, "scheme and host"),
        ({"apns": {**APNS, "url": "https://api.push.apple.com:99999"}}, "scheme and host"),
        ({"apns": {**APNS, "url": "https://api.push.apple.com?a=b"}}, "scheme and host"),
        ({"apns": {**APNS, "url": "https://api.push.apple.com/3"}}, "scheme and host"),
        ({"apns": {**APNS, "url": "https://me@api.push.apple.com"}}, "scheme and host"),
        ({"apns": {**APNS, "token_life": 60}}, "greater than or equal to 1200"),
        ({"apns": {**APNS, "ca_file": "/no/such"}}, "there is no file"),
        ({"apns": {**APNS, "colour": "red"}}, "Extra inputs"),
        ({"fcm": {"service_account": "{}"}}, "service account's JSON"),
        ({"fcm": {"service_account": "[]"}}, "service account's JSON"),
        ({"web": {**WEB, "contact": "mailto:ops@localhost"}}, "dotted domain"),
        ({"web": {**WEB, "contact": "ops@example.com"}}, "mailto:"),
        ({"web": {**WEB, "key": "AAAA"}}, "P-256 private key"),
    ],
)
def test_what_is_refused(app: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**app)


def test_service_accounts_are_checked(google: Google) -> None:
    account = json.loads(google.settings()["service_account"])
    for changes, words in (
        ({"private_key": "x"}, "private key in PEM"),
        ({"private_key": pem(KEY)}, "RSA private key in PEM"),
        ({"token_uri": "http://evil.example.com/token"}, "use https"),
        ({"project_id": ""}, "project is needed"),
    ):
        with pytest.raises(ValidationError, match=words):
            settings(fcm={"service_account": json.dumps({**account, **changes})})
    assert settings(fcm={"service_account": json.dumps(account)}).apps["shop"].fcm is not None


def test_a_uuid_is_one_apps() -> None:
    apps = {"a": {"uuid": "X-1", "apns": APNS}, "b": {"uuid": "x-1", "apns": APNS}}
    with pytest.raises(ValidationError, match="a and b have the same uuid"):
        PushSettings.model_validate({"apps": apps})


def test_secrets_are_not_shown(google: Google) -> None:
    made = settings(apns=APNS, web=WEB, fcm=google.settings())
    assert "PRIVATE KEY" not in repr(made)
    for secret in ({"apns": {**APNS, "key": "hunter2"}}, {"fcm": {"service_account": "hunter2"}}):
        with pytest.raises(ValidationError) as refused:
            settings(**secret)
        assert "hunter2" not in str(refused.value)


def test_web_push_has_its_hosts_whatever_else_is_set() -> None:
    made = PushSettings.model_validate({"apps": {"shop": {"uuid": SHOP, "web": WEB}}, "fetch": {"timeout": 3}})
    assert made.fetch.hosts is not None
    assert "fcm.googleapis.com" in made.fetch.hosts


def test_the_environment_says_where_to() -> None:
    assert Apns.model_validate(APNS).address == "https://api.push.apple.com"
    assert Apns.model_validate({**APNS, "environment": "sandbox"}).address == "https://api.sandbox.push.apple.com"


# ---------------------------------------------------------------------------------------------------------- the door


def event(channel: str, token: str, mobile_app: Any) -> Event:
    made = make(token=token).event
    return replace(made, channel=channel, data={"mobileApp": mobile_app})


OTHER = "0d9c8b7a-0000-4000-8000-00000000000b"


def two_apps() -> dict[str, Any]:
    return {"shop": {"uuid": SHOP, "apns": APNS}, "bank": {"uuid": OTHER, "apns": APNS, "web": WEB}}


@pytest.mark.parametrize(
    ("channel", "token", "mobile_app", "attribute", "words"),
    [
        ("ios", TOKEN, {"@uuid": SHOP}, None, ""),
        ("ios", TOKEN, {"@UUID": SHOP.upper()}, None, ""),
        ("ios", TOKEN, {"uuid": OTHER}, None, ""),
        ("ios", TOKEN, {"@uuid": SHOP, "@registered": "2026-11-25T10:00:00+01:00"}, None, ""),
        ("web", Browser(PUSH).token, {}, None, ""),
        ("ios", TOKEN, {}, "mobileApp", "has no uuid"),
        ("ios", TOKEN, "", "mobileApp", "has no uuid"),
        ("ios", TOKEN, [{"@uuid": SHOP}], "mobileApp", "has no uuid"),
        ("ios", TOKEN, {"@uuid": "nope"}, "mobileApp", "no app has the uuid 'nope'"),
        ("android", DEVICE, {"@uuid": SHOP}, "mobileApp", "shop has no fcm"),
        ("ios", DEVICE, {"@uuid": SHOP}, "registrationToken", "64 to 200 hexadecimal digits"),
        ("ios", "1f" * 20, {"@uuid": SHOP}, "registrationToken", "64 to 200 hexadecimal digits"),
        ("ios", TOKEN + "/../x", {"@uuid": SHOP}, "registrationToken", "64 to 200 hexadecimal digits"),
        ("ios", TOKEN, {"@uuid": SHOP, "@registered": "yesterday"}, "mobileApp", "not a date"),
        ("web", DEVICE, {"@uuid": OTHER}, "registrationToken", "not a subscription"),
        ("web", Browser("https://evil.example.com/x").token, {}, "registrationToken", "not on the list"),
        ("email", "", {"@uuid": "nope"}, None, ""),
    ],
)
async def test_what_callers_can_mend_is_told_at_the_door(
    channel: str, token: str, mobile_app: Any, attribute: str | None, words: str
) -> None:
    async with opened(two_apps()) as to:
        refused = to.check_event(event(channel, token, mobile_app))
    if attribute is None:
        assert refused is None
    else:
        assert refused is not None
        assert refused.attribute == attribute
        assert words in refused.reason
        assert TOKEN not in refused.reason


async def test_without_apps_nobody_is_reached() -> None:
    async with opened({}) as to:
        refused = to.check_event(event("ios", TOKEN, {}))
        outcome = await send(to, make(app={"@uuid": ""}))
    assert refused is not None
    assert refused.reason == "no app of plugins.push.apps has the channel ios"
    assert verdict(outcome) == (Deferred, Scope.US, "")


async def test_what_comes_another_way_is_judged_when_it_is_sent() -> None:
    async with opened(two_apps()) as to:
        unknown = await send(to, make(app={"@uuid": "nope"}))
        wrong = await send(to, make(token=DEVICE))
    assert verdict(unknown) == (Deferred, Scope.US, "")
    assert verdict(wrong) == (Failed, Scope.MESSAGE, "")


async def test_each_app_has_its_own_credentials(start_apple: Any) -> None:
    async with start_apple() as one, start_apple() as other:
        apps = {"shop": {"uuid": SHOP, "apns": one.settings()}, "bank": {"uuid": OTHER, "apns": other.settings()}}
        async with opened(apps) as to:
            first = await send(to, make(1))
            second = await send(to, make(2, app={"@uuid": OTHER}))
            names = [check.name for check in to.checks()]
        assert (first.provider, second.provider) == ("apns/shop", "apns/bank")
        assert (len(one.seen), len(other.seen)) == (1, 1)
        assert one.seen[0]["headers"]["authorization"] != other.seen[0]["headers"]["authorization"]
        assert names == ["apns/shop", "apns/bank"]


async def test_health_tells_how_the_last_message_went(apple: Apple) -> None:
    async with opened({"shop": {"uuid": SHOP, "apns": apple.settings()}}) as to:
        assert to.checks()[0].text == "nothing sent yet"
        await apple.script({"status": 410, "reason": "Unregistered"}, {"status": 503})
        await send(to)
        assert to.checks()[0].ok, "a dead token is no trouble of Apple's"
        await send(to)
        assert not to.checks()[0].ok
        assert "503" in to.checks()[0].text
        await send(to)
        assert to.checks()[0].ok


# -------------------------------------------------------------------------------------------------------- subscriptions


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": ""},
        {"endpoint": "ftp://x"},
        {"endpoint": 7},
        {"keys": {}},
        {"keys": "x"},
        {"keys": {"p256dh": b64(b"\x04" + b"\x01" * 64), "auth": b64(b"x" * 16)}},
        {"keys": {"p256dh": Browser(PUSH).token, "auth": b64(b"x" * 16)}},
        {"keys": {"p256dh": b64(Browser(PUSH).public), "auth": b64(b"x" * 15)}},
    ],
)
def test_what_is_no_subscription(change: dict[str, Any]) -> None:
    token = json.dumps({**json.loads(Browser(PUSH).token), **change}, separators=(",", ":"))
    for spelt in (token, b64(token.encode())):
        with pytest.raises(DeviceRefused, match="is not a subscription"):
            subscription(spelt)


@given(st.text(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_nothing_else_than_a_refusal_comes_of_nonsense(text: str) -> None:
    with pytest.raises(DeviceRefused):
        subscription(text)


@given(st.text(max_size=40))
def test_registered_is_a_time_or_refused(text: str) -> None:
    try:
        found = registered({"mobileApp": {"@registered": text}})
    except DeviceRefused:
        return
    assert found is None or found.tzinfo is not None


# ----------------------------------------------------------------------------------------------- words and the README


@given(st.text(), st.integers(80, 200))
def test_what_services_say_is_fit_to_be_shown(text: str, longest: int) -> None:
    shown = plain(text, longest)
    assert len(shown) <= longest
    assert not re.search(r"[\x00-\x1f\x7f]", shown)


@pytest.mark.parametrize(("title", "rules"), [("APNs", APNS_RULES), ("FCM", FCM_RULES), ("Web push", WEB_RULES)])
def test_the_readme_shows_the_table(title: str, rules: tuple[Rule, ...]) -> None:
    rows = [
        f"| `{rule.statuses}` | `{rule.reasons}` | {rule.outcome} | {rule.scope} | {rule.meaning} |" for rule in rules
    ]
    text = README.read_text("utf-8")
    section = text[text.index(f"### {title}\n") :]
    assert "\n".join(rows) in section.replace("\\|", "|")


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        ("## Settings", PushSettings),
        ("Each app,", App),
        ("`apns`, with", Apns),
        ("\n`fcm`:", Fcm),
        ("\n`web`:", Web),
        ("Both `apns` and `fcm`", Timeouts),
        ("`fetch` holds", GuardSettings),
    ],
)
def test_the_readme_has_every_setting_with_its_default(before: str, kind: type[BaseModel]) -> None:
    text = README.read_text("utf-8")
    table = text[text.index(before) :]
    prefix = "timeouts." if kind is Timeouts else ""
    for name, info in kind.model_fields.items():
        if name in ("apns", "fcm", "web", "timeouts"):
            continue
        row = re.search(rf"^\| `{re.escape(prefix + name)}` \| ([^|]*) \|", table, re.M)
        assert row is not None, name
        if isinstance(info.default, int | float) and not isinstance(info.default, bool):
            assert row[1] == f"{info.default:g}" or row[1] == str(info.default)


def test_the_readmes_example_is_in_order(google: Google) -> None:
    (text,) = re.findall(r"```yaml\n(plugins:.*?)```", README.read_text("utf-8"), re.S)
    section = yaml.safe_load(text)["plugins"][0]["push"]
    shop = section["apps"]["shop"]
    assert shop["apns"]["key"]["file"].endswith(".p8")
    shop["apns"]["key"], shop["fcm"]["service_account"] = pem(KEY), google.settings()["service_account"]
    assert provider_names(PushSettings.model_validate(section), "ios") == ("apns/shop", "fcm/shop")


def test_the_plugin_is_loaded_by_its_name() -> None:
    calls = Calls(load(["push"]), deadline=1.0)
    channels = calls.channels()
    assert {name: channel.aliases for name, channel in channels.items()} == {
        "ios": ("41",),
        "android": ("42",),
        "web": ("webpush",),
    }
    assert {channel.address for channel in channels.values()} == {"registrationToken"}
    assert {channel.unknown for channel in channels.values()} == {"retry_once"}
