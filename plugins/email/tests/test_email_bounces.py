"""From a message that goes out to the receipt of its bounce, over real connections: aiosmtplib, smtplib, Postfix."""

from __future__ import annotations

import asyncio
import smtplib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from email_core import CREATED, ID, Core
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from petitbleu import (
    Attempt,
    Content,
    Deferred,
    Delivered,
    Message,
    PetitbleuError,
    Receipt,
    ReceiptState,
    Scope,
    TemplateRef,
    Unavailable,
)
from petitbleu_email.compose import Composer
from petitbleu_email.running import Running, running
from petitbleu_email.settings import EmailSettings
from petitbleu_email.tokens import HEADER, Signer
from postfix_server import can_run, postfix_server

DOMAIN = "bounces.example.com"
SECRET = "a secret that only the tests know"
SIGNER = Signer(1, DOMAIN, [SECRET.encode()], ["main"])


def configured(port: int = 9, **bounces: Any) -> EmailSettings:
    """A relay at `port`, and a listener on a free one."""
    listen = {"port": 0, **bounces.pop("listen", {})}
    section = {"domain": DOMAIN, "secrets": [SECRET], "listen": listen, "feedback": ["fbl"], **bounces}
    main = {"host": "127.0.0.1", "port": port}
    return EmailSettings.model_validate({"providers": {"main": main}, "bounces": section})


def message(core: Core, address: str = "zoe@example.org", number: int = ID) -> Message:
    event = core.events.get(number) or core.event(number)
    content = Content({"text": "Hello\n"}, {"subject": "Hello", "sender": "shop@example.com"})
    return Message(event, "email", address, "shop", TemplateRef("test", "email", 1), content, f"{number}@test")


async def free(provider: str) -> None:
    """A hand-off that nothing stands against."""


@dataclass
class Inbox:
    """An aiosmtpd handler; offers DSN as a relay does."""

    envelopes: list[Envelope] = field(default_factory=list)
    options: list[tuple[list[str], list[str]]] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    dsn: bool = True
    port: int = 0

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, replies: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*replies[:-1], *(["250-DSN"] if self.dsn else []), "250-PIPELINING", replies[-1]]

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        refusal = self.refusals.get(address.partition("@")[0])
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 2.0.0 Ok: queued as 4XyZ"


class Relay(SMTP):
    """Lets the parameters of DSN (RFC 3461 4) through, which aiosmtpd refuses, and keeps them."""

    async def smtp_MAIL(self, arg: str | None) -> None:
        self.mail_words = (arg or "").split()[1:]
        await super().smtp_MAIL((arg or "").split()[0])

    async def smtp_RCPT(self, arg: str | None) -> None:
        self.event_handler.options.append((self.mail_words, (arg or "").split()[1:]))
        await super().smtp_RCPT((arg or "").split()[0])


@asynccontextmanager
async def serving(**values: Any) -> AsyncIterator[Inbox]:
    loop = asyncio.get_running_loop()
    inbox = Inbox(**values)
    server = await loop.create_server(lambda: Relay(inbox, loop=loop), "127.0.0.1", 0)
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        server.close()


def port_of(state: Running) -> int:
    assert state.listener is not None
    return int(state.listener.where.rpartition(":")[2])


def say(port: int, *commands: str, hello: str = "EHLO mx.example.org") -> list[str]:
    """The last line of each reply; the first one is the greeting."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection, connection.makefile("rb") as replies:
        said = []
        for command in ("", hello, *commands):
            connection.sendall(f"{command}\r\n".encode() if command else b"")
            while (line := replies.readline().decode().rstrip()) and line[3:4] == "-":
                pass
            said.append(line)
        return said


async def aside(function: Callable[..., Any], *arguments: Any, **values: Any) -> Any:
    """A blocking client runs in a thread of its own."""
    return await asyncio.to_thread(function, *arguments, **values)


def send(port: int, sender: str, recipients: Sequence[str], text: bytes) -> dict[str, tuple[int, bytes]]:
    """Recipients that were refused; raises what smtplib raises."""
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        return dict(client.sendmail(sender, list(recipients), text))


def bounce(status: str = "5.1.1", action: str = "failed", diagnostic: str = "smtp; 550 no such user") -> bytes:
    return (
        "From: MAILER-DAEMON@mx.example.org\r\nSubject: Undeliverable\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n"
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n\r\n"
        f"Final-Recipient: rfc822; zoe@example.org\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: {diagnostic}\r\nLast-Attempt-Date: Mon, 23 Nov 2026 12:00:00 +0100\r\n\r\n--b--\r\n"
    ).encode()


def complaint(*inside: str, mail_from: str = "") -> bytes:
    original = "".join(f"{line}\r\n" for line in inside)
    return (
        "From: abuse@example.net\r\nSubject: complaint\r\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n"
        f"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: Loop/1\r\n{mail_from}\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\n{original}Subject: Hello\r\n\r\nHello\r\n--b--\r\n"
    ).encode()


BOUNCED = Receipt(
    channel="email",
    provider="main",
    state=ReceiptState.BOUNCED,
    text="550 no such user",
    event=ID,
    attempt=3,
    code="5.1.1",
    scope=Scope.ADDRESS,
    permanent=True,
    at=datetime(2026, 11, 23, 11, 0, tzinfo=UTC),
)


def return_path(core: Core, attempt: int = 3) -> str:
    event = core.events.get(ID) or core.event()
    return str(SIGNER.return_path(SIGNER.sign(event, attempt, "main")))


# -------------------------------------------------------------------------------------------------------------- whole


async def test_from_a_message_to_the_receipt_of_its_bounce() -> None:
    core = Core()
    async with serving() as inbox, running(configured(inbox.port), core.services()) as state:
        outcome = await state.mailer.deliver(message(core), Attempt(3, free))
        assert isinstance(outcome, Delivered)
        (envelope,) = inbox.envelopes
        refused = await aside(send, port_of(state), "<>", [envelope.mail_from], bounce())
    assert refused == {}
    assert core.receipts == [BOUNCED]


@pytest.mark.parametrize(
    "relay", ["Postfix" if can_run() else "a bounce that Postfix wrote, since it is not installed or we are not root"]
)
async def test_bounces_that_postfix_writes(relay: str, real_parts: Any) -> None:
    """The relay takes the message, fails with the recipient's server, and says so to the return path."""
    core = Core()
    if not can_run():
        real_parts.lacked("Postfix as a relay", "its bounces are read as recorded, in test_email_reports.py")
        return
    refusals = {"gone": "550 5.1.1 User unknown", "full": "452 4.2.2 over quota"}
    settings = configured(listen={"protocol": "lmtp"}, success=True)
    async with serving(refusals=refusals, dsn=False) as inbox, running(settings, core.services()) as state:
        ways = {
            DOMAIN: f"lmtp:[127.0.0.1]:{port_of(state)}",
            "example.org": f"smtp:[127.0.0.1]:{inbox.port}",
            "down.example.org": "smtp:[127.0.0.1]:9",
        }
        server = postfix_server(ways)
        postfix = await asyncio.to_thread(server.__enter__)
        try:
            real_parts.used("Postfix as a relay", postfix.version)
            async with running(settings.model_copy(update=_relay(postfix.port)), core.services(delivers=False)) as out:
                for number, name in enumerate(["gone@", "full@", "zoe@", "zoe@down."]):
                    sent = await out.mailer.deliver(message(core, f"{name}example.org", ID + number), Attempt(1, free))
                    assert isinstance(sent, Delivered), (sent, postfix.log.read_text())
                async with asyncio.timeout(30):
                    while len(core.receipts) < 4:
                        await asyncio.sleep(0.02)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)
    assert sorted((one.event, one.state, one.code, one.scope, one.permanent) for one in core.receipts) == [
        (ID, ReceiptState.BOUNCED, "5.1.1", Scope.ADDRESS, True),
        (ID + 1, ReceiptState.BOUNCED, "4.2.2", Scope.ADDRESS, False),
        # its server offers no DSN: nobody will tell whether it arrived
        (ID + 2, ReceiptState.UNDERWAY, "2.0.0", Scope.MESSAGE, True),
        (ID + 3, ReceiptState.BOUNCED, "4.4.1", Scope.PROVIDER, False),
    ]
    assert {one.provider for one in core.receipts} == {"main"}
    assert {one.attempt for one in core.receipts} == {1}


def _relay(port: int) -> dict[str, Any]:
    return {"providers": configured(port).providers}


# ------------------------------------------------------------------------------------------------------- what goes out


async def test_without_the_setting_nothing_changes() -> None:
    core = Core()
    async with serving() as inbox:
        settings = EmailSettings.model_validate({"providers": {"main": {"host": "127.0.0.1", "port": inbox.port}}})
        async with running(settings, core.services()) as state:
            assert isinstance(await state.mailer.deliver(message(core), Attempt(1, free)), Delivered)
            assert state.listener is None
            assert [check.name for check in state.checks(60)] == ["main"]
    assert inbox.envelopes[0].mail_from == "shop@example.com"
    assert HEADER not in str(inbox.envelopes[0].content)
    assert [rcpt for _, rcpt in inbox.options] == [[]]


async def test_each_attempt_has_a_return_path_and_the_rest_stays_the_same() -> None:
    core = Core()
    async with serving() as inbox, running(configured(inbox.port), core.services(delivers=False)) as state:
        for number in (1, 2):
            await state.mailer.deliver(message(core), Attempt(number, free))
    first, second = inbox.envelopes
    for number, envelope in enumerate((first, second), 1):
        ticket = SIGNER.read_address(envelope.mail_from or "")
        assert ticket is not None
        assert (ticket.event, ticket.attempt, ticket.provider) == (ID, number, "main")
        assert ticket.fits(core.events[ID])
        head, _, rest = bytes(envelope.original_content or b"").partition(b"\r\n")
        assert head == f"{HEADER}: {SIGNER.sign(core.events[ID], number, 'main')}".encode()
        assert rest == Composer(10**6, 0).compose(message(core)).content


@pytest.mark.parametrize(("success", "notify"), [(False, "FAILURE,DELAY"), (True, "SUCCESS,FAILURE,DELAY")])
async def test_a_relay_that_offers_dsn_is_told_what_to_report(success: bool, notify: str) -> None:
    core = Core()
    settings = configured(success=success)
    async with serving() as with_dsn, serving(dsn=False) as without:
        for inbox in (with_dsn, without):
            async with running(settings.model_copy(update=_relay(inbox.port)), core.services(delivers=False)) as state:
                await state.mailer.deliver(message(core), Attempt(1, free))
    ((mail, rcpt),) = with_dsn.options
    token = SIGNER.sign(core.events[ID], 1, "main")
    assert mail[1:] == ["RET=HDRS", f"ENVID={token}"]
    assert rcpt == [f"NOTIFY={notify}"]
    assert [rcpt for _, rcpt in without.options] == [[]]


# ------------------------------------------------------------------------------------------------------ what is taken


@asynccontextmanager
async def listening(core: Core, **bounces: Any) -> AsyncIterator[Running]:
    async with running(configured(**bounces), core.services()) as state:
        yield state


async def test_a_forged_return_path_is_refused() -> None:
    core = Core()
    good = return_path(core)
    token = good[2:50]
    other = "a" if token[-1] != "a" else "b"
    forged = [
        f"b+{token[:-1]}{other}@{DOMAIN}",
        f"b+{token}@example.com",
        f"postmaster@{DOMAIN}",
        str(Signer(1, DOMAIN, [b"another secret, of somebody else"], ["main"]).return_path(token[::-1])),
    ]
    async with listening(core) as state:
        said = await aside(
            say, port_of(state), "MAIL FROM:<>", *(f"RCPT TO:<{address}>" for address in forged), "DATA", "QUIT"
        )
        text = state.checks(60)[-1].text
    assert said[3:7] == ["550 5.1.1 no such address here"] * 4
    assert said[7].startswith("503 ")
    assert "4 addresses refused" in text
    assert core.receipts == []


async def test_case_and_secrets_of_before_do_not_matter() -> None:
    core = Core()
    old = return_path(core)
    async with listening(core, secrets=["a newer secret, and the first", SECRET]) as state:
        await aside(send, port_of(state), "<>", [old.upper()], bounce())
    assert core.receipts == [BOUNCED]


async def test_a_bounce_of_an_event_that_is_gone_or_another_one_has_no_effect() -> None:
    core = Core()
    address = return_path(core)
    async with listening(core) as state:
        core.event(created=CREATED.replace(year=2027))
        await aside(send, port_of(state), "<>", [address], bounce())
        core.events.clear()
        await aside(send, port_of(state), "<>", [address], bounce())
        assert "2 mails without effect" in state.checks(60)[-1].text
    assert core.calls == 0


@pytest.mark.parametrize("trouble", [Unavailable("no database"), RuntimeError("whatever")])
async def test_what_cannot_be_stored_comes_again(trouble: Exception) -> None:
    core = Core(trouble=trouble)
    address = return_path(core)
    async with listening(core) as state:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            await aside(send, port_of(state), "<>", [address], bounce())
        core.trouble = None
        await aside(send, port_of(state), "<>", [address], bounce())
    assert refused.value.smtp_code == 451
    assert core.receipts == [BOUNCED]


async def test_the_answer_comes_after_the_receipt_is_stored() -> None:
    core = Core()
    address = return_path(core)
    stored, answered = asyncio.Event(), asyncio.Event()

    async def slow(receipts: Sequence[Receipt]) -> None:
        await stored.wait()
        assert not answered.is_set()
        core.receipts += receipts

    services = replace(core.services(), record_receipts=slow)
    async with running(configured(), services) as state:
        task = asyncio.create_task(aside(send, port_of(state), "<>", [address], bounce()))
        task.add_done_callback(lambda _: answered.set())
        while not any(session.taking for session in state.listener.sessions if state.listener):  # type: ignore[union-attr]
            await asyncio.sleep(0.001)
        assert not task.done()
        stored.set()
        await task
    assert core.receipts == [BOUNCED]


async def test_one_bounce_to_several_return_paths() -> None:
    core = Core()
    paths = [return_path(core), return_path(core, 4), return_path(core)]
    async with listening(core) as state:
        await aside(send, port_of(state), "<>", paths, bounce())
    assert core.receipts == [BOUNCED, replace(BOUNCED, attempt=4)]
    assert core.calls == 1


async def test_an_automatic_reply_is_taken_and_has_no_effect() -> None:
    core = Core()
    reply = b"From: zoe@example.org\r\nAuto-Submitted: auto-replied\r\nSubject: away\r\n\r\nAway.\r\n"
    async with listening(core) as state:
        await aside(send, port_of(state), "<>", [return_path(core)], reply)
    assert core.calls == 0


COMPLAINED = Receipt(
    channel="email",
    provider="main",
    state=ReceiptState.COMPLAINED,
    text="abuse, reported by Loop/1",
    event=ID,
    attempt=3,
    scope=Scope.ADDRESS,
)


@pytest.mark.parametrize("way", ["mail from", "return path", "header", "to the return path"])
async def test_a_complaint_is_proved_by_what_is_inside(way: str) -> None:
    core = Core()
    address = return_path(core)
    forged = f"Return-Path: <b+{'a' * 48}@{DOMAIN}>"
    token = SIGNER.sign(core.events[ID], 3, "main")
    texts = {
        "mail from": complaint(forged, mail_from=f"Original-Mail-From: <{address}>\r\n"),
        "return path": complaint(f"Return-Path: <{address}>"),
        "header": complaint(forged, f"{HEADER}: {token}"),
        "to the return path": complaint(),
    }
    to = address if way == "to the return path" else f"FBL@{DOMAIN}"
    async with listening(core) as state:
        await aside(send, port_of(state), "abuse@example.net", [to], texts[way])
    assert core.receipts == [COMPLAINED]


@pytest.mark.parametrize(
    "text", [complaint(), complaint(f"{HEADER}: {'a' * 48}"), bounce(), b"Subject: hi\r\n\r\nhi\r\n"]
)
async def test_what_proves_nothing_is_refused_where_complaints_come(text: bytes) -> None:
    core = Core()
    async with listening(core) as state:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            await aside(send, port_of(state), "abuse@example.net", [f"fbl@{DOMAIN}"], text)
    assert refused.value.smtp_code == 550
    assert core.calls == 0


# --------------------------------------------------------------------------------------------------------------- limits


async def test_limits_of_size_and_recipients() -> None:
    core = Core()
    address = return_path(core)
    async with listening(core, limits={"size": 65536, "recipients": 2}) as state:
        said = await aside(
            say, port_of(state), "MAIL FROM:<> SIZE=70000", "MAIL FROM:<>", *(f"RCPT TO:<{address}>" for _ in range(3))
        )
        with pytest.raises(smtplib.SMTPResponseException) as too_big:
            await aside(send, port_of(state), "<>", [address], bounce() + b"x\r\n" * 30_000)
    assert said[2].startswith("552 ")
    assert said[3:7] == ["250 OK", "250 2.1.5 ok", "250 2.1.5 ok", "452 4.5.3 too many recipients"]
    assert too_big.value.smtp_code == 552
    assert core.calls == 0


async def test_long_lines_are_forgiven() -> None:
    core = Core()
    async with listening(core) as state:
        await aside(send, port_of(state), "<>", [return_path(core)], b"X-Long: " + b"x" * 30_000 + b"\r\n" + bounce())
    assert core.receipts == [BOUNCED]


async def test_a_line_without_an_end_ends_the_connection() -> None:
    core = Core()
    commands = f"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{return_path(core)}>\r\nDATA\r\n"

    def pour(port: int) -> int:
        poured = 0
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(commands.encode())
            while b"354" not in connection.recv(1000):
                pass
            try:
                while poured < 50_000_000:
                    poured += connection.send(b"x" * 65_536)
            except OSError:
                pass  # what is hoped for: cut off
        return poured

    async with listening(core) as state:
        assert await aside(pour, port_of(state)) < 50_000_000
        await aside(send, port_of(state), "<>", [return_path(core)], bounce())
    assert core.receipts == [BOUNCED]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [b"EHLO x", b"MAIL FROM:<>", b"DATA", b".", b"RSET", b"HELP", b"VRFY a", b"AUTH PLAIN AA==", b"NOOP"]
        )
        | st.binary(max_size=60)
        | st.binary(max_size=30).map(lambda noise: b"MAIL FROM:" + noise)
        | st.binary(max_size=30).map(lambda noise: b"RCPT TO:<" + noise),
        max_size=12,
    )
)
async def test_whatever_a_stranger_says_has_no_effect(caplog: pytest.LogCaptureFixture, lines: list[bytes]) -> None:
    core = Core()
    core.event()

    def shout(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"\r\n".join([*lines, b"QUIT", b""]))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass

    async with listening(core) as state:
        await aside(shout, port_of(state))
        await aside(send, port_of(state), "<>", [return_path(core)], bounce())
    assert core.receipts == [BOUNCED]
    assert caplog.records == []


async def test_lmtp_has_one_recipient() -> None:
    core = Core()
    to = f"RCPT TO:<{return_path(core)}>"
    async with listening(core, listen={"protocol": "lmtp"}) as state:
        said = await aside(say, port_of(state), "MAIL FROM:<>", to, to, hello="LHLO mx.example.org")
        hello = await aside(say, port_of(state))
    assert said[3:] == ["250 2.1.5 ok", "452 4.5.3 too many recipients"]
    assert hello[1].startswith("500 ")


async def test_connections_are_counted() -> None:
    core = Core()
    async with listening(core, limits={"connections": 1}) as state:
        with socket.create_connection(("127.0.0.1", port_of(state))) as first:
            assert (await aside(first.recv, 100)).startswith(b"220 ")
            with socket.create_connection(("127.0.0.1", port_of(state))) as second:
                assert await aside(second.recv, 100) == b"421 4.7.0 too many connections, come again\r\n"
        while state.listener is not None and state.listener.sessions:
            await asyncio.sleep(0.001)
        assert (await aside(say, port_of(state)))[0].startswith("220 ")
        assert "1 connections told to come again" in state.checks(60)[-1].text


@pytest.mark.parametrize("limit", ["idle", "session"])
async def test_a_connection_ends(limit: str) -> None:
    async with listening(Core(), limits={limit: 0.05}) as state:
        with socket.create_connection(("127.0.0.1", port_of(state))) as connection:
            await aside(connection.recv, 100)
            try:
                rest = await aside(connection.recv, 100)
            except ConnectionResetError:
                rest = b""
    assert rest == b""


async def test_a_stop_lets_a_mail_finish_and_cuts_the_rest() -> None:
    core = Core()
    address = return_path(core)
    stored = asyncio.Event()

    async def slow(receipts: Sequence[Receipt]) -> None:
        await stored.wait()
        core.receipts += receipts

    async with running(configured(), replace(core.services(), record_receipts=slow)) as state:
        listener = state.listener
        assert listener is not None
        idle = socket.create_connection(("127.0.0.1", port_of(state)))
        assert (await aside(idle.recv, 100)).startswith(b"220 ")
        task = asyncio.create_task(aside(send, port_of(state), "<>", [address], bounce()))
        while not any(session.taking for session in listener.sessions):
            await asyncio.sleep(0.001)
        asyncio.get_running_loop().call_later(0.05, stored.set)
    with idle:
        assert await aside(idle.recv, 100) == b""
    assert await task == {}
    assert core.receipts == [BOUNCED]


async def test_a_stop_does_not_wait_for_ever() -> None:
    async with listening(Core(), limits={"closing": 0.05}) as state:
        core_path = f"RCPT TO:<{return_path(Core())}>"
        connection = socket.create_connection(("127.0.0.1", port_of(state)))
        connection.sendall(f"EHLO x\r\nMAIL FROM:<>\r\n{core_path}\r\nDATA\r\n".encode())
        said = b""
        while b"354" not in said:
            said += await aside(connection.recv, 1000)
    connection.close()
    assert state.listener is not None
    assert state.listener.sessions == set()


async def test_processes_share_the_port_and_a_strangers_port_stops_the_start() -> None:
    core = Core()
    async with listening(core) as first, listening(core, listen={"port": port_of(first)}) as second:
        assert port_of(second) == port_of(first)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        with pytest.raises(PetitbleuError, match=f"cannot listen on 127.0.0.1:{taken}"):
            async with listening(core, listen={"port": taken}):
                pass


async def test_only_processes_that_deliver_listen() -> None:
    async with running(configured(), Core().services(delivers=False)) as state:
        assert state.listener is None


async def test_nothing_of_a_mail_gets_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    core = Core(trouble=RuntimeError("zoe@example.org"))
    address = return_path(core)
    async with listening(core) as state:
        await aside(say, port_of(state), "NONSENSE zoe@example.org", "MAIL FROM:<<zoe@example.org", "RCPT TO:<a b@>")
        with pytest.raises(smtplib.SMTPDataError):
            await aside(send, port_of(state), "<>", [address], bounce())
    assert "a bounce cannot be stored now" in caplog.text
    assert "zoe" not in caplog.text
    assert address[2:50] not in caplog.text


# ------------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("bounces", "words"),
    [
        ({"domain": "localhost"}, "must be a domain"),
        ({"domain": "a" * 64 + ".example.com"}, "must be a domain"),
        ({"secrets": ["short"]}, "16 characters or more"),
        ({"secrets": []}, "at least 1 item"),
        ({"feedback": ["fbl@example.com"]}, "before an @"),
    ],
)
def test_settings_say_what_would_be_right(bounces: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        configured(**bounces)
    assert "'short'" not in str(refused.value)


def test_secrets_do_not_show() -> None:
    assert SECRET not in repr(configured())


async def test_a_refusal_at_the_door_stays_an_outcome() -> None:
    """The relay knows at once: no receipt, the outcome says it."""
    core = Core()
    async with (
        serving(refusals={"full": "452 4.2.2 over quota"}) as inbox,
        running(configured(inbox.port), core.services()) as state,
    ):
        outcome = await state.mailer.deliver(message(core, "full@example.org"), Attempt(1, free))
    assert outcome == Deferred("main", "rcpt: 452 4.2.2 over quota", Scope.ADDRESS, "452 4.2.2")
