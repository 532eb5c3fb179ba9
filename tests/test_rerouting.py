"""An operator lets an event go on by another channel: under its own id, if it can be sent there, and with a trace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from petitbleu import (
    AuditFilter,
    Deferred,
    Done,
    EventFilter,
    Failed,
    Operator,
    QueryRefused,
    ReportQuery,
    Scope,
)
from petitbleu.operating import Actor
from petitbleu.testing import EVERYTHING, RecordingChannel, Server, serving

ANN = Actor(Operator("ann", EVERYTHING.rights), "cli")
TEMPLATES = {
    f"{name}/{channel}": {
        "body.txt.j2": channel + " to {{ rtEvent.ctx.name }}",
        "seeds.yaml": f"seeds:\n  - {{name: zoe, address: {address}, ctx: {{name: Zoé}}}}\n",
    }
    for name, channel, address in (
        ("note", "record", "zoe@example.com"),
        ("note", "letter", "'+33612345678'"),
        ("plain", "record", "zoe@example.com"),
    )
}


class Rig:
    def __init__(self) -> None:
        self.record = RecordingChannel()
        self.letter = RecordingChannel("letter", "mobilePhone")

    async def push(self, name: str = "note", phone: str = "+33612345678") -> int:
        event = await self.server.push(
            name, {"name": "Zoé"}, email="zoe@example.com", wishedChannel="record", mobilePhone=phone
        )
        await self.server.settled(event)
        return event

    async def reroute(self, *events: int, to: str = "letter", rehearsal: bool = False) -> list[Done]:
        change = self.server.services.desk.events.change
        return [*(await change("reroute", events, ANN, to=to, reason="asked by phone", rehearsal=rehearsal)).items]

    server: Server


@pytest.fixture
async def rig(tmp_path: Path, database_url: str) -> AsyncIterator[Rig]:
    made = Rig()
    async with serving(
        tmp_path / "instance",
        modules={"recorder": made.record, "printer": made.letter},
        templates=TEMPLATES,
        database=database_url,
    ) as made.server:
        yield made


async def test_it_goes_on_under_its_own_id_wherever_it_stood(rig: Rig) -> None:
    rig.record.answers += [
        Failed("recorder", "550 no", Scope.MESSAGE, "550"),
        Deferred("recorder", "450 later", Scope.MESSAGE, "450"),
    ]
    failed, waiting, sent = [await rig.push() for _ in range(3)]
    before = [(await rig.server.record(one)).status for one in (failed, waiting, sent)]
    assert before == ["failed", "pending", "sent"]
    said = [
        Done(failed, True, "was failed by record, goes on by letter"),
        Done(waiting, True, "was pending by record, goes on by letter"),
        Done(sent, True, "was sent by record, goes on by letter"),
    ]
    assert await rig.reroute(failed, waiting, sent, rehearsal=True) == said
    assert rig.letter.messages == []
    assert await rig.reroute(failed, waiting, sent) == said
    for one in (failed, waiting, sent):
        await rig.server.settled(one)
        record = await rig.server.services.desk.events.record(one, EVERYTHING)
        assert (record.event.status, record.event.channel, record.event.template) == (
            "sent",
            "letter",
            "note/letter v1",
        )
        assert [(step.channel, step.number) for step in record.attempts] == [("record", 1), ("letter", 2)]
        (went,) = record.recyclings
        assert (went.origin, went.target, went.number) == ("record", "letter", 1)
        assert went.reason == "goes on by letter, sent there by ann: asked by phone"
    assert sorted(message.event.id for message in rig.letter.messages) == sorted([failed, waiting, sent])
    assert {message.address for message in rig.letter.messages} == {"+33612345678"}
    audit = await rig.server.services.desk.audit.find(AuditFilter("events.reroute"), EVERYTHING, 10)
    assert [(one.by, one.object, one.detail["from"], one.detail["to"]) for one in reversed(audit.items)] == [
        ("ann", f"event/{one}", "record", "letter") for one in (failed, waiting, sent)
    ]
    now = rig.server.services.now()
    query = ReportQuery("history", now, now, ("status",))
    counted = {
        line.keys["status"]: line.values["events"]
        for line in (await rig.server.services.report(query, ANN.operator)).lines
    }
    assert (counted["recycled"], counted["reopened"]) == (3, 2)
    # whoever sent it there may send it back
    assert (await rig.reroute(sent, to="record"))[0].ok
    assert (await rig.server.settled(sent)).channel == "record"
    assert [len(rig.record.messages), len(rig.letter.messages)] == [4, 3]


async def test_what_cannot_be_sent_there_stays_as_it_is(rig: Rig) -> None:
    plain, unreachable, sent = await rig.push("plain"), await rig.push(phone=""), await rig.push()
    answers = await rig.reroute(plain, unreachable) + await rig.reroute(sent, to="record")
    assert [(one.ok, one.text) for one in answers] == [
        (False, "has no published template plain/letter"),
        (False, "has no mobilePhone, which the channel letter needs"),
        (False, "went by record last; retry or resend it"),
    ]
    assert rig.letter.messages == []
    desk = rig.server.services.desk.events
    with pytest.raises(QueryRefused, match="there is no channel 'fax'; there are letter, record"):
        await desk.change("reroute", [sent], ANN, to="fax")
    with pytest.raises(QueryRefused, match="is what reroute needs"):
        await desk.change("reroute", [sent], ANN)
    with pytest.raises(QueryRefused, match="is what reroute needs"):
        await desk.change("retry", EventFilter(type="note"), ANN, to="letter")
    rig.record.answers.append(Deferred("recorder", "450 later", Scope.MESSAGE, "450"))
    event = await rig.push()
    await rig.server.services.desk.events.change("hold", [event], ANN)
    assert (await rig.reroute(event))[0].text == "is paused; release it"
    await rig.server.services.desk.events.change("cancel", [event], ANN)
    assert (await rig.reroute(event))[0].ok
    assert (await rig.server.settled(event)).channel == "letter"
    await rig.server.services.desk.templates.unpublish("note/letter", ANN)
    assert (await rig.reroute(sent))[0].text == "has no published template note/letter"
