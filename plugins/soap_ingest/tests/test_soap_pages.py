"""The pages beside the SOAP calls, and the `wsdl` command."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import petitbleu_soap_ingest as plugin
import pytest
from aiohttp import ClientSession
from lxml import etree
from petitbleu_soap_ingest.settings import SoapSettings

SOAP = "{http://schemas.xmlsoap.org/wsdl/soap/}"
XS = "{http://www.w3.org/2001/XMLSchema}"


async def fetch(address: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    async with ClientSession() as session, session.request(method, address, headers=headers) as response:
        return response.status, response.headers["Content-Type"], await response.read()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("nms:rtEvent", "nms:rtEvent"),
        ("nms:BatchEvent", "nms:batchEvent"),
        ("nms%3AbatchEvent", "nms:batchEvent"),
        ("XTK:SESSION", "xtk:session"),
        ("xtk:queryDef", "xtk:queryDef"),
        ("xtk:persist", "xtk:persist"),
    ],
)
async def test_wsdl(url: str, method: str, asked: str, name: str) -> None:
    status, kind, body = await fetch(f"{url}/nl/jsp/schemawsdl.jsp?schema={asked}", method)
    assert (status, kind) == (200, "text/xml; charset=utf-8")
    root = etree.fromstring(body)
    assert root.get("targetNamespace") == f"urn:{name}"
    assert [port.get("location") for port in root.iter(f"{SOAP}address")] == [f"{url}/nl/jsp/soaprouter.jsp"]
    assert {binding.get("style") for binding in root.iter(f"{SOAP}binding")} == {"document"}
    assert {body.get("use") for body in root.iter(f"{SOAP}body")} == {"literal"}
    assert all((each.get("soapAction") or "").startswith(f"{name}#") for each in root.iter(f"{SOAP}operation"))
    (schema,) = root.iter(f"{XS}schema")
    assert (schema.get("targetNamespace"), schema.get("elementFormDefault")) == (f"urn:{name}", "qualified")
    etree.XMLSchema(etree.fromstring(etree.tostring(schema)))


async def test_event_parameters_are_any_xml(url: str) -> None:
    _, _, body = await fetch(f"{url}/nl/jsp/schemawsdl.jsp?schema=nms:rtEvent")
    root = etree.fromstring(body)
    (event,) = (each for each in root.iter(f"{XS}element") if each.get("name") == "domEvent")
    assert [each.get("namespace") for each in event.iter(f"{XS}any")] == ["##any"]
    first = next(each for each in root.iter(f"{XS}complexType") if each.get("name") == "PushEvent")
    assert [each.get("name") for each in first.iter(f"{XS}element")] == ["sessiontoken", "domEvent"]


async def test_the_address_is_the_one_the_caller_used(url: str) -> None:
    address = f"{url}/nl/jsp/schemawsdl.jsp?schema=nms:rtEvent"
    fallback = "https://events.example.com"
    for host, base in {
        "push.example.com:8443": "http://push.example.com:8443",
        "[::1]:8080": "http://[::1]:8080",
        '"><x': fallback,
        "h\u00f6st": fallback,
    }.items():
        _, _, body = await fetch(address, Host=host)
        (port,) = etree.fromstring(body).iter(f"{SOAP}address")
        assert port.get("location") == f"{base}/nl/jsp/soaprouter.jsp"


async def test_an_http_10_caller_without_host_gets_the_public_address(url: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"GET /nl/jsp/schemawsdl.jsp?schema=nms:rtEvent HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert b'location="https://events.example.com/nl/jsp/soaprouter.jsp"' in answer


@pytest.mark.parametrize("query", ["?schema=nms:recipient", "?schema=", ""])
async def test_unknown_wsdl(url: str, query: str) -> None:
    status, kind, body = await fetch(f"{url}/nl/jsp/schemawsdl.jsp{query}")
    assert (status, kind) == (404, "text/plain; charset=utf-8")
    text = "There is no such schema; give schema= one of nms:rtEvent, nms:batchEvent, xtk:session, "
    assert body.decode().startswith(text)
    assert body.count(b"\n") == 1


async def test_queue_health(core: Any, url: str) -> None:
    address = f"{url}/nl/jsp/mcPing.jsp"
    assert (await fetch(address))[2] == b"Ok\n2026-11-23 10:00:00.123Z\n7/400 pending events\n"
    core.waiting = (400, 400)
    assert (await fetch(address))[2] == b"Error\n2026-11-23 10:00:00.123Z\nThe queue is full (400/400)\n"


async def test_liveness(url: str) -> None:
    assert (await fetch(f"{url}/nl/jsp/ping.jsp"))[2] == b"OK\n2026-11-23 10:00:00.123Z\n"
    status, _, body = await fetch(f"{url}/r/test")
    assert (status, body.startswith(b"<redir status='OK' ")) == (200, True)
    assert etree.fromstring(body).get("instance") == "test"


async def test_soap_address_takes_posts_only(url: str) -> None:
    assert (await fetch(f"{url}/nl/jsp/soaprouter.jsp"))[0] == 405


@pytest.mark.parametrize("schema", ["nms:rtEvent", "nms:nothing"])
async def test_command(schema: str, capsys: Any) -> None:
    (command,) = plugin.petitbleu_commands()
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    code = await command.run(parser.parse_args([schema, "--address", "https://e.example.com/soap"]))
    out, err = capsys.readouterr()
    if schema == "nms:nothing":
        assert (code, out) == (1, "")
        assert "try one of nms:rtEvent" in err
    else:
        (port,) = etree.fromstring(out.encode()).iter(f"{SOAP}address")
        assert (code, port.get("location")) == (0, "https://e.example.com/soap")


def test_settings() -> None:
    assert plugin.petitbleu_settings_type() is SoapSettings
    limits = SoapSettings().xml_limits(1234)
    assert (limits.size, limits.nodes, limits.attributes, limits.depth) == (1234, 200_000, 256, 64)
