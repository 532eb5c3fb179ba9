"""The pages beside the SOAP calls: WSDLs, and what monitoring looks at. None of them asks for a login."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version

from aiohttp import web
from petitbleu import Services

from . import wsdl
from .answers import element, utc_text

ROUTER = "/nl/jsp/soaprouter.jsp"

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


def page_routes(services: Services) -> Sequence[web.RouteDef]:
    async def description(request: web.Request) -> web.Response:
        told = "Host" in request.headers and _HOST.fullmatch(request.host)
        base = f"{request.scheme}://{request.host}" if told else services.public_url
        document = wsdl.document(request.query.get("schema", ""), base + ROUTER)
        if document is None:
            text = f"There is no such schema; give schema= one of {', '.join(wsdl.NAMES)}.\n"
            return web.Response(status=404, text=text)
        return web.Response(body=document, content_type="text/xml", charset="utf-8")

    async def queue(request: web.Request) -> web.Response:
        waiting, maximum = await services.pending()
        now = utc_text(services.now())
        if waiting >= maximum:
            return web.Response(text=f"Error\n{now}\nThe queue is full ({waiting}/{maximum})\n")
        return web.Response(text=f"Ok\n{now}\n{waiting}/{maximum} pending events\n")

    async def ping(request: web.Request) -> web.Response:
        return web.Response(text=f"OK\n{utc_text(services.now())}\n")

    async def test(request: web.Request) -> web.Response:
        facts = {"date": utc_text(services.now()), "build": version("petitbleu"), "instance": services.instance}
        body = str(element("redir", facts)).replace("<redir ", "<redir status='OK' ", 1)
        return web.Response(text=body + "\n", content_type="text/xml", charset="utf-8")

    return [
        web.get("/nl/jsp/schemawsdl.jsp", description),
        web.post("/nl/jsp/schemawsdl.jsp", description),
        web.get("/nl/jsp/mcPing.jsp", queue),
        web.get("/nl/jsp/ping.jsp", ping),
        web.get("/r/test", test),
    ]
