"""What is told: a figure, a table of figures, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

Side = Literal[">=", "<=", ""]
"""On which side of its target a figure should lie."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One result. `ratio` is to what `against` names; `target` is about the ratio where there is one, else the value.

    `value` is None where it could not be had; `note` then says why.
    """

    figure: str
    value: float | None
    unit: str
    against: str = ""
    ratio: float | None = None
    target: float | None = None
    side: Side = ">="
    note: str = ""

    @property
    def judged(self) -> float | None:
        return self.ratio if self.against else self.value

    @property
    def met(self) -> bool | None:
        """None where nothing is promised or nothing could be measured."""
        judged = self.judged
        if self.target is None or judged is None:
            return None
        return judged >= self.target if self.side == ">=" else judged <= self.target

    def as_json(self) -> dict[str, object]:
        fields = asdict(self)
        del fields["side"], fields["note"]
        return fields | {"met": self.met}


QUIET = 0.1
"""The part of the machine that other programs may take before a figure says so."""


def with_company(figures: Sequence[Figure], taken: float) -> list[Figure]:
    """The figures, marked when other programs took the part `taken` (0..1) of the processors meanwhile."""
    if taken <= QUIET:
        return list(figures)
    words = f"OTHER PROGRAMS took {100 * taken:.0f} % of the processors"
    return [replace(one, note=f"{words}; {one.note}" if one.note else words) for one in figures]


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or not value else f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """For people."""
    rows = [("FIGURE", "VALUE", "UNIT", "AGAINST", "RATIO", "TARGET", "MET", "NOTE")]
    for one in figures:
        target = "-" if one.target is None else f"{one.side} {number(one.target)}"
        met = {True: "yes", False: "NO", None: "-"}[one.met]
        value = "lacked" if one.value is None else number(one.value)
        rows.append((one.figure, value, one.unit, one.against or "-", number(one.ratio), target, met, one.note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {1, 4, 5}
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def write(figures: Sequence[Figure], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([one.as_json() for one in figures], indent=1, ensure_ascii=False) + "\n", "utf-8")
