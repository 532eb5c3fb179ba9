"""Who is calling: log-on, log-off, and the four places a session token may stand in."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


def call(urn: str, method: str, *parameters: str) -> str:
    inner = "".join(f"<p{n}>{text}</p{n}>" for n, text in enumerate(parameters))
    body = f'<u:{method} xmlns:u="urn:{urn}">{inner}</u:{method}>'
    return f'<e:Envelope xmlns:e="{SOAP}"><e:Body>{body}</e:Body></e:Envelope>'


def push(token: str = "") -> str:
    return call("nms:rtEvent", "PushEvent", token, '<rtEvent type="welcome"/>')


async def logged_on(post: Any) -> list[Any]:
    reply = await post(call("xtk:session", "Logon", "", "mc", "demo", "<parameters rememberMe='true'/>"))
    assert reply.status == 200, reply.text
    return list(etree.fromstring(reply.body)[0][0])


async def test_logon_gives_three_results_in_order(post: Any) -> None:
    session, info, security = await logged_on(post)
    names = [etree.QName(result).localname for result in (session, info, security)]
    assert names == ["pstrSessionToken", "pSessionInfo", "pstrSecurityToken"]
    assert (session.text, security.text) == ("___token0", "@security0==")
    server, user = info[0]
    assert (server.get("sessionTimeOut"), server.get("securityTimeOut")) == ("3600", "3600")
    assert user.get("login") == "mc"
    assert [right.get("right") for right in user] == ["push", "read"]


async def test_logon_refused(post: Any) -> None:
    for parameters in (("", "mc", "wrong"), ("", "who", "demo"), ("",), ()):
        reply = await post(call("xtk:session", "Logon", *parameters))
        assert reply.status == 500
        assert "Error while reading parameters of method 'Logon' of service 'xtk:session'." in reply.text
        assert "<detail>Invalid login or password. Connection denied.</detail>" in reply.text


async def test_logoff_ends_the_session(core: Any, post: Any) -> None:
    await logged_on(post)
    assert (await post(push("___token0"))).status == 200
    reply = await post(call("xtk:session", "Logoff", "___token0"))
    assert reply.status == 200
    assert reply.text.count("LogoffResponse") == 2
    assert core.tokens == {}
    assert (await post(push("___token0"))).status == 500
    assert (await post(call("xtk:session", "Logoff", "___token0"))).status == 500


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"X_Session_Token": "___token0"}, True),
        ({"Authorization": "Bearer ___token0"}, True),
        ({"Authorization": "bearer  ___token0 "}, True),
        ({"Authorization": "Basic ___token0"}, False),
        ({"Cookie": "__sessiontoken=___token0"}, False),
        ({"Cookie": "__sessiontoken=___token0", "X_Security_Token": "wrong"}, False),
        ({"Cookie": "__sessiontoken=___token0", "X_Security_Token": "@security0=="}, True),
        ({"Cookie": "other=1; __sessiontoken=___token0; z=2", "X_Security_Token": "@security0=="}, True),
        ({"X_Security_Token": "@security0=="}, False),
    ],
)
async def test_where_the_token_may_stand(core: Any, post: Any, headers: dict[str, str], taken: bool) -> None:
    await logged_on(post)
    reply = await post(push(), **headers)
    assert reply.status == (200 if taken else 500)
    assert len(core.events) == (1 if taken else 0)


async def test_cookie_session_is_logged_off(core: Any, post: Any) -> None:
    await logged_on(post)
    headers = {"Cookie": "__sessiontoken=___token0", "X_Security_Token": "@security0=="}
    assert (await post(call("xtk:session", "Logoff", ""), **headers)).status == 200
    assert core.tokens == {}


async def test_the_parameter_counts_before_headers_and_cookie(core: Any, post: Any) -> None:
    await post(push(" mc/demo "), X_Session_Token="header", Cookie="__sessiontoken=cookie")
    seen = core.seen[-1]
    assert (seen.address, seen.token, seen.cookie) == ("127.0.0.1", "mc/demo", "")


async def test_soap_headers_carry_no_session(post: Any) -> None:
    body = push().replace("<e:Body>", "<e:Header><sessiontoken>mc/demo</sessiontoken></e:Header><e:Body>")
    assert (await post(body)).status == 500


async def test_schemas(post: Any) -> None:
    for urn in ("xtk:persist", "xtk:session"):
        reply = await post(call(urn, "GetEntityIfMoreRecent", "mc/demo", "xtk:schema|nms:rtEvent", "", "false"))
        (schema,) = etree.fromstring(reply.body)[0][0][0]
        assert (schema.get("namespace"), schema.get("name")) == ("nms", "rtEvent")
        pushed = next(method for method in schema.iter("{*}method") if method.get("name") == "PushEvent")
        assert pushed.get("static") == "true"
        assert [dict(parameter.attrib) for parameter in pushed[0]] == [
            {"name": "domEvent", "type": "DOMElement", "inout": "in"},
            {"name": "plId", "type": "int64", "inout": "out"},
        ]
        enumerations = {each.get("name"): each for each in schema.iter("{*}enumeration")}
        assert [value.get("value") for value in enumerations["status"]] == ["0", "1", "2", "40"]
        assert [value.get("value") for value in enumerations["channel"]] == ["0"]
        assert "order_confirmation" in [value.get("name") for value in enumerations["eventType"]]
        assert len(enumerations["emailFormat"]) == 4
        names = [attribute.get("name") for attribute in schema.iter("{*}attribute")]
        assert {"id", "externalId", "wishedChannel", "processRequested"} <= set(names)
        assert len(names) == len(set(names))


@pytest.mark.parametrize("key", ["xtk:schema|nms:recipient", "xtk:form|nms:rtEvent", "nonsense", ""])
async def test_unknown_schemas(post: Any, key: str) -> None:
    reply = await post(call("xtk:persist", "GetEntityIfMoreRecent", "mc/demo", key, "", "false"))
    (result,) = etree.fromstring(reply.body)[0][0]
    assert (reply.status, etree.QName(result).localname, len(result)) == (200, "pdomDoc", 0)
    reply = await post(call("xtk:persist", "GetEntityIfMoreRecent", "mc/demo", key, "", "true"))
    assert reply.status == 500
    assert "known are xtk:schema|nms:rtEvent" in reply.text


async def test_schemas_are_not_for_strangers(post: Any) -> None:
    reply = await post(call("xtk:persist", "GetEntityIfMoreRecent", "", "xtk:schema|nms:rtEvent", "", "false"))
    assert "Invalid login or password" in reply.text
