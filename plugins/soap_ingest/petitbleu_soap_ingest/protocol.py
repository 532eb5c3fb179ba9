"""spyne's SOAP protocol, told three things: the envelope is parsed already, parameters count by position, and the
answer is bytes of our own shape."""

from __future__ import annotations

from typing import Any

from . import answers
from .compat import AnyXml, Long, Soap11, Unicode
from .faults import CallRefused

_KINDS = ((AnyXml, "ns:Element"), (Long, "xsd:long"), (Unicode, "xsd:string"))


class PositionalSoap(Soap11):  # type: ignore[misc]  # spyne has no types
    """Reads and writes SOAP 1.1 and 1.2. `ctx.udc` is the `operations.Call`, whose envelope passed the XML guard.

    Nothing is handed to spyne's own parser, and none of its loggers ever sees an envelope.
    """

    def __init__(self) -> None:
        # callers write xsi:type with prefixes that they do not declare
        super().__init__(parse_xsi_type=False)

    def create_in_document(self, ctx: Any, charset: str | None = None) -> None:
        ctx.in_document = ctx.udc.envelope.element

    def decompose_incoming_envelope(self, ctx: Any, message: Any = Soap11.REQUEST) -> None:
        ctx.in_body_doc = ctx.in_document
        ctx.method_request_string = ctx.in_body_doc.tag

    def get_call_handles(self, ctx: Any) -> Any:
        push_event = f"{{{self.app.interface.get_tns()}}}PushEvent"
        return super().get_call_handles(ctx) or self.app.interface.service_method_map.get(push_event, [])

    def deserialize(self, ctx: Any, message: Any) -> None:
        given = list(ctx.in_body_doc)
        declared = ctx.descriptor.in_message.get_flat_type_info(ctx.descriptor.in_message)
        for parameter in given[: len(declared)]:
            if parameter.get("href", "").startswith("#"):
                text = f"parameter {parameter.tag!s:.100} refers to another element; write its value in place"
                raise CallRefused(text)
        values = [self._value(ctx, kind, parameter) for kind, parameter in zip(declared.values(), given, strict=False)]
        ctx.in_object = values + [None] * (len(declared) - len(values))

    def _value(self, ctx: Any, kind: Any, parameter: Any) -> Any:
        return parameter if issubclass(kind, AnyXml) else self.from_element(ctx, kind, parameter)

    def serialize(self, ctx: Any, message: Any) -> None:
        declared = ctx.descriptor.out_message.get_flat_type_info(ctx.descriptor.out_message)
        results = [
            answers.result(name, *self._written(kind, value))
            for (name, kind), value in zip(declared.items(), ctx.out_object, strict=True)
        ]
        name = ctx.descriptor.out_message.get_type_name()
        ctx.out_document = answers.response(ctx.udc.envelope.version, ctx.udc.service, name, results)

    def _written(self, kind: Any, value: Any) -> tuple[str, answers.Xml]:
        label = next(label for base, label in _KINDS if issubclass(kind, base))
        return label, value if issubclass(kind, AnyXml) else answers.text(self.to_unicode(kind, value))

    def create_out_string(self, ctx: Any, charset: str | None = None) -> None:
        ctx.out_string = [ctx.out_document]
