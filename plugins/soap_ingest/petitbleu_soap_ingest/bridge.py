"""From aiohttp to spyne and back, on the event loop: spyne dispatches and writes, the core is awaited in between."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from copy import copy
from inspect import iscoroutine
from typing import Any

from aiohttp import web
from petitbleu import Unavailable, XmlLimits, XmlRefused, parse_xml

from . import answers
from .compat import Fault, MethodContext, ServerBase
from .envelope import (
    SOAP11,
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
from .service import applications

logger = logging.getLogger("petitbleu.soap")


class Endpoint(ServerBase):  # type: ignore[misc]  # spyne has no types
    """One service, as spyne sees a server: it waits for nothing, the method's coroutine is awaited here."""

    transport = "http://schemas.xmlsoap.org/soap/http"

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._contexts: dict[str, Any] = {}

    def _context(self, call: Call) -> Any:
        """spyne's context of the call: a copy of the one it made for the first call of the same method."""
        tag = str(call.envelope.element.tag)
        known = self._contexts.get(tag)
        if known is not None:
            ctx = copy(known)
            ctx.udc = call
            ctx.in_document = ctx.in_body_doc = call.envelope.element
            return ctx
        first = MethodContext(self, MethodContext.SERVER)
        first.udc = call
        (ctx,) = self.generate_contexts(first)
        if ctx.in_error is not None:
            raise MethodUnknown(f"the service {call.service} has no method {call.envelope.method[:100]!r}")
        if call.envelope.method == ctx.descriptor.name:
            self._contexts[tag] = copy(ctx)
            self._contexts[tag].udc = self._contexts[tag].in_document = self._contexts[tag].in_body_doc = None
        return ctx

    async def answer(self, call: Call) -> bytes:
        ctx = self._context(call)
        self.app.in_protocol.deserialize(ctx, message=self.app.in_protocol.REQUEST)
        self.get_out_object(ctx)
        if isinstance(ctx.out_error, Fault):
            raise ctx.out_error
        # spyne wraps what a method gives back in a list, unless it declares several results
        running = ctx.out_object if iscoroutine(ctx.out_object) else ctx.out_object[0]
        ctx.out_object = await running
        self.get_out_string(ctx)
        return b"".join(ctx.out_string)


def soap_route(door: Door) -> web.RouteDef:
    """The one address of every SOAP call. Whatever happens, the answer is an envelope."""
    endpoints = {name: Endpoint(application) for name, application in applications().items()}
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
                answer = await _endpoint(endpoints, envelope).answer(call)
        except Exception as error:
            _log(error, service, method)
            retry = _retry_after(error, door.settings.retry_after)
            return _response(version, 500, answers.fault(version, *fault_of(error, service, method)), retry)
        return _response(version, 200, answer, None)

    return web.post(ROUTER, handle)


async def _body(request: web.Request, limits: XmlLimits) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise XmlRefused(f"the document has more than {limits.size} bytes, which is the limit") from None
    except ConnectionError:
        raise XmlRefused("the connection ended in the middle of the body") from None
    except web.RequestPayloadError:
        raise XmlRefused("the body does not agree with its Content-Encoding or Transfer-Encoding") from None


def _endpoint(endpoints: dict[str, Endpoint], envelope: Envelope) -> Any:
    endpoint = endpoints.get(envelope.service)
    if endpoint is None:
        known = ", ".join(endpoints)
        raise MethodUnknown(f"there is no service {envelope.service[:100]!r} here; known are {known}")
    return endpoint


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
