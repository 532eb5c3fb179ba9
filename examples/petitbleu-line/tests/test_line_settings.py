"""What the section may say, and what answers mean that no test of the whole server gives."""

from __future__ import annotations

from typing import Any

import pytest
from petitbleu import Content, Deferred, Delivered, Failed, Scope
from petitbleu_line.messages import preview
from petitbleu_line.outcomes import outcome
from petitbleu_line.sender import retry_key
from petitbleu_line.settings import LineSettings, user_id
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"accounts": {}}, "accounts"),
        ({"accounts": {"a": {"token": "two words"}}}, "channel access token"),
        ({"accounts": {"a": {"token": "x"}, "b": {"token": "y"}}}, "two accounts, a and b"),
        ({"accounts": {n: {"token": n, "brands": ["shop"]} for n in "ab"}}, "the brand 'shop' has two accounts"),
        ({"accounts": {"a": {"token": "x"}}, "url": "http://api.line.me"}, "use https"),
        ({"accounts": {"a": {"token": "x"}}, "url": "api.line.me"}, "should be scheme and host"),
        ({"accounts": {"a": {"token": "x"}}, "conections": 1}, "conections"),
    ],
)
def test_a_wrong_section_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        LineSettings.model_validate(settings)


def test_a_token_is_not_shown() -> None:
    settings = LineSettings.model_validate({"accounts": {"a": {"token": "s3cret"}}})
    assert "s3cret" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize("text", ["", "zoe", "U" + "A" * 32, "C" + "a" * 32, "U" + "a" * 31, "U" + "a" * 32 + "\n"])
def test_what_is_no_user_id(text: str) -> None:
    with pytest.raises(ValueError, match="is not a LINE user ID"):
        user_id(text)


def test_a_message_has_one_retry_key() -> None:
    assert retry_key("7@shop") == retry_key("7@shop") != retry_key("8@shop")
    assert len(retry_key("7@shop")) == 36


@pytest.mark.parametrize(
    ("status", "body", "kind", "scope"),
    [
        (200, b"", Delivered, None),
        (400, b'{"message": "x", "details": [{"property": "to"}]}', Failed, Scope.ADDRESS),
        (400, b'{"message": "x", "details": [{"property": "messages[0].text"}]}', Failed, Scope.MESSAGE),
        (400, b'{"details": 7}', Failed, Scope.MESSAGE),
        (403, b"[1", Deferred, Scope.PROVIDER),
        (413, b"\xff\x00", Failed, Scope.MESSAGE),
        (599, b"[]", Deferred, Scope.PROVIDER),
    ],
)
def test_answers(status: int, body: bytes, kind: type, scope: Scope | None) -> None:
    found = outcome("shop", status, {}, body, 60, 100)
    assert isinstance(found, kind)
    assert getattr(found, "scope", None) is scope
    assert found.text.isprintable()


def test_a_wait_that_is_asked_for_is_kept() -> None:
    found = outcome("shop", 429, {"Retry-After": "7"}, b'{"message": "slow down"}', 60, 100)
    assert found == Deferred("shop", "slow down", Scope.PROVIDER, "429", 7.0)


def test_a_preview_says_what_line_gets() -> None:
    assert preview(Content({"text": "a\n---\nb"}, {})) == ["2 of 5 messages: text of 1, text of 1"]
    assert preview(Content({"text": ""}, {})) == [
        "LINE will not take it: there is nothing to send: no text, flex message, image or sticker"
    ]
