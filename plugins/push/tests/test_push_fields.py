"""What templates may say, what becomes of it, and what is refused when it is rendered."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import TemplateError
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.rendering.renderer import Renderer, event_context
from petitbleu.templates.drafts import Drafts
from petitbleu_push import payload
from petitbleu_push.fields import LONGEST_TTL, AndroidFields, IosFields, PushFields, WebFields
from petitbleu_push.sender import FIELDS
from push_rig import make
from pydantic import ValidationError

pytest_plugins = ("push_servers",)

KINDS = (IosFields, AndroidFields, WebFields)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "nothing to show"),
        ({"title": " ", "body": "\n"}, "nothing to show"),
        ({"title": "two\nlines"}, "more than one line"),
        ({"title": "bell\x07"}, "control character"),
        ({"body": "half \ud800"}, "control character|surrogate|valid string"),
        ({"title": "x", "image": "http://img.example.com/1.png"}, "an https address"),
        ({"title": "x", "image": "https://img.example.com/1 2.png"}, "an https address"),
        ({"title": "x", "link": "/orders/7"}, "an address with its scheme"),
        ({"title": "x", "link": "javascript:alert(1)"}, "an address with its scheme"),
        ({"title": "x", "link": "DATA:text/html,x"}, "an address with its scheme"),
        ({"title": "x", "badge": -1}, "greater than or equal to 0"),
        ({"title": "x", "badge": "many"}, "valid integer"),
        ({"title": "x", "ttl": 99_999_999}, "less than or equal to 2419200"),
        ({"title": "x", "priority": "urgent"}, "'high' or 'normal'"),
        ({"title": "x", "data": {"aps": "x"}}, "cannot be a key"),
        ({"title": "x", "data": {"google.c": "x"}}, "cannot be a key"),
        ({"title": "x", "data": {"link": "x"}}, "cannot be a key"),
        ({"title": "x", "data": {"a b": "x"}}, "cannot be a key"),
        ({"title": "x", "data": {"a": "\x00"}}, "control character"),
        ({"title": "x", "data": {"a": 7}}, "valid string"),
        ({"title": "x", "collapse": "two words"}, "visible ASCII"),
        ({"title": "x", "colour": "red"}, "Extra inputs"),
    ],
)
def test_what_is_refused(kind: type[PushFields], fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        kind.model_validate(fields)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_render_to_nothing_leave_nothing(kind: type[PushFields]) -> None:
    made = kind.model_validate({"title": "x", "badge": " ", "ttl": "", "link": "", "image": " ", "sound": ""})
    assert json.loads(made.measured()) in (
        {"aps": {"alert": {"title": "x"}}},
        {"notification": {"title": "x"}},
        {"title": "x"},
    )


@pytest.mark.parametrize(("kind", "limit"), [(IosFields, 4096), (AndroidFields, 4096), (WebFields, 3993)])
def test_the_platforms_limit_holds_to_the_byte(kind: type[PushFields], limit: int) -> None:
    """In bytes: é has two."""
    spare = limit - len(kind.model_validate({"title": "é", "data": {"k": "x"}}).measured()) + 1
    assert len(kind.model_validate({"title": "é", "data": {"k": "x" * spare}}).measured()) == limit
    with pytest.raises(ValidationError, match=f"has {limit + 1} bytes; the limit is {limit}"):
        kind.model_validate({"title": "é", "data": {"k": "x" * (spare + 1)}})


@given(
    st.text(max_size=80),
    st.text(max_size=200),
    st.dictionaries(st.from_regex(r"[a-z]{4,9}", fullmatch=True), st.text()),
)
def test_any_text_arrives_or_is_refused(title: str, body: str, data: dict[str, str]) -> None:
    given = {"title": title, "body": body, "data": data}
    try:
        ios, android, web = (kind.model_validate(given) for kind in KINDS)
    except ValidationError:
        return
    shown = {name: value for name, value in (("title", title.strip()), ("body", body.strip())) if value}
    apple = json.loads(ios.measured())
    assert apple["aps"]["alert"] == shown
    assert {name: value for name, value in apple.items() if name != "aps"} == data
    google = json.loads(payload.fcm(android, "t", "k", 1))["message"]  # type: ignore[arg-type]
    assert google["notification"] == shown
    assert google.get("data", {}) == data
    browser = json.loads(web.measured())
    assert browser == {**shown, **({"data": data} if data else {})}


@given(st.text(max_size=100), st.text(max_size=100))
def test_collapse_keys_fit_every_platform(key: str, given: str) -> None:
    made = payload.collapse_key(key, given)
    assert made == payload.collapse_key(key, given)
    assert 1 <= len(made) <= 32
    assert set(made) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ttl", "left", "seconds"),
    [
        (None, None, None),
        (None, 90, 90),
        (60, None, 60),
        (60, 90, 60),
        (120, 90, 90),
        (0, 90, 0),
        (None, -5, 0),
        (None, 10**8, LONGEST_TTL),
    ],
)
def test_how_long_it_is_kept(ttl: int | None, left: int | None, seconds: int | None) -> None:
    fields = AndroidFields(title="x", ttl=ttl)
    expires = None if left is None else NOW + timedelta(seconds=left)
    assert payload.time_to_live(fields, expires, NOW) == seconds


# --------------------------------------------------------------------------------------------- by way of the core

YAML = """\
title: "Order {{ rtEvent.ctx.order }} is on its way"
title.fr: "La commande {{ rtEvent.ctx.order }} est en route"
body: "{{ rtEvent.ctx.text }}"
link: "shop://orders/{{ rtEvent.ctx.order }}"
badge: "{{ rtEvent.ctx.badge }}"
data:
  order: "{{ rtEvent.ctx.order }}"
"""


def rendered(folder: Path, channel: str, ctx: dict[str, str], language: str = "") -> Any:
    calls = Calls(load(["push"]), 1.0)
    channels = list(calls.channels().values())
    draft = folder / "shipping" / channel
    draft.mkdir(parents=True, exist_ok=True)
    (draft / "template.yaml").write_text(YAML)
    renderer = Renderer(channels, lambda *_: None)
    compiled = renderer.compile(Drafts(folder, channels).load("shipping", channel).snapshot)
    event = make(channel=channel).event
    event.data["ctx"] = ctx  # type: ignore[index]
    return compiled.render(language, event_context(event, {}))


@pytest.mark.parametrize("channel", FIELDS)
def test_a_template_is_one_file(tmp_path: Path, channel: str) -> None:
    ctx = {"order": "7", "text": "See you soon <b>&", "badge": "3"}
    content = rendered(tmp_path, channel, ctx, "fr")
    assert content.fields["title"] == "La commande 7 est en route"
    assert content.fields["body"] == "See you soon <b>&"
    assert (content.fields["badge"], content.fields["link"]) == (3, "shop://orders/7")
    assert content.fields["data"] == {"order": "7"}


@pytest.mark.parametrize(("channel", "limit"), [("ios", 4096), ("android", 4096), ("web", 3993)])
def test_what_is_too_big_fails_when_it_is_rendered(tmp_path: Path, channel: str, limit: int) -> None:
    with pytest.raises(TemplateError, match=f"shipping/{channel}.*bytes; the limit is {limit}"):
        rendered(tmp_path, channel, {"order": "7", "text": "x" * 4000, "badge": ""})
