"""What every way in must do, as tests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import aiohttp
import pytest

from ..data import elements
from ..errors import EventProblem, EventsRefused
from ..types import IncomingEvent, Queue
from .hostile import HOSTILE
from .instances import OPERATORS, PASSWORD
from .plugin_contract import NOTE, PluginContract, Serve
from .recording import RecordingChannel
from .server import Server

NONSENSE: tuple[bytes, ...] = (
    b"",
    b"\x00\xff\xfe",
    b"Hello",
    b"{",
    b"[" * 5000,
    b"null",
    b'{"type": ["note"], "ctx": 1e999}',
    b"<",
    b"<a>" * 5000,
    b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    "<?xml version='1.0' encoding='utf-16'?><a>\ud7ff</a>".encode("utf-16"),
)


@dataclass(frozen=True, slots=True)
class Answered:
    """How a way in answered a call, in words that are the same for all of them."""

    ids: tuple[int, ...] = ()
    """Of the events, in their order; empty where they were not taken."""
    problems: Set[tuple[int, str]] = frozenset()
    """Position (from 1) and attribute of each thing that the answer says is wrong."""
    retry: bool = False
    """Whether it says that the caller should come back later."""
    denied: bool = False
    """Whether it says that the caller may not do that."""
    text: str = ""
    """The whole of it, status included, as the caller reads it."""


class Call(Protocol):
    """One call of the way in, by an operator."""

    def __call__(
        self, events: Sequence[IncomingEvent], login: str = "tester", password: str = PASSWORD
    ) -> Awaitable[Answered]: ...


class IntakeContract(PluginContract):
    """A suite that any way in passes; subclass it in a test module and say how a caller calls.

    Operators are `tester`, who may do everything, `reader`, who may not push, and `other`, who may push another type.
    """

    several = True
    """Whether one call can bring several events."""
    tells_rights = False
    """Whether a caller who is known hears that it is a right that lacks; else every refusal of access is the same."""
    path = ""
    """Where nonsense can be posted, if it listens to HTTP."""

    async def call(
        self, server: Server, client: aiohttp.ClientSession, events: Sequence[IncomingEvent], login: str, password: str
    ) -> Answered:
        """Bring the events in as a caller would, and read the answer.

        `ValueError` says that they cannot be written in the form that this way has.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to call")

    def arrived(self, text: str) -> str:
        """What a text is when it has come this way; XML, for one, knows a single kind of line end."""
        return text

    # ---------------------------------------------------------------------------------------- what suites stand on

    def arguments(self) -> dict[str, Any]:
        operators = {
            **OPERATORS,
            "reader": {"rights": ["read"]},
            "other": {"rights": ["push"], "event_types": ["elsewhere"]},
        }
        return {
            "modules": {"recorder": RecordingChannel()},
            "templates": NOTE,
            "event_types": {"note": {"idempotency": "1h"}, "elsewhere": {}},
            "operators": operators,
            "settings": {"sessions": {"guess_delay": 0.001}},
        }

    def made(self, text: str = "Hello", **attributes: str) -> IncomingEvent:
        """An event as `call` gets it."""
        given = {"type": "note", "email": "zoe@example.com", "wishedChannel": "record", **attributes}
        return IncomingEvent(Queue.REALTIME, given, {"ctx": elements({"text": text})})

    async def push(self, server: Server, text: str = "Hello", **attributes: str) -> int:
        async with aiohttp.ClientSession() as client:
            answered = await self.call(server, client, [self.made(text, **attributes)], "tester", PASSWORD)
        if not answered.ids:
            raise EventsRefused([EventProblem(at, "", name, answered.text) for at, name in answered.problems])
        return answered.ids[0]

    @asynccontextmanager
    async def taking(self, serve: Serve, **settings: Any) -> AsyncIterator[tuple[Server, Call]]:
        """A server with the way in, and its caller."""
        async with self.serving(serve, **settings) as server, aiohttp.ClientSession() as client:

            def call(
                events: Sequence[IncomingEvent], login: str = "tester", password: str = PASSWORD
            ) -> Awaitable[Answered]:
                return self.call(server, client, events, login, password)

            yield server, call

    # ------------------------------------------------------------------------------------------------------- taken

    async def test_an_id_means_that_the_event_is_stored(self, petitbleu_server: Serve) -> None:
        async with self.taking(petitbleu_server) as (server, call):
            answered = await call([self.made("Hello 4711", externalId="7", origin="shop")])
            (event_id,) = answered.ids
            event = await server.event(event_id)
            assert await server.stored() == [event_id]
            found = await server.settled(event_id)
        assert (event.type, event.external_id, event.origin) == ("note", "7", "shop")
        assert event.addresses == {"email": "zoe@example.com"}
        assert _text(event.data) == "Hello 4711"
        assert found.status == "sent"

    async def test_several_events_have_their_ids_in_order(self, petitbleu_server: Serve) -> None:
        self._several()
        async with self.taking(petitbleu_server) as (server, call):
            answered = await call([self.made(externalId=f"{number}") for number in range(5)])
            events = [await server.event(one) for one in answered.ids]
            empty = await call([])
        assert [one.external_id for one in events] == ["0", "1", "2", "3", "4"]
        assert empty.ids == ()

    async def test_calls_at_the_same_time_are_all_taken(self, petitbleu_server: Serve) -> None:
        async with self.taking(petitbleu_server) as (server, call):
            answers = await asyncio.gather(*(call([self.made(externalId=f"{number}")]) for number in range(25)))
            ids = [one for answered in answers for one in answered.ids]
            assert len(ids) == 25
            assert await server.stored() == sorted(set(ids))

    async def test_a_repeat_gets_the_first_id(self, petitbleu_server: Serve) -> None:
        """And other content under its key is refused."""
        async with self.taking(petitbleu_server) as (server, call):
            first = await call([self.made(externalId="7")])
            again = await call([self.made(externalId="7")])
            other = await call([self.made("Something else", externalId="7")])
            assert await server.stored() == list(first.ids)
        assert again.ids == first.ids
        assert (other.ids, other.problems) == ((), {(1, "externalId")})

    # ----------------------------------------------------------------------------------------------------- refused

    async def test_what_is_wrong_is_named(self, petitbleu_server: Serve) -> None:
        async with self.taking(petitbleu_server) as (server, call):
            answered = await call([self.made(type="nota", email="nonsense")])
            assert await server.stored() == []
        assert (answered.ids, answered.retry, answered.denied) == ((), False, False)
        assert answered.problems == {(1, "type"), (1, "email")}

    async def test_one_wrong_event_refuses_all(self, petitbleu_server: Serve) -> None:
        self._several()
        async with self.taking(petitbleu_server) as (server, call):
            answered = await call([self.made(), self.made(type="nota"), self.made(), self.made(email="nonsense")])
            assert await server.stored() == []
        assert (answered.ids, answered.problems) == ((), {(2, "type"), (4, "email")})

    async def test_every_refusal_of_access_looks_alike(self, petitbleu_server: Serve) -> None:
        """A wrong password, a login that is not there, a right that lacks."""
        async with self.taking(petitbleu_server) as (server, call):
            answers = [
                await call([self.made()], "tester", "wrong"),
                await call([self.made()], "nobody", PASSWORD),
                await call([self.made()], "reader", PASSWORD),
                await call([self.made()], "other", PASSWORD),
            ]
            assert await server.stored() == []
        assert [(one.ids, one.denied, one.retry) for one in answers] == [((), True, False)] * 4
        alike = answers[:2] if self.tells_rights else answers
        assert len({one.text for one in alike}) == 1, [one.text for one in answers]

    async def test_what_is_too_big_is_refused(self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture) -> None:
        async with self.taking(petitbleu_server, http={"body_limit": 20_000}) as (server, call):
            assert (await call([self.made("x" * 30_000)])).ids == ()
            assert await server.stored() == []
            assert len((await call([self.made()])).ids) == 1
        assert self.complaints(caplog) == []

    async def test_nonsense_is_answered(self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture) -> None:
        if not self.path:
            pytest.skip("it names no path")
        async with self.taking(petitbleu_server) as (server, call), aiohttp.ClientSession() as client:
            for body in NONSENSE:
                for kind in (
                    "text/xml",
                    "application/json",
                    "application/octet-stream",
                    "text/plain; charset=nonsense",
                ):
                    async with client.post(server.url + self.path, data=body, headers={"Content-Type": kind}) as got:
                        text = await got.text(errors="replace")
                    assert got.status >= 300, f"{body[:40]!r} as {kind}: {got.status}"
                    assert "Traceback" not in text
            assert await server.stored() == []
            assert len((await call([self.made()])).ids) == 1
        assert self.complaints(caplog) == []

    # ------------------------------------------------------------------------------------------------------ not now

    async def test_what_cannot_be_stored_gets_no_id(
        self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And the caller hears that it may try again."""
        async with self.taking(petitbleu_server, limits={"deadline": 0.3}) as (server, call):
            assert len((await call([self.made()])).ids) == 1
            async with server.stalled_database():
                answered = await call([self.made()])
            assert (answered.ids, answered.retry) == ((), True), answered.text
            assert len((await call([self.made()])).ids) == 1
        assert self.complaints(caplog) == []

    async def test_a_full_queue_is_told(self, petitbleu_server: Serve) -> None:
        async with self.taking(petitbleu_server, limits={"pending": 1}) as (server, call):
            tomorrow = (server.now() + timedelta(days=1)).isoformat()
            first = await call([self.made(scheduled=tomorrow)])
            answered = await call([self.made()])
            assert await server.stored() == list(first.ids)
        assert (answered.ids, answered.retry) == ((), True), answered.text

    async def test_a_stop_loses_nothing(self, petitbleu_server: Serve) -> None:
        """Whoever was told an id finds the event, though the server stopped meanwhile."""
        async with self.taking(petitbleu_server) as (server, call):
            calls = [asyncio.ensure_future(call([self.made(externalId=f"{number}")])) for number in range(25)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            await server.stop()
            done = await asyncio.gather(*calls, return_exceptions=True)
            await server.start()
            stored = set(await server.stored())
        told = {one for answered in done if isinstance(answered, Answered) for one in answered.ids}
        assert told
        assert told <= stored
        assert [one for one in done if not isinstance(one, Answered | OSError | aiohttp.ClientError)] == []

    # ------------------------------------------------------------------------------------------------------ hostile

    async def test_hostile_events_do_it_no_harm(
        self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each is refused, or stored as it is."""
        wrong: list[str] = []
        async with self.taking(petitbleu_server) as (server, call):
            for name, text in HOSTILE.items():
                short = text[:200]
                for event in (self.made(text), self.made(origin=short), self.made(note=short)):
                    try:
                        answered = await call([event])
                    except ValueError:
                        continue
                    if not answered.ids:
                        if not answered.problems:
                            wrong.append(f"{name}: {answered.text[:200]}")
                        continue
                    stored = (await server.event(answered.ids[0])).data
                    sent = {"text": _text(event.children), **event.attributes}
                    kept = {"text": _text(stored), **{one: stored.get(one, "") for one in event.attributes}}
                    if {one: self.arrived(value) for one, value in sent.items()} != kept:
                        wrong.append(f"{name}: sent {sent!r:.200}, stored {kept!r:.200}")
            assert len((await call([self.made()])).ids) == 1
            failures = server.failures
        assert not wrong, "\n".join(wrong)
        assert failures == {}
        assert self.complaints(caplog) == []

    async def test_nothing_of_an_event_is_in_the_log(
        self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nor what the caller showed to be let in."""
        caplog.set_level(logging.DEBUG)
        text = "unmistakable-4711"
        async with self.taking(petitbleu_server) as (server, call):
            await call([self.made(text)])
            await call([self.made(text, type="nota")])
            await call([self.made(text)], "tester", "wrong-4712")
            secrets = [text, "zoe@example.com", f"tester/{PASSWORD}", "wrong-4712", *self.secrets(server)]
        shown = [f"{one.getMessage()} {vars(one)}" for one in self.said(caplog)]
        assert [line for line in shown for secret in secrets if secret in line] == []

    def _several(self) -> None:
        if not self.several:
            pytest.skip("a call brings one event")


def _text(data: Mapping[str, Any]) -> str:
    ctx = data.get("ctx")
    return str(ctx.get("text", "")) if isinstance(ctx, Mapping) else ""


__all__ = ["NONSENSE", "Answered", "Call", "IntakeContract"]
