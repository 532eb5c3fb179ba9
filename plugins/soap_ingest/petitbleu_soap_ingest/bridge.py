"""From aiohttp to a method of spyne's and back, on the event loop."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import Mapping
from functools import cache

from aiohttp import web
from petitbleu import Unavailable, XmlLimits, XmlRefused, parse_xml

from . import answers
from .envelope import (
    SOAP11,
    URN,
    VERSIONS,
    Envelope,
    Version,
    actions,
    carried,
    check_actions,
    namespace,
    read_envelope,
    split_action,
)
from .faults import MethodUnknown, fault_of, is_expected
from .operations import Call, Door
from .pages import ROUTER
from .protocol import Bound, methods
from .service import applications

logger = logging.getLogger("petitbleu.soap")


def soap_route(door: Door) -> web.RouteDef:
    """The one address of every SOAP call. Whatever happens, the answer is an envelope."""
    services = _services()
    limits = door.settings.xml_limits(door.services.body_limit)

    async def handle(request: web.Request) -> web.Response:
        named = actions(request)
        version = SOAP11
        service, method = split_action(named[0]) if named else ("", "")
        try:
            root = parse_xml(await _body(request, limits), request.charset, limits)
            version = VERSIONS.get(namespace(root), SOAP11)
            envelope = read_envelope(root)
            service, method = envelope.service, envelope.method
            check_actions(envelope, named)
            call = Call(door, envelope, carried(request, door.settings.cookie))
            async with asyncio.timeout(door.settings.deadline):
                answer = await _method(services, envelope)(call)
        except Exception as error:
            _log(error, service, method)
            retry = _retry_after(error, door.settings.retry_after)
            return _response(version, 500, answers.fault(version, *fault_of(error, service, method)), retry)
        return _response(version, 200, answer, None)

    return web.post(ROUTER, handle)


@cache
def _services() -> Mapping[str, Mapping[str, Bound]]:
    """The methods of every service. To make them is a large part of a start, and they are the same for whoever checks
    the configuration and for the server after it."""
    return {name: methods(application) for name, application in applications().items()}


async def _body(request: web.Request, limits: XmlLimits) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise XmlRefused(f"the document has more than {limits.size} bytes, which is the limit") from None
    except ConnectionError:
        raise XmlRefused("the connection ended in the middle of the body") from None
    except web.RequestPayloadError:
        raise XmlRefused("the body does not agree with its Content-Encoding or Transfer-Encoding") from None


def _method(services: Mapping[str, Mapping[str, Bound]], envelope: Envelope) -> Bound:
    """The one that is called. A service for events takes those it does not know for `PushEvent`, which answers them."""
    known = services.get(envelope.service)
    if known is None:
        names = ", ".join(services)
        raise MethodUnknown(f"there is no service {envelope.service[:100]!r} here; known are {names}")
    found = known.get(str(envelope.element.tag)) or known.get(f"{{{URN}{envelope.service}}}PushEvent")
    if found is None:
        raise MethodUnknown(f"the service {envelope.service} has no method {envelope.method[:100]!r}")
    return found


def _retry_after(error: Exception, default: int) -> int | None:
    if isinstance(error, Unavailable):
        return max(1, math.ceil(error.retry_after))
    return default if isinstance(error, TimeoutError) else None


def _log(error: Exception, service: str, method: str) -> None:
    """Never the error's own text: it may quote what the caller sent."""
    kind = type(error).__name__
    if is_expected(error):
        logger.info("refused %.100r %.100r: %s", service, method, kind)
    else:
        trace = "".join(traceback.format_tb(error.__traceback__))
        logger.error("%.100r %.100r failed: %s\n%s", service, method, kind, trace)


def _response(version: Version, status: int, body: bytes, retry_after: int | None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.Response(status=status, body=body, content_type=version.content_type, charset="utf-8", headers=headers)
