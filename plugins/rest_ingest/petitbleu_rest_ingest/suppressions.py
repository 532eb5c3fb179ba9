"""The suppression list: looked at, changed, read in and written out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from petitbleu import InputRefused, ListDefaults, SuppressionFilter, SuppressionReason
from petitbleu import ListForm as Form
from petitbleu import Suppression as Entry
from pydantic import AwareDatetime, Field

from .listing import Listing, next_page
from .operation import JSON, LINES, Answer, Body, Call, Given, Operation, Raw, Success, Told
from .problems import FieldError, Problem

TAG = "Suppressions"
ROOT = "/api/v1/suppressions"
CSV = "text/csv"


class Suppression(Told):
    """An entry of the list."""

    channel: str
    address: str = Field(description="As addresses are compared; of a device's token a hash.")
    brand: str | None = Field(None, description="Missing: for all brands.")
    reason: SuppressionReason
    text: str | None = Field(None, description="Why, in words.")
    created: datetime | None = None
    expires: datetime | None = Field(None, description="Missing: it holds for ever.")
    by: str = Field(description="Who put it there; `petitbleu` is feedback.")


class Suppressions(Told):
    """A piece of the list, the latest first."""

    suppressions: tuple[Suppression, ...]
    cursor: str | None = Field(None, description="Asks for the next piece; missing where there is none.")


class Removed(Told):
    """What was taken off the list."""

    removed: tuple[Suppression, ...]
    missing: tuple[str, ...] = Field(description="Addresses that were not on it.")


class Imported(Told):
    """How many entries were read."""

    imported: int
    dry_run: bool


class Which(Given):
    """Which entries are meant."""

    channel: str = Field("", description="Only of this channel.")
    address: str = Field("", description="Only this address; needs its `channel`.")
    brand: str | None = Field(None, description="Only for this brand; empty: what holds for all.")
    reason: SuppressionReason | None = Field(None, description="Only with this reason.")
    expired: bool = Field(False, description="Also what is over and not deleted yet.")

    def wanted(self) -> SuppressionFilter:
        return SuppressionFilter(self.channel, self.address, self.brand, self.reason or "", self.expired)


class ListQuery(Which, Listing):
    """Of which entries a piece is listed."""


class ExportQuery(Which):
    form: Form = Field("json", description="`json`, an array with an entry a line; or `csv`, with a head line.")


class NewSuppression(Given):
    """An address that is not to be written to any more."""

    channel: str
    address: str = Field(min_length=1, max_length=4096)
    brand: str = Field("", description="For messages of this brand alone.")
    reason: SuppressionReason = SuppressionReason.MANUAL
    text: str = Field("", max_length=1000, description="Why, in words.")
    expires: AwareDatetime | None = Field(None, description="Until then; without it for ever.")


class Removal(Given):
    """Addresses that may be written to again."""

    channel: str
    addresses: tuple[str, ...] = Field(min_length=1, max_length=1000)
    brand: str | None = Field(None, description="What holds for this brand alone; empty: what holds for all.")
    reason: SuppressionReason | None = Field(None, description="What has this reason alone.")


class ImportQuery(Given):
    channel: str = Field("", description="Of entries that name none.")
    reason: SuppressionReason = Field(SuppressionReason.MANUAL, description="Of entries that name none.")
    brand: str = Field("", description="Of entries that name none; empty: all brands.")
    country: str = Field("", max_length=2, description="Where phone numbers without + are dialled, such as `FR`.")
    dry_run: bool = Field(False, description="Read and check, change nothing.")


def _told(one: Entry) -> Suppression:
    return Suppression(
        channel=one.channel,
        address=one.address,
        brand=one.brand or None,
        reason=one.reason,
        text=one.text or None,
        created=one.created,
        expires=one.expires,
        by=one.by,
    )


async def list_suppressions(call: Call, query: ListQuery) -> Answer:
    try:
        page = await call.door.services.desk.suppressions.find(
            query.wanted(), call.operator, query.rows(call), query.cursor
        )
    except InputRefused as refused:
        raise _parameters(refused) from None
    told = Suppressions(suppressions=tuple(map(_told, page.items)), cursor=page.cursor or None)
    return Answer(200, told, next_page(call, page.cursor))


def _parameters(refused: InputRefused) -> Problem:
    errors = [FieldError(parameter=name, detail=text) for name, text in refused.problems]
    return Problem("invalid-parameters", "A query parameter cannot be used.", errors)


async def add_suppression(call: Call, body: NewSuppression) -> Answer:
    made = await call.door.services.desk.suppressions.add(
        body.channel,
        body.address,
        call.actor,
        brand=body.brand,
        reason=body.reason,
        text=body.text,
        expires=body.expires,
    )
    return Answer(201, _told(made))


async def remove_suppressions(call: Call, body: Removal) -> Answer:
    done = await call.door.services.desk.suppressions.remove(
        body.channel, body.addresses, call.actor, brand=body.brand, reason=body.reason or ""
    )
    return Answer(200, Removed(removed=tuple(map(_told, done.gone)), missing=tuple(done.missing)))


async def import_suppressions(call: Call, query: ImportQuery, body: Raw) -> Answer:
    try:
        text = body.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem("invalid-body", f"The body is not UTF-8: byte {error.start}.") from None
    form: Form = "csv" if body.media == CSV else "json"
    defaults = ListDefaults(query.channel, query.reason, query.brand, query.country)
    count = await call.door.services.desk.suppressions.read_in(
        text, form, call.actor, defaults=defaults, rehearsal=query.dry_run
    )
    return Answer(200, Imported(imported=count, dry_run=query.dry_run))


async def export_suppressions(call: Call, query: ExportQuery) -> Answer:
    pieces = call.door.services.desk.suppressions.write_out(query.wanted(), query.form, call.operator)
    try:
        first = await anext(pieces)
    except InputRefused as refused:
        raise _parameters(refused) from None
    return Answer(200, _from(first, pieces), media=CSV if query.form == "csv" else JSON)


async def _from(first: str, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for piece in pieces:
        yield piece


OPERATIONS = (
    Operation(
        method="GET",
        path=ROOT,
        name="listSuppressions",
        summary="Addresses that are not written to, the latest first",
        tag=TAG,
        right="suppress",
        run=list_suppressions,
        query=ListQuery,
        answers={200: Success("A piece of the list.", Suppressions, headers={"Link": "Where the next piece is."})},
    ),
    Operation(
        method="POST",
        path=ROOT,
        name="addSuppression",
        summary="Write no more to an address",
        text="An entry of the same channel, address, brand and reason is replaced.",
        tag=TAG,
        right="suppress",
        run=add_suppression,
        body=Body({JSON: NewSuppression}),
        answers={201: Success("It is on the list.", Suppression)},
    ),
    Operation(
        method="POST",
        path=f"{ROOT}/remove",
        name="removeSuppressions",
        summary="Write to addresses again",
        text="A POST, since an address in the path of a DELETE would stand in logs on the way.",
        tag=TAG,
        right="suppress",
        run=remove_suppressions,
        body=Body({JSON: Removal}),
        answers={200: Success("What was taken off the list.", Removed)},
    ),
    Operation(
        method="POST",
        path=f"{ROOT}/import",
        name="importSuppressions",
        summary="Add what a list names, all of it or nothing",
        text="CSV whose first line names the columns, a JSON array of objects, or one object a line. Columns are "
        "`channel`, `address`, `brand`, `reason`, `text`, `created`, `expires` and `by`; only `address` is needed.",
        tag=TAG,
        right="suppress",
        run=import_suppressions,
        query=ImportQuery,
        body=Body({CSV: str, JSON: list[dict[str, str | None]], LINES: str}, raw=True),
        answers={200: Success("All of it is read.", Imported)},
        problems=frozenset({"invalid-fields"}),
    ),
    Operation(
        method="GET",
        path=f"{ROOT}/export",
        name="exportSuppressions",
        summary="The list as a file",
        text="What is exported can be imported. If it breaks off on the way, its last chunk is missing.",
        tag=TAG,
        right="suppress",
        run=export_suppressions,
        query=ExportQuery,
        answers={200: Success("The list.", list[dict[str, str | None]], also={CSV: str})},
    ),
)
