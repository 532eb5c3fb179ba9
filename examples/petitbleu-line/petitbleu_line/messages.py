"""From a rendered template to message objects, as the Messaging API has them ("Message objects" in its reference).

What LINE would refuse is refused here, so that a preview tells it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from petitbleu import Content, Settings
from pydantic import AfterValidator, Field

MOST_MESSAGES = 5
LONGEST_TEXT = 5000
"""UTF-16 code units, by which LINE counts."""
LONGEST_ALT = 400
LONGEST_FLEX = {"bubble": 30_000, "carousel": 50_000}
"""Bytes of JSON."""
_CUT = re.compile(r"^[ \t]*---[ \t]*$", re.MULTILINE)


def _matching(pattern: str, expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise ValueError(f"should be {expected}")
        return value

    return AfterValidator(check)


Number = Annotated[str, _matching(r"[0-9]{1,20}", "a number, in quotes")]
Address = Annotated[str, Field(max_length=2000), _matching(r"https://[A-Za-z0-9][\x21-\x7e]*", "an https address")]


class Sticker(Settings):
    """One of LINE's own; see "Available stickers" in its documentation."""

    package: Number
    sticker: Number


class Image(Settings):
    url: Address
    preview: Address = ""
    """A smaller one; `url` unless given."""


class LineFields(Settings):
    """What `template.yaml` may hold beside the core's own keys."""

    alt: str = ""
    """What notifications show in place of a flex message; needed with `flex.json.j2`."""
    image: Image | None = None
    sticker: Sticker | None = None
    silent: bool = False
    """The phone does not ring."""


def messages(content: Content) -> list[dict[str, Any]]:
    """The message objects: texts, flex message, image, sticker. Raises `ValueError`."""
    fields = LineFields.model_validate(dict(content.fields))
    found: list[dict[str, Any]] = [{"type": "text", "text": text} for text in _texts(content.parts.get("text", ""))]
    if flex := content.parts.get("flex", "").strip():
        found.append({"type": "flex", "altText": _alt(fields.alt), "contents": _container(flex)})
    if fields.image is not None and fields.image.url:
        small = fields.image.preview or fields.image.url
        found.append({"type": "image", "originalContentUrl": fields.image.url, "previewImageUrl": small})
    if fields.sticker is not None and fields.sticker.package:
        found.append({"type": "sticker", "packageId": fields.sticker.package, "stickerId": fields.sticker.sticker})
    if not found:
        raise ValueError("there is nothing to send: no text, flex message, image or sticker")
    if len(found) > MOST_MESSAGES:
        raise ValueError(f"it makes {len(found)} messages; LINE takes {MOST_MESSAGES} at once")
    return found


def body(to: str, content: Content) -> bytes:
    """The request to `POST /v2/bot/message/push`. Raises `ValueError`."""
    silent = bool(content.fields.get("silent"))
    return json.dumps({"to": to, "messages": messages(content), "notificationDisabled": silent}).encode()


def preview(content: Content) -> Sequence[str]:
    """For whoever previews a template."""
    try:
        found = messages(content)
    except ValueError as error:
        return [f"LINE will not take it: {error}"]
    return [f"{len(found)} of {MOST_MESSAGES} messages: {', '.join(_described(one) for one in found)}"]


def _texts(text: str) -> list[str]:
    texts = [one.strip() for one in _CUT.split(text)]
    for one in texts:
        if (size := _units(one)) > LONGEST_TEXT:
            raise ValueError(f"a text has {size} characters as LINE counts; the limit is {LONGEST_TEXT}")
    return [one for one in texts if one]


def _units(text: str) -> int:
    try:
        return len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a character (a lone surrogate)") from None


def _alt(alt: str) -> str:
    if not alt.strip():
        raise ValueError("flex.json.j2 needs an alt in template.yaml: what notifications show")
    if _units(alt) > LONGEST_ALT:
        raise ValueError(f"alt has {_units(alt)} characters; the limit is {LONGEST_ALT}")
    return alt.strip()


def _container(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"flex.json.j2 is no JSON ({error}); write values as {{{{ value | tojson }}}}") from None
    limit = LONGEST_FLEX.get(found.get("type", "")) if isinstance(found, dict) else None
    if limit is None:
        raise ValueError('flex.json.j2 should be an object whose "type" is "bubble" or "carousel"')
    size = len(json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > limit:
        raise ValueError(f"flex.json.j2 has {size} bytes; the limit of a {found['type']} is {limit}")
    assert isinstance(found, dict)  # noqa: S101 - told above
    return found


def _described(message: Mapping[str, Any]) -> str:
    return f"text of {_units(message['text'])}" if message["type"] == "text" else str(message["type"])
