"""Templates as operators work on them: looked at, previewed, proofed, published and taken back."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from ..audit import Change, record
from ..errors import AccessDenied, HandOffRefused, InputRefused, NotFound, NotNow, TemplateError
from ..hosting.calling import HookFailed
from ..hosting.calls import Calls
from ..intake.intake import Intake
from ..operating import (
    Actor,
    EventDesk,
    EventFilter,
    Preview,
    Proof,
    Published,
    TemplateNeed,
    TemplateSource,
    TemplateState,
    TemplateVersion,
)
from ..rendering import Snapshot
from ..safemode import Withheld
from ..store import Store
from ..suggest import near
from ..templates import Draft, Drafts, Seed, Templates, lacking, needed
from ..types import Attempt, Channel, Content, Event, IncomingEvent, Message, Operator, TemplateRef
from .embedding import embedded
from .listing import clean

Key = tuple[str, str]
"""(event type, channel)"""
DRAFT = "draft"
LOOKED_AT = 20
"""Events of which it is told what they lack."""


class DeskTemplates:
    """Implements `operating.TemplateDesk`. `branded` gives the brand that an event type speaks for, or else the one its
    template asks for, and the content with what the brand has for fields left open; `deadline` is for one proof, in
    seconds; `name` is the instance's; so many previews as `at_once` are rendered at the same time; a listing of events
    has `rows` at most.
    """

    def __init__(
        self,
        store: Store,
        events: EventDesk,
        drafts: Drafts,
        templates: Templates,
        intake: Intake,
        calls: Calls,
        channels: Mapping[str, Channel],
        brand_of: Callable[[str, str], str],
        branded: Callable[[Content, str], Content],
        now: Callable[[], datetime],
        deadline: float,
        name: str,
        at_once: int,
        rows: int,
    ) -> None:
        self._store = store
        self._events = events
        self._drafts = drafts
        self._templates = templates
        self._intake = intake
        self._calls = calls
        self._channels = channels
        self._brand_of = brand_of
        self._branded = branded
        self._now = now
        self._deadline = deadline
        self._name = name
        self._rendering = asyncio.Semaphore(at_once)
        self._looked_at = min(LOOKED_AT, rows)

    # -------------------------------------------------------------------------------------------------------- looking

    async def list(self, operator: Operator) -> Sequence[TemplateState]:
        _wants(operator, "read")
        return [one for one in await self._templates.list(self._drafts) if self._reaches(operator, "read", one)]

    async def versions(self, name: str, operator: Operator) -> Sequence[TemplateVersion]:
        return await self._templates.versions(*await self._key(name, operator, "read"))

    async def source(self, name: str, operator: Operator, version: str = "") -> TemplateSource:
        key = await self._key(name, operator, "read")
        number, snapshot = await self._snapshot(key, version)
        return TemplateSource(*key, number, snapshot.files_as_text(), snapshot.to_json())

    async def diff(self, name: str, operator: Operator, old: str = "", new: str = DRAFT) -> str:
        key = await self._key(name, operator, "read")
        (_, before), (_, after) = await self._snapshot(key, old), await self._snapshot(key, new)
        return before.diff(after)

    async def needs(self, name: str, operator: Operator, version: str = "") -> Sequence[TemplateNeed]:
        event_type, channel = key = await self._key(name, operator, "read")
        _, snapshot = await self._snapshot(key, version)
        paths = needed(snapshot.texts())
        lacks: dict[str, builtins.list[int]] = {path: [] for path in paths}
        if paths and self._may(operator, "data", event_type):
            wanted = EventFilter(type=event_type, channel=channel)
            for event in (await self._events.search(wanted, operator, self._looked_at)).items:
                try:
                    data = (await self._events.record(event.id, operator, data=True)).data
                except NotFound:
                    # it was deleted meanwhile
                    continue
                for path in lacking(paths, data.get("ctx")) if data is not None else ():
                    lacks[path].append(event.id)
        return [TemplateNeed(path, ids) for path, ids in lacks.items()]

    # ----------------------------------------------------------------------------------------------------- trying out

    async def preview(
        self,
        name: str,
        operator: Operator,
        *,
        version: str = DRAFT,
        seed: str = "",
        event: IncomingEvent | None = None,
        language: str = "",
        images: bool = False,
    ) -> Preview:
        key = await self._key(name, operator, "publish")
        source: Draft | TemplateRef
        if version == DRAFT:
            source = await self._draft(key)
        else:
            source = TemplateRef(*key, self._number(key, version))
        if event is not None and seed:
            raise InputRefused([("event", "is given beside a seed; the preview is for one of them")])
        if event is None:
            recipient = _seed(await self._draft(key), seed)
            chosen, content = await self._render(source, recipient, language)
            address = recipient.address
        else:
            kind = next((value.strip() for name, value in event.attributes.items() if name.lower() == "type"), "")
            if kind and kind != key[0]:
                raise InputRefused([("event", f"is of the type {kind[:64]}, and the template is for {key[0]}")])
            (given,) = self._intake.check([event])
            chosen, content = await self._render(source, given, language)
            address = given.addresses.get(self._channels[key[1]].address, "")
        return Preview(
            address,
            chosen,
            content.fields,
            embedded(self._channels[key[1]], content) if images else content.parts,
            {file: len(data) for file, data in sorted(content.files.items())},
            self._notes(key[1], content),
        )

    async def proof(self, name: str, actor: Actor, *, seed: str = "", to: str = "") -> Sequence[Proof]:
        clean(to)
        key = await self._key(name, actor.operator, "publish")
        draft = await self._draft(key)
        seeds = [_seed(draft, seed)] if seed else builtins.list(draft.seeds)
        messages = [await self._message(draft, one, to) for one in seeds]
        detail = {"seeds": [one.name for one in seeds], **({"to": to} if to else {})}
        async with self._store.transaction() as transaction:
            await record(self._store, [Change("templates.proof", "/".join(key), detail)], actor, transaction)
        return [await self._send(one.name, message) for one, message in zip(seeds, messages, strict=True)]

    async def _message(self, draft: Draft, seed: Seed, to: str) -> Message:
        snapshot = draft.snapshot
        _, content = await self._render(draft, seed, "")
        event = seed.event(snapshot.event_type, self._channels[snapshot.channel], self._now())
        brand = self._brand_of(snapshot.event_type, snapshot.meta.brand)
        key = f"proof-{int(event.created.timestamp() * 1000)}-{seed.name}@{self._name}"
        ref = TemplateRef(snapshot.event_type, snapshot.channel, 0)
        content = self._branded(content, brand)
        return Message(event, snapshot.channel, to or seed.address, brand, ref, content, key)

    async def _send(self, seed: str, message: Message) -> Proof:
        try:
            outcome = await self._calls.deliver(message, Attempt(1, _go), self._deadline)
        except (HookFailed, HandOffRefused) as error:
            return Proof(seed, message.address, "failed", str(error))
        except Withheld as error:
            return Proof(seed, message.address, "withheld", str(error))
        except NotNow as error:
            return Proof(seed, message.address, "deferred", str(error))
        return Proof(seed, message.address, type(outcome).__name__.lower(), outcome.text)

    # ------------------------------------------------------------------------------------------------------ publishing

    async def publish(self, name: str, actor: Actor) -> Published:
        key = await self._key(name, actor.operator, "publish")
        async with self._rendering:
            return await self._templates.publish(await self._draft(key), actor)

    async def unpublish(self, name: str, actor: Actor) -> None:
        await self._templates.unpublish(*await self._key(name, actor.operator, "publish"), actor)

    async def rollback(self, name: str, version: int, actor: Actor) -> Published:
        return await self._templates.rollback(*await self._key(name, actor.operator, "publish"), version, actor)

    # ---------------------------------------------------------------------------------------------------------- inside

    async def _key(self, name: str, operator: Operator, right: str) -> Key:
        """The channel may be left out where the type has a single one."""
        _wants(operator, right)
        event_type, _, channel = name.partition("/")
        await self._templates.refresh()
        there = sorted({*self._drafts.list(), *self._templates.all_current()})
        known = [(kind, one) for kind, one in there if self._may(operator, right, kind)]
        channels = [one for kind, one in known if kind == event_type]
        if channel in channels:
            return event_type, channel
        names = [f"{event_type}/{one}" for one in channels]
        if not channels or channel:
            beside = ", ".join(names or near(name, [f"{kind}/{one}" for kind, one in known]))
            raise NotFound(f"there is no template {name!r}{f' beside {beside}' if beside else ''}")
        if len(channels) > 1:
            raise TemplateError(name, f"has several channels, name one: {', '.join(names)}")
        return event_type, channels[0]

    def _may(self, operator: Operator, right: str, event_type: str) -> bool:
        return operator.may(right, event_type, self._brand_of(event_type, ""))

    def _reaches(self, operator: Operator, right: str, state: TemplateState) -> bool:
        return self._may(operator, right, state.event_type)

    async def _draft(self, key: Key) -> Draft:
        return await asyncio.to_thread(self._drafts.load, *key)

    async def _snapshot(self, key: Key, version: str) -> tuple[int | None, Snapshot]:
        if version == DRAFT:
            return None, (await self._draft(key)).snapshot
        number = self._number(key, version)
        return number, await self._templates.show(*key, number)

    def _number(self, key: Key, version: str) -> int:
        number = self._templates.current(*key) if not version else None
        if version.isdecimal() and len(version) < 10:
            number = int(version)
        elif version:
            raise InputRefused([("version", f"{version!r} is neither `draft` nor the number of a version")])
        if number is None:
            raise TemplateError("/".join(key), "is not published; the version `draft` is the draft")
        return number

    async def _render(self, source: Draft | TemplateRef, whom: Seed | Event, language: str) -> tuple[str, Content]:
        async with self._rendering:
            return await self._templates.preview(source, whom, language)

    def _notes(self, channel: str, content: Content) -> Sequence[str]:
        preview = self._channels[channel].preview
        return [] if preview is None else [*preview(content)]


def _wants(operator: Operator, right: str) -> None:
    if not operator.may(right):
        raise AccessDenied


def _seed(draft: Draft, name: str) -> Seed:
    where = draft.snapshot.name
    if not draft.seeds:
        raise TemplateError(where, "has no seed in seeds.yaml")
    found = [one for one in draft.seeds if name in ("", one.name)]
    if not found:
        raise NotFound(f"{where}: has no seed {name!r}; there are {', '.join(one.name for one in draft.seeds)}")
    return found[0]


async def _go(provider: str) -> None:
    """A proof has no queue row: nothing stands in its way."""
