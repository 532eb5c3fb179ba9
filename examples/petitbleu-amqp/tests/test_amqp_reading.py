"""What the section may say, and how messages are put together, without a broker."""

from __future__ import annotations

from typing import Any

import pytest
from petitbleu_amqp.feed import Read, _split
from petitbleu_amqp.settings import AmqpSettings
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "amqp://broker.example.com"}, "cross the network in clear"),
        ({"url": "https://broker.example.com"}, "should be amqps://HOST"),
        ({"url": "amqps://me:secret@broker.example.com"}, "should hold no login"),
        ({"url": "amqps://h", "queue": "amq.own"}, "queue"),
        ({"url": "amqps://h", "queue": "a", "dead_letter": "a"}, "is the queue itself"),
        ({"url": "amqps://h", "cert_file": "x"}, "come together"),
        ({"url": "amqps://h", "prefetch": 0}, "prefetch"),
        ({"url": "amqps://h", "prefech": 1}, "prefech"),
    ],
)
def test_a_wrong_section_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as refused:
        AmqpSettings.model_validate({"password": "x", **settings})
    assert "secret" not in str(refused.value)


def test_login_and_password_may_hold_anything() -> None:
    settings = AmqpSettings.model_validate({"url": "amqps://h:5/v", "login": "a:b", "password": "c@d/?#"})
    assert settings.address() == "amqps://a%3Ab:c%40d%2F%3F%23@h:5/v?heartbeat=30"
    assert "c@d" not in repr(settings)
    assert settings.tls() is not None


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1, 1, 1], [[1, 1, 1]]),
        ([4, 1, 5, 9, 0, 1], [[4, 1], [5], [9], [0, 1]]),
        ([0, 0, 9], [[0, 0], [9]]),
    ],
)
def test_messages_are_put_together_in_order_and_within_the_limit(sizes: list[int], expected: list[list[int]]) -> None:
    some: Any = [Read(None, [None] * size) for size in sizes]  # type: ignore[arg-type, list-item]
    assert [[len(one.events) for one in group] for group in _split(some, 5)] == expected
