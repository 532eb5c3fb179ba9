"""What every HTTP request meets: trusted proxies, errors without a stack trace, and the health pages."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence, Set

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from ..metrics import Metrics
from ..networks import AnyNetwork, is_address, within
from ..operating import Health

logger = logging.getLogger("petitbleu.http")

BUSY = "2"
"""`Retry-After` of what is refused unread, in seconds."""
KEPT = 100
"""Requests after which, on average, a caller of one of several processes is asked for another connection."""


def trusted_proxies(networks: Sequence[AnyNetwork]) -> Middleware:
    """Let `X-Forwarded-For`, `-Proto` and `-Host` speak for the caller, only as far as trusted proxies wrote them.

    The caller is the last address in the chain that is not a trusted proxy; what stands before it could be made up.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = request.remote or ""
        if not networks or not within(peer, networks):
            return await handler(request)
        chain = [part.strip() for value in request.headers.getall("X-Forwarded-For", []) for part in value.split(",")]
        while chain and within(peer, networks):
            peer = chain.pop()
        changes: dict[str, str] = {"remote": peer} if is_address(peer) else {}
        scheme = request.headers.get("X-Forwarded-Proto", "").strip().lower()
        if scheme in ("http", "https"):
            changes["scheme"] = scheme
        host = request.headers.get("X-Forwarded-Host", "").strip()
        if host and all(character.isalnum() or character in ".-:[]" for character in host):
            changes["host"] = host
        return await handler(request.clone(**changes))  # type: ignore[arg-type]  # aiohttp types each keyword apart

    return middleware


def measured(
    metrics: Metrics,
    requests: int,
    exempt: Set[str],
    leaving: asyncio.Event,
    parting: float = 0.0,
    random: Callable[[], float] = random.random,
) -> Middleware:
    """Count what is answered, and refuse at once what is more than `requests` at a time.

    The paths of `exempt` are answered all the same: they tell what is wrong. From when `leaving` is set, each answer is
    the last one on its connection; before that, an answer is with the probability `parting`. So the connections that
    callers keep do not stay with the process that was there first: whoever is idle takes the next one.
    """
    under_way = 0

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal under_way
        if under_way >= requests and request.path not in exempt:
            metrics.limit_reached("http.requests")
            metrics.answered(_path(request), 503)
            # what is left unread of the request would be taken for the next one
            headers = {"Retry-After": BUSY, "Connection": "close"}
            return web.Response(status=503, text=f"More than {requests} requests at a time\n", headers=headers)
        under_way += 1
        status = 500
        try:
            with metrics.request():
                response = await handler(request)
            status = response.status
            if leaving.is_set() or (parting and not response.prepared and random() < parting):
                response.force_close()
            return response
        except web.HTTPException as error:
            status = error.status
            if leaving.is_set():
                error.force_close()
            raise
        finally:
            under_way -= 1
            metrics.answered(_path(request), status)
            if request.content.total_bytes > request.client_max_size:
                metrics.limit_reached("http.body_limit")

    return middleware


def _path(request: web.Request) -> str:
    """As the route has it, so that callers cannot make labels."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


@web.middleware
async def plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An unexpected failure is logged with its trace and answered without it; an answer that has begun breaks off."""
    try:
        response = await handler(request)
    except web.HTTPException:
        raise
    except web.RequestPayloadError:
        response = _instead(request, 400, "The body is not what its headers say\n")
        # what is left unread of the request would be taken for the next one
        response.force_close()
    except (Exception, SystemExit, GeneratorExit):
        # a plugin's route that exits ends its own request, not the server
        logger.exception("%s %s failed", request.method, request.path)
        response = _instead(request, 500, "Internal error\n")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _instead(request: web.Request, status: int, text: str) -> web.Response:
    if request.writer.output_size and request.transport is not None:
        # another answer would end up within the one that has begun, and be taken for its rest
        request.transport.close()
    return web.Response(status=status, text=text)


def quiet() -> None:
    """Let what is no HTTP, and a body that is not what its headers say, not fill the log with traces: who sends it is
    told 400."""
    logging.getLogger("aiohttp.server").addFilter(_is_ours)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError | web.RequestPayloadError)


def health_routes(look: Callable[[], Awaitable[Health]]) -> list[web.RouteDef]:
    """`/healthz`: the process answers. `/readyz`: it is fit for work."""

    async def healthz(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(request: web.Request) -> web.Response:
        health = await look()
        body = {
            "status": health.status,
            "checks": [
                {"plugin": plugin, "name": check.name, "ok": check.ok, "text": check.text, "warning": check.warning}
                for plugin, group in health.checks.items()
                for check in group
            ],
        }
        return web.Response(
            status=200 if health.ready else 503,
            text=json.dumps(body, indent=2, ensure_ascii=False) + "\n",
            content_type="application/json",
        )

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]
