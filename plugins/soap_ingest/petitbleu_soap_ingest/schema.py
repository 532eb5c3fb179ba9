"""The schemas that `GetEntityIfMoreRecent` hands out: Adobe's client reads there which methods it may call, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from petitbleu import EVENT_ATTRIBUTES, Queue, Services

from .answers import Xml, element

EVENT_FORMATS = (("0", "asTemplate"), ("1", "text"), ("2", "html"), ("3", "multipart"))

_TYPES: Mapping[str, str] = {
    "id": "int64",
    "status": "byte",
    "errors": "long",
    "created": "datetime",
    "processing": "datetime",
    "processed": "datetime",
    "processRequested": "datetime",
    "wishedChannel": "byte",
    "emailFormat": "byte",
    "scheduled": "datetime",
    "expiration": "datetime",
    "priority": "byte",
}
_ENUMERATIONS: Mapping[str, str] = {
    "type": "eventType",
    "status": "status",
    "wishedChannel": "channel",
    "emailFormat": "emailFormat",
}
_GIVEN = (
    "wishedChannel",
    "emailFormat",
    "registrationToken",
    "language",
    "country",
    "scheduled",
    "expiration",
    "priority",
)


def schema(name: str, services: Services) -> Xml | None:
    """The compiled schema called `name`, or None."""
    write = _SCHEMAS.get(name.strip())
    return None if write is None else write(services)


def _events(name: str, queue: Queue) -> Callable[[Services], Xml]:
    def write(services: Services) -> Xml:
        attributes = [_attribute(attribute) for attribute in (*EVENT_ATTRIBUTES, *_GIVEN)]
        key = element("key", {"name": "id", "internal": "true"}, element("keyfield", {"xpath": "@id"}))
        return element(
            "schema",
            {"namespace": "nms", "name": name, "label": f"Events ({queue.value})", "mappingType": "sql"},
            *_enumerations(services),
            element(
                "element",
                {"name": name, "label": "Event"},
                key,
                *attributes,
                element("element", {"name": "ctx", "label": "Context", "type": "ANY"}),
            ),
            _methods(
                ("PushEvent", True, (("domEvent", "DOMElement", "in"), ("plId", "int64", "out"))),
                ("PushEvents", True, (("domEventCollection", "DOMElement", "in"), ("pdomEvents", "DOMElement", "out"))),
            ),
        )

    return write


def _attribute(name: str) -> Xml:
    attributes = {"name": name, "label": name, "type": _TYPES.get(name, "string")}
    if name in _ENUMERATIONS:
        attributes["enum"] = _ENUMERATIONS[name]
    return element("attribute", attributes)


def _enumerations(services: Services) -> Iterable[Xml]:
    yield _enumeration(
        "eventType", "string", ((kind.name, kind.name, kind.label) for kind in services.event_types.values())
    )
    yield _enumeration(
        "status", "byte", ((status.name, str(status.code), status.label) for status in services.statuses.values())
    )
    yield _enumeration("channel", "byte", _channels(services))
    yield _enumeration("emailFormat", "byte", ((name, value, name) for value, name in EVENT_FORMATS))


def _channels(services: Services) -> Iterable[tuple[str, str, str]]:
    for channel in services.channels():
        for alias in channel.aliases:
            if alias.lstrip("-").isdigit():
                yield channel.name, alias, channel.name


def _enumeration(name: str, base: str, values: Iterable[tuple[str, str, str]]) -> Xml:
    written = (element("value", {"name": key, "value": value, "label": label}) for key, value, label in values)
    return element("enumeration", {"name": name, "basetype": base}, *written)


_Parameters = tuple[tuple[str, str, str], ...]


def _methods(*methods: tuple[str, bool, _Parameters]) -> Xml:
    return element("methods", {}, *(_method(*method) for method in methods))


def _method(name: str, static: bool, parameters: _Parameters) -> Xml:
    written = (element("param", {"name": parameter, "type": kind, "inout": way}) for parameter, kind, way in parameters)
    return element("method", {"name": name, "static": str(static).lower()}, element("parameters", {}, *written))


def _session(services: Services) -> Xml:
    return element(
        "schema",
        {"namespace": "xtk", "name": "session", "implements": "xtk:persist"},
        element(
            "interface",
            {"name": "persist"},
            _method(
                "GetEntityIfMoreRecent",
                True,
                (
                    ("pk", "string", "in"),
                    ("md5", "string", "in"),
                    ("mustExist", "boolean", "in"),
                    ("pdomDoc", "DOMElement", "out"),
                ),
            ),
        ),
        element("element", {"name": "sessionInfo"}),
        _methods(
            (
                "Logon",
                True,
                (
                    ("strLogin", "string", "in"),
                    ("strPassword", "string", "in"),
                    ("elemParameters", "DOMElement", "in"),
                    ("pstrSessionToken", "string", "out"),
                    ("pSessionInfo", "DOMElement", "out"),
                    ("pstrSecurityToken", "string", "out"),
                ),
            ),
            ("Logoff", True, ()),
        ),
    )


def _query(services: Services) -> Xml:
    return element(
        "schema",
        {"namespace": "xtk", "name": "queryDef"},
        element("element", {"name": "queryDef"}),
        _methods(("ExecuteQuery", False, (("pdomOutput", "DOMElement", "out"),))),
    )


_SCHEMAS: Mapping[str, Callable[[Services], Xml]] = {
    "nms:rtEvent": _events("rtEvent", Queue.REALTIME),
    "nms:batchEvent": _events("batchEvent", Queue.BATCH),
    "xtk:session": _session,
    "xtk:queryDef": _query,
}
NAMES = tuple(_SCHEMAS)
