"""`python -m faults [--cases "F1 F11"] [--size 1.0]`: run cases, print a table, write `benchmarks/out/faults.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from node_programs import npm_smpp

from .cases import CASES
from .cases.machine import faketime_library, may_mount
from .rig import Row, rigged, rows_of

OUT = Path(__file__).parent.parent.parent / "benchmarks" / "out" / "faults.json"
_COLUMNS = "{:<5}{:<42}{:>7}{:>6}{:>5}{:>5}{:>10}{:>7}  {}"


def real_parts(postgres: str) -> Iterator[str]:
    """What took part that nobody here wrote, and what is not to be had on this machine."""
    yield f"used    PostgreSQL, {postgres}"
    found = {
        "strace": shutil.which("strace"),
        "pg_dump": shutil.which("pg_dump"),
        "libfaketime": faketime_library(),
        "a tmpfs that fills up": "mounted as root" if may_mount() else "",
        "node": shutil.which("node"),
        "npm smpp": npm_smpp()[0] if shutil.which("npm") else "",
    }
    for name, where in found.items():
        yield f"used    {name}, {where}" if where else f"lacked  {name}"


def line(row: Row) -> str:
    judged = row.judged
    recovery = "-" if judged.recovery is None else f"{judged.recovery:.1f} s"
    return _COLUMNS.format(
        row.case, row.variant[:41], judged.acked, judged.lost, judged.dup, judged.h, recovery, f"{row.seconds:.0f} s",
        row.verdict,
    )  # fmt: skip


async def run(numbers: list[str], size: float, out: Path) -> int:
    # an end by signal ends what was started, too
    me = asyncio.current_task()
    assert me is not None
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, me.cancel)
    rows: list[Row] = []
    postgres = ""
    print(_COLUMNS.format("case", "", "acked", "lost", "dup", "H", "recovery", "took", "verdict"), flush=True)
    for number in numbers:
        # each with a server of its own, so that no case works with what another one left
        with rigged(size) as rig:
            postgres = rig.cluster.server.origin
            async for row in rows_of(CASES[number], rig):
                rows.append(row)
                print(line(row), flush=True)
                if row.figures:
                    print(" " * 5 + ", ".join(f"{name} {value}" for name, value in row.figures.items()), flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n", "utf-8")
    lacked = [row for row in rows if row.verdict.startswith("lacked")]
    bad = [row for row in rows if not row.ok and row not in lacked]
    print("\n".join(real_parts(postgres)))
    print(f"{len(rows) - len(bad) - len(lacked)} of {len(rows)} ok, {len(bad)} not, {len(lacked)} not run; {out}")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description="Petitbleu under faults.")
    parser.add_argument("--cases", default="", help=f"which, by number (default: all): {' '.join(CASES)}")
    parser.add_argument("--size", type=float, default=1.0, help="factor on the numbers of events (default: 1)")
    parser.add_argument("--out", type=Path, default=OUT, help="where the rows go as JSON")
    args = parser.parse_args()
    numbers = args.cases.replace(",", " ").split() or list(CASES)
    if unknown := [number for number in numbers if number not in CASES]:
        print(f"no case {' '.join(unknown)}; there are {' '.join(CASES)}", file=sys.stderr)
        return 2
    try:
        return asyncio.run(run(numbers, args.size, args.out))
    except asyncio.CancelledError:
        return 130


if __name__ == "__main__":
    sys.exit(main())
