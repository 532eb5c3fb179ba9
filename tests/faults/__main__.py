"""`python -m faults [--cases "F1 F11"] [--size 1.0]`: run cases, print a table, write `benchmarks/out/faults.json`.

Cases that fill the machine, or measure how much it does, have it to themselves. The others mostly wait, so they run in
two processes beside each other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from node_programs import npm_smpp

from .cases import CASES
from .cases.machine import faketime_library, may_mount
from .rig import Row, rigged, rows_of

OUT = Path(__file__).parent.parent.parent / "benchmarks" / "out" / "faults.json"
_HERE = re.compile(r"F[4-8]|S\d+")
_BESIDE = re.compile(r"[PW]\d+")
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


def show(row: Row) -> None:
    figures = ", ".join(f"{name} {value}" for name, value in row.figures.items())
    # in one piece, since another process prints its own
    print(line(row) + (f"\n{'':5}{figures}" if figures else ""), flush=True)


async def in_turn(numbers: Sequence[str], size: float, origins: set[str]) -> list[dict[str, Any]]:
    """The rows of these cases; `origins` gets where their PostgreSQL is from."""
    rows = []
    for number in numbers:
        # each with a server of its own, so that no case works with what another one left
        with rigged(size) as rig:
            origins.add(rig.cluster.server.origin)
            async for row in rows_of(CASES[number], rig):
                show(row)
                rows.append(row.as_json())
    return rows


async def beside(numbers: Sequence[str], size: float) -> list[dict[str, Any]]:
    """The rows of cases that another process runs."""
    if not numbers:
        return []
    with tempfile.TemporaryDirectory(prefix="petitbleu-faults-") as folder:
        out = Path(folder) / "rows.json"
        words = ["--cases", " ".join(numbers), "--size", str(size), "--out", str(out), "--rows-only"]
        child = await asyncio.create_subprocess_exec(sys.executable, "-m", "faults", *words)
        try:
            await child.wait()
        except asyncio.CancelledError:
            child.terminate()
            await child.wait()
            raise
        if not out.exists():
            raise RuntimeError(f"the process that ran {' '.join(numbers)} ended with {child.returncode}")
        rows: list[dict[str, Any]] = json.loads(out.read_text("utf-8"))
        return rows


async def run(numbers: list[str], size: float, out: Path, rows_only: bool) -> int:
    # an end by signal ends what was started, too
    me = asyncio.current_task()
    assert me is not None
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, me.cancel)
    if not rows_only:
        print(_COLUMNS.format("case", "", "acked", "lost", "dup", "H", "recovery", "took", "verdict"), flush=True)
    here, there = ([one for one in numbers if lane.fullmatch(one)] for lane in (_HERE, _BESIDE))
    if rows_only or not here:
        here, there = [], []
    origins: set[str] = set()
    rows = await in_turn([one for one in numbers if one not in {*here, *there}], size, origins)
    async with asyncio.TaskGroup() as group:
        theirs = group.create_task(beside(there, size))
        rows += await in_turn(here, size, origins)
    rows += theirs.result()
    rows.sort(key=lambda row: [*CASES].index(row["case"]))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    lacked = [row for row in rows if row["verdict"].startswith("lacked")]
    bad = [row for row in rows if row["verdict"] != "ok" and row not in lacked]
    if not rows_only:
        print("\n".join(real_parts(", ".join(origins))))
        print(f"{len(rows) - len(bad) - len(lacked)} of {len(rows)} ok, {len(bad)} not, {len(lacked)} not run; {out}")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description="Petitbleu under faults.")
    parser.add_argument("--cases", default="", help=f"which, by number (default: all): {' '.join(CASES)}")
    parser.add_argument("--size", type=float, default=1.0, help="factor on the numbers of events (default: 1)")
    parser.add_argument("--out", type=Path, default=OUT, help="where the rows go as JSON")
    parser.add_argument("--rows-only", action="store_true", help="neither the head of the table nor what follows it")
    args = parser.parse_args()
    numbers = args.cases.replace(",", " ").split() or list(CASES)
    if unknown := [number for number in numbers if number not in CASES]:
        print(f"no case {' '.join(unknown)}; there are {' '.join(CASES)}", file=sys.stderr)
        return 2
    try:
        return asyncio.run(run(numbers, args.size, args.out, args.rows_only))
    except asyncio.CancelledError:
        return 130


if __name__ == "__main__":
    sys.exit(main())
