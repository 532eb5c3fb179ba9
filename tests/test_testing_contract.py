"""The suite for channels finds what it is there to find: channels that do one thing wrong, each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession, web
from petitbleu import (
    Attempt,
    Channel,
    Deferred,
    Delivered,
    Failed,
    HandOffRefused,
    Message,
    NotNow,
    Outcome,
    Part,
    Scope,
    Settings,
    hookimpl,
)
from petitbleu.testing import ChannelContract, Provider, Serve, http_provider
from pydantic import ConfigDict


class GateSettings(Settings):
    url: str


class GateFields(Settings):
    pass


class Gate:
    """A channel in good order, in steps that can be replaced."""

    settings_type: type[Settings] = GateSettings

    def __init__(self) -> None:
        self.left: list[ClientSession] = []

    @hookimpl
    def petitbleu_settings_type(self) -> type[Settings]:
        return self.settings_type

    @hookimpl
    def petitbleu_channels(self) -> Sequence[Channel]:
        return [Channel("gate", "mobilePhone", GateFields, parts=(Part("text", "body.txt.j2"),))]

    @hookimpl
    def petitbleu_lifespan(self) -> Any:
        return self.opened()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ClientSession]:
        async with ClientSession() as session:
            yield session

    @hookimpl
    async def petitbleu_deliver(
        self, message: Message, attempt: Attempt, settings: GateSettings, state: ClientSession
    ) -> Outcome:
        return await self.deliver(message, attempt, settings, state)

    async def deliver(
        self, message: Message, attempt: Attempt, settings: GateSettings, state: ClientSession
    ) -> Outcome:
        await attempt.admit("gate", "")
        await attempt.hand_off("gate")
        try:
            return self.outcome(*await self.post(message, settings, state))
        except ClientConnectorError as error:
            return Deferred("gate", str(error), Scope.PROVIDER)

    async def post(self, message: Message, settings: GateSettings, state: ClientSession) -> tuple[int, str]:
        text = {"to": message.address, "text": message.content.parts["text"], "key": self.key(message)}
        async with state.post(settings.url, json=text) as answer:
            return answer.status, await answer.text()

    def key(self, message: Message) -> str:
        return message.key

    def outcome(self, status: int, words: str) -> Outcome:
        if status == 200:
            return Delivered("gate", words, "200")
        if status in (400, 422):
            return Failed("gate", words, Scope.ADDRESS if status == 422 else Scope.MESSAGE)
        return Deferred("gate", words, Scope.PROVIDER)


class GateContract(ChannelContract):
    plugin, channel = "gate", "gate"
    attributes = MappingProxyType({"mobilePhone": "+33612345678"})
    template = MappingProxyType({"body.txt.j2": "{{ rtEvent.ctx.text }}"})

    def __init__(self, module: Gate | None = None) -> None:
        self.module = module or Gate()

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider]:
        async with http_provider(_read) as gateway:
            gateway.settings = {"url": gateway.url}
            yield gateway


async def _read(request: web.BaseRequest) -> tuple[str, str, str]:
    body = await request.json()
    return body["to"], body["text"], body["key"]


# ------------------------------------------------------------------------------------------------- one thing wrong each


class NeverAsks(Gate):
    async def deliver(
        self, message: Message, attempt: Attempt, settings: GateSettings, state: ClientSession
    ) -> Outcome:
        await attempt.hand_off("gate")
        return self.outcome(*await self.post(message, settings, state))


class HandsOverFirst(Gate):
    """Says that it hands over when it has done so."""

    async def deliver(
        self, message: Message, attempt: Attempt, settings: GateSettings, state: ClientSession
    ) -> Outcome:
        await attempt.admit("gate", "")
        status, words = await self.post(message, settings, state)
        await attempt.hand_off("gate")
        return self.outcome(status, words)


class KnowsBetter(Gate):
    async def deliver(
        self, message: Message, attempt: Attempt, settings: GateSettings, state: ClientSession
    ) -> Outcome:
        try:
            return await super().deliver(message, attempt, settings, state)
        except (HandOffRefused, NotNow):
            return Deferred("gate", "not now", Scope.US)


class SureOfNothing(Gate):
    """A broken connection is tried again as if nothing had gone out."""

    async def deliver(
        self, message: Message, attempt: Attempt, settings: GateSettings, state: ClientSession
    ) -> Outcome:
        try:
            return await super().deliver(message, attempt, settings, state)
        except Exception as error:
            return Deferred("gate", str(error), Scope.PROVIDER)


class BlamesTheAddress(Gate):
    def outcome(self, status: int, words: str) -> Outcome:
        found = super().outcome(status, words)
        return Failed("gate", words, Scope.ADDRESS) if isinstance(found, Failed) else found


class BlamesTheMessage(Gate):
    def outcome(self, status: int, words: str) -> Outcome:
        found = super().outcome(status, words)
        return Failed("gate", words, Scope.MESSAGE) if isinstance(found, Failed) else found


class GivesUp(Gate):
    def outcome(self, status: int, words: str) -> Outcome:
        return Delivered("gate", words) if status == 200 else Failed("gate", words, Scope.MESSAGE)


class NewKeys(Gate):
    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def key(self, message: Message) -> str:
        self.number += 1
        return f"{self.number}"


class SendsTwice(Gate):
    async def post(self, message: Message, settings: GateSettings, state: ClientSession) -> tuple[int, str]:
        await super().post(message, settings, state)
        return await super().post(message, settings, state)


class LosesTexts(Gate):
    async def post(self, message: Message, settings: GateSettings, state: ClientSession) -> tuple[int, str]:
        return 200, "what text?"


class LeavesATask(Gate):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ClientSession]:
        async with super().opened() as session:
            self.task = asyncio.create_task(asyncio.sleep(10))
            yield session


class LeavesAConnection(Gate):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ClientSession]:
        self.left.append(ClientSession())
        yield self.left[-1]


class Talks(Gate):
    async def post(self, message: Message, settings: GateSettings, state: ClientSession) -> tuple[int, str]:
        logging.getLogger("petitbleu_gate").info("sending %s", message.content.parts["text"])
        return await super().post(message, settings, state)


class Stumbles(Gate):
    """Over what cannot be shown."""

    async def post(self, message: Message, settings: GateSettings, state: ClientSession) -> tuple[int, str]:
        if "\x1b" in message.content.parts["text"]:
            raise ValueError("cannot be shown")
        return await super().post(message, settings, state)


class Splits(Gate):
    """A line is a message."""

    async def post(self, message: Message, settings: GateSettings, state: ClientSession) -> tuple[int, str]:
        if message.content.parts["text"].startswith("Hello\n"):
            await super().post(message, settings, state)
        return await super().post(message, settings, state)


class AnySettings(GateSettings):
    model_config = ConfigDict(extra="allow")


class TakesAnySetting(Gate):
    settings_type = AnySettings


Suite = Callable[[GateContract, Serve, Any], Awaitable[None]]
WRONG: list[tuple[type[Gate], Suite]] = [
    (
        NeverAsks,
        lambda suite, serve, _: suite.test_it_says_which_provider_it_will_use_and_then_that_it_hands_over(serve),
    ),
    (
        HandsOverFirst,
        lambda suite, serve, _: suite.test_it_says_which_provider_it_will_use_and_then_that_it_hands_over(serve),
    ),
    (HandsOverFirst, lambda suite, serve, _: suite.test_what_must_not_go_out_does_not(serve, "hand_off")),
    (HandsOverFirst, lambda suite, serve, _: suite.test_a_crash_loses_nothing(serve, "before_handoff")),
    (HandsOverFirst, lambda suite, serve, _: suite.test_a_provider_that_says_nothing_leaves_the_outcome_unknown(serve)),
    (KnowsBetter, lambda suite, serve, _: suite.test_what_must_not_go_out_does_not(serve, "admit")),
    (KnowsBetter, lambda suite, serve, _: suite.test_what_must_not_go_out_does_not(serve, "hand_off")),
    (SureOfNothing, lambda suite, serve, _: suite.test_a_connection_that_breaks_leaves_the_outcome_unknown(serve)),
    (BlamesTheAddress, lambda suite, serve, _: suite.test_a_refused_message_is_not_the_addresss_fault(serve)),
    (BlamesTheMessage, lambda suite, serve, _: suite.test_a_refused_address_is_the_addresss_fault(serve)),
    (GivesUp, lambda suite, serve, _: suite.test_what_is_put_off_comes_back(serve)),
    (NeverAsks, lambda suite, serve, _: suite.test_an_outage_uses_up_no_tries(serve)),
    (NewKeys, lambda suite, serve, _: suite.test_a_crash_loses_nothing(serve, "after_reply")),
    (SendsTwice, lambda suite, serve, _: suite.test_a_message_arrives_once(serve)),
    (SendsTwice, lambda suite, serve, _: suite.test_many_messages_arrive_once_each(serve)),
    (LosesTexts, lambda suite, serve, _: suite.test_a_crash_loses_nothing(serve, "after_claim")),
    (LeavesATask, lambda suite, serve, caplog: suite.test_it_leaves_nothing_behind(serve, caplog)),
    (LeavesAConnection, lambda suite, serve, caplog: suite.test_it_leaves_nothing_behind(serve, caplog)),
    (Talks, lambda suite, serve, caplog: suite.test_nothing_of_a_message_is_in_the_log(serve, caplog)),
    (Stumbles, lambda suite, serve, caplog: suite.test_hostile_events_do_it_no_harm(serve, caplog)),
    (Splits, lambda suite, serve, caplog: suite.test_hostile_events_do_it_no_harm(serve, caplog)),
    (TakesAnySetting, lambda suite, serve, _: suite.test_an_unknown_setting_is_refused_where_it_stands(serve)),
]


@pytest.mark.parametrize(("gate", "test"), WRONG)
async def test_what_a_channel_does_wrong_is_found(
    petitbleu_server: Serve, caplog: pytest.LogCaptureFixture, gate: type[Gate], test: Suite
) -> None:
    module = gate()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await test(GateContract(module), petitbleu_server, caplog)
    for session in module.left:
        await session.close()


class TestGate(GateContract):
    """And the one in good order passes."""

    __init__ = object.__init__
    module = Gate()

    @pytest.fixture
    def petitbleu_database(self, database_url: str) -> str:
        return database_url
