"""What answers mean, what is said before a message is sent, and the README that tells both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hypothesis
import petitbleu_sms as plugin
import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import Deferred, Failed, ReceiptState, Scope, Suppress
from petitbleu_sms.addressing import calling_code, choose_sender, region, sender_kind
from petitbleu_sms.checks import check_message
from petitbleu_sms.compose import preview
from petitbleu_sms.fields import SmsFields
from petitbleu_sms.gateway import REFUSALS
from petitbleu_sms.gateway_settings import Gateway, Receipts, Signature
from petitbleu_sms.outcomes import RULES, outcome_of
from petitbleu_sms.receipts import STATES
from petitbleu_sms.settings import Connector, Meaning, Numbering, Reconnect, SmsSettings, Throttle, Timeouts
from petitbleu_sms.spec import MessageState, Status
from pydantic import BaseModel, ValidationError

pytest_plugins = ("sms_parts",)

README = Path(__file__).parents[1] / "README.md"
MAIN = {"main": {"host": "127.0.0.1", "port": 9}}


def settings(**given: Any) -> SmsSettings:
    return SmsSettings.model_validate({"connectors": MAIN, **given})


# ---------------------------------------------------------------------------------------------------------- the tables


@hypothesis.settings(deadline=None)
@given(st.integers(1, 0xFFFFFFFF) | st.sampled_from([int(one) for one in Status if one]))
def test_a_refusal_is_never_a_success_and_a_providers_trouble_fails_no_event(status: int) -> None:
    outcome = outcome_of("main", status, {})
    assert isinstance(outcome, Deferred | Failed)
    assert outcome.scope is not Scope.PROVIDER or isinstance(outcome, Deferred)
    configured = {status: Meaning(outcome="failed", scope=Scope.PROVIDER)}
    assert isinstance(outcome_of("main", status, configured), Deferred)


def test_only_an_unknown_number_is_the_numbers_fault() -> None:
    assert [rule.status for rule in RULES if rule.scope is Scope.ADDRESS] == [Status.ESME_RINVDSTADR]
    lasting = [state for state, one in STATES.items() if one.scope is Scope.ADDRESS and one.permanent]
    assert lasting == []
    assert STATES.keys() == set(MessageState)


def test_the_readme_shows_the_tables() -> None:
    readme = README.read_text("utf-8")
    statuses = "\n".join(
        f"| `0x{rule.status:02X}` | {rule.status.name} | {rule.kind} | {rule.scope} | {rule.meaning} |"
        for rule in RULES
    )
    assert f"\n| --- | --- | --- | --- | --- |\n{statuses}\n| any other | | deferred | message |" in readme
    answers = [
        f"| {' '.join(one.status)} | {one.outcome} | {'' if one.outcome == 'unknown' else one.scope} |"
        for one in REFUSALS
    ]
    assert re.findall(r"^\| [1-5]\S.*?\|.*?\|.*?\|", readme, re.M) == answers
    states = [
        f"| {state.name} | {', '.join(one.words)} | {one.state} | "
        + (f"{one.scope} | {'yes' if one.permanent else 'no'} |" if one.state is ReceiptState.BOUNCED else "| |")
        for state, one in STATES.items()
    ]
    assert "\n".join(states) in readme


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (SmsSettings, ""),
        (Connector, ""),
        (Timeouts, "timeouts."),
        (Reconnect, "reconnect."),
        (Throttle, "throttle."),
        (Numbering, ""),
        (Gateway, ""),
        (Receipts, ""),
        (Signature, "signature."),
        (SmsFields, ""),
    ],
)
def test_the_readme_names_every_setting_and_field(model: type[BaseModel], prefix: str) -> None:
    rows: dict[str, list[str]] = {}
    for name, default in re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|", README.read_text("utf-8"), re.M):
        rows.setdefault(name, []).append(default)
    for name, info in model.model_fields.items():
        shown = prefix + (info.alias or name)
        assert shown in rows or name in ("timeouts", "reconnect", "throttle", "signature")
        if isinstance(info.default, int | float) and not isinstance(info.default, bool):
            assert f"{info.default:g}" in rows[shown] or str(info.default) in rows[shown]


# ------------------------------------------------------------------------------------------------------------ senders


@pytest.mark.parametrize(
    ("sender", "kind"),
    [
        ("+33612345678", "international"),
        ("38200", "short"),
        ("Petitbleu", "alphanumeric"),
        ("Café Zoé", "alphanumeric"),
        ("3M", "alphanumeric"),
    ],
)
def test_senders(sender: str, kind: str) -> None:
    assert sender_kind(sender) == kind
    assert SmsFields(sender=sender).sender == sender


@pytest.mark.parametrize(
    "sender",
    ["123456789", "+33 6 12", "A name too long", "[[[[[[", "Zoë\n", " Shop", "Ωмега", "+0612345678", "...", "€€€€€€"],
)
def test_what_no_handset_shows_is_no_sender(sender: str) -> None:
    with pytest.raises(ValueError, match="sender"):
        sender_kind(sender)
    with pytest.raises(ValidationError):
        SmsFields(sender=sender)
    with pytest.raises(ValidationError):
        settings(senders={"*": {"*": sender}})


def test_the_most_exact_sender_counts() -> None:
    own = {"shop": {"FR": "36000"}}
    common = {"*": {"*": "Any", "CA": "AnyCA"}, "shop": {"*": "Shop", "US": "ShopUS"}}
    found = [
        choose_sender((own, common), brand, number)
        for brand, number in (
            ("shop", "+33612345678"),
            ("shop", "+12025550100"),
            ("shop", "+16135550100"),
            ("bank", "+16135550100"),
            ("bank", "+33612345678"),
        )
    ]
    assert found == ["36000", "ShopUS", "Shop", "AnyCA", "Any"]
    assert choose_sender(({}, {"bank": {"FR": "Bank"}}), "shop", "+33612345678") == ""


def test_where_numbers_are_at_home() -> None:
    known = {"+33612345678": ("+33", "FR"), "+12025550100": ("+1", "US"), "+16135550100": ("+1", "CA")}
    known |= {"+447781123456": ("+44", "GG"), "+77771234567": ("+7", "KZ"), "+35312345678": ("+353", "IE")}
    known |= {"+80012345678": ("+800", ""), "+99912345": ("", "")}
    assert {number: (calling_code(number), region(number)) for number in known} == known


async def test_senders_reach_the_smsc(npm_smsc: Any, messenger: Any, send: Any) -> None:
    senders = {"*": {"*": "Petitbleu", "US": "+12025550100"}, "shop": {"FR": "38200"}}
    async with npm_smsc() as (smsc, port), messenger(port, senders=senders) as state:
        for number, brand in (("+33612345678", "shop"), ("+33612345678", "bank"), ("+12025550123", "shop")):
            await send(state, address=number, brand=brand)
        await send(state, sender="Own")
        seen = await smsc.wait_for(lambda one: "submit" in one, 4)
    assert [one["source"] for one in seen] == [
        [3, 0, "38200"],
        [5, 0, "Petitbleu"],
        [1, 1, "12025550100"],
        [5, 0, "Own"],
    ]


# ------------------------------------------------------------------------------------------------ before it is sent


def test_texts_with_too_many_parts_are_stopped_and_told(make: Any) -> None:
    message = make(text="x" * 700)
    assert check_message(message, settings()) is None
    stopped = check_message(message, settings(max_parts=4))
    assert stopped == Suppress("its text makes 5 parts; plugins.sms.max_parts allows 4")
    assert check_message(make(text=" \n"), settings()) == Suppress("its text is empty")


async def test_a_message_that_cannot_be_is_refused(messenger: Any, send: Any, core: Any) -> None:
    async with messenger(connectors=MAIN, wait=False) as state:
        for text, words in (("", "empty"), ("\ud83d", "surrogate"), ("x" * 2000, "14 parts")):
            outcome = await send(state, text=text)
            assert isinstance(outcome, Failed)
            assert outcome.scope is Scope.MESSAGE
            assert words in outcome.text
        outcome = await send(state, provider="other")
        assert isinstance(outcome, Deferred)
        assert (outcome.scope, outcome.text) == (
            Scope.US,
            "the template names the provider 'other'; plugins.sms has main",
        )
    assert core.handed_off == []


@pytest.mark.parametrize(
    ("text", "fields", "lines"),
    [
        ("Hello", {}, ["parts: 1 (GSM alphabet, 5 septets)"]),
        ("a" * 152 + "€" * 5, {}, ["parts: 2 (GSM alphabet, 152 + 10 septets)"]),
        (
            "Łódź 👋",
            {},
            ["parts: 1 (UCS-2, 7 characters)", "UCS-2 because of: ó (U+00F3) Ł (U+0141) ź (U+017A) 👋 (U+1F44B)"],
        ),
        ("Łódź", {"transliterate": "letters"}, ["parts: 1 (GSM alphabet, 4 septets)"]),
        (
            "x" * 500,
            {},
            [
                "parts: 4 (GSM alphabet, 153 + 153 + 153 + 41 septets)",
                "refused: its text makes 4 parts; plugins.sms.max_parts allows 3",
            ],
        ),
        ("\n", {}, ["refused: its text is empty"]),
    ],
)
def test_a_preview_counts_parts(make: Any, text: str, fields: dict[str, Any], lines: list[str]) -> None:
    chosen = settings(max_parts=3)
    (channel,) = plugin.petitbleu_channels(settings=chosen)
    content = make(text=text, **fields).content
    assert channel.preview is not None
    assert channel.preview(content) == preview(content, chosen) == lines


# ---------------------------------------------------------------------------------------------------------- providers


async def test_providers_take_over_from_each_other(npm_smsc: Any, messenger: Any, send: Any, core: Any) -> None:
    gateway = {"gate": {"url": "http://127.0.0.1:9/"}}
    async with npm_smsc(refuse={"33612345678": 8}) as (_, first), npm_smsc() as (_, second):
        connectors = {name: {"host": "127.0.0.1", "port": port} for name, port in (("a", first), ("b", second))}
        async with messenger(connectors=connectors, gateways=gateway) as state:
            core.picks = ["a", "b"]
            outcomes = [await send(state) for _ in range(2)]
            await send(state, provider="b")
            assert [check.name for check in state.checks()] == ["a", "b", "gate"]
            assert [check.ok for check in state.checks()] == [False, True, True]
    assert core.asked == [("a", "b", "gate"), ("a", "b", "gate"), ("b",)]
    assert [type(outcome) for outcome in outcomes] == [Deferred, type(outcomes[1])]
    assert core.handed_off == ["a", "b", "b"]


async def test_a_process_that_does_not_deliver_binds_nothing(npm_smsc: Any, core: Any) -> None:
    async with npm_smsc() as (smsc, port):
        chosen = SmsSettings.model_validate({"connectors": {"main": {"host": "127.0.0.1", "port": port}}})
        async with plugin.petitbleu_lifespan(settings=chosen, services=core.services(delivers=False)):
            pass
        assert smsc.of("bind") == []


# ----------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"connectors": {}}, "there is no provider"),
        ({"gateways": {"main": {"url": "https://a.example/"}}}, "is a connector and a gateway"),
        ({"connectors": {"main": {"host": "x", "binds": {"receiver": 1}}}}, "nothing could be sent"),
        ({"connectors": {"main": {"host": "smsc..example.com"}}}, "should be a host"),
        ({"connectors": {"main": {"host": "x", "time_zone": "Mars"}}}, "no time zone"),
        ({"connectors": {"main": {"host": "x", "ca_file": "/nowhere"}}}, "no file"),
        ({"connectors": {"main": {"host": "x", "password": "é"}}}, "255 ASCII"),
        ({"senders": {"*": {"fr": "Shop"}}}, "two capital letters"),
        ({"max_parts": 256}, "255"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        settings(**given)


def test_statuses_may_be_written_as_documents_write_them() -> None:
    one = Connector.model_validate({"host": "x", "statuses": {"0x401": {}, 1026: {"scope": "address"}, "1027": {}}})
    assert list(one.statuses) == [0x401, 0x402, 0x403]
