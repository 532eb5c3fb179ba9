"""Who changed what, as operators look it up."""

from __future__ import annotations

from ..audit import recorded
from ..errors import AccessDenied
from ..operating import AuditEntry, AuditFilter, Page
from ..store import Store
from ..types import Operator
from .listing import Sizes, clean, page, place


class DeskAudit:
    """Implements `operating.AuditDesk`."""

    def __init__(self, store: Store, sizes: Sizes) -> None:
        self._store = store
        self._sizes = sizes

    async def find(self, wanted: AuditFilter, operator: Operator, limit: int, cursor: str = "") -> Page[AuditEntry]:
        if not operator.may("audit") or operator.event_types is not None or operator.brands is not None:
            raise AccessDenied
        clean(wanted.action, wanted.object, wanted.by, wanted.origin)
        limit = self._sizes.checked(limit)
        before = place(cursor)
        found = await recorded(
            self._store,
            action=wanted.action,
            object_=wanted.object,
            by=wanted.by,
            origin=wanted.origin,
            before=None if before is None else before[1],
            limit=limit + 1,
        )
        return page([((0, one.id), one) for one in found], limit)
