"""Who keeps the loop is named though nobody can stop it; the tasks of plugins are counted, and ended with them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from petitbleu import Check
from petitbleu.config import SAMPLE
from petitbleu.hosting.conduct import Conduct
from petitbleu.hosting.offspring import Exited, Offspring
from petitbleu.hosting.owners import Owner, Owners
from petitbleu.hosting.plugins import Loaded, load
from petitbleu.hosting.standstill import Standstill, slow

SECONDS = 0.2


def _plugin(monkeypatch: pytest.MonkeyPatch, source: str, name: str = "heavy") -> ModuleType:
    """A module of its own, as an installed plugin's is."""
    made = ModuleType(f"standstill_{name}")
    exec(compile(textwrap.dedent(source), f"/site/{made.__name__}/{name}.py", "exec"), vars(made))
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


HEAVY = """
    import asyncio, re, sys, time
    from petitbleu import hookimpl

    tasks = []

    def compute():
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            sum(range(1000))

    @hookimpl
    async def petitbleu_check_event(event):
        time.sleep(0.5)

    @hookimpl
    async def petitbleu_enrich_event(event):
        await asyncio.sleep(0)
        compute()

    @hookimpl
    async def petitbleu_route_event(event):
        # the interpreter's lock is kept all the time, and no other thread runs
        re.fullmatch(r"(x+x+)+y", "x" * 24)

    async def background():
        await asyncio.sleep(0)
        compute()

    @hookimpl
    async def petitbleu_check_message(message):
        tasks.append(asyncio.create_task(background()))

    async def forever():
        await asyncio.sleep(3600)

    async def ignores():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    async def exits():
        await asyncio.sleep(0)
        sys.exit(3)

    @hookimpl
    async def petitbleu_event_accepted(event):
        tasks.append(asyncio.create_task(forever()))
        tasks.append(asyncio.ensure_future(asyncio.sleep(3600)))
"""


@pytest.fixture
def heavy(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    return load(["heavy"], [], {"heavy": _plugin(monkeypatch, HEAVY)})


@pytest.mark.parametrize(
    ("hook", "line"),
    [
        ("petitbleu_check_event", r"standstill_heavy/heavy\.py:14 petitbleu_check_event < "),
        (
            "petitbleu_enrich_event",
            r"standstill_heavy/heavy\.py:(9|10) compute < .*heavy\.py:19 petitbleu_enrich_event < ",
        ),
        ("petitbleu_route_event", r".*heavy\.py:24 petitbleu_route_event < "),
        ("", r"standstill_heavy/heavy\.py:(9|10) compute < standstill_heavy/heavy\.py:28 background"),
    ],
)
async def test_who_keeps_the_loop_is_named_with_the_line(
    heavy: Loaded, caplog: pytest.LogCaptureFixture, hook: str, line: str
) -> None:
    conduct = Conduct()
    module: Any = heavy.plugins[0].module
    event: Any = None
    async with Standstill(Owners(heavy), conduct, SECONDS).watched():
        await asyncio.sleep(SECONDS / 2)
        await (getattr(module, hook)(event) if hook else module.background())
        async with asyncio.timeout(5):
            while not conduct.stood:
                await asyncio.sleep(0.02)
    first, *_, last = [one for one in caplog.records if one.name == "petitbleu.plugins"]
    assert re.fullmatch(
        r"plugin heavy(, petitbleu_\w+,)? keeps the process from all other work, .*", first.getMessage()
    )
    assert (vars(first)["plugin"], vars(first)["hook"]) == ("heavy", hook)
    assert re.match(line, vars(first)["at"]), vars(first)["at"]
    assert "kept the process from all other work for" in last.getMessage()
    assert list(conduct.stood) == [("heavy", hook)]
    assert 0.2 < conduct.stood["heavy", hook] < 5
    (check,) = conduct.checks()["heavy"]
    assert (check.name, check.ok, check.warning) == (hook or "loop", True, True)
    assert "kept the process from all other work" in check.text


def test_a_process_that_was_stopped_is_nobodys_fault(heavy: Loaded) -> None:
    """Nor is one that got no processor: whoever looks was late as well, and nobody worked."""
    now = used = 100.0
    conduct = Conduct(clock=lambda: now)
    watch = Standstill(Owners(heavy), conduct, 1.0, lambda: now, lambda: used)
    watch._turned = watch._looked = now
    watch._used = used
    frame: Any = sys._getframe()
    now += 60
    watch.look(frame)
    assert watch._standing is None
    # whoever keeps the interpreter's lock keeps the look from coming, too, but works meanwhile
    now, used = now + 60, used + 59
    watch.look(frame)
    standing = watch._standing
    assert standing is not None
    assert standing.owner == Owner("core", "")


def test_a_long_standstill_is_told_again_as_it_doubles(heavy: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    watch = Standstill(Owners(heavy), Conduct(clock=lambda: now), 1.0, lambda: now, lambda: 0.0)
    for _ in range(4 * 20):
        now += 0.25
        watch.look(None)
    told = [float(re.findall(r"for ([\d.]+) s so far", one.getMessage())[0]) for one in caplog.records]
    assert told == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_start_that_takes_long_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with slow("heavy", "petitbleu_channels", 0.05):
        time.sleep(0.3)
    with slow("heavy", "petitbleu_routes", 0.2):
        pass
    time.sleep(0.3)
    (line,) = caplog.records
    assert line.getMessage() == "plugin heavy, petitbleu_channels, keeps the start waiting, for 0.05 s so far"
    assert "test_a_start_that_takes_long_is_named" in vars(line)["at"]


# ------------------------------------------------------------------------------------------------------------- tasks


@contextlib.asynccontextmanager
async def counted(heavy: Loaded, most: int = 3) -> AsyncIterator[Offspring]:
    offspring = Offspring(Owners(heavy), most, 0.1)
    with offspring.counted():
        yield offspring
    assert asyncio.get_running_loop().get_task_factory() is None


async def test_tasks_are_their_plugins_and_end_with_it(heavy: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    module: Any = heavy.plugins[0].module
    event: Any = None
    async with counted(heavy) as offspring:
        ours = asyncio.create_task(asyncio.sleep(0))
        for _ in range(2):
            await module.petitbleu_event_accepted(event)
        assert offspring.living() == {"heavy": 4}
        check = Check("tasks", True, "4 tasks live: forever (2), sleep (2)", warning=True)
        assert offspring.checks() == {"heavy": [check]}
        module.tasks[0].cancel()
        await ours
        await asyncio.sleep(0)
        assert offspring.living() == {"heavy": 3}
        assert offspring.checks() == {}
        await offspring.end("heavy")
        assert offspring.living() == {"heavy": 0}
        assert all(task.cancelled() for task in module.tasks)
    (line,) = caplog.records
    assert line.getMessage() == "plugin heavy left 3 tasks behind: sleep (2), forever"


async def test_tasks_that_the_plugin_ends_itself_are_no_news(heavy: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    module: Any = heavy.plugins[0].module
    event: Any = None
    async with counted(heavy) as offspring:
        await module.petitbleu_event_accepted(event)
        for task in module.tasks:
            task.cancel()
        await offspring.end("heavy")
    assert caplog.records == []


async def test_a_task_that_exits_ends_itself_and_one_that_is_deaf_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    more = """
    def start(name):
        tasks.append(asyncio.create_task(globals()[name](), name=name))
    """
    module: Any = _plugin(monkeypatch, HEAVY + more)
    async with counted(load(["heavy"], [], {"heavy": module})) as offspring:
        module.start("exits")
        with pytest.raises(Exited, match="a task of plugin heavy: SystemExit"):
            await module.tasks[0]
        module.start("ignores")
        await asyncio.sleep(0)
        await offspring.end("heavy")
        deaf = module.tasks[1]
        assert not deaf.done()
        deaf.get_coro().close()
        deaf.cancel()
        await asyncio.gather(deaf, return_exceptions=True)
    assert caplog.messages[-1] == "plugin heavy: 1 tasks go on though they were cancelled: ignores"


# ----------------------------------------------------------------------------------------------------- a whole server


STUBBORN = """
    import asyncio, threading, time
    from contextlib import asynccontextmanager
    from petitbleu import hookimpl

    async def ignores():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    @hookimpl
    @asynccontextmanager
    async def petitbleu_lifespan():
        task = asyncio.create_task(ignores())
        threading.Thread(target=time.sleep, args=[3600], name="sleeper").start()
        yield task
"""


def test_a_server_ends_though_plugins_do_not(tmp_path: Path, sqlite_url: str) -> None:
    site = tmp_path / "site"
    info = site / "stubborn-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "stubborn.py").write_text(textwrap.dedent(STUBBORN))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stubborn\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[petitbleu]\nstubborn = stubborn\n")
    settings = [f"database={sqlite_url}", "http.port=0", "plugins=[stubborn]", "routing={}", "recycling={}"]
    settings += ["delivery.hook_deadline=0.5s", "delivery.hook_grace=0.1s", "delivery.retry={}", "suppression={}"]
    words = [sys.executable, "-m", "petitbleu", "serve", "--config", str(SAMPLE)]
    words += [word for one in settings for word in ("--set", one)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if json.loads(line)["text"] == "serving":
                break
        server.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in server.stderr]
        assert server.wait(30) == 0
    told = [(line["text"], line.get("plugin")) for line in lines]
    assert ("plugin stubborn left 1 tasks behind: ignores", "stubborn") in told
    assert ("plugin stubborn: 1 tasks go on though they were cancelled: ignores", "stubborn") in told
    assert lines[-1]["text"] == "something keeps the process from ending; it ends all the same"
    assert "sleeper" in lines[-1]["threads"]
    assert "ignores" in lines[-1]["tasks"]
