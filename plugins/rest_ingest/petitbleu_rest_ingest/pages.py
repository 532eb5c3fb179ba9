"""What describes the door: the OpenAPI document, and a page for people. Neither asks for a login, nor tells anything
about the instance."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from html import escape

import orjson
from aiohttp import web

from . import openapi
from .bridge import nothing_here
from .operation import Operation
from .problems import KINDS, PAGE

DOCUMENT = "/api/openapi.json"


def page_routes(operations: Sequence[Operation]) -> list[web.RouteDef]:
    page = _page(operations)

    # made when somebody asks: it takes as long as all the rest of a start of the plugin
    @cache
    def document() -> bytes:
        return orjson.dumps(openapi.document(operations), option=orjson.OPT_INDENT_2)

    async def description(request: web.Request) -> web.Response:
        return web.Response(body=await asyncio.to_thread(document), content_type="application/json")

    async def overview(request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        return web.Response(text=page, content_type="text/html", headers=headers)

    # the last one takes what is left
    return [
        web.get(DOCUMENT, description),
        web.get(PAGE, overview),
        web.route("*", PAGE + "{rest:.*}", nothing_here),
    ]


def _page(operations: Sequence[Operation]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(f'{one.method} {one.path}')}</code></td><td>{escape(one.summary)}</td>"
        f"<td>{escape(one.right)}</td></tr>"
        for one in operations
    )
    kinds = "".join(
        f'<h3 id="{name}">{name}</h3><p>{kind.status}: {escape(kind.title)}. {_code(kind.advice)}</p>'
        for name, kind in KINDS.items()
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Petitbleu: the JSON calls</title></head>'
        f"<body><h1>Petitbleu</h1><p>Every call, with what it takes and answers, is described in "
        f'<a href="{DOCUMENT}">{DOCUMENT}</a> (OpenAPI 3.1).</p>'
        f"<table><thead><tr><th>call</th><th>what it does</th><th>right</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<h2>Problems</h2>{kinds}</body></html>"
    )


def _code(text: str) -> str:
    """`Words` in backquotes as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))
