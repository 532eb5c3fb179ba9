"""TLS, logins and settings: never in clear where it must not be, and real servers as the other side."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

import petitbleu_email
import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from email_core import Core
from petitbleu import (
    Attempt,
    Content,
    Deferred,
    Delivered,
    Event,
    Message,
    Outcome,
    Queue,
    Reject,
    Scope,
    TemplateRef,
)
from petitbleu_email.connection import ehlo_name
from petitbleu_email.settings import EmailSettings
from petitbleu_email.transport import open_mailer
from pydantic import ValidationError

PASSWORD = "correct horse battery staple"
SMTP_SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@dataclass
class Inbox:
    """What an aiosmtpd server took, and how it was reached."""

    port: int = 0
    mails: list[Envelope] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        self.secured.append(session.ssl is not None)
        return "250 2.0.0 Ok"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        self.logins.append(how)
        assert isinstance(data, LoginPassword)
        return AuthResult(success=data == LoginPassword(b"petitbleu", PASSWORD.encode()), handled=False)


@dataclass(frozen=True)
class Certificates:
    server: ssl.SSLContext
    ca_file: str


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return Certificates(context, str(file))


@asynccontextmanager
async def serving(
    tls: ssl.SSLContext | None = None, implicit: bool = False, login: bool = False
) -> AsyncIterator[Inbox]:
    inbox = Inbox()
    options: dict[str, Any] = {"hostname": "relay.test", "enable_SMTPUTF8": True}
    if login:
        options |= {"authenticator": inbox.authenticate, "auth_required": True}
    if tls is not None and not implicit:
        options |= {"tls_context": tls, "require_starttls": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(inbox, **options), "127.0.0.1", 0, ssl=tls if implicit else None)
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        server.close()
        await server.wait_closed()


def configured(port: int, **provider: Any) -> EmailSettings:
    main = {"host": "127.0.0.1", "port": port, "timeouts": {"ehlo": 2, "command": 2, "quit": 0.5}, **provider}
    return EmailSettings.model_validate({"providers": {"main": main}})


def make(number: int = 1, address: str = "zoe@example.org", **data: Any) -> Message:
    event = Event(number, "test", Queue.REALTIME, "email", data, datetime(2026, 11, 23, tzinfo=UTC))
    content = Content({"text": "Hello\n"}, {"subject": "Hello", "sender": "shop@example.com"})
    return Message(event, "email", address, "shop", TemplateRef("test", "email", 1), content, f"{number}@demo")


async def free(provider: str) -> None:
    """A hand-off that nothing stands against."""


async def send(settings: EmailSettings, *messages: Message) -> list[Outcome]:
    async with open_mailer(settings) as mailer:
        return await asyncio.gather(*(mailer.deliver(message, Attempt(1, free)) for message in messages or [make()]))


async def test_starttls_then_login_then_mail(certificates: Certificates) -> None:
    async with serving(certificates.server, login=True) as inbox:
        login = {"username": "petitbleu", "password": PASSWORD}
        (outcome,) = await send(configured(inbox.port, security="starttls", ca_file=certificates.ca_file, **login))
    assert isinstance(outcome, Delivered)
    assert inbox.secured == [True]
    assert len(inbox.logins) == 1


async def test_tls_from_the_start(certificates: Certificates) -> None:
    async with serving(certificates.server, implicit=True) as inbox:
        (outcome,) = await send(configured(inbox.port, security="tls", ca_file=certificates.ca_file))
    assert isinstance(outcome, Delivered)
    assert len(inbox.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("fault", ["unknown authority", "other name"])
async def test_a_certificate_that_proves_nothing_ends_the_session(
    certificates: Certificates, tmp_path: Path, security: str, fault: str
) -> None:
    authority = trustme.CA()
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    context = certificates.server
    if fault == "other name":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("mail.example.com").configure_cert(context)
    async with serving(context, implicit=security == "tls", login=security == "starttls") as inbox:
        login = {"username": "petitbleu", "password": PASSWORD}
        (outcome,) = await send(configured(inbox.port, security=security, ca_file=str(trusted), **login))
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.PROVIDER
    assert "certificate verify failed" in outcome.text
    assert (inbox.logins, inbox.mails) == ([], [])


@pytest.mark.parametrize(
    "answers",
    [
        {b"EHLO": b"250 relay.test\r\n"},
        {b"EHLO": b"502 what\r\n"},
        {b"EHLO": b"250-relay.test\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", b"STARTTLS": b"454 4.7.0 no\r\n"},
        {b"EHLO": b"250-relay.test\r\n250 STARTTLS\r\n", b"STARTTLS": b"250 sure\r\n"},
        {b"EHLO": b"250-relay.test\r\n250 STARTTLS\r\n", b"STARTTLS": b"220 go\r\n250 not TLS at all\r\n"},
        {b"EHLO": b"250-relay.test\r\n250 STARTTLS\r\n", b"STARTTLS": b""},
    ],
)
async def test_required_starttls_never_falls_back_to_clear_text(answers: dict[bytes, bytes]) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay.test ESMTP\r\n")
        try:
            while line := await reader.readline():
                heard.append(line)
                writer.write(answers.get(line.split()[0], b"250 Ok\r\n"))
        except ConnectionError:
            heard.append(b"(reset)")
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = configured(
        port, security="starttls", username="petitbleu", password=PASSWORD, timeouts={"ehlo": 0.3, "quit": 0.1}
    )
    (outcome,) = await send(settings)
    server.close()
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.PROVIDER
    assert "starttls" in outcome.text.lower() or "ehlo" in outcome.text
    said = b"".join(heard)
    assert not re.search(rb"(?i)\b(auth|mail|rcpt|data|helo)\b", said)


async def test_a_refused_login_fails_no_message_and_tells_no_password(certificates: Certificates) -> None:
    async with serving(certificates.server, login=True) as inbox:
        settings = configured(
            inbox.port,
            security="starttls",
            ca_file=certificates.ca_file,
            username="petitbleu",
            password="wrong secret",
        )
        (outcome,) = await send(settings)
    assert isinstance(outcome, Deferred)
    assert (outcome.scope, outcome.code) == (Scope.PROVIDER, "535 5.7.8")
    assert "login" in outcome.text
    assert inbox.mails == []
    assert "secret" not in repr(settings) + outcome.text


async def test_smtputf8_addresses_reach_a_server_that_offers_it() -> None:
    async with serving() as inbox:
        (outcome,) = await send(configured(inbox.port), make(address="élodie@exämple.org"))
    assert isinstance(outcome, Delivered)
    (mail,) = inbox.mails
    assert mail.rcpt_tos == ["élodie@xn--exmple-cua.org"]
    assert "SMTPUTF8" in mail.mail_options


@contextmanager
def free_port() -> Iterator[int]:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
    yield port


def sink_command(dump: Path, port: int) -> Sequence[str]:
    """Postfix's own test server; where it is not installed, aiosmtpd in a process of its own."""
    if SMTP_SINK is not None:
        as_root = ["-u", "root"] if os.geteuid() == 0 else []
        return [SMTP_SINK, *as_root, "-D", str(dump), f"127.0.0.1:{port}", "50"]
    code = (
        "import asyncio, sys\n"
        "from aiosmtpd.smtp import SMTP\n"
        "class Dump:\n"
        "    async def handle_DATA(self, server, session, envelope):\n"
        "        open(sys.argv[1], 'ab').write(envelope.content + b'\\r\\n')\n"
        "        return '250 2.0.0 Ok'\n"
        "async def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    server = await loop.create_server(lambda: SMTP(Dump()), '127.0.0.1', int(sys.argv[2]))\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    return [sys.executable, "-c", code, str(dump), str(port)]


@pytest.mark.parametrize("server", ["smtp-sink" if SMTP_SINK else "aiosmtpd, since smtp-sink is not installed"])
async def test_a_foreign_server_gets_every_message_once(server: str, tmp_path: Path, real_parts: Any) -> None:
    if SMTP_SINK is not None:
        real_parts.used("Postfix smtp-sink", SMTP_SINK)
    else:
        real_parts.lacked("Postfix smtp-sink", "aiosmtpd in a process of its own took its place")
    dump = tmp_path / "mails"
    with free_port() as port:
        process = await asyncio.create_subprocess_exec(*sink_command(dump, port), cwd=tmp_path)
    try:
        await listening(port)
        settings = configured(port, connections=5, messages_per_connection=7)
        outcomes = await send(settings, *(make(number) for number in range(100)))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    assert [type(outcome) for outcome in outcomes] == [Delivered] * 100
    numbers = [int(number) for number in re.findall(rb"^X-Event-Id: (\d+)\r?$", dump.read_bytes(), re.MULTILINE)]
    assert sorted(numbers) == list(range(100))


async def listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return


async def test_every_provider_is_tried(certificates: Certificates) -> None:
    with free_port() as nobody:
        down = {"host": "127.0.0.1", "port": nobody}
    async with serving(certificates.server, login=True) as inbox:
        up = configured(
            inbox.port,
            security="starttls",
            ca_file=certificates.ca_file,
            username="petitbleu",
            password=PASSWORD,
        ).providers["main"]
        settings = EmailSettings.model_validate({"providers": {"up": up, "down": down}})
        first, second = await petitbleu_email.petitbleu_check_providers(settings)
        assert (first.name, first.ok) == ("up", True)
        assert re.fullmatch(rf"127.0.0.1:{inbox.port}: TLSv1.\d \S+, logged in; .*SMTPUTF8.*", first.text)
        assert (second.name, second.ok) == ("down", False)
        assert second.text.startswith(f"down (127.0.0.1:{nobody}): connect: ")
    assert inbox.mails == []


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"providers": {}}, "at least 1 item"),
        ({}, "providers"),
        ({"providers": {"main": {"host": "a", "username": "b"}}}, "go together"),
        ({"providers": {"main": {"host": "a", "username": "b", "password": "c"}}}, "in clear"),
        ({"providers": {"main": {"host": "a", "ca_file": "/no/such.pem"}}}, "no file /no/such.pem"),
        ({"providers": {"main": {"host": "a", "local_hostname": "x y"}}}, "local_hostname"),
        ({"providers": {"main": {"host": "a", "port": 0}}}, "port"),
        ({"providers": {"main": {"host": "mail.example.com:25"}}}, "should be a host"),
        ({"providers": {"ma in": {"host": "a"}}}, "ma in"),
        ({"providers": {"main": {"host": "a", "security": "none"}}}, "security"),
        ({"providers": {"main": {"host": "a", "prot": 1}}}, "prot"),
    ],
)
def test_settings_refuse_what_cannot_work(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as refused:
        EmailSettings.model_validate(section)
    assert "password" not in words or "'c'" not in str(refused.value)


def test_a_password_may_go_in_clear_to_this_machine_only() -> None:
    login = {"username": "a", "password": "b"}
    assert EmailSettings.model_validate({"providers": {"main": {"host": "localhost", **login}}})


@pytest.mark.parametrize("value", ["4", "-1", "htm", "1.0", "12"])
async def test_an_email_format_without_meaning_is_refused_at_the_door(value: str) -> None:
    verdict = await petitbleu_email.petitbleu_check_event(make(emailFormat=value).event)
    known = "0 (as the template), 1 or text, 2 or html, 3 or multipart"
    assert verdict == Reject("emailFormat", f"{value!r} is not a format; formats are {known}")


@pytest.mark.parametrize("value", ["", "0", "1", "2", "3", " 2 ", "Text", "HTML", "MultiPart", "unknown"])
async def test_known_email_formats_pass_the_door(value: str) -> None:
    assert await petitbleu_email.petitbleu_check_event(make(emailFormat=value).event) is None
    assert await petitbleu_email.petitbleu_check_event(make().event) is None


@pytest.mark.parametrize(
    ("host_name", "socket_name", "expected"),
    [
        ("mail.example.com", ("192.0.2.1", 1), "mail.example.com"),
        ("localhost", ("192.0.2.1", 1), "[192.0.2.1]"),
        ("bad_name.example.com", ("192.0.2.1", 1), "[192.0.2.1]"),
        ("box", ("fe80::1%eth0", 1, 0, 0), "[IPv6:fe80::1]"),
    ],
)
def test_ehlo_says_a_full_name_or_an_address(host_name: str, socket_name: Any, expected: str) -> None:
    assert ehlo_name(host_name, socket_name) == expected


async def test_the_hooks_fit_together() -> None:
    (channel,) = petitbleu_email.petitbleu_channels(None)
    assert (channel.name, channel.address, channel.unknown) == ("email", "email", "retry_once")
    assert [(part.name, part.file, part.escape) for part in channel.parts] == [
        ("html", "body.html.j2", "html"),
        ("text", "body.txt.j2", "none"),
    ]
    async with serving() as inbox:
        settings = petitbleu_email.petitbleu_settings_type().model_validate(configured(inbox.port).model_dump())
        assert isinstance(settings, EmailSettings)
        async with petitbleu_email.petitbleu_lifespan(settings, Core().services()) as state:
            outcome = await petitbleu_email.petitbleu_deliver(make(), Attempt(1, free), state)  # type: ignore[arg-type]
            (check,) = await petitbleu_email.petitbleu_health(settings, state)  # type: ignore[arg-type]
    assert isinstance(outcome, Delivered)
    assert (check.name, check.ok) == ("main", True)
    assert message_from_bytes(inbox.mails[0].content or b"")["Subject"] == "Hello"  # type: ignore[arg-type]
