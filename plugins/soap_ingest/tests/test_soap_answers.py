"""What is written can be read back, whatever it holds."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from petitbleu_soap_ingest import answers
from petitbleu_soap_ingest.envelope import SOAP11, SOAP12, Version

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
VERSIONS = st.sampled_from([SOAP11, SOAP12])


def kept(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)


@given(VERSIONS, st.sampled_from(["Client", "Server"]), st.text(), st.text())
def test_faults_read_back(version: Version, code: str, reason: str, detail: str) -> None:
    (fault,) = etree.fromstring(answers.fault(version, code, reason, detail))[0]
    assert fault.tag == f"{{{version.namespace}}}Fault"
    texts = ["".join(map(str, child.itertext())) for child in fault]
    name = {"Client": "Sender", "Server": "Receiver"}[code] if version is SOAP12 else code
    assert texts == [f"SOAP-ENV:{name}", kept(reason), kept(detail)]


@given(VERSIONS, st.text(), st.text(), st.integers(-(1 << 63), (1 << 63) - 1))
def test_results_read_back(version: Version, value: str, attribute: str, number: int) -> None:
    results = [
        answers.result("text", "xsd:string", answers.text(value)),
        answers.result("xml", "ns:Element", answers.element("a", {"b": attribute, "c": number})),
    ]
    (response,) = etree.fromstring(answers.response(version, "nms:rtEvent", "PushEventResponse", results))[0]
    assert response.tag == "{urn:nms:rtEvent}PushEventResponse"
    assert (response[0].text or "") == kept(value)
    assert [response[1][0].get(name) for name in "bc"] == [kept(attribute), str(number)]
