"""The table from reply to outcome: replies that real servers give, and the README that shows the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import Deferred, Delivered, Failed, Scope
from petitbleu_email.fields import Attachment, EmailFields
from petitbleu_email.outcomes import RULES, WORDS, Reply, Stage, matches, outcome_of, read_reply, scope_of
from petitbleu_email.settings import BounceLimits, Bounces, EmailSettings, Listen, Provider, Timeouts
from pydantic import BaseModel

ADDRESS, MESSAGE, PROVIDER, US = Scope.ADDRESS, Scope.MESSAGE, Scope.PROVIDER, Scope.US
README = Path(__file__).parents[1] / "README.md"

SEEN = [
    ("connect", "554 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org", Deferred, PROVIDER),
    ("connect", "421 4.7.0 try again later", Deferred, PROVIDER),
    ("connect", "521 this host accepts no mail", Deferred, PROVIDER),
    ("ehlo", "501 5.5.4 invalid domain name", Deferred, PROVIDER),
    ("login", "535 5.7.8 Error: authentication failed", Deferred, PROVIDER),
    ("mail", "530 5.7.0 Must issue a STARTTLS command first", Deferred, PROVIDER),
    ("mail", "530 5.7.1 Authentication required", Deferred, PROVIDER),
    ("mail", "553 5.7.1 Sender address rejected: not owned by user", Failed, MESSAGE),
    ("mail", "450 4.1.8 Sender address rejected: Domain not found", Deferred, MESSAGE),
    ("mail", "552 5.3.4 Message size exceeds fixed limit", Failed, MESSAGE),
    ("mail", "552 message size exceeds limit", Failed, MESSAGE),
    ("mail", "452 4.3.1 Insufficient system storage", Deferred, PROVIDER),
    ("mail", "554 no", Deferred, PROVIDER),
    ("mail", "503 5.5.1 Error: nested MAIL command", Failed, US),
    ("mail", "421 4.7.28 Gmail has detected an unusual rate of mail", Deferred, PROVIDER),
    ("rcpt", "550 5.1.1 <a@example.com>: Recipient address rejected: User unknown in relay table", Failed, ADDRESS),
    ("rcpt", "550 5.1.1 relay-denied@example.com unknown", Failed, ADDRESS),
    ("rcpt", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", Failed, ADDRESS),
    ("rcpt", "550 no such user", Failed, ADDRESS),
    ("rcpt", "501 bad address syntax", Failed, ADDRESS),
    ("rcpt", "556 5.1.10 domain has a null MX", Failed, ADDRESS),
    ("rcpt", "550 5.5.0 Requested action not taken: mailbox unavailable", Failed, ADDRESS),
    ("rcpt", "550 5.4.1 Recipient address rejected: Access denied", Failed, ADDRESS),
    ("rcpt", "550 5.4.5 Daily user sending quota exceeded", Deferred, PROVIDER),
    ("rcpt", "452 4.2.2 The email account is over quota", Deferred, ADDRESS),
    ("rcpt", "552 5.2.2 Mailbox full", Failed, ADDRESS),
    ("rcpt", "552 over quota", Failed, ADDRESS),
    ("rcpt", "450 4.2.1 The user is receiving mail too quickly", Deferred, ADDRESS),
    ("rcpt", "450 mailbox busy", Deferred, ADDRESS),
    ("rcpt", "452 4.5.3 Too many recipients", Deferred, PROVIDER),
    ("rcpt", "452 out of space", Deferred, PROVIDER),
    ("rcpt", "451 4.3.0 Temporary lookup failure", Deferred, PROVIDER),
    ("rcpt", "450 4.2.0 Recipient address rejected: Greylisted, see http://example.com", Deferred, MESSAGE),
    ("rcpt", "451 4.7.1 Greylisting in action, please come back in 00:05:00", Deferred, MESSAGE),
    ("rcpt", "554 5.7.1 <a@example.com>: Relay access denied", Deferred, PROVIDER),
    ("rcpt", "550 5.7.1 Unable to relay", Deferred, PROVIDER),
    ("rcpt", "550 relaying denied", Deferred, PROVIDER),
    ("rcpt", "550 relay not permitted", Deferred, PROVIDER),
    ("rcpt", "450 4.7.1 Client host rejected: cannot find your reverse hostname", Deferred, PROVIDER),
    ("rcpt", "550 5.7.25 reverse DNS of the client is wrong", Deferred, PROVIDER),
    ("rcpt", "550 5.7.1 refused by policy", Failed, MESSAGE),
    ("rcpt", "550 5.7.17 mailbox owner has changed", Failed, ADDRESS),
    ("rcpt", "550 your host is on our blocklist", Deferred, PROVIDER),
    ("rcpt", "500 syntax error", Failed, US),
    ("rcpt", "554 5.7.1 permanently greylisted", Failed, MESSAGE),
    ("rcpt", "554 transaction failed", Failed, MESSAGE),
    ("rcpt", "553 5.6.7 non-ASCII addresses not permitted", Failed, MESSAGE),
    ("data", "451 4.3.5 Server configuration error", Deferred, PROVIDER),
    ("data", "554 no valid recipients", Failed, MESSAGE),
    ("content", "550 5.7.26 Unauthenticated email is not accepted (DMARC)", Failed, MESSAGE),
    ("content", "554 5.7.1 Spam message rejected", Failed, MESSAGE),
    ("content", "554 rejected as spam", Failed, MESSAGE),
    ("content", "552 5.2.3 message too long for the mailbox", Failed, MESSAGE),
    ("content", "552 5.2.2 Quota exceeded", Failed, ADDRESS),
    ("content", "452 4.2.2 Mailbox full", Deferred, ADDRESS),
    ("content", "451 requested action aborted", Deferred, PROVIDER),
    ("content", "550 5.6.0 malformed headers", Failed, MESSAGE),
    ("content", "421 4.3.0 shutting down", Deferred, PROVIDER),
]


def read(stage: str, text: str) -> Reply:
    return read_reply(Stage(stage), int(text[:3]), text[4:], 500)


@pytest.mark.parametrize(("stage", "text", "kind", "scope"), SEEN)
def test_replies_that_servers_give(stage: str, text: str, kind: type, scope: Scope) -> None:
    outcome = outcome_of("main", read(stage, text))
    assert isinstance(outcome, kind)
    assert isinstance(outcome, Deferred | Failed)
    assert outcome.scope is scope
    assert outcome.text == f"{stage}: {text}"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("250 2.0.0 Ok: queued as 4Vz9xQ1Yz4z1J", "4Vz9xQ1Yz4z1J"),
        ("250 Ok 0102018c1f2e3d4c-aaaa-bbbb-000000", "0102018c1f2e3d4c-aaaa-bbbb-000000"),
        ("250 2.0.0 Message accepted", ""),
        ("251 ok", ""),
    ],
)
def test_the_providers_own_id_is_kept(text: str, reference: str) -> None:
    outcome = outcome_of("main", read("content", text))
    assert isinstance(outcome, Delivered)
    assert (outcome.reference, outcome.text) == (reference, text)


def test_every_rule_decides_something() -> None:
    decided = {next(rule for rule in RULES if matches(rule, read(stage, text))) for stage, text, *_ in SEEN}
    assert [rule for rule in RULES if rule not in decided] == []


@given(
    st.sampled_from(list(Stage)),
    st.integers(400, 599),
    st.none() | st.tuples(st.integers(0, 9), st.integers(0, 60)),
    st.text(max_size=80),
)
def test_every_refusal_has_an_outcome(stage: Stage, number: int, detail: tuple[int, int] | None, words: str) -> None:
    status = "" if detail is None else f"{number // 100}.{detail[0]}.{detail[1]} "
    outcome = outcome_of("main", read_reply(stage, number, status + words, 100))
    assert isinstance(outcome, Deferred | Failed)
    if number < 500 or outcome.scope is PROVIDER:
        assert isinstance(outcome, Deferred)
    if stage in (Stage.CONNECT, Stage.EHLO, Stage.STARTTLS, Stage.LOGIN):
        assert outcome.scope is PROVIDER
    assert len(outcome.text) < 140
    assert "\n" not in outcome.text


@given(st.sampled_from(["mail", "data", "content"]), st.integers(400, 599))
def test_only_a_recipients_own_refusal_blames_the_address(stage: str, number: int) -> None:
    assert scope_of(Reply(Stage(stage), number, "", "no")) is not ADDRESS


def test_several_lines_become_one_without_repeating_the_status() -> None:
    reply = read_reply(Stage.RCPT, 550, "5.1.1 The account does not exist.\n5.1.1 Try\n5.1.1 again", 500)
    assert (reply.code, reply.text) == ("550 5.1.1", "The account does not exist. Try again")
    assert read_reply(Stage.RCPT, 550, "x" * 600, 500).text == "x" * 499 + "…"


def test_the_readme_shows_the_table() -> None:
    table = "\n".join(
        f"| {rule.stages} | `{rule.codes}` | `{rule.statuses}` | {rule.words} | {rule.scope} | {rule.meaning} |"
        for rule in RULES
    )
    readme = README.read_text()
    assert f"\n| --- | --- | --- | --- | --- | --- |\n{table}\n\n" in readme
    for name, pattern in WORDS.items():
        assert f"- *{name}*: `{pattern}`" in readme


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (EmailSettings, ""),
        (Provider, ""),
        (Timeouts, "timeouts."),
        (EmailFields, ""),
        (Attachment, ""),
        (Bounces, "bounces."),
        (Listen, "bounces.listen."),
        (BounceLimits, "bounces.limits."),
    ],
)
def test_the_readme_names_every_setting_and_field(model: type[BaseModel], prefix: str) -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|", README.read_text(), re.MULTILINE))
    for name, info in model.model_fields.items():
        assert prefix + name in rows or name in ("timeouts", "bounces", "listen", "limits")
        if isinstance(info.default, int | float) and not isinstance(info.default, bool):
            assert rows[prefix + name].startswith(f"{info.default:g}" if info.default < 1e6 else f"{info.default}")
