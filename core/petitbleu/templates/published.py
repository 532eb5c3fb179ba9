"""Published templates: numbered versions that never change, and which of them rules.

A version is its content. Publishing what is published already changes nothing; publishing what an older version holds
makes that version rule again, under its old number.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tortoise.exceptions import IntegrityError
from tortoise.functions import Count, Max
from tortoise.transactions import in_transaction

from ..audit import Change, record
from ..errors import TemplateError
from ..languages import canonical, event_language
from ..operating import Actor, Published, TemplateState, TemplateVersion
from ..rendering import Compiled, Renderer, event_context
from ..rendering.snapshots import Snapshot
from ..store import Store
from ..store.models import PublicationRow, TemplateVersionRow
from ..types import Content, Event, TemplateRef
from .drafts import Draft, Drafts
from .seeds import Seed

Key = tuple[str, str]
"""(event type, channel)"""
_HEAD = ("id", "number", "digest", "created", "created_by")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Templates:
    """`now` gives the time of publications, `brand` the values of the brand that events of a type are sent by, given
    the type and the brand its template asks for.

    Reads are answered from what `refresh` saw last; call it about once a second, so that a running server follows
    what another process publishes.
    """

    def __init__(
        self,
        store: Store,
        renderer: Renderer,
        now: Callable[[], datetime],
        brand: Callable[[str, str], Mapping[str, Any]] = lambda event_type, asked: {},
        cached: int = 256,
    ) -> None:
        self._store = store
        self._renderer = renderer
        self._now = now
        self._brand = brand
        self._cached = cached
        self._current: dict[Key, int] = {}
        self._seen: tuple[int, int] = (-1, -1)
        self._warm: set[TemplateRef] = set()
        self._compiled: OrderedDict[tuple[str, str, int], Compiled] = OrderedDict()

    # ------------------------------------------------------------------------------------------- for events

    async def refresh(self) -> None:
        """Notice what was published, here or elsewhere: one small query where nothing was."""
        found = await PublicationRow.annotate(last=Max("id"), rows=Count("id")).values("last", "rows")
        # The count too: of two publications at once the one with the smaller id may become visible later.
        seen = (found[0]["last"] or 0, found[0]["rows"])
        if seen == self._seen:
            return
        newest = (
            await PublicationRow.annotate(last=Max("id"))
            .group_by("event_type", "channel")
            .values_list("last", flat=True)
        )
        rows = await PublicationRow.filter(id__in=list(newest))
        self._current = {(row.event_type, row.channel): row.version for row in rows if row.version is not None}
        self._seen = seen

    def current(self, event_type: str, channel: str) -> int | None:
        """The version that rules, None when nothing is published."""
        return self._current.get((event_type, channel))

    def all_current(self) -> list[Key]:
        """Every (event type, channel) that has a published version."""
        return sorted(self._current)

    async def resolve(self, event_type: str, channel: str, language: str) -> TemplateRef | None:
        """The published version, and the language it will speak to someone who wants `language`."""
        version = self.current(event_type, channel)
        if version is None:
            return None
        compiled = await self.compiled(TemplateRef(event_type, channel, version))
        return TemplateRef(event_type, channel, version, compiled.language(language), compiled.brand)

    async def compiled(self, ref: TemplateRef) -> Compiled:
        """Raises `TemplateError` for a version that does not exist."""
        key = (ref.event_type, ref.channel, ref.version)
        found = self._compiled.get(key)
        if found is None:
            found = self._renderer.compile(await self.show(*key))
            self._compiled[key] = found
            while len(self._compiled) > self._cached:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return found

    async def warm(self) -> None:
        """Compile what is published and was not compiled yet, so that no event waits for it."""
        for (event_type, channel), version in list(self._current.items()):
            ref = TemplateRef(event_type, channel, version)
            if ref not in self._warm:
                self._warm.add(ref)
                (await self.compiled(ref)).check()
                await asyncio.sleep(0)

    # ------------------------------------------------------------------------------------------- for admins

    async def publish(self, draft: Draft, actor: Actor) -> Published:
        """Freeze the draft and let it rule, once every seed and every language renders.

        Raises `TemplateError` naming the seed and what went wrong.
        """
        await asyncio.to_thread(self.check, draft)
        return await self.freeze(draft.snapshot, actor)

    async def freeze(self, snapshot: Snapshot, actor: Actor) -> Published:
        """As `publish`, whether it renders or not."""
        try:
            published = await self._publish(snapshot, actor)
        except IntegrityError:  # someone else took the same number at the same moment
            published = await self._publish(snapshot, actor)
        await self.refresh()
        return published

    async def _publish(self, snapshot: Snapshot, actor: Actor) -> Published:
        async with in_transaction() as transaction:
            key: dict[str, Any] = {"event_type": snapshot.event_type, "channel": snapshot.channel}
            versions = await TemplateVersionRow.filter(**key).order_by("number").values_list("number", "digest")
            same = [number for number, digest in versions if digest == snapshot.digest]
            number = same[-1] if same else (versions[-1][0] + 1 if versions else 1)
            last = await PublicationRow.filter(**key).order_by("-id").first()
            if last is not None and last.version == number:
                return Published(number, False)
            if not same:
                await TemplateVersionRow.create(
                    **key,
                    number=number,
                    digest=snapshot.digest,
                    snapshot=snapshot.to_json(),
                    created=self._microseconds(),
                    created_by=actor.login,
                )
            await self._record(key, "publish", number, last, actor, transaction)
        return Published(number, True)

    async def unpublish(self, event_type: str, channel: str, actor: Actor) -> None:
        """From now on events find no template. Raises `TemplateError` when none is published."""
        async with in_transaction() as transaction:
            key: dict[str, Any] = {"event_type": event_type, "channel": channel}
            last = await PublicationRow.filter(**key).order_by("-id").first()
            if last is None or last.version is None:
                raise TemplateError(f"{event_type}/{channel}", "is not published")
            await self._record(key, "unpublish", None, last, actor, transaction)
        await self.refresh()

    async def rollback(self, event_type: str, channel: str, version: int, actor: Actor) -> Published:
        """Let an earlier version rule. Raises `TemplateError` when there is no such version."""
        async with in_transaction() as transaction:
            key: dict[str, Any] = {"event_type": event_type, "channel": channel}
            numbers = await _numbers(event_type, channel)
            if version not in numbers:
                raise TemplateError(f"{event_type}/{channel}", _no_version(version, numbers))
            last = await PublicationRow.filter(**key).order_by("-id").first()
            if last is not None and last.version == version:
                return Published(version, False)
            await self._record(key, "rollback", version, last, actor, transaction)
        await self.refresh()
        return Published(version, True)

    async def versions(self, event_type: str, channel: str) -> list[TemplateVersion]:
        """Oldest first."""
        rows = await TemplateVersionRow.filter(event_type=event_type, channel=channel).order_by("number").only(*_HEAD)
        await self.refresh()
        current = self.current(event_type, channel)
        return [
            TemplateVersion(
                event_type,
                channel,
                row.number,
                row.digest,
                _EPOCH + timedelta(microseconds=row.created),
                row.created_by,
                row.number == current,
            )
            for row in rows
        ]

    async def show(self, event_type: str, channel: str, version: int) -> Snapshot:
        """The content of a version. Raises `TemplateError` when there is none."""
        row = await TemplateVersionRow.get_or_none(event_type=event_type, channel=channel, number=version)
        if row is None:
            raise TemplateError(f"{event_type}/{channel}", _no_version(version, await _numbers(event_type, channel)))
        return Snapshot.from_json(row.snapshot)

    async def files(self, ref: str) -> Mapping[str, bytes]:
        """Attachments and images of a version, `TYPE/CHANNEL vN`; none where it is not there any more."""
        name, _, number = ref.rpartition(" v")
        event_type, _, channel = name.partition("/")
        try:
            return (await self.show(event_type, channel, int(number))).files
        except (TemplateError, ValueError):
            return {}

    async def list(self, drafts: Drafts) -> list[TemplateState]:
        """Every draft and every published template, sorted; one may be there without the other."""
        await self.refresh()
        found = await asyncio.to_thread(_load, drafts)
        return [
            await self._state(key, found.get(key), str(drafts.folder(*key))) for key in sorted({*found, *self._current})
        ]

    async def _state(self, key: Key, draft: Draft | TemplateError | None, folder: str) -> TemplateState:
        version = self.current(*key)
        if draft is None:
            return TemplateState(*key, version, "none", folder=folder)
        if isinstance(draft, TemplateError):
            return TemplateState(*key, version, "broken", problem=draft.text, folder=folder)
        seeds, languages = tuple(one.name for one in draft.seeds), draft.snapshot.languages
        if version is None:
            return TemplateState(*key, None, "new", draft.labels, "", seeds, languages, folder)
        row = await TemplateVersionRow.get(event_type=key[0], channel=key[1], number=version).only("id", "digest")
        state = "published" if row.digest == draft.snapshot.digest else "changed"
        return TemplateState(*key, version, state, draft.labels, "", seeds, languages, folder)

    def check(self, draft: Draft) -> None:
        """Render the draft for every seed in its language, and in every language there is.

        Raises `TemplateError`.
        """
        snapshot = draft.snapshot
        if not draft.seeds:
            raise TemplateError(
                snapshot.name, "seeds.yaml holds no seed; a template is only published once one renders"
            )
        compiled = self._renderer.compile(snapshot)
        compiled.check()
        spoken = set()
        for seed in draft.seeds:
            spoken.add(self._try(compiled, draft, seed, ""))
        for language in set(compiled.languages) - spoken:
            self._try(compiled, draft, draft.seeds[0], language)

    def _try(self, compiled: Compiled, draft: Draft, seed: Seed, language: str) -> str:
        try:
            event = seed.event(draft.snapshot.event_type, compiled.channel, self._now())
            return self._render(compiled, draft.snapshot, event, language)[0]
        except TemplateError as error:
            within = f", in {language}" if language else ""
            raise TemplateError(draft.snapshot.name, f"seed {seed.name!r}{within}: {error}") from error

    async def preview(
        self, source: Draft | TemplateRef, recipient: Seed | Event, language: str = ""
    ) -> tuple[str, Content]:
        """What a seed, or whom an event is for, would be sent in their own language or another; and in which language
        that is. Rendered in a thread: whoever tries a template keeps no event waiting. Raises `TemplateError`."""
        if isinstance(source, Draft):
            snapshot = source.snapshot
        else:
            snapshot = await self.show(source.event_type, source.channel, source.version)

        def render() -> tuple[str, Content]:
            compiled = self._renderer.compile(snapshot)
            event = recipient
            if isinstance(event, Seed):
                event = event.event(snapshot.event_type, compiled.channel, self._now())
            return self._render(compiled, snapshot, event, language)

        return await asyncio.to_thread(render)

    def _render(self, compiled: Compiled, snapshot: Snapshot, event: Event, language: str) -> tuple[str, Content]:
        chosen = compiled.language(canonical(language) or event_language(event))
        return chosen, compiled.render(
            chosen, event_context(event, self._brand(snapshot.event_type, snapshot.meta.brand))
        )

    async def _record(
        self,
        key: Mapping[str, Any],
        action: str,
        version: int | None,
        last: PublicationRow | None,
        actor: Actor,
        on: Any,
    ) -> None:
        await PublicationRow.create(**key, action=action, version=version, at=self._microseconds(), by=actor.login)
        detail = {"version": version, "before": None if last is None else last.version}
        await record(self._store, [Change(f"templates.{action}", "/".join(key.values()), detail)], actor, on)

    def _microseconds(self) -> int:
        return (self._now() - _EPOCH) // timedelta(microseconds=1)


def _load(drafts: Drafts) -> dict[Key, Draft | TemplateError]:
    """Every draft there is, its digest made, or what is wrong with it. Reads many files: for a thread."""
    found: dict[Key, Draft | TemplateError] = {}
    for key in drafts.list():
        try:
            found[key] = draft = drafts.load(*key)
            _ = draft.snapshot.digest
        except TemplateError as error:
            found[key] = error
    return found


async def _numbers(event_type: str, channel: str) -> list[int]:
    rows = (
        await TemplateVersionRow.filter(event_type=event_type, channel=channel).order_by("number").only("id", "number")
    )
    return [row.number for row in rows]


def _no_version(version: int, numbers: list[int]) -> str:
    if not numbers:
        return "was never published"
    return f"has no version {version}; there are {', '.join(map(str, numbers))}"
