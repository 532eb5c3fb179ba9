"""`xtk:queryDef#ExecuteQuery` about events: the queryDef read, asked, and its answer written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lxml import etree
from petitbleu import (
    Condition,
    EventQuery,
    FoundEvent,
    Junction,
    Operator,
    QueryRefused,
    Queue,
    Services,
    StatusName,
)

from .answers import Xml, element, utc_text
from .expressions import attribute, condition
from .settings import SoapSettings

SCHEMAS = {"nms:rtEvent": Queue.REALTIME, "nms:batchEvent": Queue.BATCH}
OPERATIONS = ("get", "getIfExists", "select", "count")

_ALIAS = re.compile(r"@([A-Za-z_][\w.-]*)")
_QUERY = ("schema", "operation", "lineCount", "startLine", "xtkschema")


@dataclass(frozen=True, slots=True)
class Query:
    """A queryDef that can be answered. `nodes` are (name in the answer, event attribute) pairs."""

    schema: str
    operation: str
    nodes: tuple[tuple[str, str], ...]
    events: EventQuery


# -------------------------------------------------------------------------------------------------------------- reading


def read_query(entity: etree._Element | None, statuses: Mapping[str, StatusName], settings: SoapSettings) -> Query:
    """The query in the parameter `entity`. Raises `QueryRefused` on whatever it would have to guess at."""
    found = [] if entity is None else list(entity)
    if len(found) != 1 or etree.QName(found[0]).localname != "queryDef":
        raise QueryRefused("the second parameter must hold one queryDef element")
    query = found[0]
    given = _attributes(query, _QUERY)
    schema = given.get("schema", "")
    if schema not in SCHEMAS:
        raise QueryRefused(f"the schema {schema[:100]!r} cannot be queried; schemas are {', '.join(SCHEMAS)}")
    operation = given.get("operation", "select")
    if operation not in OPERATIONS:
        raise QueryRefused(f"the operation {operation[:100]!r} is not one of {', '.join(OPERATIONS)}")
    parts = _children(query, ("select", "where", "orderBy"))
    nodes = _nodes(parts.get("select"))
    if not nodes and operation != "count":
        raise QueryRefused('the select names no attribute; give it nodes such as <node expr="@id"/>')
    where = parts.get("where")
    return Query(
        schema,
        operation,
        nodes,
        EventQuery(
            where=None if where is None else _conditions(where, statuses, settings, settings.query_depth),
            queue=SCHEMAS[schema],
            order_by=_order(parts.get("orderBy")),
            limit=1 if operation.startswith("get") else _number(given, "lineCount", settings.query_lines),
            offset=_number(given, "startLine", 0),
        ),
    )


def _attributes(found: etree._Element, known: Sequence[str]) -> dict[str, str]:
    given = {str(key): str(value) for key, value in found.attrib.items() if etree.QName(str(key)).namespace is None}
    for name in given:
        if name not in known:
            where = etree.QName(found).localname
            raise QueryRefused(f"<{where}> may not have {name[:100]}; it may have {', '.join(known)}")
    return given


def _children(parent: etree._Element, known: Sequence[str]) -> dict[str, etree._Element]:
    found: dict[str, etree._Element] = {}
    for child in parent:
        name = etree.QName(child).localname
        if name not in known or name in found:
            where = etree.QName(parent).localname
            raise QueryRefused(f"<{where}> may not have a {'second ' if name in found else ''}<{name[:100]}>")
        found[name] = child
    return found


def _each(parent: etree._Element, name: str) -> list[etree._Element]:
    for child in parent:
        if etree.QName(child).localname != name:
            where = etree.QName(parent).localname
            raise QueryRefused(f"<{where}> holds <{name}> only, not <{etree.QName(child).localname[:100]}>")
    return list(parent)


def _nodes(select: etree._Element | None) -> tuple[tuple[str, str], ...]:
    nodes: list[tuple[str, str]] = []
    for node in [] if select is None else _each(select, "node"):
        given = _attributes(node, ("expr", "alias"))
        name = attribute(given.get("expr", ""))
        alias = _ALIAS.fullmatch(given.get("alias", f"@{name}"))
        if alias is None:
            raise QueryRefused(f"the alias {given['alias'][:100]!r} is not of the form @name")
        if alias[1] in (known for known, _ in nodes):
            raise QueryRefused(f"two nodes are called @{alias[1]}")
        nodes.append((alias[1], name))
    return tuple(nodes)


def _order(order: etree._Element | None) -> tuple[tuple[str, bool], ...]:
    found: list[tuple[str, bool]] = []
    for node in [] if order is None else _each(order, "node"):
        given = _attributes(node, ("expr", "sortDesc"))
        descending = given.get("sortDesc", "false")
        if descending not in ("true", "1", "false", "0"):
            raise QueryRefused(f"sortDesc is true or false, not {descending[:40]!r}")
        found.append((attribute(given.get("expr", "")), descending in ("true", "1")))
    return tuple(found)


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    value = given.get(name, str(default)).strip()
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise QueryRefused(f"{name} is a number of lines, not {value[:40]!r}")
    return int(value)


def _conditions(
    parent: etree._Element, statuses: Mapping[str, StatusName], settings: SoapSettings, depth: int
) -> Condition | None:
    """The `condition`s in an element. One's `boolOperator` joins it to the next; where they differ, their precedence
    is not written down anywhere, so that is refused."""
    if depth == 0:
        raise QueryRefused("conditions are nested too deep")
    terms: list[Condition] = []
    joins: list[str] = []
    for child in _each(parent, "condition"):
        given = _attributes(child, ("expr", "boolOperator", "internalId", "id"))
        if "expr" in given and len(child):
            raise QueryRefused("a condition has either an expr or conditions of its own, not both")
        if "expr" in given:
            term: Condition | None = condition(given["expr"], statuses, settings)
        else:
            term = _conditions(child, statuses, settings, depth - 1)
        if term is not None:
            terms.append(term)
            joins.append(given.get("boolOperator", "AND").upper())
    if len(terms) < 2:
        return terms[0] if terms else None
    between = set(joins[:-1])
    if between == {"AND"} and joins[-1] == "AND":
        return Junction("and", tuple(terms))
    if between == {"OR"}:
        return Junction("or", tuple(terms))
    raise QueryRefused(
        "the boolOperators of these conditions are not all AND or all OR; put conditions that belong together into one"
    )


# ------------------------------------------------------------------------------------------------------------ answering


async def run_query(query: Query, services: Services, operator: Operator) -> Xml:
    """The answer: `<rtEvent …/>` for get, `<rtEvent-collection>` for select, `<rtEvent count="…"/>` for count."""
    name = query.schema.partition(":")[2]
    if query.operation == "count":
        return element(name, {"count": await services.count_events(query.events, operator)})
    found = await services.find_events(query.events, operator)
    written = [element(name, _values(query, event, services.statuses)) for event in found]
    if query.operation == "select":
        return element(f"{name}-collection", {}, *written)
    if written:
        return written[0]
    if query.operation == "getIfExists":
        return element(name)
    raise QueryRefused(f"SOP-330011 There is no such {query.schema}; getIfExists answers an empty one instead")


def _values(query: Query, event: FoundEvent, statuses: Mapping[str, StatusName]) -> dict[str, object]:
    return {name: _written(attribute, _READ[attribute](event), statuses) for name, attribute in query.nodes}


def _written(name: str, value: Any, statuses: Mapping[str, StatusName]) -> object:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return utc_text(value)
    return statuses[value].code if name == "status" else value


_READ: Mapping[str, Callable[[FoundEvent], object]] = {
    "id": lambda event: event.id,
    "type": lambda event: event.type,
    "channel": lambda event: event.channel,
    "status": lambda event: event.status,
    "errors": lambda event: event.errors,
    "created": lambda event: event.created,
    "processing": lambda event: event.processing,
    "processed": lambda event: event.processed,
    "processRequested": lambda event: event.process_requested,
    "externalId": lambda event: event.external_id,
    "origin": lambda event: event.origin,
    "email": lambda event: event.email,
    "mobilePhone": lambda event: event.mobile_phone,
    "template": lambda event: event.template,
}
