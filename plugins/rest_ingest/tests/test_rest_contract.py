"""The plugin keeps the contract of ways in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import ClientSession, encode_basic_auth
from petitbleu import IncomingEvent
from petitbleu.testing import Answered, IntakeContract, Server


class TestRest(IntakeContract):
    plugin = "rest_ingest"
    path = "/api/v1/events"
    tells_rights = True

    async def call(
        self, server: Server, client: ClientSession, events: Sequence[IncomingEvent], login: str, password: str
    ) -> Answered:
        written = [{**one.attributes, **one.children} for one in events]
        # a single one as a list, too: `alone` would have no position
        try:
            body = orjson.dumps(written)
        except TypeError as error:
            raise ValueError(str(error)) from None
        headers = {"Content-Type": "application/json", "Authorization": encode_basic_auth(login, password)}
        async with client.post(server.url + self.path, data=body, headers=headers) as got:
            return _answered(got.status, await got.json(content_type=None))


def _answered(status: int, told: dict[str, Any]) -> Answered:
    if status == 202:
        return Answered(tuple(int(one["id"]) for one in told["events"]), text=str(told))
    steps = [one["pointer"].split("/")[1:3] for one in told.get("errors", ()) if "pointer" in one]
    return Answered(
        problems=frozenset((int(position) + 1, name) for position, name in steps),
        retry=status == 503,
        denied=status in (401, 403),
        text=f"{status} {told}",
    )
