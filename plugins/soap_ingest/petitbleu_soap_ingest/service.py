"""The interface: every service, method, parameter and result, once, and spyne's applications built from it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from . import operations
from .compat import AnyXml, Application, Boolean, Long, Service, Unicode, rpc, unregister_application
from .envelope import URN
from .protocol import protocol

TEXT = Unicode(min_occurs=1, nillable=False)
OPTIONAL = Unicode(min_occurs=0, nillable=False)
FLAG = Boolean(min_occurs=1, nillable=False)
XML = AnyXml(min_occurs=1, nillable=False)
NUMBER = Long(min_occurs=1, nillable=False)

Types = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Method:
    """One method. `run` is awaited with the call and its parameters and gives the results, both in this order."""

    name: str
    parameters: Types
    results: Types
    run: Callable[..., Coroutine[Any, Any, operations.Results]]
    text: str


TOKEN = ("sessiontoken", TEXT)
ENTITY = Method(
    "GetEntityIfMoreRecent",
    (TOKEN, ("pk", TEXT), ("md5", OPTIONAL), ("mustExist", FLAG)),
    (("pdomDoc", XML),),
    operations.get_entity,
    "The schema that pk names, as in xtk:schema|nms:rtEvent.",
)
EVENTS = (
    Method(
        "PushEvent",
        (TOKEN, ("domEvent", XML)),
        (("plId", NUMBER),),
        operations.push_event,
        "Stores one event; plId is its id.",
    ),
    Method(
        "PushEvents",
        (TOKEN, ("domEventCollection", XML)),
        (("pdomEvents", XML),),
        operations.push_events,
        "Stores every event of a collection, or none; pdomEvents has their ids in the same order.",
    ),
)
SERVICES: Mapping[str, tuple[Method, ...]] = {
    "nms:rtEvent": EVENTS,
    "nms:batchEvent": EVENTS,
    "xtk:session": (
        Method(
            "Logon",
            (TOKEN, ("strLogin", TEXT), ("strPassword", TEXT), ("elemParameters", AnyXml(min_occurs=0))),
            (("pstrSessionToken", TEXT), ("pSessionInfo", XML), ("pstrSecurityToken", TEXT)),
            operations.logon,
            "Opens a session; its token is the first parameter of every later call.",
        ),
        Method("Logoff", (TOKEN,), (), operations.logoff, "Ends a session."),
        ENTITY,
    ),
    "xtk:persist": (ENTITY,),
    "xtk:queryDef": (
        Method(
            "ExecuteQuery",
            (TOKEN, ("entity", XML)),
            (("pdomOutput", XML),),
            operations.execute_query,
            "Answers a queryDef about events.",
        ),
    ),
}


def applications() -> dict[str, Any]:
    """A spyne application for each service, by name."""
    return {name: application(name) for name in SERVICES}


def _service(name: str) -> Any:
    methods = {method.name: _described(method) for method in SERVICES[name]}
    class_name = name.replace(":", "_")
    return type(Service)(class_name, (Service,), {"__module__": __name__, **methods})


def _described(method: Method) -> Any:
    def run(call: operations.Call, *parameters: operations.Parameter) -> Coroutine[Any, Any, operations.Results]:
        return method.run(call, *parameters)

    run.__name__ = method.name
    run.__doc__ = method.text
    results = {
        "_returns": [kind for _, kind in method.results],
        "_out_variable_names": [name for name, _ in method.results],
    }
    return rpc(
        *(kind for _, kind in method.parameters),
        _args=[name for name, _ in method.parameters],
        _wsdl_part_name="parameters",
        **(results if method.results else {}),
    )(run)


def application(name: str) -> Any:
    made = Application(
        [_service(name)],
        tns=URN + name,
        name=name.partition(":")[2],
        in_protocol=protocol(),
        out_protocol=protocol(),
    )
    unregister_application(made)  # spyne keeps a list of every application ever made
    return made
