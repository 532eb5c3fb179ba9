"""Templates: draft beside published, previews, proofs, versions. Texts are edited in files, never here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web
from petitbleu import IncomingEvent, PetitbleuError, Preview, Queue, TemplateNeed, TemplateState, event_from_json

from ..entrance import ROOT
from ..messages import framed, shown
from ..site import Site, View, Visit


@dataclass(frozen=True, slots=True)
class DiffLine:
    """`mark` is ` `, `+`, `-` or `@`."""

    mark: str
    text: str


async def _list(site: Site, visit: Visit) -> web.StreamResponse:
    return site.page(visit, "templates.html.j2", templates=await site.services.desk.templates.list(visit.operator))


async def _one(site: Site, visit: Visit) -> web.StreamResponse:
    name = _name(visit)
    desk = site.services.desk.templates
    state = await _state(site, visit)
    versions = await desk.versions(name, visit.operator)
    current = next((one.number for one in versions if one.current), None)
    drafted = state is not None and state.draft not in ("none", "broken")
    diff = await desk.diff(name, visit.operator) if drafted and current is not None else ""
    return site.page(
        visit,
        "template.html.j2",
        name=name,
        state=state,
        drafted=drafted,
        versions=list(reversed(versions)),
        current=current,
        diff=_lines(diff),
        needs=await _needs(site, visit, "draft" if drafted else ""),
        may_publish=visit.operator.may("publish"),
        sees_data=visit.operator.may("data"),
    )


async def _needs(site: Site, visit: Visit, version: str) -> Sequence[TemplateNeed]:
    try:
        return await site.services.desk.templates.needs(_name(visit), visit.operator, version)
    except PetitbleuError:
        return ()


async def _source(site: Site, visit: Visit) -> web.StreamResponse:
    name, state = _name(visit), await _state(site, visit)
    return site.page(
        visit,
        "source.html.j2",
        name=name,
        folder="" if state is None else state.folder,
        drafted=state is not None and state.draft not in ("none", "broken"),
        versions=await site.services.desk.templates.versions(name, visit.operator),
        source=await site.services.desk.templates.source(name, visit.operator, visit.query.get("version", "")),
    )


async def _preview(site: Site, visit: Visit) -> web.StreamResponse:
    """With a seed by its name, or with an event that was pasted."""
    name, asked = _name(visit), _asked(visit)
    problem, message = "", None
    try:
        preview = await _rendered(site, visit, asked)
    except PetitbleuError as error:
        problem = str(error)
    else:
        frame, pasted = f"{ROOT}templates/{name}/part", bool(asked["event"])
        # what people paste is of somebody, and may be long
        message = shown(
            site,
            name.partition("/")[2],
            preview,
            frame if pasted else f"{frame}?{urlencode(asked)}",
            asked if pasted else None,
        )
    return site.page(
        visit,
        "preview.html.j2",
        name=name,
        state=await _state(site, visit),
        versions=await site.services.desk.templates.versions(name, visit.operator),
        asked=asked,
        message=message,
        problem=problem,
    )


async def _part(site: Site, visit: Visit) -> web.StreamResponse:
    preview = await _rendered(site, visit, _asked(visit), images=True)
    part = preview.parts.get((visit.form or visit.query).get("part", ""))
    if part is None:
        raise web.HTTPNotFound
    return framed(part)


def _asked(visit: Visit) -> Mapping[str, str]:
    """An event comes by a form alone."""
    given = visit.form or visit.query
    version, seed, language = (given.get(one, "").strip() for one in ("version", "seed", "language"))
    event = visit.form.get("event", "").strip()
    return {"version": version or "draft", "seed": seed, "language": language, "event": event}


async def _rendered(site: Site, visit: Visit, asked: Mapping[str, str], *, images: bool = False) -> Preview:
    event = asked["event"]
    return await site.services.desk.templates.preview(
        _name(visit),
        visit.operator,
        version=asked["version"],
        seed=asked["seed"],
        event=_pasted(event, visit.part("type")) if event else None,
        language=asked["language"],
        images=images,
    )


def _pasted(text: str, event_type: str) -> IncomingEvent:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise PetitbleuError(f"the event is not JSON: {error}") from None
    except RecursionError:
        raise PetitbleuError("the event is nested too deeply") from None
    return event_from_json(value, lambda name: Queue.REALTIME, event_type=event_type)


async def _proof(site: Site, visit: Visit) -> web.StreamResponse:
    proofs = await site.services.desk.templates.proof(
        _name(visit), visit.actor, seed=visit.form.get("seed", ""), to=visit.form.get("to", "").strip()
    )
    said = "; ".join(f"{one.seed} → {one.address}: {visit.say(one.outcome)}: {one.text}" for one in proofs)
    return site.back(visit, f"{ROOT}templates/{_name(visit)}", said)


async def _publish(site: Site, visit: Visit) -> web.StreamResponse:
    published = await site.services.desk.templates.publish(_name(visit), visit.actor)
    text = "Version {version} is published" if published.changed else "Version {version} is published already"
    return site.back(visit, f"{ROOT}templates/{_name(visit)}", visit.say(text, version=published.version))


async def _unpublish(site: Site, visit: Visit) -> web.StreamResponse:
    await site.services.desk.templates.unpublish(_name(visit), visit.actor)
    text = "Unpublished: new events of this type end as not covered"
    return site.back(visit, f"{ROOT}templates/{_name(visit)}", visit.say(text))


async def _rollback(site: Site, visit: Visit) -> web.StreamResponse:
    number = visit.form.get("version", "")
    if not (number.isdecimal() and len(number) < 10):
        raise web.HTTPNotFound
    published = await site.services.desk.templates.rollback(_name(visit), int(number), visit.actor)
    text = visit.say("Version {version} is published", version=published.version)
    return site.back(visit, f"{ROOT}templates/{_name(visit)}", text)


def _name(visit: Visit) -> str:
    return f"{visit.part('type')}/{visit.part('channel')}"


async def _state(site: Site, visit: Visit) -> TemplateState | None:
    states = await site.services.desk.templates.list(visit.operator)
    wanted = (visit.part("type"), visit.part("channel"))
    return next((one for one in states if (one.event_type, one.channel) == wanted), None)


def _lines(diff: str) -> Sequence[DiffLine]:
    """Of a unified diff; the lines that name the files say what they are about."""
    lines = []
    for line in diff.splitlines():
        mark = "@" if line.startswith(("@@", "---", "+++")) else line[:1]
        lines.append(DiffLine(mark, line if mark == "@" else line[1:]))
    return lines


VIEWS = (
    View("GET", "templates", "read", _list),
    View("GET", "templates/{type}/{channel}", "read", _one),
    View("GET", "templates/{type}/{channel}/source", "read", _source),
    View("GET", "templates/{type}/{channel}/preview", "publish", _preview),
    View("POST", "templates/{type}/{channel}/preview", "publish", _preview),
    View("GET", "templates/{type}/{channel}/part", "publish", _part),
    View("POST", "templates/{type}/{channel}/part", "publish", _part),
    View("POST", "templates/{type}/{channel}/proof", "publish", _proof),
    View("POST", "templates/{type}/{channel}/publish", "publish", _publish),
    View("POST", "templates/{type}/{channel}/unpublish", "publish", _unpublish),
    View("POST", "templates/{type}/{channel}/rollback", "publish", _rollback),
)
