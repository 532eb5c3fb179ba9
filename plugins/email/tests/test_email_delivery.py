"""Delivery against servers that behave, and against one that misbehaves on command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from petitbleu import (
    Attempt,
    Content,
    Deferred,
    Delivered,
    Event,
    Failed,
    HandOffRefused,
    Message,
    NotNow,
    Outcome,
    Queue,
    Scope,
    TemplateRef,
    Unknown,
)
from petitbleu_email.compose import Composer
from petitbleu_email.settings import EmailSettings
from petitbleu_email.transport import Mailer, open_mailer

CUT, HANG, RESET = "cut", "hang", "reset"
EHLO = "250-relay.test\r\n250-SIZE 1000000\r\n250 ENHANCEDSTATUSCODES"
REPLIES = {
    "connect": "220 relay.test ESMTP",
    "ehlo": EHLO,
    "helo": "250 relay.test",
    "mail": "250 2.1.0 Ok",
    "rcpt": "250 2.1.5 Ok",
    "data": "354 go ahead",
    "content": "250 2.0.0 Ok: queued as 4XyZ",
    "rset": "250 2.0.0 Ok",
    "quit": "221 2.0.0 Bye",
}
QUICK = {"wait": 5, "connect": 0.3, "ehlo": 0.3, "command": 0.3, "data": 0.3, "quit": 0.2}


@dataclass
class Relay:
    """Says what `replies` hold (a list: one after the other, the last again and again) and writes down what it hears.

    `cut` ends the session in good order, `reset` does not, `hang` says nothing any more.
    """

    replies: Mapping[str, str | list[str]]
    heard: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    sessions: int = 0
    open: int = 0
    most_open: int = 0
    port: int = 0
    going: bool = False
    """Whether the last of MAIL and RCPT was accepted."""
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            going = await self.answer("connect", writer)
            while going and (line := await reader.readline()):
                self.heard.append(line.decode().rstrip())
                word = line.split()[0].decode().lower()
                going = await self.answer(word, writer)
                if going and word == "data" and self.last.startswith("354"):
                    lines = []
                    while (line := await reader.readline()) not in (b".\r\n", b""):
                        lines.append(line)
                    if not line:
                        raise ConnectionResetError
                    self.contents.append(b"".join(lines))
                    going = await self.answer("content", writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.heard.append("(cut off)")
        finally:
            self.open -= 1
            writer.close()

    async def answer(self, word: str, writer: asyncio.StreamWriter) -> bool:
        if word in ("rcpt", "data") and word not in self.replies and not self.going:
            said: str | list[str] = "503 5.5.1 nobody to send it to"
        else:
            said = self.replies.get(word, REPLIES[word])
        self.last = said if isinstance(said, str) else said.pop(0) if len(said) > 1 else said[0]
        if self.last == RESET:
            writer.transport.abort()
        elif self.last == HANG:
            await self.released.wait()
        elif self.last != CUT:
            if word in ("mail", "rcpt"):
                self.going = self.last.startswith("2")
            writer.write(self.last.encode() + b"\r\n")
            await writer.drain()
            return word != "quit"
        return False


@asynccontextmanager
async def relaying(**replies: str | list[str]) -> AsyncIterator[Relay]:
    relay = Relay(replies)
    server = await asyncio.start_server(relay.talk, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        relay.released.set()
        server.close()
        while relay.open:
            await asyncio.sleep(0.001)
        await server.wait_closed()


@pytest.fixture(autouse=True, params=["one by one", "pipelined"])
def _offer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every relay of this module takes commands one by one, then again in groups (RFC 2920)."""
    if request.param == "pipelined":
        monkeypatch.setitem(REPLIES, "ehlo", EHLO.replace("250 E", "250-E") + "\r\n250 PIPELINING")


def mailer(port: int, **provider: Any) -> Any:
    main = {"host": "127.0.0.1", "port": port, "timeouts": QUICK, **provider}
    return open_mailer(EmailSettings.model_validate({"providers": {"main": main}}))


def make(number: int = 1, address: str = "zoe@example.org", text: str = "Hello\n", **fields: Any) -> Message:
    event = Event(number, "test", Queue.REALTIME, "email", {}, datetime(2026, 11, 23, tzinfo=UTC))
    content = Content({"text": text}, {"subject": "Hello", "sender": "shop@example.com", **fields})
    return Message(event, "email", address, "shop", TemplateRef("test", "email", 1), content, f"{number}@demo")


async def free(provider: str) -> None:
    """A hand-off that nothing stands against."""


async def send(to: Mailer, message: Message | None = None) -> Outcome:
    return await to.deliver(message or make(), Attempt(1, free))


async def test_a_message_arrives_as_it_was_written() -> None:
    message = make(text="one\n.\n..two\n.three\n")
    async with relaying() as relay, mailer(relay.port, local_hostname="petitbleu.example.com") as to:
        outcome = await send(to, message)
    assert outcome == Delivered("main", "250 2.0.0 Ok: queued as 4XyZ", "250 2.0.0", "4XyZ")
    content = Composer(10**6, 0).compose(message).content
    assert relay.heard == [
        "EHLO petitbleu.example.com",
        f"MAIL FROM:<shop@example.com> SIZE={len(content)}",
        "RCPT TO:<zoe@example.org>",
        "DATA",
        "QUIT",
    ]
    assert relay.contents == [content.replace(b"\r\n.", b"\r\n..")]


async def test_connections_are_kept_and_replaced() -> None:
    async with relaying() as relay, mailer(relay.port, messages_per_connection=2) as to:
        for number in range(5):
            assert isinstance(await send(to, make(number)), Delivered)
    assert relay.sessions == 3
    assert relay.heard.count("QUIT") == 3
    assert len(relay.contents) == 5


async def test_no_more_connections_than_allowed() -> None:
    async with relaying() as relay, mailer(relay.port, connections=3) as to:
        outcomes = await asyncio.gather(*(send(to, make(number)) for number in range(20)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert relay.most_open == 3
    assert len(set(relay.contents)) == 20


async def test_waiting_for_a_connection_ends() -> None:
    timeouts = {**QUICK, "wait": 0.05, "data": 5}
    async with relaying(content=HANG) as relay, mailer(relay.port, connections=1, timeouts=timeouts) as to:
        first = asyncio.create_task(send(to))
        while not relay.contents:
            await asyncio.sleep(0.001)
        late = await send(to)
        relay.released.set()
        await first
    assert late == Deferred("main", "main: all 1 connections were busy for 0.05 s", Scope.PROVIDER)


async def test_an_unused_connection_is_closed_politely() -> None:
    async with relaying() as relay, mailer(relay.port, idle=0.02) as to:
        await send(to)
        while relay.open:
            await asyncio.sleep(0.001)
        assert relay.heard[-1] == "QUIT"


async def test_the_hand_off_comes_right_before_the_content() -> None:
    seen = []
    async with relaying() as relay, mailer(relay.port) as to:

        async def hand_off(provider: str) -> None:
            seen.append((provider, relay.heard[-1], len(relay.contents)))

        await to.deliver(make(), Attempt(1, hand_off))
    assert seen == [("main", "DATA", 0)]


@pytest.mark.parametrize("error", [HandOffRefused("lease lost"), asyncio.CancelledError(), RuntimeError("database")])
async def test_a_refused_hand_off_sends_nothing(error: BaseException) -> None:
    async with relaying() as relay, mailer(relay.port, connections=1) as to:

        async def hand_off(provider: str) -> None:
            raise error

        with pytest.raises(type(error)):
            await to.deliver(make(), Attempt(1, hand_off))
        assert isinstance(await send(to, make(2)), Delivered)
    assert relay.sessions == 2
    assert len(relay.contents) == 1


REFUSALS = [
    ("mail", "550 5.1.8 sender domain not found", Failed, Scope.MESSAGE, "550 5.1.8"),
    ("mail", "451 4.3.0 try later", Deferred, Scope.PROVIDER, "451 4.3.0"),
    ("rcpt", "550 5.1.1 no such user", Failed, Scope.ADDRESS, "550 5.1.1"),
    ("rcpt", "452 4.2.2 mailbox full", Deferred, Scope.ADDRESS, "452 4.2.2"),
    ("rcpt", "552 5.2.2 mailbox full", Failed, Scope.ADDRESS, "552 5.2.2"),
    ("rcpt", "450 4.2.0 greylisted, come back", Deferred, Scope.MESSAGE, "450 4.2.0"),
    ("rcpt", "554 5.7.1 Relay access denied", Deferred, Scope.PROVIDER, "554 5.7.1"),
    ("data", "554 5.5.1 no valid recipients", Failed, Scope.US, "554 5.5.1"),
    ("content", "552 5.3.4 too big", Failed, Scope.MESSAGE, "552 5.3.4"),
    ("content", "554 5.7.1 looks like spam", Failed, Scope.MESSAGE, "554 5.7.1"),
    ("content", "451 4.3.0 disk full", Deferred, Scope.PROVIDER, "451 4.3.0"),
]


@pytest.mark.parametrize(("stage", "reply", "kind", "scope", "code"), REFUSALS)
async def test_a_refusal_keeps_the_connection(stage: str, reply: str, kind: type, scope: Scope, code: str) -> None:
    async with relaying(**{stage: [reply, REPLIES[stage]]}) as relay, mailer(relay.port) as to:
        assert await send(to) == kind("main", f"{stage}: {reply}", scope, code)
        assert isinstance(await send(to, make(2)), Delivered)
    assert relay.sessions == 1
    assert ("RSET" in relay.heard) is (stage != "content")


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "content"])
async def test_421_drops_the_connection(stage: str) -> None:
    async with relaying(**{stage: ["421 4.3.2 shutting down", REPLIES[stage]]}) as relay, mailer(relay.port) as to:
        outcome = await send(to)
        assert outcome == Deferred("main", f"{stage}: 421 4.3.2 shutting down", Scope.PROVIDER, "421 4.3.2")
        assert isinstance(await send(to, make(2)), Delivered)
    assert relay.sessions == 2


@pytest.mark.parametrize("fault", [CUT, RESET, HANG, "not SMTP at all"])
@pytest.mark.parametrize("stage", ["connect", "ehlo", "mail", "rcpt", "data"])
async def test_before_the_hand_off_it_is_the_providers_trouble(stage: str, fault: str) -> None:
    async with relaying(**{stage: [fault, REPLIES[stage]]}) as relay, mailer(relay.port) as to:
        outcome = await send(to)
        assert isinstance(outcome, Deferred)
        assert outcome.scope is Scope.PROVIDER
        assert stage in outcome.text
        assert isinstance(await send(to, make(2)), Delivered)
    assert len(relay.contents) == 1


@pytest.mark.parametrize("fault", [CUT, RESET, HANG, "not SMTP at all"])
async def test_after_the_hand_off_nobody_knows(fault: str) -> None:
    async with relaying(content=[fault, REPLIES["content"]]) as relay, mailer(relay.port) as to:
        outcome = await send(to)
        assert isinstance(outcome, Unknown)
        assert outcome.provider == "main"
        assert isinstance(await send(to), Delivered)
    assert relay.contents[0] == relay.contents[1]


@pytest.mark.parametrize("fault", [CUT, RESET, "421 4.4.2 idle too long"])
async def test_a_kept_connection_that_has_ended_costs_no_try(fault: str) -> None:
    async with relaying(mail=[REPLIES["mail"], fault, REPLIES["mail"]]) as relay, mailer(relay.port) as to:
        assert isinstance(await send(to), Delivered)
        assert isinstance(await send(to, make(2)), Delivered)
    assert relay.sessions == 2


async def test_an_answer_to_data_that_is_no_invitation_gets_no_content() -> None:
    async with relaying(data=["250 2.0.0 Ok", REPLIES["data"]]) as relay, mailer(relay.port) as to:
        outcome = await send(to)
        assert isinstance(outcome, Deferred)
        assert outcome.scope is Scope.PROVIDER
        assert isinstance(await send(to, make(2)), Delivered)
    assert len(relay.contents) == 1


@pytest.mark.parametrize(
    "replies",
    [
        {"connect": "554 5.3.2 no service"},
        {"connect": "421 4.7.0 too many connections"},
        {"ehlo": "550 5.7.1 go away"},
        {"mail": "500 5.3.0 Error: command failed"},
        {"rcpt": "500 5.3.0 Error: command failed"},
        {"rcpt": "550 5.7.1 Unable to relay"},
        {"data": "500 5.3.0 Error: command failed"},
    ],
)
async def test_a_relay_that_accepts_nothing_fails_no_message(replies: dict[str, str]) -> None:
    async with relaying(**replies) as relay, mailer(relay.port) as to:
        outcome = await send(to)
        (check,) = [pool.check(300) for pool in to.pools.values()]
    (reply,) = replies.values()
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.PROVIDER
    assert reply in outcome.text
    assert check.ok is False
    assert reply in check.text


async def test_a_relay_that_is_down_is_named_with_its_address() -> None:
    async with relaying() as relay:
        port = relay.port
    async with mailer(port) as to:
        outcome = await send(to)
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.PROVIDER
    assert f"main (127.0.0.1:{port}): connect:" in outcome.text


async def test_the_core_is_asked_before_a_connection_is_made() -> None:
    asked = []

    async def admit(provider: str, destination: str, at_once: int = 0) -> None:
        asked.append((provider, destination, at_once, relay.sessions))

    async with relaying() as relay, mailer(relay.port, connections=7) as to:
        await to.deliver(make(address="zoe@Exämple.org"), Attempt(1, free, admit))
    assert asked == [("main", "xn--exmple-cua.org", 7, 0)]
    assert len(relay.contents) == 1


async def test_when_the_core_says_not_now_nothing_is_connected_or_remembered() -> None:
    async def admit(provider: str, destination: str, at_once: int = 0) -> None:
        raise NotNow("paused", 1)

    async with relaying() as relay, mailer(relay.port) as to:
        with pytest.raises(NotNow, match="paused"):
            await to.deliver(make(), Attempt(1, free, admit))
        (check,) = [pool.check(300) for pool in to.pools.values()]
    assert relay.sessions == 0
    assert (check.ok, check.text) == (True, "nothing sent yet")


async def test_a_cancelled_delivery_frees_its_connection() -> None:
    async with relaying(rcpt=[HANG, REPLIES["rcpt"]]) as relay, mailer(relay.port, connections=1) as to:
        task = asyncio.create_task(send(to))
        while not any(line.startswith("RCPT") for line in relay.heard):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        relay.released.set()
        assert isinstance(await send(to, make(2)), Delivered)


async def test_a_server_without_ehlo_is_greeted_with_helo() -> None:
    async with relaying(ehlo="502 5.5.1 what?") as relay, mailer(relay.port, local_hostname="[192.0.2.1]") as to:
        assert isinstance(await send(to), Delivered)
    assert relay.heard[:3] == ["EHLO [192.0.2.1]", "HELO [192.0.2.1]", "MAIL FROM:<shop@example.com>"]


async def test_a_message_too_big_for_the_server_is_not_sent() -> None:
    async with relaying(ehlo="250-relay.test\r\n250 SIZE 100") as relay, mailer(relay.port) as to:
        outcome = await send(to)
    assert isinstance(outcome, Failed)
    assert (outcome.scope, outcome.code) == (Scope.MESSAGE, "552 5.3.4")
    assert not any(line.startswith("MAIL") for line in relay.heard)


async def test_smtputf8_is_used_only_where_it_is_needed_and_offered() -> None:
    async with relaying() as relay, mailer(relay.port) as to:
        outcome = await send(to, make(address="élodie@exämple.org"))
        assert isinstance(outcome, Failed)
        assert (outcome.scope, outcome.code) == (Scope.MESSAGE, "550 5.6.7")
        assert isinstance(await send(to, make(address="zoe@exämple.org")), Delivered)
        assert "RCPT TO:<zoe@xn--exmple-cua.org>" in relay.heard
    async with relaying(ehlo="250-relay.test\r\n250 SMTPUTF8") as relay, mailer(relay.port) as to:
        assert isinstance(await send(to, make(address="élodie@exämple.org")), Delivered)
        assert relay.heard[1:3] == [
            "MAIL FROM:<shop@example.com> SMTPUTF8",
            "RCPT TO:<élodie@xn--exmple-cua.org>",
        ]


async def test_what_a_provider_says_is_kept_on_one_line_and_bounded() -> None:
    long = "\r\n".join(f"550-5.7.1 because \x1b[31m{number} {'x' * 40}" for number in range(60)) + "\r\n550 5.7.1 end"
    async with relaying(content=long) as relay, mailer(relay.port) as to:
        outcome = await send(to)
    assert isinstance(outcome, Failed)
    assert len(outcome.text) < 550
    assert outcome.text.isprintable()
    assert outcome.text.startswith("content: 550 5.7.1 because [31m0 xxx")


async def test_templates_choose_among_the_providers_there_are() -> None:
    async with relaying() as one, relaying() as two:
        providers = {name: {"host": "127.0.0.1", "port": relay.port} for name, relay in (("a", one), ("b", two))}
        async with open_mailer(EmailSettings.model_validate({"providers": providers})) as to:
            assert isinstance(await send(to), Delivered)
            assert isinstance(await send(to, make(2, provider="b")), Delivered)
            outcome = await send(to, make(3, provider="c"))
    assert (len(one.contents), len(two.contents)) == (1, 1)
    text = "the template names the provider 'c'; plugins.email.providers has a, b"
    assert outcome == Deferred("", text, Scope.US)


async def test_of_several_providers_the_core_picks_one() -> None:
    offered: list[tuple[str, ...]] = []

    def last(candidates: Sequence[str], /) -> str:
        offered.append(tuple(candidates))
        return candidates[-1]

    async with relaying() as one, relaying() as two:
        providers = {name: {"host": "127.0.0.1", "port": relay.port} for name, relay in (("a", one), ("b", two))}
        settings = {"providers": providers, "default": ["a", "b"]}
        async with open_mailer(EmailSettings.model_validate(settings)) as to:
            for message in (make(), make(2, provider="b, a"), make(3, provider="b")):
                assert isinstance(await to.deliver(message, Attempt(1, free, pick=last)), Delivered)
    assert offered == [("a", "b"), ("b", "a"), ("b",)]
    assert (len(one.contents), len(two.contents)) == (1, 2)


def test_the_default_is_among_the_providers() -> None:
    with pytest.raises(ValueError, match="default names 'b'; providers has a"):
        EmailSettings.model_validate({"providers": {"a": {"host": "127.0.0.1"}}, "default": ["b"]})


async def test_what_cannot_be_written_fails_the_message_alone() -> None:
    async with relaying() as relay, mailer(relay.port) as to:
        outcome = await send(to, make(sender=None))
    expected = Failed("", "there is no sender: give one in template.yaml or in the brand", Scope.MESSAGE)
    assert outcome == expected
    assert relay.sessions == 0


async def test_closing_waits_for_no_one_for_long() -> None:
    async with relaying(quit=HANG) as relay:
        async with mailer(relay.port) as to:
            await send(to)
            start = time.monotonic()
        assert time.monotonic() - start < 2
        assert relay.heard[-1] == "QUIT"


async def test_health_tells_how_the_last_messages_went() -> None:
    async with relaying(mail=["451 4.3.0 no", REPLIES["mail"]]) as relay, mailer(relay.port) as to:
        (pool,) = to.pools.values()
        assert (pool.check(300).ok, pool.check(300).text) == (True, "nothing sent yet")
        await send(to)
        assert pool.check(300).ok is False
        assert "451 4.3.0 no" in pool.check(300).text
        assert pool.check(0).ok is True
        await send(to)
        assert (pool.check(300).ok, pool.check(300).text) == (True, "the last message went well")


# ------------------------------------------------------------------------------------------------------- in groups


async def test_a_group_is_one_write_and_its_content_waits_for_all_replies() -> None:
    """Nothing of the content is on its way while one of the three may still be refused."""
    arrivals: list[bytes] = []
    replied = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay\r\n")
        await reader.readline()
        writer.write(b"250-relay\r\n250 PIPELINING\r\n")
        arrivals.append(await reader.read(65536))
        writer.write(b"250 Ok\r\n250 O")
        await asyncio.sleep(0.05)
        replied.set()
        writer.write(b"k\r\n354 go\r\n")
        arrivals.append(await reader.readuntil(b"\r\n.\r\n"))
        # done, and good-bye in the same breath
        writer.write(b"250 2.0.0 kept\r\n421 too many messages\r\n")
        await reader.read()
        writer.close()

    async def hand_off(provider: str) -> None:
        assert replied.is_set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, mailer(server.sockets[0].getsockname()[1]) as to:
        outcome = await to.deliver(make(), Attempt(1, hand_off))
        assert not to.pools["main"]._idle
    assert outcome == Delivered("main", "250 2.0.0 kept", "250 2.0.0")
    assert arrivals[0].split(b"\r\n")[:3] == [
        b"MAIL FROM:<shop@example.com>",
        b"RCPT TO:<zoe@example.org>",
        b"DATA",
    ]
    assert len(arrivals) == 2


@pytest.mark.parametrize(
    ("replies", "said", "scope", "contents"),
    [
        ({"mail": "550 5.7.1 no", "rcpt": "503 no", "data": "503 no"}, "mail: 550 5.7.1 no", Scope.MESSAGE, 0),
        ({"rcpt": "550 5.1.1 who?", "data": "554 no valid recipients"}, "rcpt: 550 5.1.1 who?", Scope.ADDRESS, 0),
        # a server may want content all the same, and gets an empty one
        (
            {"rcpt": "550 5.1.1 who?", "data": "354 go", "content": "554 nobody"},
            "rcpt: 550 5.1.1 who?",
            Scope.ADDRESS,
            1,
        ),
    ],
)
async def test_the_first_refusal_of_a_group_counts(
    replies: dict[str, Any], said: str, scope: Scope, contents: int, request: pytest.FixtureRequest
) -> None:
    handed: list[str] = []

    async def hand_off(provider: str) -> None:
        handed.append(provider)

    pipelined = "pipelined" in request.node.name
    async with relaying(**replies) as relay, mailer(relay.port) as to:
        outcome = await to.deliver(make(), Attempt(1, hand_off))
        assert isinstance(outcome, Failed)
        assert (outcome.text, outcome.scope, handed) == (said, scope, [])
        relay.replies = {}
        assert isinstance(await send(to, make(2)), Delivered)
    assert relay.sessions == 1
    assert relay.heard.count("RSET") == 1
    assert [len(one) for one in relay.contents[:-1]] == [0] * (contents if pipelined else 0)
