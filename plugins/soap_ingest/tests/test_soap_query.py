"""ExecuteQuery: what a queryDef means, what is refused, what comes back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from petitbleu import EVENT_ATTRIBUTES, Comparison, Condition, Junction, QueryRefused, StatusName
from petitbleu_soap_ingest.expressions import condition
from petitbleu_soap_ingest.settings import SoapSettings

FIRST = (1 << 56) + 8030
SETTINGS = SoapSettings(query_depth=4, query_length=400)
STATUSES: Mapping[str, StatusName] = {
    "pending": StatusName("pending", "Pending", "pending", 0),
    "sent": StatusName("sent", "Sent", "processed", 2),
    "failed": StatusName("failed", "Delivery error", "deliveryFailed", 40),
}


def read(expression: str) -> Condition:
    return condition(expression, STATUSES, SETTINGS)


A, B, C = (Comparison("type", "=", (letter,)) for letter in "abc")


@pytest.mark.parametrize(
    ("expression", "meaning"),
    [
        ("@id=123", Comparison("id", "=", ("123",))),
        (" [@id] = '123' ", Comparison("id", "=", ("123",))),
        ("@ID = -1", Comparison("id", "=", ("-1",))),
        ("@id != 1", Comparison("id", "!=", ("1",))),
        ("@id<>1", Comparison("id", "!=", ("1",))),
        ("@errors>=3", Comparison("errors", ">=", ("3",))),
        ("@created > #2026-11-23 10:00:00Z#", Comparison("created", ">", ("2026-11-23 10:00:00Z",))),
        ("@externalId in ('A', \"B\",3)", Comparison("externalId", "in", ("A", "B", "3"))),
        ("@email LIKE '%@example.com'", Comparison("email", "like", ("%@example.com",))),
        (r"@origin='l\'eau \\ \"'", Comparison("origin", "=", ("l'eau \\ \"",))),
        ("@status=2", Comparison("status", "=", ("sent",))),
        ("@status='Delivery error'", Comparison("status", "=", ("failed",))),
        ("@status='processed'", Comparison("status", "=", ("sent",))),
        ("@status in (0,40)", Comparison("status", "in", ("pending", "failed"))),
        ("@status > 0", Comparison("status", "in", ("sent", "failed"))),
        ("@status <= 2", Comparison("status", "in", ("pending", "sent"))),
        ("@type='a' and @type='b' AND @type='c'", Junction("and", (A, B, C))),
        ("@type='a' or @type='b' and @type='c'", Junction("or", (A, Junction("and", (B, C))))),
        ("(@type='a' or @type='b') and @type='c'", Junction("and", (Junction("or", (A, B)), C))),
        ("((@type='a'))", A),
    ],
)
def test_expressions(expression: str, meaning: Condition) -> None:
    assert read(expression) == meaning


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("", "column 1: the end stands where an attribute such as @id is expected"),
        ("@id", "column 4: the end stands where =, !=, <, >, <=, >=, in or like is expected"),
        ("@id=", "column 5: the end is not a number, a 'text' or a #date#"),
        ("@id=@id", "column 5: '@id' is not a number"),
        ("@id=1 2", "column 7: '2' stands where and, or, or the end"),
        ("@id=1e5", "not understood"),
        ("@id=1.5.2", "not understood"),
        ("1=1", "column 1: '1' stands where an attribute"),
        ("@id in 1", "column 8: '1' stands where '(' is expected"),
        ("@id in ()", "column 9: ')' is not a number"),
        ("@id not in (1)", "column 5: 'not' stands where"),
        ("@email is null", "column 8: 'is' stands where"),
        ("not @id=1", "column 1: 'not' stands where"),
        ("Upper(@email)='A'", "column 1: 'Upper' stands where"),
        ("@created > GetDate()", "column 12: 'GetDate' is not a number"),
        ("@id + 1 = 2", "column 5: '+ 1 = 2' is not understood"),
        ("@nothing=1", "'@nothing' is not a readable attribute of events; these are @id, @type"),
        ("[ctx/title]='x'", "column 1: \"[ctx/title]='x'\" is not understood"),
        ("@email='open", 'column 8: "\'open" is not understood'),
        ("(@id=1", "column 7: the end stands where ')' is expected"),
        ("@id=1)", "column 6: ')' stands where and, or"),
        ("@status='nonsense'", "'nonsense' is not a status; statuses are 0 (Pending), 2 (Sent)"),
        ("@status=7", "'7' is not a status"),
        ("@status like '2'", "@status is a number"),
        ("@status > 'Sent'", "@status > takes a number"),
        ("@status < 0", "no status has a number < 0"),
        ("((((((@id=1))))))", "is nested too deep"),
        ("@id=1" + " or @id=1" * 60, "the limit is 400"),
        ("@id==1", "column 5: '=' is not a number"),
    ],
)
def test_expressions_refused(expression: str, text: str) -> None:
    with pytest.raises(QueryRefused, match=re.escape(text)):
        read(expression)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SIGNS = st.sampled_from(["=", "!=", "<", ">", "<=", ">=", "like"])
NAMES = st.sampled_from([name for name in EVENT_ATTRIBUTES if name != "status"])
COMPARISONS = st.builds(Comparison, NAMES, SIGNS, st.tuples(st.text(max_size=8))) | st.builds(
    Comparison, NAMES, st.just("in"), st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple)
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.builds(
        Junction, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)
    ),
    max_leaves=5,
)


def _written(term: Condition) -> str:
    if isinstance(term, Junction):
        return "(" + f" {term.kind} ".join(map(_written, term.terms)) + ")"
    values = [_quoted(value) for value in term.values]
    right = f"({', '.join(values)})" if term.operator == "in" else values[0]
    return f"@{term.attribute} {term.operator} {right}"


@given(CONDITIONS)
def test_what_is_written_is_what_is_read(term: Condition) -> None:
    settings = SoapSettings(query_length=10_000)
    assert condition(_written(term), STATUSES, settings) == term


@given(st.text(alphabet="@id=' \\\"#()<>!,[]andorlike123-.status\n", max_size=40))
def test_any_text_is_read_or_refused(expression: str) -> None:
    try:
        assert isinstance(read(expression), Comparison | Junction)
    except QueryRefused:
        return


# ------------------------------------------------------------------------------------------------------- over the wire


def query(definition: str) -> str:
    soap = "http://schemas.xmlsoap.org/soap/envelope/"
    call = f'<m:ExecuteQuery xmlns:m="urn:xtk:queryDef"><t>mc/demo</t><entity>{definition}</entity></m:ExecuteQuery>'
    return f'<e:Envelope xmlns:e="{soap}"><e:Body>{call}</e:Body></e:Envelope>'


def defined(operation: str, *conditions: str, select: str = '<node expr="@id"/>', more: str = "") -> str:
    where = "".join(f'<condition expr="{expr}"/>' for expr in conditions)
    return (
        f'<queryDef schema="nms:rtEvent" operation="{operation}" {more}>'
        f"<select>{select}</select><where>{where}</where></queryDef>"
    )


async def ask(post: Any, definition: str) -> Any:
    reply = await post(query(definition))
    assert reply.status == 200, reply.text
    (output,) = etree.fromstring(reply.body)[0][0]
    assert etree.QName(output).localname == "pdomOutput"
    (result,) = output
    return result


async def refusal(post: Any, definition: str) -> str:
    reply = await post(query(definition))
    assert reply.status == 500
    found = etree.fromstring(reply.body)[0][0]
    assert found[1].text == "Error while executing the method 'ExecuteQuery' of service 'xtk:queryDef'."
    return found[2].text or ""


@pytest.fixture
async def pushed(post: Any) -> None:
    soap = "http://schemas.xmlsoap.org/soap/envelope/"
    events = "".join(f'<rtEvent type="welcome" email="a{n}@b.cc" externalId="X&amp;{n}"/>' for n in range(5))
    call = f'<u:PushEvents xmlns:u="urn:nms:rtEvent"><t>mc/demo</t><c><Events>{events}</Events></c></u:PushEvents>'
    reply = await post(f'<e:Envelope xmlns:e="{soap}"><e:Body>{call}</e:Body></e:Envelope>')
    assert reply.status == 200


@pytest.mark.usefixtures("pushed")
async def test_every_attribute(post: Any) -> None:
    nodes = "".join(f'<node expr="@{name}"/>' for name in EVENT_ATTRIBUTES)
    event = await ask(post, defined("get", f"@id={FIRST & 0xFFFFFFFFFFFFFF}", select=nodes))
    assert etree.QName(event).localname == "rtEvent"
    assert dict(event.attrib) == {
        "id": str(FIRST),
        "type": "welcome",
        "channel": "email",
        "status": "2",
        "errors": "0",
        "created": "2026-11-23 10:00:00.123Z",
        "processing": "2026-11-23 10:00:00.125Z",
        "processed": "2026-11-23 10:00:00.163Z",
        "processRequested": "",
        "externalId": "X&0",
        "origin": "",
        "email": "a0@b.cc",
        "mobilePhone": "",
        "template": "welcome/email v1",
    }


@pytest.mark.usefixtures("pushed")
async def test_select(core: Any, post: Any) -> None:
    select = '<node expr="@externalId" alias="@key"/><node expr="@status"/>'
    found = await ask(post, defined("select", "@status=2", "@id!=1", select=select).replace("@id!=1", "@id in (8031)"))
    assert etree.QName(found).localname == "rtEvent-collection"
    assert [dict(each.attrib) for each in found] == [{"key": "X&1", "status": "2"}]
    assert core.queries[-1].where == Junction(
        "and", (Comparison("status", "=", ("sent",)), Comparison("id", "in", ("8031",)))
    )
    assert len(await ask(post, defined("select", "@id=1"))) == 0


@pytest.mark.usefixtures("pushed")
async def test_lines(core: Any, post: Any) -> None:
    assert len(await ask(post, defined("select"))) == 3
    found = await ask(post, defined("select", more='lineCount="2" startLine="1"'))
    assert [each.get("id") for each in found] == [str(FIRST + 1), str(FIRST + 2)]
    ordered = defined("select").replace(
        "</queryDef>", '<orderBy><node expr="@created" sortDesc="true"/><node expr="@id"/></orderBy></queryDef>'
    )
    await ask(post, ordered)
    assert core.queries[-1].order_by == (("created", True), ("id", False))


@pytest.mark.usefixtures("pushed")
async def test_count_and_existence(post: Any) -> None:
    counted = await ask(post, '<queryDef schema="nms:rtEvent" operation="count"/>')
    assert dict(counted.attrib) == {"count": "5"}
    assert (await ask(post, defined("getIfExists", "@id=8030"))).get("id") == str(FIRST)
    missing = await ask(post, defined("getIfExists", "@id=1"))
    assert (etree.QName(missing).localname, dict(missing.attrib), len(missing)) == ("rtEvent", {}, 0)
    assert "SOP-330011 There is no such nms:rtEvent" in await refusal(post, defined("get", "@id=1"))


@pytest.mark.usefixtures("pushed")
async def test_schemas_are_queues(post: Any) -> None:
    batch = defined("count").replace("nms:rtEvent", "nms:batchEvent")
    counted = await ask(post, batch)
    assert (etree.QName(counted).localname, counted.get("count")) == ("batchEvent", "0")


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ('<condition expr="@id=1"/><condition expr="@id=2"/>', "and"),
        ('<condition expr="@id=1" boolOperator="AND"/><condition expr="@id=2"/>', "and"),
        ('<condition expr="@id=1" boolOperator="OR" internalId="3"/><condition expr="@id=2"/>', "or"),
        ('<condition boolOperator="OR" expr="@id=1"/><condition boolOperator="OR" expr="@id=2"/>', "or"),
        ('<condition><condition expr="@id=1" boolOperator="or"/><condition expr="@id=2"/></condition>', "or"),
    ],
)
async def test_joined_conditions(core: Any, post: Any, where: str, kind: str) -> None:
    await ask(post, f'<queryDef schema="nms:rtEvent" operation="count"><where>{where}</where></queryDef>')
    joined = core.queries[-1].where
    assert (joined.kind, [term.values for term in joined.terms]) == (kind, [("1",), ("2",)])


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ("", "must hold one queryDef element"),
        ("<query/>", "must hold one queryDef element"),
        ("<queryDef/>", "the schema '' cannot be queried; schemas are nms:rtEvent, nms:batchEvent"),
        ('<queryDef schema="nms:recipient"/>', "'nms:recipient' cannot be queried"),
        (defined("delete"), "the operation 'delete' is not one of get, getIfExists, select, count"),
        (defined("select", select=""), "the select names no attribute"),
        (defined("select", select='<node expr="@password"/>'), "'@password' is not a readable attribute"),
        (defined("select", select='<node expr="id"/>'), "'id' is not a readable attribute"),
        (defined("select", select='<node expr="@id" groupBy="true"/>'), "<node> may not have groupBy"),
        (defined("select", select='<node expr="@id"/><node expr="@ID"/>'), "two nodes are called @id"),
        (defined("select", select='<node expr="@id" alias="a/b"/>'), "the alias 'a/b' is not of the form @name"),
        (defined("select", select='<other expr="@id"/>'), "<select> holds <node> only, not <other>"),
        (defined("select", more='firstRows="true"'), "<queryDef> may not have firstRows"),
        (defined("select", more='lineCount="many"'), "lineCount is a number of lines, not 'many'"),
        (defined("select", more='startLine="-1"'), "startLine is a number of lines"),
        (defined("select").replace("<where>", "<having/><where>"), "<queryDef> may not have a <having>"),
        (defined("select").replace("<where>", "<where/><where>"), "may not have a second <where>"),
        (defined("select", "@id = nothing"), "column 7: 'nothing' is not a number"),
        (
            defined("select").replace("<where>", '<where><condition setOperator="NOT EXISTS" expr="@id=1"/>'),
            "<condition> may not have setOperator",
        ),
        (
            defined("select", "@id=1", "@id=2", "@id=3").replace("<condition", '<condition boolOperator="OR"', 1),
            "are not all AND or all OR",
        ),
        (
            defined("select").replace(
                "<where>", '<where><condition expr="@id=1"/><condition boolOperator="OR" expr="@id=2"/>'
            ),
            "are not all AND or all OR",
        ),
        (
            defined("select").replace(
                "<where>", '<where><condition expr="@id=1"><condition expr="@id=2"/></condition>'
            ),
            "either an expr or conditions of its own",
        ),
        (
            defined("select").replace("<where></where>", f"<where>{'<condition>' * 9}{'</condition>' * 9}</where>"),
            "conditions are nested too deep",
        ),
    ],
)
async def test_queries_refused(core: Any, post: Any, definition: str, text: str) -> None:
    assert text in await refusal(post, definition)
    assert core.queries == []
