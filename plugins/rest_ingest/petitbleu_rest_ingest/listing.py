"""Lists in pieces: how many rows one has, where it begins, and the link to the next."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from pydantic import Field

from .operation import Call, Given


class Sized(Given):
    limit: int = Field(
        50, ge=1, le=10_000, description="Rows at once. An instance may allow fewer (`limits.rows`), also without this."
    )

    def rows(self, call: Call) -> int:
        """As many as are asked for, which may be too many; without a number as many as there may be."""
        if "limit" in self.model_fields_set:
            return self.limit
        return min(self.limit, call.door.services.row_limit)


class Listing(Sized):
    cursor: str = Field("", description="What the piece before answered as `cursor`.")


def next_page(call: Call, cursor: str) -> Mapping[str, str]:
    """A header that leads to the next piece of a list (RFC 8288)."""
    if not cursor:
        return {}
    query = urlencode(
        [*((name, text) for name, text in call.request.query.items() if name != "cursor"), ("cursor", cursor)]
    )
    return {"Link": f'<{call.request.path}?{query}>; rel="next"'}
