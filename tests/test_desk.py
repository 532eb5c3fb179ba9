"""What operators ask and do through `Services.desk`: rights and their reach, pieces of listings, changes by filter."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from petitbleu import (
    AccessDenied,
    Actor,
    AuditFilter,
    Data,
    EventAction,
    EventFilter,
    IncomingEvent,
    InputRefused,
    ListDefaults,
    NotFound,
    Operator,
    Page,
    QueryRefused,
    Queue,
    SuppressionFilter,
    SuppressionReason,
    TemplateError,
    elements,
)
from petitbleu.config import SAMPLE
from petitbleu.instance import Instance, open_instance
from petitbleu.lifecycle import PAUSED

RIGHTS = frozenset({"push", "read", "data", "publish", "suppress", "audit", "admin"})
ZOE = Operator("zoe", RIGHTS)
BOSS = Actor(ZOE, "rest", "192.0.2.7")
RESET = "password_reset"


def without(right: str) -> Operator:
    return replace(ZOE, rights=RIGHTS - {right})


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """The sample, with templates that a test may change, and two brands."""
    folder = tmp_path / "shop"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("var"))
    settings = [f"database={database_url}", "limits.changes=5", "limits.rows=10"]
    async with open_instance(folder, settings, plugins_running=True) as instance:
        yield instance


def incoming(number: int = 0, event_type: str = RESET, **ctx: Data) -> IncomingEvent:
    attributes = {"type": event_type, "email": f"u{number}@example.com", "externalId": f"E-{number}"}
    made: Any = elements({"user": {"@login": "u"}, "link": "https://shop.example.com/r", "minutes": "30", **ctx})
    return IncomingEvent(Queue.REALTIME, attributes, {"ctx": made})


async def push(instance: Instance, count: int, event_type: str = RESET) -> list[int]:
    ids = await instance.intake([incoming(number, event_type) for number in range(count)], ZOE)
    await instance.intake.settle()
    return ids


async def pieces(ask: Callable[[str], Any]) -> list[list[Any]]:
    """All pieces of a listing."""
    found: list[list[Any]] = []
    cursor = ""
    while True:
        page: Page[Any] = await ask(cursor)
        found.append(list(page.items))
        cursor = page.cursor
        if not cursor:
            return found


# ------------------------------------------------------------------------------------------------------------- events


async def test_events_are_listed_piece_by_piece_the_newest_first(shop: Instance) -> None:
    ids = await push(shop, 7)
    events = shop.services.desk.events
    found = await pieces(lambda cursor: events.search(EventFilter(type=RESET), ZOE, 3, cursor))
    assert [[one.id for one in piece] for piece in found] == [ids[:3:-1], ids[3:0:-1], ids[:1]]
    assert len((await events.search(EventFilter(), ZOE, 7)).items) == 7
    assert (await events.search(EventFilter(), ZOE, 7)).cursor == ""
    assert [one.id for one in (await events.search(EventFilter(external_id="E-4"), ZOE, 9)).items] == [ids[4]]
    assert (await events.search(EventFilter(channel="sms"), ZOE, 9)).items == []
    assert await events.count(EventFilter(status="open"), ZOE) == 7
    await events.change("hold", ids[:2], BOSS)
    assert await events.count(EventFilter(status="open"), ZOE) == 5
    assert await events.count(EventFilter(status="pending"), ZOE) == 5
    assert {one.id for one in (await events.search(EventFilter(status=PAUSED), ZOE, 9)).items} == {*ids[:2]}
    await events.change("cancel", ids[:1], BOSS)
    assert await events.count(EventFilter(status="ignored", created_before="2999-01-01T00:00Z"), ZOE) == 1
    assert await events.count(EventFilter(created_since="2999-01-01T00:00Z"), ZOE) == 0
    assert await events.count(EventFilter(queue="batch"), ZOE) == 0
    for limit, cursor in ((0, ""), (11, ""), (5, "x"), (5, "1-"), (5, "9" * 30 + "-1"), (5, "1-99999999999999999999")):
        with pytest.raises(QueryRefused):
            await events.search(EventFilter(), ZOE, limit, cursor)
    with pytest.raises(QueryRefused, match="'lost' is not a status"):
        await events.search(EventFilter(status="lost"), ZOE, 5)
    with pytest.raises(QueryRefused, match="@queue"):
        await events.search(EventFilter(queue="slow"), ZOE, 5)


async def test_an_event_is_told_with_its_way_and_its_data_to_those_who_may(shop: Instance) -> None:
    (event_id,) = await push(shop, 1)
    events = shop.services.desk.events
    told = await events.record(event_id & 0xFFFF, without("data"))
    assert (told.event.id, told.event.status, told.data, told.attempts) == (event_id, "pending", None, [])
    full = await events.record(event_id, ZOE, data=True)
    assert full.data is not None
    assert full.data["ctx"]["minutes"] == "30"  # type: ignore[index, call-overload]
    with pytest.raises(AccessDenied):
        await events.record(event_id, without("data"), data=True)
    with pytest.raises(AccessDenied):
        await events.record(event_id, without("read"))
    for stranger in (replace(ZOE, event_types=frozenset({"shipped"})), replace(ZOE, brands=frozenset({"other"}))):
        with pytest.raises(NotFound, match=f"there is no event {event_id}"):
            await events.record(event_id, stranger)
        assert (await events.search(EventFilter(), stranger, 5)).items == []


@pytest.mark.parametrize("action", ["cancel", "hold", "resend", "retry", "release"])
async def test_what_a_filter_means_is_changed_piece_by_piece_and_only_once(shop: Instance, action: EventAction) -> None:
    ids = await push(shop, 12)
    events = shop.services.desk.events
    if action in ("release", "retry"):
        for start in range(0, 12, 5):
            await events.change("hold" if action == "release" else "cancel", ids[start : start + 5], BOSS)
    wanted = EventFilter(type=RESET)

    async def ask(cursor: str, rehearsal: bool = True) -> Page[Any]:
        return await events.change(action, wanted, BOSS, reason="test", rehearsal=rehearsal, cursor=cursor)

    rehearsed = await pieces(ask)
    assert [[one.id for one in piece] for piece in rehearsed] == [ids[:5], ids[5:10], ids[10:]]
    assert await events.count(EventFilter(), ZOE) == 12
    done = await pieces(lambda cursor: ask(cursor, False))
    assert [[one.id for one in piece] for piece in done] == [ids[:5], ids[5:10], ids[10:]]
    assert all(one.ok for piece in done for one in piece)
    # what came of it is not met again on the way
    assert await events.count(EventFilter(), ZOE) == (24 if action == "resend" else 12)
    audited = await pieces(
        lambda cursor: shop.services.desk.audit.find(AuditFilter(action=f"events.{action}"), ZOE, 5, cursor)
    )
    assert [len(piece) for piece in audited] == [5, 5, 2]
    assert {one.object for piece in audited for one in piece} == {f"event/{one}" for one in ids}
    assert {(one.by, one.origin, one.address) for piece in audited for one in piece} == {("zoe", "rest", "192.0.2.7")}


async def test_changes_want_the_right_and_reach_no_further_than_it(shop: Instance) -> None:
    ids = await push(shop, 6)
    events = shop.services.desk.events
    for which in (ids[:1], EventFilter(type=RESET)):
        with pytest.raises(AccessDenied):
            await events.change("cancel", which, Actor(without("admin"), "rest"))
    narrow = Actor(replace(ZOE, event_types=frozenset({"shipped"})), "rest")
    assert (await events.change("cancel", EventFilter(type=RESET), narrow)).items == []
    (refused,) = (await events.change("cancel", ids[:1], narrow)).items
    assert (refused.ok, refused.text) == (False, "there is no such event")
    with pytest.raises(InputRefused, match="every event there is"):
        await events.change("cancel", EventFilter(), BOSS)
    with pytest.raises(QueryRefused, match="6 events; one call changes 5 at most"):
        await events.change("cancel", ids, BOSS)
    with pytest.raises(QueryRefused, match="between 1 and 5"):
        await events.change("cancel", EventFilter(type=RESET), BOSS, limit=6)
    assert await events.count(EventFilter(status="open"), ZOE) == 6


# ---------------------------------------------------------------------------------------------------------- templates


async def test_the_life_of_a_template(shop: Instance) -> None:
    templates, name = shop.services.desk.templates, f"{RESET}/email"
    states = {(one.event_type, one.channel): one for one in await templates.list(ZOE)}
    assert (states[RESET, "email"].draft, states[RESET, "email"].version) == ("new", None)
    assert states[RESET, "email"].seeds
    assert states[RESET, "email"].languages == ("en", "fr")
    assert (await templates.publish(name, BOSS)).version == 1
    assert await templates.diff(name, ZOE) == ""
    part = shop.config.template_directory() / RESET / "email" / "body.txt.j2"
    part.write_text(part.read_text("utf-8") + "\nBye", "utf-8")
    assert "+Bye" in await templates.diff(name, ZOE)
    assert (await templates.publish(name, BOSS)).version == 2
    assert "-Bye" in await templates.diff(name, ZOE, "2", "1")
    assert [one.current for one in await templates.versions(name, ZOE)] == [False, True]
    assert "Bye" in (await templates.source(name, ZOE)).texts["text"]
    assert (await templates.source(name, ZOE, "1")).version == 1
    # of fewer events than usual, since a listing has ten at most here
    assert "user.login" in [one.path for one in await templates.needs(name, ZOE, "1")]
    assert (await templates.rollback(name, 1, BOSS)).changed
    await templates.unpublish(name, BOSS)
    with pytest.raises(TemplateError, match="is not published"):
        await templates.source(name, ZOE)
    with pytest.raises(TemplateError, match="is not published"):
        await templates.unpublish(name, BOSS)
    with pytest.raises(InputRefused, match="neither `draft` nor the number"):
        await templates.source(name, ZOE, "newest")
    found = await shop.services.desk.audit.find(AuditFilter(action="templates", object=name), ZOE, 9)
    assert [(one.action, one.origin) for one in found.items] == [
        ("templates.unpublish", "rest"),
        ("templates.rollback", "rest"),
        ("templates.publish", "rest"),
        ("templates.publish", "rest"),
    ]


async def test_a_preview_is_for_a_seed_or_for_an_event_as_it_would_come(shop: Instance) -> None:
    templates, name = shop.services.desk.templates, f"{RESET}/email"
    seeded = await templates.preview(name, ZOE)
    assert seeded.address
    assert set(seeded.parts) == {"html", "text"}
    assert (await templates.preview(name, ZOE, language="fr")).language == "fr"
    given = await templates.preview(name, ZOE, event=incoming(7, link="https://shop.example.com/here"))
    assert given.address == "u7@example.com"
    assert "https://shop.example.com/here" in given.parts["text"]
    with pytest.raises(InputRefused, match="beside a seed"):
        await templates.preview(name, ZOE, event=incoming(), seed="x")
    with pytest.raises(InputRefused, match="is of the type account_statement"):
        await templates.preview(name, ZOE, event=incoming(event_type="account_statement"))
    with pytest.raises(NotFound, match="has no seed 'nobody'"):
        await templates.preview(name, ZOE, seed="nobody")


async def test_an_event_that_is_deleted_meanwhile_is_left_out_of_what_a_template_needs(
    shop: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, search = f"{RESET}/email", shop.services.desk.events.search
    made = incoming(user="")
    gone, stays = await shop.intake([replace(made, attributes={**made.attributes, "wishedChannel": "email"})] * 2, ZOE)
    await shop.intake.settle()

    async def and_then_delete(*asked: Any) -> Page[Any]:
        found = await search(*asked)
        assert {gone, stays} == {one.id for one in found.items}
        await shop.store.rows("purge_events", [{"id": gone}])
        return found

    monkeypatch.setattr(shop.services.desk.events, "search", and_then_delete)
    needs = await shop.services.desk.templates.needs(name, ZOE, "draft")
    assert [one.lacking for one in needs if one.path == "user.login"] == [[stays]]


async def test_templates_beyond_an_operators_reach_are_not_there(shop: Instance) -> None:
    templates = shop.services.desk.templates
    narrow = replace(ZOE, event_types=frozenset({"account_statement"}))
    assert {one.event_type for one in await templates.list(narrow)} == {"account_statement"}
    with pytest.raises(NotFound, match=f"there is no template '{RESET}/email'$"):
        await templates.publish(f"{RESET}/email", Actor(narrow, "rest"))
    with pytest.raises(NotFound, match="there is no template"):
        await templates.versions(f"{RESET}/pigeon", ZOE)
    with pytest.raises(NotFound, match="there is no template"):
        await templates.source("../secret", ZOE, "draft")
    with pytest.raises(TemplateError, match="has several channels, name one"):
        await templates.versions(RESET, ZOE)
    for denied in (
        templates.list(without("read")),
        templates.diff(f"{RESET}/email", without("read")),
        templates.preview(f"{RESET}/email", without("publish")),
        templates.proof(f"{RESET}/email", Actor(without("publish"), "rest")),
        templates.rollback(f"{RESET}/email", 1, Actor(without("publish"), "rest")),
    ):
        with pytest.raises(AccessDenied):
            await denied


# ------------------------------------------------------------------------------------------------------- suppressions


async def test_the_suppression_list_in_pieces_and_its_changes(shop: Instance) -> None:
    desk = shop.services.desk.suppressions
    for number in range(5):
        await desk.add("email", f"U{number}@Example.com", BOSS, text="asked us", reason=SuppressionReason.UNSUBSCRIBED)
    found = await pieces(lambda cursor: desk.find(SuppressionFilter(), ZOE, 2, cursor))
    assert [[one.address for one in piece] for piece in found] == [
        ["u4@example.com", "u3@example.com"],
        ["u2@example.com", "u1@example.com"],
        ["u0@example.com"],
    ]
    (one,) = (await desk.find(SuppressionFilter("email", "u3@EXAMPLE.com"), ZOE, 5)).items
    assert (one.by, one.reason, one.text) == ("zoe", "unsubscribed", "asked us")
    gone = await desk.remove("email", ["U3@example.com", "nobody@example.com"], BOSS)
    assert ([one.address for one in gone.gone], gone.missing) == (["u3@example.com"], ["nobody@example.com"])
    text = "".join([piece async for piece in desk.write_out(SuppressionFilter(), "csv", ZOE)])
    assert len(text.splitlines()) == 5
    assert await desk.read_in(text.replace("u4@", "u9@"), "csv", BOSS, rehearsal=True) == 4
    assert await desk.read_in(text.replace("u4@", "u9@"), "csv", BOSS) == 4
    assert len((await desk.find(SuppressionFilter(), ZOE, 9)).items) == 5
    late = shop.services.now() - timedelta(seconds=1)
    for refused, name in (
        (desk.add("email", "nobody", BOSS), "address"),
        (desk.add("pigeon", "a@example.com", BOSS), "channel"),
        (desk.add("email", "a@example.com", BOSS, brand="none"), "brand"),
        (desk.add("email", "a@example.com", BOSS, expires=late), "expires"),
        (desk.add("email", "a@example.com", BOSS, expires=timedelta.max), "expires"),
        (desk.add("email", "a@example.com", BOSS, text="x" * 1001), "text"),
        (desk.read_in("address\nnobody\n", "csv", BOSS, defaults=ListDefaults("email")), "line 2"),
        (desk.find(SuppressionFilter(address="a@example.com"), ZOE, 5), "address"),
    ):
        with pytest.raises(InputRefused) as error:
            await refused
        assert [problem for problem, _ in error.value.problems] == [name]
    actions = await shop.services.desk.audit.find(AuditFilter(object="email/u3@example.com", origin="rest"), ZOE, 9)
    assert [one.action for one in actions.items] == ["suppressions.remove", "suppressions.add"]


async def test_brands_narrow_the_list_to_their_own_entries(shop: Instance) -> None:
    desk = shop.services.desk.suppressions
    narrow = Actor(replace(ZOE, brands=frozenset({"shop"})), "rest")
    await desk.add("email", "all@example.com", BOSS)
    await desk.add("email", "shop@example.com", narrow, brand="shop")
    assert [one.address for one in (await desk.find(SuppressionFilter(), narrow.operator, 5)).items] == [
        "shop@example.com"
    ]
    text = "".join([piece async for piece in desk.write_out(SuppressionFilter(), "json", narrow.operator)])
    assert "shop@example.com" in text
    assert "all@example.com" not in text
    for refused in (
        desk.add("email", "x@example.com", narrow),
        desk.remove("email", ["all@example.com"], narrow),
        desk.read_in("address\nx@example.com\n", "csv", narrow, defaults=ListDefaults("email")),
    ):
        with pytest.raises(InputRefused, match="the operator's rights reach: shop"):
            await refused
    for denied in (without("suppress"), replace(ZOE, event_types=frozenset({RESET}))):
        with pytest.raises(AccessDenied):
            await desk.find(SuppressionFilter(), denied, 5)
        with pytest.raises(AccessDenied):
            await desk.add("email", "x@example.com", Actor(denied, "rest"))


# --------------------------------------------------------------------------------------------------- audit and health


async def test_the_audit_is_for_those_whose_rights_are_not_narrowed(shop: Instance) -> None:
    find = shop.services.desk.audit.find
    for denied in (
        without("audit"),
        replace(ZOE, brands=frozenset({"shop"})),
        replace(ZOE, event_types=frozenset({RESET})),
    ):
        with pytest.raises(AccessDenied):
            await find(AuditFilter(), denied, 5)
    assert (await find(AuditFilter(), ZOE, 5)).items == []


async def test_health_tells_what_the_page_does(shop: Instance) -> None:
    health = await shop.services.desk.health()
    assert health.status in ("ok", "warning")
    assert {"accepting", "database", "queue"} <= {one.name for one in health.checks["core"]}
    assert health.limits["limits.rows"] == 10
    shop.watch.draining = True
    assert (await shop.services.desk.health()).status == "failing"
