"""What two plugins cannot both have stops the start and `petitbleu check`, and names both."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from petitbleu import Catcher, Channel, Command, Event, PetitbleuDeprecationWarning, Reject, Settings, hookimpl
from petitbleu.cli import main
from petitbleu.cli.main import COMMANDS as CORE_COMMANDS
from petitbleu.cli.main import GROUPS
from petitbleu.compatibility import Former
from petitbleu.config import SAMPLE
from petitbleu.errors import PluginError
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.claims import COMMANDS
from petitbleu.hosting.plugins import load
from petitbleu.instance import plan
from petitbleu.serving.app import check_routes


async def echo(request: web.Request) -> web.Response:
    return web.Response(text=request.path)


async def run(args: argparse.Namespace) -> int:
    return 0


@asynccontextmanager
async def catch(caught: Any) -> AsyncIterator[dict[str, Any]]:
    yield {}


def saying(*answers: object) -> Callable[[], list[object]]:
    """An implementation that answers these."""
    return lambda: list(answers)


def plugin(**members: Callable[..., Any]) -> object:
    made = ModuleType("claims_plugin")
    for name, function in members.items():
        vars(made)[f"petitbleu_{name}"] = hookimpl(function)
    return made


async def deliver(message: Any) -> Any: ...


def channel(name: str, *aliases: str) -> object:
    channels = [Channel(name, "email", Settings, aliases=aliases)]
    return plugin(channels=lambda: channels, deliver=deliver)


@pytest.mark.parametrize(
    ("one", "other", "claim"),
    [
        (channel("pigeon"), channel("Pigeon"), "claims the channel 'Pigeon', which plugin a has"),
        (channel("pigeon", "7"), channel("snail", "7"), "claims the channel '7', which plugin a has"),
        (channel("pigeon"), channel("snail", "pigeon"), "claims the channel 'pigeon', which plugin a has"),
        (
            plugin(commands=lambda: [Command("feed", "", run)]),
            plugin(commands=lambda: [Command("feed", "", run)]),
            "claims the command 'feed', which plugin a has",
        ),
        (
            plugin(commands=saying()),
            plugin(commands=lambda: [Command("serve", "", run)]),
            "claims the command 'serve', which the core has",
        ),
        (
            plugin(catchers=lambda: [Catcher("loft", catch)]),
            plugin(catchers=lambda: [Catcher("loft", catch)]),
            "claims the catcher 'loft', which plugin a has",
        ),
        (
            plugin(routes=saying(web.get("/a", echo))),
            plugin(intake_routes=saying(web.get("/a", echo))),
            "claims GET /a, which plugin b has",  # ways in come first
        ),
        (
            plugin(routes=saying(web.get("/a/{x}", echo))),
            plugin(routes=saying(web.get("/a/{y}", echo))),
            "claims GET /a/{y}, which plugin a has",
        ),
        (
            plugin(routes=saying(web.get("/a", echo))),
            plugin(routes=saying(web.head("/a", echo))),
            "claims HEAD /a, which plugin a has",
        ),
        (
            plugin(routes=saying(web.post("/a", echo))),
            plugin(routes=saying(web.route("*", "/a", echo))),
            "claims * /a, which plugin a has",
        ),
        (
            plugin(routes=saying()),
            plugin(routes=saying(web.get("/readyz", echo))),
            "claims GET /readyz, which the core has",
        ),
        (
            plugin(routes=saying()),
            plugin(routes=saying(web.get("no-slash", echo))),
            "GET no-slash cannot be a route: path should be started with /",
        ),
    ],
)
async def test_a_claim_that_another_has_stops_the_start(one: object, other: object, claim: str) -> None:
    overrides = ["plugins=[a, b]", "routing={}", "recycling={}", "delivery.retry={}"]
    with pytest.raises(PluginError) as refused:
        await check_routes(plan(SAMPLE, overrides, {"a": one, "b": other}))
    assert refused.value.cause.startswith(claim)
    assert refused.value.plugin == ("a" if "plugin b" in claim else "b")


async def test_what_is_different_is_no_clash() -> None:
    routes = (
        web.get("/a/{x}", echo),
        web.post("/a/{y}", echo),
        web.get(r"/a/{x:\d+}/b", echo),
        web.get(r"/a/{x:[a-z]+}/b", echo),
        web.get("/b", echo),
        web.route("*", "/b", echo),
    )
    one, other = plugin(routes=saying(*routes)), plugin(routes=saying(web.get("/a", echo)))
    overrides = ["plugins=[a, b]", "routing={}", "recycling={}", "delivery.retry={}"]
    await check_routes(plan(SAMPLE, overrides, {"a": one, "b": other}))


def test_the_cores_commands_are_all_of_them() -> None:
    assert {one.name for one in CORE_COMMANDS} | {name.partition(" ")[0] for name in GROUPS} == COMMANDS


# ------------------------------------------------------------------------------------------------------ former names


@pytest.fixture
def page() -> ModuleType:
    """A page of specifications on which a hook and two arguments have been renamed, or are going away."""
    from petitbleu import hookspecs

    async def petitbleu_check_event(event: Event, settings: Any, state: Any, colour: Any) -> Reject | None: ...

    made = ModuleType("former_page")
    vars(made).update({name: value for name, value in vars(hookspecs).items() if name.startswith("petitbleu_")})
    arguments = {"evnt": Former("event", "0.2", "0.4"), "colour": Former("", "0.3", "0.5")}
    vars(made).update(
        petitbleu_check_event=hookspecs.hookspec(petitbleu_check_event),
        FORMER_HOOKS={"petitbleu_vet_event": Former("petitbleu_check_event", "0.2", "0.4")},
        FORMER_ARGUMENTS={"petitbleu_check_event": arguments},
    )
    return made


async def test_a_former_name_works_and_is_told(page: ModuleType) -> None:
    async def vet(state: Any, evnt: Any) -> Reject | None:
        return Reject("email", f"{evnt}, {state}")

    with pytest.warns(PetitbleuDeprecationWarning) as warned:
        loaded = load(["old"], [], {"old": plugin(vet_event=vet)}, page)
    texts = [
        "plugin old: the hook petitbleu_vet_event is petitbleu_check_event since 0.2, and refused from 0.4 on",
        "plugin old: petitbleu_vet_event: the argument 'evnt' is 'event' since 0.2, and refused from 0.4 on",
    ]
    assert sorted(map(str, loaded.deprecations)) == sorted(texts) == sorted(str(one.message) for one in warned)
    assert {(Path(one.filename), one.lineno) for one in warned} == {(Path(__file__), vet.__code__.co_firstlineno)}
    assert loaded.plugins[0].hooks == ("petitbleu_check_event",)
    loaded.states["old"] = "open"
    event: Any = "the event"
    assert await Calls(loaded, 1.0).check_event(event) == Reject("email", "the event, open")


async def test_an_argument_without_a_successor_is_given_until_it_goes(page: ModuleType) -> None:
    async def check(colour: Any) -> Reject | None:
        return Reject("email", str(colour))

    with pytest.warns(PetitbleuDeprecationWarning, match="'colour' is going away since 0.3, and refused from 0.5 on"):
        load(["old"], [], {"old": plugin(check_event=check)}, page)


def test_both_names_at_once_are_refused(page: ModuleType) -> None:
    async def check(event: Any) -> None: ...

    with pytest.raises(PluginError, match="is petitbleu_check_event by its former name, which is there too"):
        load(["old"], [], {"old": plugin(check_event=check, vet_event=check)}, page)


def test_names_of_now_are_told_to_nobody(page: ModuleType, recwarn: pytest.WarningsRecorder) -> None:
    async def check(event: Any, settings: Any, state: Any) -> None: ...

    assert load(["new"], [], {"new": plugin(check_event=check)}, page).deprecations == ()
    assert recwarn.list == []


def test_whoever_runs_it_is_told_of_former_names(
    page: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from petitbleu.instance import planning

    async def vet(event: Any) -> None: ...

    def loaded(names: Any, given: Any) -> Any:
        with pytest.warns(PetitbleuDeprecationWarning):
            return load(["old"], [], {"old": plugin(vet_event=vet)}, page)

    monkeypatch.setattr(planning, "load", loaded)
    words = ["--config", str(SAMPLE)]
    for one in ("plugins=[old]", "routing={}", "recycling={}", "delivery.retry={}"):
        words += ["--set", one]
    for command in (["check"], ["plugins"], ["plugins", "old"]):
        assert main([*command, *words]) == 0
        said = capsys.readouterr()
        assert "warning: plugin old: the hook petitbleu_vet_event is petitbleu_check_event since 0.2" in said.err
    assert "warning   the hook petitbleu_vet_event is petitbleu_check_event" in said.out
