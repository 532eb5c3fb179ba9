"""Every hook, and everything a plugin can do wrong in it: what that costs, who else suffers, and who is told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from aiohttp import web
from petitbleu import (
    Attempt,
    Catcher,
    Channel,
    Check,
    Command,
    Content,
    Deferred,
    Delivered,
    Event,
    Failed,
    HandOffRefused,
    Hold,
    Message,
    Notice,
    NotNow,
    NotTold,
    PetitbleuError,
    Queue,
    Receipt,
    ReceiptState,
    Recycle,
    Reject,
    Route,
    Scope,
    Settings,
    Subscription,
    Suppress,
    TemplateError,
    TemplateRef,
    Told,
    Unknown,
    hookimpl,
    hookspecs,
)
from petitbleu.errors import PluginError
from petitbleu.hosting.calling import HookFailed
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.conduct import Conduct
from petitbleu.hosting.patience import GIVE_UP
from petitbleu.hosting.plugins import load
from petitbleu.hosting.validity import MEMBERS

DEADLINE, GRACE = 0.05, 0.05
ADDRESS = "zoe@example.com"
EVENT = Event(7, "note", Queue.REALTIME, "pigeon", {}, datetime(2026, 1, 1, tzinfo=UTC), {"email": ADDRESS})
ROUTE = Route("pigeon", "", "note")
TEMPLATE = TemplateRef("note", "pigeon", 1)
CONTENT = Content({"text": "hello"}, {})
MESSAGE = Message(EVENT, "pigeon", ADDRESS, "", TEMPLATE, CONTENT, "7@x")
NOTICE = Notice("all", "7-sent-1", "sent", 7, EVENT.created, 0, "note", "pigeon", "sent")
RECEIPT = Receipt("pigeon", "loft", ReceiptState.RECEIVED, "landed")


async def _go(provider: str) -> None:
    """An `Attempt.hand_off` that nothing stands against."""


ATTEMPT = Attempt(1, _go)


@dataclass(frozen=True)
class Row:
    """How a hook is called, what a good answer is and what bad ones of the right kind are."""

    call: Callable[[Calls], Any]
    good: Any = None
    rotten: tuple[Any, ...] = ()


ROWS: dict[str, Row] = {
    "petitbleu_settings_type": Row(lambda calls: calls.settings_types(), Settings, (Settings(),)),
    "petitbleu_channels": Row(lambda calls: calls.channels(), [], ([Channel], ["pigeon"])),
    "petitbleu_intake_routes": Row(lambda calls: calls.intake_routes(_any(), _any()), [], ([web.Application],)),
    "petitbleu_routes": Row(lambda calls: calls.routes(_any()), [], (["/x"],)),
    "petitbleu_commands": Row(lambda calls: calls.commands(_any()), [], ([Command],)),
    "petitbleu_catchers": Row(lambda calls: calls.catchers(), [], ([Catcher],)),
    "petitbleu_lifespan": Row(lambda calls: calls.lifespans(_any()), contextlib.nullcontext(), (None,)),
    "petitbleu_subscriptions": Row(lambda calls: calls.subscriptions(), [], ([Subscription], ["all"])),
    "petitbleu_prepare_environment": Row(lambda calls: calls.prepare_environment(_any(), "pigeon"), None, ({},)),
    "petitbleu_check_event": Row(
        lambda calls: calls.check_event(EVENT),
        None,
        (Reject("email", 5), Reject("x" * 2000, "no"), Reject(None, "no")),  # type: ignore[arg-type]
    ),
    "petitbleu_enrich_event": Row(
        lambda calls: calls.enrich_event(EVENT),
        EVENT,
        (
            replace(EVENT, id=8),
            replace(EVENT, data=[]),  # type: ignore[arg-type]
            replace(EVENT, addresses={"email": 5}),  # type: ignore[dict-item]
            replace(EVENT, created=datetime(2026, 1, 1)),
            replace(EVENT, priority="5"),  # type: ignore[arg-type]
        ),
    ),
    "petitbleu_route_event": Row(
        lambda calls: calls.route_event(EVENT),
        ROUTE,
        (Route(None, "", "note"), Route("pigeon", "", "x" * 2000)),  # type: ignore[arg-type]
    ),
    "petitbleu_resolve_template": Row(
        lambda calls: calls.resolve_template(EVENT, ROUTE),
        TEMPLATE,
        (TemplateRef("note", "pigeon", "1"),),  # type: ignore[arg-type]
    ),
    "petitbleu_render": Row(
        lambda calls: calls.render(TEMPLATE, EVENT, {}),
        CONTENT,
        (
            Content("hello", {}),  # type: ignore[arg-type]
            Content({"text": b"hello"}, {}),  # type: ignore[dict-item]
            Content({"text": "hello"}, {}, {"a.pdf": "no bytes"}),  # type: ignore[dict-item]
            Content({"text": "x" * 20_000_001}, {}),
        ),
    ),
    "petitbleu_check_message": Row(
        lambda calls: calls.check_message(MESSAGE),
        None,
        (Suppress(7), Hold(datetime(2030, 1, 1), "naive"), Hold("later", "no"), Suppress("x" * 200_000)),  # type: ignore[arg-type]
    ),
    "petitbleu_deliver": Row(
        lambda calls: calls.deliver(MESSAGE, ATTEMPT, DEADLINE),
        Delivered("loft", "flew"),
        (
            Delivered(5, "flew"),  # type: ignore[arg-type]
            Delivered("loft", None),  # type: ignore[arg-type]
            Delivered("loft", "flew", awaits="abc"),  # type: ignore[arg-type]
            Delivered("loft", "flew", awaits=("x",) * 1001),
            Deferred("loft", "no", "us"),  # type: ignore[arg-type]
            Deferred("loft", "no", Scope.US, retry_after=float("nan")),
            Deferred("loft", "no", Scope.US, retry_after=-1),
            Failed("loft", "no", None),  # type: ignore[arg-type]
            Unknown("loft", b"?"),  # type: ignore[arg-type]
        ),
    ),
    "petitbleu_tell": Row(
        lambda calls: calls.tell("bad", NOTICE, DEADLINE),
        Told("200"),
        (
            Told(200),  # type: ignore[arg-type]
            NotTold(None),  # type: ignore[arg-type]
            NotTold("no", retry_after=-1.0),
            NotTold("no", ended="yes"),  # type: ignore[arg-type]
            None,
        ),
    ),
    "petitbleu_recycle_event": Row(
        lambda calls: calls.recycle_event(EVENT, "pigeon", "failed", "no"),
        None,
        (Recycle(None, "no"),),  # type: ignore[arg-type]
    ),
    "petitbleu_event_accepted": Row(lambda calls: calls.event_accepted(EVENT)),
    "petitbleu_outcome_recorded": Row(lambda calls: calls.outcome_recorded(EVENT, "sent", None, "")),
    "petitbleu_receipt_recorded": Row(lambda calls: calls.receipt_recorded(EVENT, RECEIPT)),
    "petitbleu_health": Row(
        lambda calls: calls.health(),
        [Check("wings", True, "well")],
        ([Check("wings", "yes", "well")], [Check(None, True, "")], ["well"]),  # type: ignore[arg-type]
    ),
    "petitbleu_check_providers": Row(
        lambda calls: calls.check_providers(DEADLINE),
        [Check("loft", True, "open")],
        ([Check("loft", None, "")], {"loft": True}),  # type: ignore[arg-type]
    ),
}

MODES = {
    name: mode
    for mode, section in re.findall(
        r"^# -+ [^\n]*: (\w+)\n(.*?)(?=^# -+ |\Z)", inspect.getsource(hookspecs), re.M | re.S
    )
    for name in re.findall(r"^(?:async )?def (petitbleu_\w+)", section, re.M)
}
CHECKING = ("petitbleu_health", "petitbleu_check_providers")
ASYNC = [name for name, mode in MODES.items() if mode != "collect"]


def _any() -> Any:
    return object()


def test_every_hook_has_its_row() -> None:
    assert list(ROWS) == list(MODES)
    bad = [one for name in ASYNC for one in ROWS[name].rotten]
    answers = {type(one) for answer in bad for one in (answer if isinstance(answer, list) else [answer])}
    assert set(MEMBERS) <= answers, "an answer of this type is never a bad one here"


# ------------------------------------------------------------------------------------------------------------ misdeeds


async def _nothing() -> None:
    """As one should."""


def _recurses() -> None:
    _recurses()


async def _raises() -> None:
    raise RuntimeError(f"no letter for {ADDRESS.upper()}")


async def _raises_what_cannot_be_shown() -> None:
    class Shy(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise Shy


async def _raises_at_length() -> None:
    raise RuntimeError("x" * 10_000_000)


async def _times_out_by_itself() -> None:
    raise TimeoutError("of its own")


async def _exits() -> None:
    sys.exit(3)


async def _interrupts() -> None:
    raise KeyboardInterrupt


async def _closes() -> None:
    raise GeneratorExit


async def _closes_later() -> None:
    await asyncio.sleep(0)
    raise GeneratorExit


async def _cancels_itself() -> None:
    raise asyncio.CancelledError


async def _cancels_its_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.sleep(60)
    finally:
        task.uncancel()


async def _overflows() -> None:
    _recurses()


async def _hangs() -> None:
    await asyncio.sleep(60)


async def _ignores_it() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


async def _ignores_everything() -> None:
    for _ in range(20):
        with contextlib.suppress(BaseException):
            await asyncio.sleep(60)


async def _hides_in_a_task() -> None:
    await asyncio.create_task(_ignores_it())


async def _hides_in_a_gathering() -> None:
    await asyncio.gather(_ignores_it(), _ignores_it())


async def _hides_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_ignores_it())


async def _hides_in_wait_for() -> None:
    await asyncio.wait_for(_ignores_it(), 60)


_OUT = r"no answer within 0\.05 s"
_LEFT = _OUT + ", and it goes on though it was cancelled"
MISDEEDS: dict[Callable[[], Awaitable[None]], str] = {
    _raises: r"RuntimeError: no letter for \*\*\*",
    _raises_what_cannot_be_shown: "Shy: a Shy that cannot be shown",
    _raises_at_length: "RuntimeError: x{1000}",
    _times_out_by_itself: "TimeoutError: of its own",
    _exits: "SystemExit: 3",
    _interrupts: "KeyboardInterrupt: ",
    _closes: "RuntimeError: GeneratorExit",
    _closes_later: "RuntimeError: GeneratorExit",
    _cancels_itself: "cancelled its own work",
    _cancels_its_task: "cancelled its own work",
    _overflows: "RecursionError: maximum recursion depth exceeded.*",
    _hangs: _OUT,
    _ignores_it: _LEFT,
    _ignores_everything: _LEFT,
    _hides_in_a_task: _LEFT,
    _hides_in_a_gathering: _LEFT,
    _hides_in_a_group: _LEFT,
    _hides_in_wait_for: _LEFT,
}
"""What is told of it."""


class Village:
    """A bad plugin before a good one, which both have the hook and nothing else."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        hook: str,
        bad: Callable[[], Any],
        own: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    ) -> None:
        self.hook, self.row, self.heard = hook, ROWS[hook], 0

        async def good() -> Any:
            self.heard += 1
            return self.row.good

        def good_at_start() -> Any:
            self.heard += 1
            return self.row.good

        neighbour = good if hook in ASYNC else good_at_start
        points = [self._installed(monkeypatch, "bad", bad), self._installed(monkeypatch, "good", neighbour)]
        self.calls = Calls(load(["bad", "good"], points), DEADLINE, GRACE, own)
        if hook == "petitbleu_deliver":
            self.calls.channels()

    def _installed(self, monkeypatch: pytest.MonkeyPatch, name: str, function: Any) -> EntryPoint:
        made = ModuleType(f"village_{name}")
        if self.hook == "petitbleu_deliver":

            def channels() -> list[Channel]:
                return [Channel("pigeon" if name == "bad" else "snail", "email", Settings)]

            vars(made)["petitbleu_channels"] = hookimpl(channels)
        vars(made)[self.hook] = hookimpl(function)
        monkeypatch.setitem(sys.modules, made.__name__, made)
        return EntryPoint(name, made.__name__, "petitbleu")

    async def struck(self) -> str:
        """Calls the hook; gives what its caller is told."""
        call = self.row.call(self.calls)
        mode = MODES[self.hook]
        if self.hook in CHECKING:
            found = await call
            assert found["good"] == self.row.good, "one plugin's trouble keeps no other's answer"
            (check,) = found["bad"]
            assert (check.name, check.ok) == (self.hook.rpartition("_")[2], False)
            return f"plugin bad, {self.hook}: {check.text}"
        if self.hook == "petitbleu_recycle_event":
            assert await call is None
            return ""
        if mode == "notify":
            await call
            assert self.heard == 1, "the next one still hears of it"
            return ""
        with pytest.raises(HookFailed) as failed:
            await call
        assert failed.value.hung == failed.value.cause.startswith("no answer within")
        return str(failed.value)


@pytest.fixture(autouse=True)
async def nothing_left() -> Any:
    """What a bad plugin leaves behind is ended with the test."""
    yield
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        # by its coroutine, since it ignores being cancelled; the task then finds it at its end
        coroutine: Any = task.get_coro()
        coroutine.close()
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("misdeed", MISDEEDS, ids=lambda one: one.__name__.strip("_"))
async def test_whatever_a_plugin_does_is_contained_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, misdeed: Callable[[], Awaitable[None]]
) -> None:
    """In each hook, at the same time."""

    async def strike(village: Village) -> None:
        async with asyncio.timeout(10):
            told = await village.struck()
        hook, cause = village.hook, MISDEEDS[misdeed]
        if hook in (*CHECKING, "petitbleu_tell"):
            # which are about nobody, or do not know whom
            cause = cause.replace(r"\*\*\*", ADDRESS.upper())
        expected = f"plugin bad, {hook}: {cause}"
        assert not told or re.fullmatch(expected, told), told[:300]
        # who did it is in the log, without anybody's address; counted; and on the health page, without its words
        (line,) = [one for one in caplog.records if vars(one).get("hook") == hook]
        assert (line.name, line.levelno) == ("petitbleu.plugins", logging.WARNING)
        assert re.fullmatch(expected, line.getMessage())
        assert vars(line)["plugin"] == "bad"
        conduct = village.calls.conduct
        assert conduct.failures == {("bad", hook): 1}
        checks = conduct.checks()
        assert {check.name for check in checks["bad"]} == {hook}
        assert all(check.ok and check.warning and len(check.text) < 200 for check in checks["bad"])
        assert "letter" not in str(checks)
        assert conduct.left == ({("bad", hook): 1} if cause == _LEFT else {})
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0, "nothing of it clings to the task that it ran in"

    await asyncio.gather(*(strike(Village(monkeypatch, hook, misdeed)) for hook in ASYNC))
    # what ignores even its end says so to the collector, here rather than in another test
    gc.collect()


def _saying(answer: object) -> Callable[[], Awaitable[object]]:
    async def says() -> object:
        return answer

    return says


def _saying_at_start(answer: object) -> Callable[[], object]:
    def says() -> object:
        return answer

    return says


@pytest.mark.parametrize("hook", [hook for hook in ASYNC if ROWS[hook].rotten])
async def test_an_answer_is_looked_into(monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    """The wrong type, or a member that is not what it should be: found out here, not where it is stored."""

    class Answer(str):
        """A subclass of something else, which says that it is all things."""

        __class__ = Delivered  # type: ignore[assignment]

    for rotten in (*ROWS[hook].rotten, "yes", 0, Answer(), [None]):
        village = Village(monkeypatch, hook, _saying(rotten))
        told = await village.struck()
        assert village.calls.conduct.failures == {("bad", hook): 1}, rotten
        if told:
            assert f"plugin bad, {hook}: answered " in told
            assert "xxxx" not in told, "its value may be anybody's data"


@pytest.mark.parametrize(
    ("hook", "error", "passes"),
    [
        ("petitbleu_deliver", HandOffRefused("too late"), True),
        ("petitbleu_deliver", NotNow("later", 5), True),
        ("petitbleu_deliver", NotNow("later", "5"), False),  # type: ignore[arg-type]
        ("petitbleu_deliver", TemplateError("x", "y"), False),
        ("petitbleu_render", TemplateError("x", "y"), True),
        ("petitbleu_render", NotNow("later", 5), False),
        ("petitbleu_check_message", NotNow("later", 5), False),
        ("petitbleu_outcome_recorded", TemplateError("x", "y"), False),
    ],
)
async def test_exceptions_that_are_an_answer_are_so_only_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, hook: str, error: Exception, passes: bool
) -> None:
    async def raises() -> Any:
        raise error

    village = Village(monkeypatch, hook, raises)
    if passes:
        with pytest.raises(type(error)):
            await village.row.call(village.calls)
        assert not village.calls.conduct.failures
    else:
        await village.struck()
        assert village.calls.conduct.failures == {("bad", hook): 1}


@pytest.mark.parametrize("hook", [hook for hook, mode in MODES.items() if mode == "collect"])
def test_a_bad_start_stops_the_start_and_names_who_it_was(monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    def raises() -> Any:
        raise RuntimeError("x" * 10_000_000)

    def exits() -> Any:
        sys.exit("no")

    def overflows() -> Any:
        _recurses()

    def shy() -> Any:
        class Shy:
            __repr__ = exits

        return Shy()

    for bad in (raises, exits, overflows, shy, *map(_saying_at_start, ROWS[hook].rotten)):
        village = Village(monkeypatch, hook, bad)
        with pytest.raises(PluginError) as refused:
            village.row.call(village.calls)
        assert (refused.value.plugin, refused.value.hook) == ("bad", hook)
        assert len(str(refused.value)) < 1500


async def test_trouble_is_told_for_a_while_and_counted_for_ever() -> None:
    now = 0.0
    conduct = Conduct(remembered=300, clock=lambda: now)
    for _ in range(3):
        conduct.failed("bad", "petitbleu_deliver", "OSError")
    now = 100.0
    expected = Check("petitbleu_deliver", True, "3 times, last 100 s ago: OSError", warning=True)
    assert conduct.checks() == {"bad": [expected]}
    now = 301.0
    assert conduct.checks() == {}
    conduct.failed("bad", "petitbleu_deliver", "KeyError")
    assert conduct.checks()["bad"][0].text == "once, last 0 s ago: KeyError"
    assert conduct.failures == {("bad", "petitbleu_deliver"): 4}


async def test_each_plugin_and_hook_may_have_a_deadline_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"bad": {"check_event": 0.01, "*": 0.02}}
    reached: list[str] = []
    for hook, deadlines, seconds, limit in (
        ("petitbleu_check_event", own, "0.01", "delivery.deadlines.bad.check_event"),
        ("petitbleu_enrich_event", own, "0.02", "delivery.deadlines.bad.*"),
        ("petitbleu_check_event", {"good": {"*": 5.0}}, "0.05", "delivery.hook_deadline"),
        ("petitbleu_deliver", own, "0.05", "delivery.deadline"),
        ("petitbleu_deliver", {"bad": {"deliver": 0.03}}, "0.03", "delivery.deadlines.bad.deliver"),
    ):
        village = Village(monkeypatch, hook, _hangs, deadlines)
        village.calls.limit_reached = reached.append
        assert (await village.struck()).endswith(f"no answer within {seconds} s")
        assert reached.pop() == limit
    village = Village(monkeypatch, "petitbleu_health", _hangs)
    village.calls.limit_reached = reached.append
    assert (await village.calls.health(most=0.02))["bad"][0].text == "no answer within 0.02 s"
    assert reached.pop() == "limits.deadline"


@pytest.mark.parametrize("misdeed", [_hangs, _ignores_it, _exits])
async def test_a_lifespan_that_hangs_or_exits_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, misdeed: Callable[[], Awaitable[None]]
) -> None:
    calls = Village(monkeypatch, "petitbleu_lifespan", _saying_at_start(None)).calls

    class Lifespan:
        entering = leaving = None

        async def __aenter__(self) -> str:
            await (self.entering or _nothing)()
            return "open"

        async def __aexit__(self, *error: object) -> None:
            await (self.leaving or _nothing)()

    span: Any = Lifespan()
    async with asyncio.timeout(5), calls.lived("bad", span) as state:
        assert state == "open"
    assert not calls.conduct.failures
    span.leaving = misdeed
    async with asyncio.timeout(5), calls.lived("bad", span):
        pass
    assert re.search(f"plugin bad, petitbleu_lifespan: {MISDEEDS[misdeed]}", caplog.text)
    span.entering = misdeed
    with pytest.raises(PetitbleuError, match=f"plugin bad could not start: {MISDEEDS[misdeed]}"):
        async with asyncio.timeout(5), calls.lived("bad", span):
            pass
    assert calls.conduct.failures == {("bad", "petitbleu_lifespan"): 2}


async def test_whoever_tidies_up_in_time_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    tidy = []

    async def tidies() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(GRACE / 5)
            tidy.append(True)

    village = Village(monkeypatch, "petitbleu_check_event", tidies)
    assert (await village.struck()).endswith(": no answer within 0.05 s")
    assert (tidy, village.calls.conduct.left) == ([True], {})


async def test_who_stops_is_heard_and_not_taken_for_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation from outside ends the call at once; one that says give up ends even what ignores it."""
    for misdeed, message in ((_hangs, None), (_ignores_it, GIVE_UP), (_hides_in_a_task, GIVE_UP)):
        village = Village(monkeypatch, "petitbleu_deliver", misdeed)
        call: Any = village.calls.deliver(MESSAGE, ATTEMPT, 60)
        task = asyncio.create_task(call)
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.01)
        assert task.done() == (message is None)
        task.cancel(message)
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert village.calls.conduct.failures == {}
