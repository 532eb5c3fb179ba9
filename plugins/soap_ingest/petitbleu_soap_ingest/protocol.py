"""Between the XML of a call and a method that spyne knows: parameters count by position and are converted by spyne, the
answer is bytes of our own shape.

Nothing is handed to spyne's own parser, and none of its loggers ever sees an envelope.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from . import answers
from .compat import AnyXml, Long, Soap11, Unicode
from .faults import CallRefused
from .operations import Call, Results

_LABELS = ((AnyXml, "ns:Element"), (Long, "xsd:long"), (Unicode, "xsd:string"))


def protocol() -> Any:
    # callers write xsi:type with prefixes that they do not declare
    return Soap11(parse_xsi_type=False)


@dataclass(frozen=True, slots=True)
class Result:
    """One declared result: its name, its type and what callers read as its `xsi:type`."""

    name: str
    kind: Any = field(repr=False)
    label: str


@dataclass(frozen=True, slots=True)
class Bound:
    """One method as spyne has it: what runs, the types of its parameters, the name of its answer and its results."""

    run: Callable[..., Coroutine[Any, Any, Results]] = field(repr=False)
    parameters: tuple[Any, ...] = field(repr=False)
    answer: str
    results: tuple[Result, ...]
    protocol: Any = field(repr=False)

    async def __call__(self, call: Call) -> bytes:
        return self._written(call, await self.run(call, *self._read(call.envelope.element)))

    def _read(self, given: etree._Element) -> list[Any]:
        """What is missing at the end is None; what is beyond the last parameter is of no interest."""
        values = [self._value(kind, parameter) for kind, parameter in zip(self.parameters, given, strict=False)]
        return values + [None] * (len(self.parameters) - len(values))

    def _value(self, kind: Any, parameter: etree._Element) -> Any:
        if parameter.get("href", "").startswith("#"):
            text = f"parameter {parameter.tag!s:.100} refers to another element; write its value in place"
            raise CallRefused(text)
        return parameter if issubclass(kind, AnyXml) else self.protocol.from_element(None, kind, parameter)

    def _written(self, call: Call, values: Results) -> bytes:
        results = [
            answers.result(one.name, one.label, self._text(one.kind, value))
            for one, value in zip(self.results, values, strict=True)
        ]
        return answers.response(call.envelope.version, call.service, self.answer, results)

    def _text(self, kind: Any, value: Any) -> answers.Xml:
        written: answers.Xml = value
        return written if issubclass(kind, AnyXml) else answers.text(self.protocol.to_unicode(kind, value))


def methods(application: Any) -> dict[str, Bound]:
    """Every method of a service, by the element that calls it."""
    return {
        tag: _method(descriptor, application.in_protocol)
        for tag, (descriptor,) in application.interface.service_method_map.items()
    }


def _method(descriptor: Any, used: Any) -> Bound:
    declared = descriptor.in_message.get_flat_type_info(descriptor.in_message)
    results = descriptor.out_message.get_flat_type_info(descriptor.out_message)
    return Bound(
        run=descriptor.function,
        parameters=tuple(declared.values()),
        answer=descriptor.out_message.get_type_name(),
        results=tuple(Result(name, kind, _label(kind)) for name, kind in results.items()),
        protocol=used,
    )


def _label(kind: Any) -> str:
    return next(label for base, label in _LABELS if issubclass(kind, base))
