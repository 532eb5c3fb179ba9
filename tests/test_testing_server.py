"""`petitbleu.testing`: the server inside a test, its clock, and what it writes down."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from petitbleu import Deferred, Failed, HandOffRefused, PetitbleuError, Scope
from petitbleu.testing import CRASH_PLACES, HANG, RecordingChannel, RecordingObserver

NOTE = {"note/record": {"body.txt.j2": "Hello {{ rtEvent.ctx.name }}"}}
ZOE: dict[str, Any] = {"ctx": {"name": "Zoé"}, "email": "zoe@example.com", "wishedChannel": "record"}


async def test_an_event_goes_the_whole_way(
    petitbleu_server: Any, petitbleu_channel: RecordingChannel, petitbleu_observer: RecordingObserver
) -> None:
    modules = {"recorder": petitbleu_channel, "observer": petitbleu_observer}
    async with petitbleu_server(modules=modules, templates=NOTE) as server:
        event_id = await server.push(**ZOE, externalId="7")
        found = await server.settled(event_id)
        history = await server.history(event_id)
    assert (found.status, found.reason, found.errors, found.next_try) == ("sent", "recorded", 0, None)
    assert [(one.number, one.provider, one.outcome) for one in found.tries] == [(1, "recorder", "delivered")]
    (message,) = petitbleu_channel.messages
    assert (message.address, message.content.parts) == ("zoe@example.com", {"text": "Hello Zoé"})
    assert [event.id for event in petitbleu_observer.accepted] == [event_id]
    assert petitbleu_observer.outcomes == [(event_id, "sent", "recorded")]
    assert history[1].endswith("accepted into the realtime queue, externalId 7")


async def test_time_passes_when_it_is_told_to(petitbleu_server: Any, petitbleu_channel: RecordingChannel) -> None:
    later = Deferred("recorder", "451 fog", Scope.MESSAGE)
    petitbleu_channel.answers.extend([later, later])
    async with petitbleu_server(modules={"recorder": petitbleu_channel}, templates=NOTE) as server:
        start = server.now()
        scheduled = (start + timedelta(hours=2)).isoformat()
        event_id = await server.push(**ZOE, scheduled=scheduled)
        assert (await server.settled(event_id)).tries == ()
        await server.travel(timedelta(hours=2))
        first = await server.settled(event_id)
        await server.travel_to_next_try(event_id)
        second = await server.settled(event_id)
        await server.restart()
        assert server.now() - start > timedelta(hours=2)
        await server.travel_to_next_try(event_id)
        third = await server.settled(event_id)
        with pytest.raises(ValueError, match="forward only"):
            await server.travel(start)
    assert [(one.status, len(one.tries)) for one in (first, second, third)] == [
        ("pending", 1),
        ("pending", 2),
        ("sent", 3),
    ]
    assert len(petitbleu_channel.messages) == 3


@pytest.mark.parametrize("place", CRASH_PLACES)
async def test_a_crash_costs_a_double_at_most(
    petitbleu_server: Any, petitbleu_channel: RecordingChannel, place: str
) -> None:
    async with petitbleu_server(modules={"recorder": petitbleu_channel}, templates=NOTE) as server:
        server.crash_at(place)
        event_id = await server.push(**ZOE)
        await server.rescued()
        found = await server.settled(event_id)
    assert found.status == "sent"
    handed_off = place in ("after_handoff", "after_reply", "before_result")
    assert [one.outcome for one in found.tries] == (["unknown"] if handed_off else []) + ["delivered"]
    assert len(petitbleu_channel.messages) == 1 + (place in ("after_reply", "before_result"))
    assert len({message.key for message in petitbleu_channel.messages}) == 1


async def test_a_recorded_answer_is_whatever_it_was_told(
    petitbleu_server: Any, petitbleu_channel: RecordingChannel
) -> None:
    petitbleu_channel.answers.extend([Failed("recorder", "550 no", Scope.ADDRESS), HANG, HandOffRefused("not now")])
    settings = {"delivery": {"deadline": 0.1}}
    async with petitbleu_server(modules={"recorder": petitbleu_channel}, templates=NOTE, settings=settings) as server:
        ends = [await server.settled(await server.push(**ZOE | {"email": f"{n}@example.com"})) for n in range(2)]
    assert [(one.status, one.tries[0].outcome) for one in ends] == [("failed", "failed"), ("pending", "unknown")]


async def test_a_stalled_database_stores_nothing(petitbleu_server: Any, petitbleu_channel: RecordingChannel) -> None:
    settings = {"limits": {"deadline": 0.2}}
    async with petitbleu_server(modules={"recorder": petitbleu_channel}, templates=NOTE, settings=settings) as server:
        async with server.stalled_database():
            with pytest.raises(PetitbleuError, match="did not answer in time"):
                await server.push(**ZOE)
        assert (await server.settled(await server.push(**ZOE))).status == "sent"


async def test_what_does_not_settle_is_shown(petitbleu_server: Any, petitbleu_channel: RecordingChannel) -> None:
    petitbleu_channel.answers.append(HANG)
    async with petitbleu_server(
        modules={"recorder": petitbleu_channel}, templates=NOTE, settings={"delivery": {"drain": 0.1}}
    ) as server:
        event_id = await server.push(**ZOE)
        with pytest.raises(AssertionError, match=r"1 events have not settled in 0\.1 s:\nevent \d+  note  record"):
            await server.settled(event_id, within=0.1)


async def test_a_worker_may_be_given_an_event_that_it_still_has_under_way(
    petitbleu_server: Any, petitbleu_channel: RecordingChannel, caplog: pytest.LogCaptureFixture
) -> None:
    """Its machine slept for longer than a lease, while the provider said nothing."""
    petitbleu_channel.answers.append(HANG)
    settings = {"delivery": {"drain": 0.1}}
    async with petitbleu_server(modules={"recorder": petitbleu_channel}, templates=NOTE, settings=settings) as server:
        event_id = await server.push(**ZOE)
        while not petitbleu_channel.messages:
            await asyncio.sleep(0.001)
        await server.travel(31)
        found = await server.settled(event_id)
    assert (found.status, [one.outcome for one in found.tries]) == ("sent", ["unknown", "delivered"])
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
