"""How long whoever asks to be left alone is left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from petitbleu import retry_after

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("Mon, 23 Nov 2026 10:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 10:01:00 -0000", 60.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("86401", 86_400.0),
        ("9" * 5000, 86_400.0),
        ("-1", None),
        ("1.5", None),
        ("\u0663\u0660", None),
        ("whenever", None),
        ("Mon, 99 Nov 2026 10:01:00 GMT", None),
    ],
)
def test_what_retry_after_says(value: str | None, expected: float | None) -> None:
    assert retry_after(value, NOW) == expected
