"""The one place that parses XML from outside, and the way from an XML element to plain data.

Entities, network and DTDs are off, `huge_tree` is off, comments and processing instructions are dropped while parsing,
and what remains is measured: a DOCTYPE, too many nodes or too deep a tree are refused. Errors carry line and column.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from lxml import etree

from .data import ORDER, TEXT, Element
from .errors import XmlRefused
from .types import Data

_OF_TOOLKITS = frozenset(
    {
        "http://www.w3.org/2001/XMLSchema-instance",
        "http://schemas.xmlsoap.org/soap/envelope/",
        "http://schemas.xmlsoap.org/soap/encoding/",
        "http://www.w3.org/2003/05/soap-envelope",
        "http://www.w3.org/2003/05/soap-encoding",
    }
)


@dataclass(frozen=True, slots=True)
class XmlLimits:
    """Bytes of a document, elements in it, attributes of one element, and levels of nesting."""

    size: int = 8 * 1024 * 1024
    nodes: int = 200_000
    attributes: int = 256
    depth: int = 64


def parse_xml(body: bytes, charset: str | None = None, limits: XmlLimits = XmlLimits()) -> etree._Element:
    """The root element of `body`.

    `charset` is what the transport said (RFC 7303: it wins over the XML declaration; a byte-order mark wins over
    both). Raises `XmlRefused`.
    """
    if len(body) > limits.size:
        raise XmlRefused(f"the document has {len(body)} bytes, the limit is {limits.size}")
    if charset is not None:
        charset = _known(charset)
    if body.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        charset = None
    try:
        root = etree.fromstring(body, _parser(charset))
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise XmlRefused(_words(error), line or 0, column or 0) from None
    except (LookupError, ValueError) as error:
        raise XmlRefused(str(error)) from None
    if not _small(body, charset, limits):
        if root.getroottree().docinfo.internalDTD is not None:
            raise XmlRefused("a DOCTYPE is not allowed", 1, 1)
        _measure(root, limits)
    return root


@lru_cache(maxsize=16)
def _parser(charset: str | None) -> etree.XMLParser:
    return etree.XMLParser(
        encoding=charset,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        strip_cdata=True,
    )


def _known(charset: str) -> str:
    try:
        return codecs.lookup(charset.strip().strip("\"'")).name
    except LookupError:
        raise XmlRefused(f"unknown character set {charset!r}") from None


def _words(error: etree.XMLSyntaxError) -> str:
    text = (error.msg or "not well-formed XML").rsplit(", line ", 1)[0]
    return text if len(text) <= 300 else text[:300] + "…"


def _small(body: bytes, charset: str | None, limits: XmlLimits) -> bool:
    """Whether the bytes tell already that no limit is reached: most calls are short, and their trees need no walk.

    Told only in UTF-8, where no other bytes than its own can be markup. Every level of nesting but the innermost has an
    end tag, every attribute an equals sign, a DOCTYPE or an entity its own mark.
    """
    return (
        charset == "utf-8"
        and body.count(b"</") < limits.depth
        and body.count(b"<") <= limits.nodes
        and body.count(b"=") <= limits.attributes
        and b"&" not in body
        and b"<!" not in body
    )


def _measure(root: etree._Element, limits: XmlLimits) -> None:
    """Nearly always told in one go. Else level by level, so that nothing is walked beyond a limit, to say where."""
    if not _beyond(limits)(root) and next(root.iter(etree.Entity), None) is None:
        return
    nodes = depth = 0
    level = [root]
    while level:
        depth += 1
        nodes += len(level)
        if depth > limits.depth:
            raise _refused(level[0], f"elements are nested deeper than {limits.depth}")
        if nodes > limits.nodes:
            raise _refused(level[-1], f"more than {limits.nodes} elements")
        for element in level:
            if not isinstance(element.tag, str):
                raise _refused(element, "an entity reference is not allowed")
            if len(element.keys()) > limits.attributes:
                raise _refused(element, f"an element has more than {limits.attributes} attributes")
        level = [child for element in level for child in element]


@lru_cache(maxsize=16)
def _beyond(limits: XmlLimits) -> etree.XPath:
    """Whether a tree is beyond any of the limits."""
    deep = "/".join(["*"] * (limits.depth + 1))
    return etree.XPath(f"count(//*) > {limits.nodes} or //*[@*[{limits.attributes + 1}]] or /{deep}")


def _refused(element: etree._Element, text: str) -> XmlRefused:
    return XmlRefused(text, cast(int, element.sourceline or 0), 0)


def local_name(name: str) -> str:
    """Of a name as lxml writes it, `{namespace}name`."""
    return name.rpartition("}")[2] if name[0] == "{" else name


def attributes(element: etree._Element) -> dict[str, str]:
    """What the author wrote, by local name; what SOAP toolkits add about types and encoding is left out."""
    found = {}
    for name, value in cast("list[tuple[str, str]]", element.items()):
        if name[0] == "{":
            namespace, _, name = name[1:].rpartition("}")
            if namespace in _OF_TOOLKITS:
                continue
        found[name] = value
    return found


def element_data(element: etree._Element) -> Data:
    """What templates see of an element (see `data`): namespaces are dropped, text and order are kept exactly."""
    data: dict[str, Any] = Element()
    if element.keys():
        data.update({"@" + name: value for name, value in attributes(element).items()})
    text = element.text
    order: list[str] = []
    repeated, direct = False, text or ""
    for child in element:
        name = local_name(child.tag)
        # most are text and nothing else
        inner = element_data(child) if len(child) or child.keys() else child.text or ""
        order.append(name)
        if name not in data:
            data[name] = inner
        elif isinstance(data[name], list):
            data[name].append(inner)
        else:
            data[name] = [data[name], inner]
            repeated = True
        if tail := child.tail:
            direct += tail
    if not order:
        if not data:
            return text or ""
        if text:
            data[TEXT] = text
        return data
    if repeated and _interleaves(order):
        data[ORDER] = order
    # nothing where only white space stands between children
    if direct and direct.strip() and (text := "".join(map(str, element.itertext()))):
        data[TEXT] = text
    return data


def _interleaves(names: list[str]) -> bool:
    seen: set[str] = set()
    last = ""
    for name in names:
        if name != last:
            if name in seen:
                return True
            seen.add(name)
        last = name
    return False
