"""Places on an event's way where a test lets the process die, stop, stumble or hang; off unless the environment names
one in `PETITBLEU_FAILPOINTS`.

    PETITBLEU_FAILPOINTS=after_render:100:kill,before_result:7:block 20

Each entry is a place, every how many passages it strikes, and what happens: `kill` and `stop` are SIGKILL and SIGSTOP
to this process, `exit` ends it with status 70, `raise` raises `FailpointHit`, `block` holds its thread for so many
seconds.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .errors import PetitbleuError

logger = logging.getLogger("petitbleu.delivery")

VARIABLE = "PETITBLEU_FAILPOINTS"
PLACES = (
    "after_claim",
    "after_render",
    "before_handoff",
    "after_handoff",
    "after_reply",
    "before_result",
    "after_result",
)
"""In the order in which an event passes them."""
_ENTRY = re.compile(r"(?P<place>\w+):(?P<every>[1-9]\d{0,8}):(?P<action>\w+)( (?P<seconds>\d{1,6}(\.\d{1,6})?))?")


class FailpointHit(Exception):
    """What `raise` raises."""


class Crash(BaseException):
    """The worker dies, within a process that goes on: nothing contains it, nothing is written down, and the event's
    lease runs out.

    Unlike where a process is killed, the plugin's own clean-up still runs.
    """


@dataclass(frozen=True, slots=True)
class Failpoint:
    """Strikes at every `every`-th passage; `seconds` is for `block`."""

    every: int
    action: str
    seconds: float = 0.0


def _raise(point: Failpoint) -> None:
    raise FailpointHit("a failpoint struck")


ACTIONS: Mapping[str, Callable[[Failpoint], None]] = {
    "kill": lambda point: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda point: os.kill(os.getpid(), signal.SIGSTOP),
    "exit": lambda point: os._exit(70),
    "raise": _raise,
    "block": lambda point: time.sleep(point.seconds),
}


class Failpoints:
    """Counts the passages of each place and strikes when it is time."""

    def __init__(
        self, points: Mapping[str, Failpoint], actions: Mapping[str, Callable[[Failpoint], None]] = ACTIONS
    ) -> None:
        self._points = points
        self._actions = actions
        self._passages = dict.fromkeys(points, 0)

    def passed(self, place: str) -> None:
        point = self._points.get(place)
        if point is None:
            return
        self._passages[place] += 1
        if self._passages[place] % point.every == 0:
            self._actions[point.action](point)


def read_failpoints(environment: Mapping[str, str]) -> Failpoints | None:
    """None where nothing is switched on. Raises `PetitbleuError`."""
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    points: dict[str, Failpoint] = {}
    for entry in text.split(","):
        found = _ENTRY.fullmatch(entry.strip())
        if found is None or found["place"] not in PLACES or found["action"] not in ACTIONS:
            raise PetitbleuError(
                f"{VARIABLE}: {entry.strip()!r} should be PLACE:EVERY:ACTION, with a place of {', '.join(PLACES)} "
                f"and an action of {', '.join(ACTIONS)}"
            )
        if (found["action"] == "block") != (found["seconds"] is not None):
            raise PetitbleuError(
                f"{VARIABLE}: {entry.strip()!r}: block takes seconds, as in `block 20`; others take none"
            )
        points[found["place"]] = Failpoint(int(found["every"]), found["action"], float(found["seconds"] or 0))
    logger.warning("failpoints are on: %s", text)
    return Failpoints(points)
