"""The HTML part with its inline images within, as it is shown on a page that may fetch nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from petitbleu import Content
from pydantic import ValidationError

from .compose import cid
from .fields import read_fields

MOST = 8 << 20
"""Characters that all images of one message may take; those beyond are not shown."""


def embed(content: Content) -> Mapping[str, str]:
    """Images as `data:` URIs (RFC 2397), wherever the HTML names them by `cid:` (RFC 2392)."""
    html = content.parts.get("html", "")
    try:
        attachments = read_fields(content.fields).attachments
    except ValidationError:
        return content.parts
    room = MOST
    for one in attachments:
        data = content.files.get(one.file)
        times = html.count(url := cid(one.file))
        if data is None or not times or not one.inline or not one.media_type.startswith("image/"):
            continue
        image = f"data:{one.media_type};base64,{base64.b64encode(data).decode()}"
        if times * len(image) <= room:
            room -= times * len(image)
            html = html.replace(url, image)
    return {**content.parts, **({"html": html} if html else {})}


__all__ = ["embed"]
