"""HTML to readable text, for templates without a text part."""

from __future__ import annotations

import re

from inscriptis import Inscriptis  # type: ignore[import-untyped]
from inscriptis.css_profiles import CSS_PROFILES  # type: ignore[import-untyped]
from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]
from lxml import etree, html

_LAYOUT = ParserConfig(css=CSS_PROFILES["strict"], display_images=False, display_links=False)
_BLANK_LINES = re.compile(r"\n{3,}")
_SHOWN_LINKS = ("http:", "https:", "mailto:", "tel:")
_FILLERS = str.maketrans({"\u034f": None, "\u200b": None, "\u200c": None, "\u00ad": None, "\u00a0": " "})


def plain_text(source: str) -> str:
    """What a reader would see, hidden text left out, each link's address behind its words."""
    try:
        # as bytes, since lxml refuses text that names a character set of its own
        tree = html.document_fromstring(source.encode(), parser=html.HTMLParser(encoding="utf-8"))
    except etree.ParserError:
        return ""  # nothing but white space and comments
    for link in tree.iter("a"):
        address = (link.get("href") or "").strip()
        words = "".join(map(str, link.itertext())).strip()
        if address.lower().startswith(_SHOWN_LINKS) and words not in ("", address, address.partition(":")[2]):
            _append(link, f" <{address}>")
    text = str(Inscriptis(tree, _LAYOUT).get_text()).translate(_FILLERS)
    lines = [line.rstrip() for line in text.splitlines()]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines).strip())


def _append(link: html.HtmlElement, text: str) -> None:
    if len(link):
        link[-1].tail = (link[-1].tail or "") + text
    else:
        link.text = (link.text or "") + text
