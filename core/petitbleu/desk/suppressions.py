"""The suppression list as operators read and change it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta, tzinfo

from ..data import is_storable
from ..errors import AccessDenied, InputRefused, QueryRefused
from ..operating import (
    Actor,
    ListDefaults,
    ListForm,
    Page,
    Suppression,
    SuppressionFilter,
    SuppressionReason,
    Unsuppressed,
)
from ..store import Store
from ..store.payload import moment
from ..suppression.exchange import Reader, Writer
from ..suppression.register import Register
from ..types import Operator
from .endings import ending
from .listing import Sizes, clean, page, place

PIECE = 64 * 1024
"""Characters of an export that are gathered before they are given."""
_MOST_TEXT = 1000


class DeskSuppressions:
    """Implements `operating.SuppressionDesk`. `brands` are those declared; times without a zone are of `zone`."""

    def __init__(self, store: Store, register: Register, brands: Collection[str], zone: tzinfo, sizes: Sizes) -> None:
        self._store = store
        self._register = register
        self._brands = brands
        self._zone = zone
        self._sizes = sizes

    async def find(
        self, wanted: SuppressionFilter, operator: Operator, limit: int, cursor: str = ""
    ) -> Page[Suppression]:
        brands = _brands(operator)
        limit = self._sizes.checked(limit)
        return page(await self._register.find(self._wanted(wanted), limit + 1, place(cursor), brands), limit)

    async def add(
        self,
        channel: str,
        address: str,
        actor: Actor,
        *,
        brand: str = "",
        reason: SuppressionReason = SuppressionReason.MANUAL,
        text: str = "",
        expires: datetime | timedelta | None = None,
    ) -> Suppression:
        self._known_brand(brand, _brands(actor.operator))
        now = moment(self._store.now())
        until = ending(expires, now)
        if until is not None and until <= now:
            raise InputRefused([("expires", f"{until:%Y-%m-%d %H:%M:%S} UTC is over already")])
        if len(text) > _MOST_TEXT or not is_storable(text):
            raise InputRefused([("text", f"has more than {_MOST_TEXT} characters, or a NUL character or half of one")])
        entry = Suppression(channel, self._key(channel, address), brand, reason, text, now, until, actor.login)
        await self._register.put([entry], actor, "suppressions.add")
        return entry

    async def remove(
        self, channel: str, addresses: Sequence[str], actor: Actor, *, brand: str | None = None, reason: str = ""
    ) -> Unsuppressed:
        clean(brand, reason)
        brands = _brands(actor.operator)
        if brands is not None and brand not in brands:
            raise InputRefused([("brand", _one_of(brands))])
        keys = {one: self._key(channel, one) for one in addresses}
        gone = await self._register.remove(channel, [*keys.values()], actor, brand, reason)
        found = {one.address for one in gone}
        return Unsuppressed(gone, [one for one, key in keys.items() if key not in found])

    async def read_in(
        self,
        text: str,
        form: ListForm,
        actor: Actor,
        *,
        defaults: ListDefaults = ListDefaults(),
        name: str = "list",
        rehearsal: bool = False,
    ) -> int:
        brands = _brands(actor.operator)
        self._known_brand(defaults.brand, None)
        reader = Reader(self._register.key, self._zone, self._brands if brands is None else brands, defaults)
        # a long list is a long work
        entries = await asyncio.to_thread(reader.read, text, form, name)
        if brands is not None and any(one.brand not in brands for one in entries):
            raise InputRefused([("brand", _one_of(brands))])
        if not rehearsal:
            await self._register.put(entries, actor, "suppressions.import")
        return len(entries)

    async def write_out(self, wanted: SuppressionFilter, form: ListForm, operator: Operator) -> AsyncIterator[str]:
        brands = _brands(operator)
        out = io.StringIO()
        writer = Writer(out, form)
        async for entry in self._register.walk(self._wanted(wanted), brands):
            writer.write(entry)
            if out.tell() >= PIECE:
                yield _taken(out)
        writer.end()
        yield _taken(out)

    def _wanted(self, wanted: SuppressionFilter) -> SuppressionFilter:
        """With the key in place of the address."""
        clean(wanted.channel, wanted.brand)
        if wanted.reason and wanted.reason not in list(SuppressionReason):
            raise QueryRefused(f"reason: {wanted.reason!r} should be one of {', '.join(SuppressionReason)}")
        if not wanted.address:
            return wanted
        if not wanted.channel:
            raise InputRefused([("address", "needs the channel, which says what kind of address it is")])
        key = self._key(wanted.channel, wanted.address)
        return SuppressionFilter(wanted.channel, key, wanted.brand, wanted.reason, wanted.expired)

    def _key(self, channel: str, address: str) -> str:
        try:
            return self._register.key(channel, address)
        except ValueError as error:
            text = str(error)
            if text.startswith("is "):
                raise InputRefused([("address", text)], f"{address!r} {text}") from None
            raise InputRefused([("channel", text)], text) from None

    def _known_brand(self, brand: str, among: Collection[str] | None) -> None:
        """`among` are the brands of a narrowed operator."""
        if among is not None and brand not in among:
            raise InputRefused([("brand", _one_of(among))])
        if brand and brand not in self._brands:
            text = f"{brand!r} is not declared in brands; there are: {', '.join(sorted(self._brands)) or 'none'}"
            raise InputRefused([("brand", text)], text)


def _brands(operator: Operator) -> Collection[str] | None:
    """The brands whose entries the operator may see and change; None: all, and those of no brand too. The list is not
    divided by event types."""
    if not operator.may("suppress") or operator.event_types is not None:
        raise AccessDenied
    return operator.brands


def _one_of(brands: Collection[str]) -> str:
    return f"should be one of those that the operator's rights reach: {', '.join(sorted(brands)) or 'none'}"


def _taken(out: io.StringIO) -> str:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text
