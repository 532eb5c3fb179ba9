"""The WSDL 1.1 documents (document/literal, WS-I Basic Profile 1.1), made by spyne from the services' declaration.

spyne leaves three things to do: XML parameters as `xs:any` content rather than `xs:anyType`, the product's SOAPAction,
and no `parameterOrder`, which in document style names no part.
"""

from __future__ import annotations

from functools import cache

from lxml import etree
from petitbleu import parse_xml

from .compat import ServerBase, Wsdl11
from .service import SERVICES, application

NAMES = tuple(SERVICES)
_BY_LOWER = {name.lower(): name for name in NAMES}

_WSDL = "{http://schemas.xmlsoap.org/wsdl/}"
_SOAP = "{http://schemas.xmlsoap.org/wsdl/soap/}"
_XS = "{http://www.w3.org/2001/XMLSchema}"


class _Described(ServerBase):  # type: ignore[misc]  # spyne has no types
    transport = "http://schemas.xmlsoap.org/soap/http"


def document(schema: str, address: str) -> bytes | None:
    """The WSDL of a schema (`nms:rtEvent`, in any case) whose port is at `address`; None for an unknown one."""
    name = _BY_LOWER.get(schema.strip().lower())
    if name is None:
        return None
    root = parse_xml(_template(name))
    for port in root.iter(f"{_SOAP}address"):
        port.set("location", address)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


@cache
def _template(name: str) -> bytes:
    wsdl = Wsdl11(_Described(application(name)).app.interface)
    wsdl.build_interface_document("")
    root = etree.fromstring(wsdl.get_interface_document())
    for declared in root.iter(f"{_XS}element"):
        if declared.get("type", "").endswith(":anyType"):
            del declared.attrib["type"]
            declared.append(_any_content())
    for operation in root.iter(f"{_WSDL}operation"):
        if "parameterOrder" in operation.attrib:
            del operation.attrib["parameterOrder"]
        for binding in operation.iter(f"{_SOAP}operation"):
            binding.set("soapAction", f"{name}#{operation.get('name')}")
    return etree.tostring(root)


def _any_content() -> etree._Element:
    kind = etree.Element(f"{_XS}complexType", {"mixed": "true"})
    sequence = etree.SubElement(kind, f"{_XS}sequence")
    any_xml = {"namespace": "##any", "processContents": "skip", "minOccurs": "0", "maxOccurs": "unbounded"}
    etree.SubElement(sequence, f"{_XS}any", any_xml)
    return kind
