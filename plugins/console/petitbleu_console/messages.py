"""A rendered message as it looks: HTML in a frame that can do nothing, texts as on a telephone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from petitbleu import Preview

from .site import HEADERS, Site

SEALED = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'"
)
"""Of a customer's message: no script, no form, nothing fetched."""
_NOTHING: tuple[object, ...] = (None, "", [], {}, ())


@dataclass(frozen=True, slots=True)
class ShownPart:
    name: str
    text: str
    html: bool
    phone: bool


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """`frame` is where the parts are served for frames: by their address alone, or for a form with what is `posted`,
    which no log of addresses may have. `notification` is title and body, where there are some."""

    fields: Sequence[tuple[str, str]]
    notes: Sequence[str]
    parts: Sequence[ShownPart]
    frame: str
    posted: Mapping[str, str] = field(default_factory=dict)
    notification: tuple[str, str] | None = None


def shown(
    site: Site, channel: str, preview: Preview, frame: str, posted: Mapping[str, str] | None = None
) -> ShownMessage:
    """For the template `message.html.j2`."""
    declared = next((one for one in site.services.channels() if one.name == channel), None)
    html = {part.name for part in declared.parts if part.escape == "html"} if declared is not None else set()
    on_phone = declared is not None and declared.address != "email"
    title, body = preview.fields.get("title"), preview.fields.get("body")
    return ShownMessage(
        fields=[(name, _plain(value)) for name, value in preview.fields.items() if value not in _NOTHING],
        notes=preview.notes,
        parts=[ShownPart(name, text, name in html, on_phone) for name, text in preview.parts.items()],
        frame=frame,
        posted=posted or {},
        notification=(str(title or ""), str(body or "")) if on_phone and (title or body) else None,
    )


def framed(text: str) -> web.Response:
    return web.Response(
        text=text,
        content_type="text/html",
        charset="utf-8",
        headers={**HEADERS, "Content-Security-Policy": SEALED},
    )


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in value.items() if one not in _NOTHING)
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
