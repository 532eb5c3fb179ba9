"""What every channel must do, as tests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from ..errors import EventsRefused, HandOffRefused, NotNow
from ..hookspecs import hookimpl
from ..types import Attempt, Delivered, Message
from .crashes import CRASH_PLACES
from .hostile import HOSTILE
from .leaks import nothing_left
from .plugin_contract import PluginContract, Serve
from .providers import Answer, Provider
from .server import Record, Server


class Witness:
    """A plugin that keeps every message as it is about to be delivered."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    @hookimpl
    async def petitbleu_check_message(self, message: Message) -> None:
        self.messages.append(message)


class ChannelContract(PluginContract):
    """A suite that any channel passes; subclass it in a test module, say how to reach the channel, and give a stand-in
    for its provider.

    The template must show `{{ rtEvent.ctx.text }}` wherever a text can stand: that is where hostile ones come through.
    """

    channel: str
    """The channel's name."""
    attributes: Mapping[str, str]
    """Of an event: the address by its attribute's name, and whatever else the channel needs."""
    template: Mapping[str, str | bytes]
    """The files of a template by name, as they stand in `templates/note/CHANNEL/`."""
    children: Mapping[str, Any] = MappingProxyType({})
    """What an event has beside `ctx`."""

    repeats_are_known = False
    """Whether the provider knows a repeat by its key and sends none: then a message of which it has said nothing may be
    put off rather than left in doubt."""

    def provider(self) -> AbstractAsyncContextManager[Provider]:
        """A stand-in that listens for the length of a test; made anew for each."""
        raise NotImplementedError(f"{type(self).__name__} gives no provider")

    # --------------------------------------------------------------------------------------------- what suites stand on

    @asynccontextmanager
    async def outside(self) -> AsyncIterator[Mapping[str, Any]]:
        async with self.provider() as provider:
            yield provider.settings

    def arguments(self) -> dict[str, Any]:
        return {"templates": {f"note/{self.channel}": self.template}}

    async def push(self, server: Server, text: str = "Hello", **attributes: str) -> int:
        given: dict[str, Any] = {"wishedChannel": self.channel, **self.attributes, **attributes}
        return await server.push("note", {"text": text}, children=self.children, **given)

    @asynccontextmanager
    async def delivering(
        self, serve: Serve, *needed: Answer, witness: Witness | None = None, **settings: Any
    ) -> AsyncIterator[tuple[Server, Provider]]:
        """A server with the channel, and its provider, which must be able to give the answers named."""
        async with self.provider() as provider:
            if lacking := [str(one) for one in needed if one not in provider.answers]:
                pytest.skip(f"the provider cannot {', '.join(lacking)}")
            given = self._given(provider.settings, **settings)
            if witness is not None:
                given["modules"] = {**given["modules"], "witness": witness}
            async with serve(**given) as server:
                yield server, provider

    def _holds(self, server: Server) -> bool:
        return server.instance.channels[self.channel].unknown == "hold"

    def _no_more_than_allowed(self, server: Server, record: Record, provider: Provider) -> None:
        """Nobody gets a message more often than there were hand-overs without an answer, and once more."""
        unknown = sum(one.outcome == "unknown" for one in record.tries)
        kept = {one.key for one in provider.kept} if self.repeats_are_known else provider.kept
        assert len(kept) <= unknown + (record.status == "sent")
        assert record.status == "sent" or (self._holds(server) and record.reason.startswith("unknown"))
        assert len({one.key for one in provider.received}) <= 1, "a repeat has another key than the first message"

    def _in_doubt(self, record: Record) -> None:
        first = record.tries[0]
        fine = ("unknown", "deferred") if self.repeats_are_known else ("unknown",)
        assert first.outcome in fine, f"{first.outcome}: {first.text}"

    # ------------------------------------------------------------------------------------------------------------- sent

    async def test_a_message_arrives_once(self, petitbleu_server: Serve) -> None:
        async with self.delivering(petitbleu_server) as (server, provider):
            found = await server.settled(await self.push(server, "Hello 4711"))
        assert found.status == "sent"
        assert [(one.outcome, bool(one.provider)) for one in found.tries] == [("delivered", True)]
        assert ["Hello 4711" in one.text for one in provider.received] == [True]

    async def test_many_messages_arrive_once_each(self, petitbleu_server: Serve) -> None:
        texts = [f"Hello {number}." for number in range(100, 125)]
        async with self.delivering(petitbleu_server) as (server, provider):
            ids = [await self.push(server, text) for text in texts]
            found = await server.all_settled(ids)
        assert {(one.status, len(one.tries)) for one in found} == {("sent", 1)}
        came = sorted(text for one in provider.received for text in texts if text in one.text)
        assert came == texts
        keys = [one.key for one in provider.received if one.key]
        assert len(set(keys)) == len(keys)

    async def test_it_says_which_provider_it_will_use_and_then_that_it_hands_over(
        self, petitbleu_server: Serve
    ) -> None:
        """`admit` comes first, `hand_off` names the same provider, and then the outcome does."""
        async with self._by_hand(petitbleu_server) as (server, provider, message):
            asked: list[tuple[str, str, int]] = []

            async def admit(name: str, destination: str, at_once: int = 0, /) -> None:
                asked.append(("admit", name, len(provider.received)))

            async def hand_off(name: str) -> None:
                asked.append(("hand_off", name, len(provider.received)))

            outcome = await server.instance.calls.deliver(message, Attempt(1, hand_off, admit), 10)
        assert isinstance(outcome, Delivered)
        assert [(step, received) for step, _, received in asked] == [("admit", 0), ("hand_off", 0)]
        assert {name for _, name, _ in asked} == {outcome.provider}

    @pytest.mark.parametrize("refused", ["admit", "hand_off"])
    async def test_what_must_not_go_out_does_not(self, petitbleu_server: Serve, refused: str) -> None:
        """`NotNow` of `admit` and `HandOffRefused` of `hand_off` are let through, and the channel goes on working."""
        async with self._by_hand(petitbleu_server) as (server, provider, message):

            async def admit(name: str, destination: str, at_once: int = 0, /) -> None:
                if refused == "admit":
                    raise NotNow("it has enough", 0)

            async def hand_off(name: str) -> None:
                if refused == "hand_off":
                    raise HandOffRefused("the lease is gone")

            with pytest.raises(NotNow if refused == "admit" else HandOffRefused):
                await server.instance.calls.deliver(message, Attempt(1, hand_off, admit), 10)
            assert provider.received == []
            found = await server.settled(await self.push(server))
        assert found.status == "sent"
        assert len(provider.received) == 1

    @asynccontextmanager
    async def _by_hand(self, serve: Serve) -> AsyncIterator[tuple[Server, Provider, Message]]:
        """With a message that was stored but is not delivered: its provider has got nothing of it."""
        witness = Witness()
        async with self.delivering(serve, witness=witness) as (server, provider):
            await server.settled(await self.push(server))
            message = witness.messages[0]
            event = replace(message.event, id=message.event.id + 1)
            key = message.key.replace(str(message.event.id), str(event.id))
            provider.received.clear()
            yield server, provider, replace(message, event=event, key=key)

    # ---------------------------------------------------------------------------------------------------------- refused

    async def test_a_refused_address_is_the_addresss_fault(self, petitbleu_server: Serve) -> None:
        async with self.delivering(petitbleu_server, Answer.REFUSE_ADDRESS) as (server, provider):
            await provider.behave(Answer.REFUSE_ADDRESS)
            found = await server.settled(await self.push(server))
        assert (found.status, [(one.outcome, one.scope) for one in found.tries]) == ("failed", [("failed", "address")])
        assert found.reason

    async def test_a_refused_message_is_not_the_addresss_fault(self, petitbleu_server: Serve) -> None:
        async with self.delivering(petitbleu_server, Answer.REFUSE_MESSAGE) as (server, provider):
            await provider.behave(Answer.REFUSE_MESSAGE)
            first = await server.settled(await self.push(server))
            await provider.behave(Answer.ACCEPT)
            second = await server.ended(await self.push(server))
        assert first.tries[0].outcome in ("failed", "deferred")
        assert first.tries[0].scope not in ("", "address")
        assert second.status == "sent"

    async def test_what_is_put_off_comes_back(self, petitbleu_server: Serve) -> None:
        async with self.delivering(petitbleu_server, Answer.LATER) as (server, provider):
            await provider.behave(Answer.LATER)
            event_id = await self.push(server)
            found = await server.settled(event_id)
            assert (found.status, [one.outcome for one in found.tries]) == ("pending", ["deferred"])
            assert found.tries[0].scope != "address"
            assert found.next_try is not None
            seconds = (found.next_try - server.now()).total_seconds()
            assert seconds > (provider.wait or 0) - 5, "the wait that the provider asked for is not kept"
            await provider.behave(Answer.ACCEPT)
            found = await server.ended(event_id)
        assert (found.status, found.tries[-1].outcome) == ("sent", "delivered")
        assert len(provider.kept) == 1

    async def test_an_outage_uses_up_no_tries(self, petitbleu_server: Serve) -> None:
        """Nothing listens where the provider was; then it is there again."""
        async with self.delivering(petitbleu_server, Answer.UNREACHABLE) as (server, provider):
            await provider.behave(Answer.UNREACHABLE)
            event_id = await self.push(server)
            found = await server.settled(event_id)
            assert found.status == "pending", found.reason
            assert {(one.outcome, one.scope) for one in found.tries} == {("deferred", "provider")}
            await provider.behave(Answer.ACCEPT)
            found = await server.ended(event_id)
        assert found.status == "sent"
        assert len(provider.kept) == 1

    # --------------------------------------------------------------------------------------------------------- in doubt

    async def test_a_provider_that_says_nothing_leaves_the_outcome_unknown(self, petitbleu_server: Serve) -> None:
        """That it may have the message was written down before it got it."""
        deadline: dict[str, Any] = {"delivery": {"deadline": 0.5}}
        async with self.delivering(petitbleu_server, Answer.HANG, **deadline) as (server, provider):
            await provider.behave(Answer.HANG)
            event_id = await self.push(server)
            await provider.until_received(1)
            assert (await server.record(event_id)).handed_off
            found = await server.settled(event_id)
            self._in_doubt(found)
            await provider.behave(Answer.ACCEPT)
            self._no_more_than_allowed(server, await server.ended(event_id), provider)

    async def test_a_connection_that_breaks_leaves_the_outcome_unknown(self, petitbleu_server: Serve) -> None:
        async with self.delivering(petitbleu_server, Answer.RESET) as (server, provider):
            await provider.behave(Answer.RESET)
            event_id = await self.push(server)
            found = await server.settled(event_id)
            self._in_doubt(found)
            await provider.behave(Answer.ACCEPT)
            self._no_more_than_allowed(server, await server.ended(event_id), provider)

    @pytest.mark.parametrize("place", CRASH_PLACES)
    async def test_a_crash_loses_nothing(self, petitbleu_server: Serve, place: str) -> None:
        """And doubles nothing but what was handed over without an answer on record."""
        async with self.delivering(petitbleu_server) as (server, provider):
            server.crash_at(place)
            event_id = await self.push(server)
            await server.crashed()
            if place in CRASH_PLACES[: CRASH_PLACES.index("after_handoff")]:
                assert provider.received == [], "the provider had it before the hand-off"
            await server.rescued()
            found = await server.ended(event_id)
            self._no_more_than_allowed(server, found, provider)
            again = await server.ended(await self.push(server, "and on it goes"))
        assert again.status == "sent"
        if found.status == "sent":
            assert len(provider.kept) > 1, "it is said to be sent, and nobody got it"

    async def test_a_stop_loses_nothing(self, petitbleu_server: Serve) -> None:
        """What is with the provider is finished, the rest is given back."""
        async with self.delivering(petitbleu_server, Answer.HANG) as (server, provider):
            await provider.behave(Answer.HANG)
            ids = [await self.push(server, f"Hello {number}.") for number in range(100, 105)]
            await provider.until_received(1)
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0.05)
            await provider.behave(Answer.ACCEPT)
            await stopping
            await server.start()
            found = [await server.ended(one) for one in ids]
        assert {one.status for one in found} == {"sent"}
        assert sum(len(one.tries) for one in found) == len(ids), "what was under way has no answer on record"
        assert len(provider.kept) == len(ids)

    # ---------------------------------------------------------------------------------------------------------- hostile

    async def test_hostile_events_do_it_no_harm(
        self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each is refused at the door, fails for what it is, or arrives as one message to whom it was for."""
        wrong: list[str] = []
        witness = Witness()
        async with self.delivering(petitbleu_server, witness=witness) as (server, provider):
            await server.ended(await self.push(server))
            to = provider.received[0].to
            preview = server.instance.channels[self.channel].preview
            for name, text in HOSTILE.items():
                provider.received.clear()
                try:
                    found = await server.ended(await self.push(server, text))
                except EventsRefused:
                    continue
                received = [one.to for one in provider.received]
                told = f"{name}: {found.status}, {found.reason[:200]!r}, received by {received}"
                if found.status == "sent":
                    fine = received == [to]
                else:
                    scopes = {one.scope for one in found.tries}
                    fine = (
                        found.status in ("failed", "ignored") and not received and not scopes & {"address", "provider"}
                    )
                if not fine:
                    wrong.append(told)
                if preview is not None:
                    preview(witness.messages[-1].content)
            after = await server.ended(await self.push(server, "and on it goes"))
            failures = server.failures
        assert not wrong, "\n".join(wrong)
        assert failures == {}, "the plugin raised"
        assert after.status == "sent"
        assert self.complaints(caplog) == []

    async def test_nothing_of_a_message_is_in_the_log(
        self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither its text nor the address, whatever the provider says."""
        caplog.set_level(logging.DEBUG)
        text = "unmistakable-4711"
        async with self.delivering(petitbleu_server) as (server, provider):
            address = server.instance.channels[self.channel].address
            secrets = [text, self.attributes[address], *self.secrets(server)]
            for answer in (Answer.ACCEPT, Answer.REFUSE_ADDRESS, Answer.REFUSE_MESSAGE, Answer.LATER, Answer.RESET):
                if answer in provider.answers:
                    await provider.behave(answer)
                    await server.settled(await self.push(server, text))
        shown = [f"{one.getMessage()} {vars(one)}" for one in self.said(caplog)]
        assert [line for line in shown for secret in secrets if secret in line] == []

    # ------------------------------------------------------------------------------------------------ from every plugin

    async def test_it_leaves_nothing_behind(self, petitbleu_server: Serve, caplog: pytest.LogCaptureFixture) -> None:
        """No task and no connection, also after a provider in trouble."""
        async with (
            self.provider() as provider,
            nothing_left(),
            petitbleu_server(**self._given(provider.settings)) as server,
        ):
            if Answer.RESET in provider.answers:
                await provider.behave(Answer.RESET)
                await server.settled(await self.push(server))
                await provider.behave(Answer.ACCEPT)
            await server.ended(await self.push(server))
        assert self.complaints(caplog) + self.left_behind(caplog) == []


__all__ = ["ChannelContract"]
