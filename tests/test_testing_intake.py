"""The suite for ways in finds what it is there to find: ways in that do one thing wrong, each."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiohttp import ClientSession, web
from petitbleu import (
    Accept,
    AccessDenied,
    Credentials,
    EventsRefused,
    IncomingEvent,
    IntakeError,
    Operator,
    Queue,
    Services,
    Unavailable,
    elements,
    hookimpl,
)
from petitbleu.testing import Answered, IntakeContract, Serve, Server

logger = logging.getLogger("petitbleu_door")


class Door:
    """A way in that is in order: a list of events as JSON, with who brings it."""

    @hookimpl
    def petitbleu_intake_routes(self, accept: Accept, services: Services) -> list[web.RouteDef]:
        async def take(request: web.Request) -> web.Response:
            try:
                token, events = self.read(await request.read())
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                return web.Response(status=400, text="should be a token and events")
            try:
                address = request.remote or ""
                operator = await services.auth.authenticate(Credentials(address, token))
                return web.json_response(await self.accepted(accept, events, operator))
            except AccessDenied as error:
                return web.Response(status=403, text=self.denial(error, token))
            except EventsRefused as error:
                problems = [[one.position, one.attribute] for one in error.problems]
                return web.json_response(problems, status=422)
            except Unavailable as error:
                return self.later(error)

        return [web.post("/events", take)]

    def read(self, body: bytes) -> tuple[str, list[IncomingEvent]]:
        given = json.loads(body)
        return given["token"], [self.event(one["attributes"], one["ctx"]) for one in given["events"]]

    def event(self, attributes: dict[str, str], ctx: Any) -> IncomingEvent:
        return IncomingEvent(Queue.REALTIME, attributes, {"ctx": elements(ctx)})

    async def accepted(self, accept: Accept, events: list[IncomingEvent], operator: Operator) -> list[int]:
        return await accept(events, operator)

    def denial(self, error: AccessDenied, token: str) -> str:
        return str(error)

    def later(self, error: Unavailable) -> web.Response:
        return web.Response(status=503, text=str(error))


class DoorContract(IntakeContract):
    plugin = "door"
    path = "/events"

    def __init__(self, module: Door | None = None) -> None:
        self.module = module or Door()

    async def call(
        self, server: Server, client: ClientSession, events: Sequence[IncomingEvent], login: str, password: str
    ) -> Answered:
        body = [{"attributes": one.attributes, "ctx": one.children["ctx"]} for one in events]
        asked = {"token": f"{login}/{password}", "events": body}
        async with client.post(server.url + self.path, json=asked) as got:
            text = await got.text()
            found = json.loads(text) if got.status in (200, 422) else []
            return Answered(
                tuple(found) if got.status == 200 else (),
                frozenset((position, name) for position, name in found) if got.status == 422 else frozenset(),
                retry=got.status == 503,
                denied=got.status == 403,
                text=f"{got.status} {text}",
            )


# ------------------------------------------------------------------------------------------------- one thing wrong each


class OneByOne(Door):
    async def accepted(self, accept: Accept, events: list[IncomingEvent], operator: Operator) -> list[int]:
        return [one for event in events for one in await accept([event], operator)]


class Backwards(Door):
    async def accepted(self, accept: Accept, events: list[IncomingEvent], operator: Operator) -> list[int]:
        return await accept(events[::-1], operator)


class AlwaysFine(Door):
    """Gives an id whatever happens."""

    async def accepted(self, accept: Accept, events: list[IncomingEvent], operator: Operator) -> list[int]:
        try:
            return await accept(events, operator)
        except IntakeError:
            return [4711]


class Final(Door):
    """Gives no hint that it is worth to come back."""

    def later(self, error: Unavailable) -> web.Response:
        return web.Response(status=400, text=str(error))


class Explains(Door):
    def denial(self, error: AccessDenied, token: str) -> str:
        return f"{error} {token.partition('/')[0]}"


class LetsAnyoneIn(Door):
    async def accepted(self, accept: Accept, events: list[IncomingEvent], operator: Operator) -> list[int]:
        return await accept(events, Operator("door", frozenset({"push"})))


class Repairs(Door):
    def event(self, attributes: dict[str, str], ctx: Any) -> IncomingEvent:
        clean = {name: "".join(filter(str.isprintable, value)) for name, value in ctx.items()}
        return super().event(attributes, clean)


class Trusts(Door):
    """Falls over what is no JSON."""

    def read(self, body: bytes) -> tuple[str, list[IncomingEvent]]:
        try:
            return super().read(body)
        except ValueError as error:
            raise RuntimeError("cannot be") from error


class Talks(Door):
    def read(self, body: bytes) -> tuple[str, list[IncomingEvent]]:
        logger.info("got %s", body)
        return super().read(body)


class Forgets(Door):
    """The key by which a repeat is known."""

    def event(self, attributes: dict[str, str], ctx: Any) -> IncomingEvent:
        return super().event({name: value for name, value in attributes.items() if name != "externalId"}, ctx)


Suite = Callable[[DoorContract, Serve, Any], Awaitable[None]]
WRONG: list[tuple[type[Door], Suite]] = [
    (OneByOne, lambda suite, serve, _: suite.test_one_wrong_event_refuses_all(serve)),
    (Backwards, lambda suite, serve, _: suite.test_several_events_have_their_ids_in_order(serve)),
    (AlwaysFine, lambda suite, serve, log: suite.test_what_cannot_be_stored_gets_no_id(serve, log)),
    (AlwaysFine, lambda suite, serve, _: suite.test_what_is_wrong_is_named(serve)),
    (AlwaysFine, lambda suite, serve, _: suite.test_a_full_queue_is_told(serve)),
    (Final, lambda suite, serve, log: suite.test_what_cannot_be_stored_gets_no_id(serve, log)),
    (Final, lambda suite, serve, _: suite.test_a_full_queue_is_told(serve)),
    (Explains, lambda suite, serve, _: suite.test_every_refusal_of_access_looks_alike(serve)),
    (LetsAnyoneIn, lambda suite, serve, _: suite.test_every_refusal_of_access_looks_alike(serve)),
    (Repairs, lambda suite, serve, log: suite.test_hostile_events_do_it_no_harm(serve, log)),
    (Trusts, lambda suite, serve, log: suite.test_nonsense_is_answered(serve, log)),
    (Talks, lambda suite, serve, log: suite.test_nothing_of_an_event_is_in_the_log(serve, log)),
    (Forgets, lambda suite, serve, _: suite.test_a_repeat_gets_the_first_id(serve)),
    (Forgets, lambda suite, serve, _: suite.test_an_id_means_that_the_event_is_stored(serve)),
]


@pytest.mark.parametrize(("door", "test"), WRONG)
async def test_what_a_way_in_does_wrong_is_found(
    petitbleu_server: Serve, caplog: pytest.LogCaptureFixture, door: type[Door], test: Suite
) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await test(DoorContract(door()), petitbleu_server, caplog)


class TestDoor(DoorContract):
    """And the one in order passes."""

    __init__ = object.__init__
    module = Door()

    @pytest.fixture
    def petitbleu_database(self, database_url: str) -> str:
        return database_url
