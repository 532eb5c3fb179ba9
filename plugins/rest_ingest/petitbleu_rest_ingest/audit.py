"""Who changed what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from petitbleu import AuditFilter
from pydantic import Field

from .listing import Listing, next_page
from .operation import Answer, Call, Operation, Success, Told


class AuditedChange(Told):
    """A change by an operator, or by feedback."""

    id: str
    at: datetime
    by: str = Field(description="The operator; `petitbleu` is feedback.")
    origin: str | None = Field(None, description="The way in: `cli`, `rest`, `console`, …")
    address: str | None = Field(None, description="The IP address it came from.")
    action: str = Field(description="Such as `suppressions.add`.")
    object: str = Field(
        description="What it was done to, such as `email/zoe@example.com` or `event/72057594037927937`."
    )
    detail: dict[str, Any]


class Audit(Told):
    """A piece of the audit, the latest first."""

    changes: tuple[AuditedChange, ...]
    cursor: str | None = Field(None, description="Asks for the next piece; missing where there is none.")


class AuditQuery(Listing):
    action: str = Field("", description="Only this action, or all that begin so: `suppressions`.")
    object: str = Field("", description="Only what was done to this.")
    by: str = Field("", description="Only what this operator did.")
    origin: str = Field("", description="Only what came this way.")


async def list_audit(call: Call, query: AuditQuery) -> Answer:
    wanted = AuditFilter(query.action, query.object, query.by, query.origin)
    page = await call.door.services.desk.audit.find(wanted, call.operator, query.rows(call), query.cursor)
    changes = tuple(
        AuditedChange(
            id=str(one.id),
            at=one.at,
            by=one.by,
            origin=one.origin or None,
            address=one.address or None,
            action=one.action,
            object=one.object,
            detail=dict(one.detail),
        )
        for one in page.items
    )
    return Answer(200, Audit(changes=changes, cursor=page.cursor or None), next_page(call, page.cursor))


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v1/audit",
        name="listAudit",
        summary="Who changed what, the latest first",
        text="For operators whose rights are not narrowed to event types or brands.",
        tag="Audit",
        right="audit",
        run=list_audit,
        query=AuditQuery,
        answers={200: Success("A piece of it.", Audit, headers={"Link": "Where the next piece is."})},
    ),
)
