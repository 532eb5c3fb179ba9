"""Posts messages to receivers, and reads what they answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from petitbleu import Fetched, FetchError, GuardedClient, Notice, NotTold, Services, Told, __version__, retry_after

from .messages import message
from .settings import Endpoint, WebhookSettings
from .signing import headers, secret_bytes

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

GONE = 410


@dataclass(frozen=True, slots=True)
class Receiver:
    """An endpoint, ready to be posted to."""

    url: str
    secrets: Sequence[bytes]
    with_address: bool


class Sender:
    """Made by `open_sender`."""

    def __init__(self, settings: WebhookSettings, services: Services, client: GuardedClient) -> None:
        self._services = services
        self._client = client
        self._reply_length = settings.reply_length
        self._receivers = {name: receiver(one) for name, one in settings.subscriptions.items()}

    async def tell(self, notice: Notice) -> Told | NotTold:
        to = self._receivers[notice.subscription]
        addresses: Mapping[str, str] | None = None
        if to.with_address and notice.alert is None:
            event = await self._services.load_event(notice.event)
            addresses = {} if event is None else event.addresses
        body = message(notice, self._services.statuses, addresses)
        return await post(self._client, to, notice.key, body, self._services.now(), self._reply_length)


def receiver(endpoint: Endpoint) -> Receiver:
    secrets = [secret_bytes(one.get_secret_value()) for one in endpoint.secrets]
    return Receiver(endpoint.url, secrets, "address" in endpoint.include)


@asynccontextmanager
async def open_sender(
    settings: WebhookSettings, services: Services, resolver: AbstractResolver | None = None
) -> AsyncIterator[Sender]:
    connections = max(1, sum(one.concurrency for one in settings.subscriptions.values()))
    async with GuardedClient(settings.fetch, connections, resolver) as client:
        yield Sender(settings, services, client)


async def post(
    client: GuardedClient, to: Receiver, key: str, body: bytes, now: datetime, reply_length: int
) -> Told | NotTold:
    """Signed at this moment: receivers refuse what was signed long ago. Only a 2xx says that it has arrived."""
    sent = headers(to.secrets, key, int(now.timestamp()), body)
    sent |= {"Content-Type": "application/json", "User-Agent": f"Petitbleu/{__version__}"}
    try:
        got = await client.fetch(to.url, "POST", sent, body)
    except FetchError as error:
        if not error.status:
            return NotTold(str(error))
        # the status says what became of the message, whatever the body would have
        got = Fetched(error.status, {}, b"", to.url)
    if 200 <= got.status < 300:
        return Told(str(got.status))
    return NotTold(said(got, reply_length), retry_after(got.headers.get("retry-after"), now), got.status == GONE)


def said(got: Fetched, longest: int) -> str:
    """In a fit state to be stored and shown: one line."""
    text = " ".join("".join(c if c.isprintable() else " " for c in got.body.decode("utf-8", "replace")).split())
    return f"{got.status} {text[:longest]}".strip()
