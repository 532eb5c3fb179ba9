"""Events in JSON: what becomes of each member, and what is wrong with their form."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import Element, IncomingEvent, JsonEvent, Queue, Reject, event_from_json, incoming_event, parse_xml


def read(value: object, event_type: str = "", depth: int = 64) -> IncomingEvent:
    return event_from_json(value, lambda name: Queue.BATCH if name == "letter" else Queue.REALTIME, event_type, depth)


def test_an_event_is_as_if_it_had_come_in_xml() -> None:
    xml = """<rtEvent type="order" email="zoe@example.com" wishedChannel="0" points="12.5" vip="true" externalId="7">
      <ctx><order no="3"><line><name>Ink</name></line><line><name>Nib</name></line></order><note>soon</note></ctx>
      <mobileApp uuid="shop"/></rtEvent>"""
    json: dict[str, Any] = {
        "type": "order",
        "email": "zoe@example.com",
        "channel": 0,
        "points": 12.5,
        "vip": True,
        "externalId": 7,
        "language": None,
        "ctx": {"order": {"@no": "3", "line": [{"name": "Ink"}, {"name": "Nib"}]}, "note": "soon"},
        "mobileApp": {"@uuid": "shop"},
    }
    assert read(json) == incoming_event(parse_xml(xml.encode()), Queue.REALTIME)


def test_the_queue_is_the_events_own_or_its_types() -> None:
    assert read({"type": "letter"}).queue is Queue.BATCH
    assert read({"type": "letter", "queue": "realtime"}).queue is Queue.REALTIME
    assert read({}, "letter").queue is Queue.BATCH


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ([], [("", "should be an object")]),
        ("x", [("", "should be an object")]),
        ({"email": []}, [("email", "should be text")]),
        ({"queue": "fast", "priority": 200}, [("priority", "less than"), ("queue", "'realtime' or 'batch'")]),
        ({"\ud800": "x", "email": 5}, [("'\\ud800'", "should be a name"), ("email", "should be text")]),
        ({1: "x", None: 2}, [("1", "should be a name"), ("None", "should be a name")]),
        ({"channel": "sms", "wishedChannel": "email"}, [("channel", "another channel than")]),
        ({"type": "other"}, [("type", "is not 'order'")]),
        ({"ctx": 2.0**63}, [("ctx", "64 bits")]),
        ({"points": 1 << 63}, [("points", "64 bits")]),
        ({"ctx": {"a": [{"b": 1e300}]}}, [("ctx.a[1].b", "64 bits")]),
        ({"ctx": {"a": [[[["deep"]]]]}}, [("ctx.a[1][1][1]", "nested too deeply")]),
    ],
)
def test_what_is_wrong_is_noted_where_it_stands(value: object, problems: list[tuple[str, str]]) -> None:
    found = read(value, "order", depth=5).problems
    assert [one.attribute for one in found] == [where for where, _ in problems]
    assert all(words in one.reason for one, (_, words) in zip(found, problems, strict=True))


def test_what_is_not_wrong_is_kept_beside_what_is() -> None:
    event = read({"email": 5, "externalId": "7", "ctx": {"a": 1}})
    assert event.attributes == {"externalId": "7"}
    assert event.children == {"ctx": {"a": 1}}
    assert event.problems == (Reject("email", "should be text"),)


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(sorted(JsonEvent.model_fields)), trees, max_size=6))
def test_whatever_comes_is_an_event_or_has_a_problem(value: dict[str, Any]) -> None:
    event = read(orjson.loads(orjson.dumps(value)))
    wrong = {one.attribute.partition(".")[0].partition("[")[0] for one in event.problems}
    for name, item in value.items():
        if name in ("queue", "channel", "wishedChannel") or name in wrong or item is None:
            continue
        told = event.children[name] if name in event.children else event.attributes[name]
        if isinstance(item, dict | list):
            assert told == item
            assert not isinstance(item, dict) or isinstance(told, Element)
        elif name != "ctx":
            assert told == (str(item).lower() if isinstance(item, bool) else str(item))
