"""Receipts that gateways post to us: who sent them is proven first, and they are stored before the answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from petitbleu import Receipt, ReceiptState, Scope, Services, Unavailable

from .filling import found_at, text_at
from .gateway_settings import Receipts, Signature
from .settings import SmsSettings

logger = logging.getLogger("petitbleu.sms")

MOST = 1000
"""Receipts of one request."""
LONGEST_NAME = 255


def routes(settings: SmsSettings, services: Services) -> Sequence[web.RouteDef]:
    """`/sms/receipts/NAME` for every gateway that sends receipts."""
    found = []
    for name, gateway in settings.gateways.items():
        if gateway.receipts is not None:
            hook = Webhook(name, gateway.receipts, services, settings.reply_length)
            found.append(web.post(f"/sms/receipts/{name}", hook.take))
            # a GET has no body that an HMAC could be of
            if gateway.receipts.signature.kind == "token":
                found.append(web.get(f"/sms/receipts/{name}", hook.take, allow_head=False))
    return found


class Webhook:
    """The receipts of one gateway."""

    def __init__(self, name: str, settings: Receipts, services: Services, reply_length: int) -> None:
        self._name = name
        self._settings = settings
        self._services = services
        self._reply_length = reply_length

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not genuine(self._settings.signature, request, body):
            logger.warning("%s: a receipt whose signature is wrong", self._name)
            return web.Response(status=403, text="the signature is wrong\n")
        try:
            data = _data(request, body)
            items = [data] if self._settings.items is None else _items(data, self._settings.items)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        receipts = [receipt for item in items if (receipt := self._receipt(item)) is not None]
        if len(receipts) < len(items):
            logger.warning("%s: %d receipts name no message", self._name, len(items) - len(receipts))
        try:
            if receipts:
                await self._services.record_receipts(receipts)
        except Unavailable as error:
            wait = str(max(1, int(error.retry_after)))
            return web.Response(status=503, text="not stored, come again\n", headers={"Retry-After": wait})
        return web.Response(status=self._settings.answer)

    def _receipt(self, item: Any) -> Receipt | None:
        settings = self._settings
        name = text_at(item, settings.id)
        if not 0 < len(name) <= LONGEST_NAME:
            return None
        said, code = text_at(item, settings.state), text_at(item, settings.error)
        state = settings.states.get(said, ReceiptState.UNDERWAY)
        rule = settings.errors.get(code)
        bounced = state is ReceiptState.BOUNCED
        return Receipt(
            channel="sms",
            provider=self._name,
            state=state,
            text=re.sub(r"[^\x20-\x7e]+", " ", f"{said} {code}".strip())[: self._reply_length],
            names=(name,),
            code=re.sub(r"[^\x21-\x7e]+", "", code)[:64],
            scope=rule.scope if bounced and rule else Scope.MESSAGE,
            permanent=rule.permanent if bounced and rule else bounced,
            at=read_time(text_at(item, settings.time)),
        )


def genuine(signature: Signature, request: web.Request, body: bytes) -> bool:
    """Whether the request proves its sender; compared in constant time."""
    given = (
        request.headers.get(signature.header, "") if signature.header else request.query.get(signature.parameter, "")
    )
    if not given.startswith(signature.prefix):
        return False
    given = given.removeprefix(signature.prefix).strip()
    secret = signature.secret.get_secret_value().encode()
    if signature.kind == "token":
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret)
    digest = hmac.new(secret, body, getattr(hashlib, signature.kind.removeprefix("hmac-"))).digest()
    wanted = digest.hex() if signature.encoding == "hex" else base64.b64encode(digest).decode()
    given = given.lower() if signature.encoding == "hex" else given
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _data(request: web.Request, body: bytes) -> Any:
    """JSON as it is; a form or a query as a mapping."""
    if request.method == "GET":
        return dict(request.query)
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000))
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None


def _items(data: Any, path: str) -> list[Any]:
    found = found_at(data, path)
    items: list[Any] = found[0] if len(found) == 1 and isinstance(found[0], list) else found
    if len(items) > MOST:
        raise ValueError(f"{len(items)} receipts in one request; the limit is {MOST}")
    return items


def read_time(text: str) -> datetime | None:
    """ISO 8601 with an offset (UTC without one), or seconds or milliseconds since 1970; None for anything else."""
    try:
        if re.fullmatch(r"\d{9,10}(\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        if re.fullmatch(r"\d{12,13}", text):
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
