"""Events in XML, wherever they stand: alone, in a collection, in a SOAP envelope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml import etree

from ..errors import XmlRefused
from ..types import IncomingEvent, Queue
from ..xmldata import attributes, element_data, local_name

_QUEUES = {"rtevent": Queue.REALTIME, "batchevent": Queue.BATCH}


def incoming_event(element: etree._Element, queue: Queue) -> IncomingEvent:
    """One event element as it stands; its own name does not matter."""
    children: dict[str, Any] = {}
    for child in element:
        name = local_name(child.tag)
        data = element_data(child)
        if name not in children:
            children[name] = data
        elif isinstance(children[name], list):
            children[name].append(data)
        else:
            children[name] = [children[name], data]
    return IncomingEvent(queue, attributes(element), children)


def events_in(root: etree._Element) -> Iterator[IncomingEvent]:
    """Every `<rtEvent>` and `<batchEvent>` in a document, in order. Raises `XmlRefused` when there is none."""
    found = False
    for element in root.iter():
        queue = _QUEUES.get(local_name(element.tag).lower())
        if queue is not None:
            found = True
            yield incoming_event(element, queue)
    if not found:
        raise XmlRefused("holds no <rtEvent> and no <batchEvent>", 1, 1)
