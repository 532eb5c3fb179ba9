"""Information systems: they push events over SOAP and write down what they were told, one line per call."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TypeAlias

import aiohttp

from .oracle import Call

_ENVELOPE = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:nms:rtEvent">
<soapenv:Body>{call}</soapenv:Body></soapenv:Envelope>"""
_ONE = "<urn:PushEvent><urn:sessiontoken/><urn:domEvent>{event}</urn:domEvent></urn:PushEvent>"
_MANY = (
    "<urn:PushEvents><urn:sessiontoken/><urn:domEventCollection><Events>{event}</Events></urn:domEventCollection>"
    "</urn:PushEvents>"
)
_ID = re.compile(r"<[\w:]*plId[^>]*>(\d+)<")
_IDS = re.compile(r"<rtEvent\b[^>]*\bid=\"(\d+)\"")
_IN_DOUBT = re.compile(r"not known|did not say whether")
"""Faults that say so themselves: the server cannot tell whether the events are stored."""
PAUSE = 0.1
"""Seconds a caller waits after a call that brought no id."""


def event_xml(key: str, type: str = "note", ctx: str = "", attributes: str = "") -> str:
    return (
        f'<rtEvent type="{type}" email="a{key}@example.com" externalId="{key}" origin="rig"{attributes}>'
        f"<ctx><n>{key}</n>{ctx}</ctx></rtEvent>"
    )


Shape: TypeAlias = Callable[[str, str, str, str], str]
"""An event's XML from its key, its type, more of its `ctx`, and more attributes."""


class Callers:
    """Pushes to the `urls` in turn, events of one `shape`. `calls` is the record."""

    def __init__(self, urls: Sequence[str], seconds: float = 15.0, prefix: str = "k", shape: Shape = event_xml) -> None:
        self._urls = itertools.cycle(urls)
        self._timeout = aiohttp.ClientTimeout(seconds)
        self._numbers = itertools.count(1)
        self._prefix = prefix
        self._shape = shape
        self._client: aiohttp.ClientSession | None = None
        self.calls: list[Call] = []
        self.acked = 0
        """Events whose ids were told. Counted along: they are asked for after each call."""
        self.retry_after = 0
        """Answers that named a time to come back."""

    async def __aenter__(self) -> Callers:
        self._client = aiohttp.ClientSession(timeout=self._timeout, connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        await self._client.close()

    def key(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"

    async def push(
        self,
        *keys: str,
        url: str = "",
        type: str = "note",
        ctx: str = "",
        priority: int | None = None,
        scheduled: float | None = None,
        expires: float | None = None,
        attributes: str = "",
    ) -> Call:
        """One call: `PushEvent` for one key, `PushEvents` for several."""
        assert self._client is not None
        keys = keys or (self.key(),)
        if priority is not None:
            attributes += f' priority="{priority}"'
        for name, at in (("scheduled", scheduled), ("expiration", expires)):
            if at is not None:
                attributes += f' {name}="{datetime.fromtimestamp(at, UTC).isoformat()}"'
        events = "".join(self._shape(key, type, ctx, attributes) for key in keys)
        body = _ENVELOPE.format(call=(_ONE if len(keys) == 1 else _MANY).format(event=events))
        began = time.time()
        said, ids, text = await self._post(f"{url or next(self._urls)}/nl/jsp/soaprouter.jsp", body, len(keys))
        call = Call(keys, said, ids, began, time.time(), scheduled, expires, text)
        self.calls.append(call)
        if said == "acked":
            self.acked += len(ids)
        return call

    async def _post(self, url: str, body: str, events: int) -> tuple[str, tuple[int, ...], str]:
        assert self._client is not None
        method = "PushEvent" if events == 1 else "PushEvents"
        headers = {"Content-Type": "text/xml", "SOAPAction": f"nms:rtEvent#{method}"}
        try:
            async with self._client.post(url, data=body.encode(), headers=headers) as response:
                self.retry_after += "Retry-After" in response.headers
                status, text = response.status, await response.text()
        except aiohttp.ClientConnectorError as error:
            return "refused", (), str(error)  # nothing was said, so nothing can have been heard
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return "indeterminate", (), f"{type(error).__name__}: {error}"
        ids = tuple(int(one) for one in (_ID if events == 1 else _IDS).findall(text))
        if status == 200 and len(ids) == events:
            return "acked", ids, ""
        return ("indeterminate" if _IN_DOUBT.search(text) or status == 200 else "refused"), (), text[-400:]

    async def insist(self, *keys: str, seconds: float = 60.0, type: str = "keyed") -> Call:
        """Push the same keys until they are acknowledged."""
        end = time.monotonic() + seconds
        while True:
            call = await self.push(*keys, type=type)
            if call.said == "acked" or time.monotonic() > end:
                return call
            await asyncio.sleep(PAUSE)

    async def load(
        self,
        until: Callable[[], bool],
        callers: int = 8,
        rate: float | None = None,
        type: str = "note",
        ctx: str = "",
    ) -> None:
        """`callers` push one event after another, each a new one, at `rate` events a second in all, until told."""
        period = callers / rate if rate else 0.0

        async def caller(number: int) -> None:
            await asyncio.sleep(period * number / callers)
            while not until():
                began = time.monotonic()
                call = await self.push(type=type, ctx=ctx)
                wait = period - (time.monotonic() - began)
                if call.said != "acked":
                    wait = max(wait, PAUSE)
                if wait > 0:
                    await asyncio.sleep(wait)

        await asyncio.gather(*(caller(number) for number in range(callers)))

    async def pushed(self, acked: int, callers: int = 8, rate: float | None = None, seconds: float = 300.0) -> None:
        """Load until so many more events are acknowledged, or time is up."""
        goal, end = self.acked + acked, time.monotonic() + seconds
        await self.load(lambda: self.acked >= goal or time.monotonic() > end, callers, rate)
