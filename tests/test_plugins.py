"""Loading plugins, and the four ways of calling hooks with their rules for failures."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from petitbleu import (
    Attempt,
    Channel,
    Check,
    Deferred,
    Delivered,
    Event,
    HandOffRefused,
    Message,
    Queue,
    Reject,
    Route,
    Scope,
    Settings,
    TemplateRef,
    hookimpl,
)
from petitbleu.errors import PluginError
from petitbleu.hosting.calling import HookFailed
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import available_plugins, load
from petitbleu.types import Content, Outcome

EVENT = Event(1, "t", Queue.REALTIME, "pigeon", {}, datetime(2026, 1, 1, tzinfo=UTC))
MESSAGE = Message(EVENT, "pigeon", "roof 4", "", TemplateRef("t", "pigeon", 1), Content({}, {}), "1@x")


class Nothing(Settings):
    pass


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`installed(name, **functions)` makes an importable plugin and gives its entry point."""

    def make(name: str, module: str = "", **members: Any) -> EntryPoint:
        made = ModuleType(module or f"fake_{name}")
        vars(made).update(members)
        monkeypatch.setitem(sys.modules, made.__name__, made)
        return EntryPoint(name, made.__name__, "petitbleu")

    return make


async def none(event: Event) -> None:
    return None


def calls_of(points: list[EntryPoint], names: list[str] | None = None, deadline: float = 1.0) -> Calls:
    return Calls(load(names or [point.name for point in points], points), deadline)


def test_the_shipped_plugins_are_found() -> None:
    assert {"email", "soap_ingest"} <= set(available_plugins())


def test_only_listed_plugins_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: Any) -> None:
    (tmp_path / "explosive_plugin.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    good = installed("good", petitbleu_check_event=hookimpl(none))
    bad = EntryPoint("bad", "explosive_plugin", "petitbleu")
    assert [plugin.name for plugin in load(["good"], [good, bad]).plugins] == ["good"]
    with pytest.raises(PluginError, match=r"plugin bad .*cannot be imported from explosive_plugin: RuntimeError"):
        load(["good", "bad"], [good, bad])


def test_a_missing_plugin_is_named_with_its_near_miss(installed: Any) -> None:
    with pytest.raises(PluginError, match=r"plugin emial .*is not installed.*did you mean 'email'"):
        load(["emial"], [installed("email", petitbleu_check_event=hookimpl(none))])


def test_a_plugin_installed_twice_is_refused(installed: Any) -> None:
    points = [installed("p", module, petitbleu_check_event=hookimpl(none)) for module in ("p_one", "p_two")]
    with pytest.raises(PluginError, match=r"p_one.*p_two.*installed twice"):
        load(["p"], points)


def test_a_plugin_without_hooks_is_refused(installed: Any) -> None:
    with pytest.raises(PluginError, match="no function marked"):
        load(["p"], [installed("p")])


async def misspelt(event: Event) -> None: ...


def not_async(event: Event) -> None: ...


async def unknown_argument(evnt: Event) -> None: ...


@pytest.mark.parametrize(
    ("hook", "function", "cause"),
    [
        ("petitbleu_chek_event", misspelt, r"no such hook; did you mean 'petitbleu_check_event'\?"),
        ("pettibleu_check_event", misspelt, r"no such hook; did you mean 'petitbleu_check_event'\?"),
        ("petitbleu_check_event", not_async, "must be async def"),
        ("petitbleu_check_event", unknown_argument, "has no argument 'evnt'; it offers event, settings, state"),
    ],
)
def test_a_wrong_implementation_stops_the_start(installed: Any, hook: str, function: Any, cause: str) -> None:
    with pytest.raises(PluginError, match=cause) as refused:
        load(["p"], [installed("p", **{hook: hookimpl(function)})])
    assert "plugin p" in str(refused.value)
    assert hook in str(refused.value)


def test_a_wrapper_is_refused(installed: Any) -> None:
    def wrapper(event: Event) -> Any:
        return (yield)

    with pytest.raises(PluginError, match="is a wrapper"):
        load(["p"], [installed("p", petitbleu_check_event=hookimpl(wrapper=True)(wrapper))])


def test_a_plugin_cannot_jump_the_queue(installed: Any) -> None:
    with pytest.raises(PluginError, match="the configuration orders plugins"):
        load(["p"], [installed("p", petitbleu_check_event=hookimpl(tryfirst=True)(none))])


async def test_ask_follows_the_configured_order_and_stops_at_the_first_answer(installed: Any) -> None:
    asked = []

    def plugin(name: str, answer: Reject | None) -> EntryPoint:
        async def check(event: Event) -> Reject | None:
            asked.append(name)
            return answer

        point: EntryPoint = installed(name, petitbleu_check_event=hookimpl(check))
        return point

    points = [plugin("a", None), plugin("b", Reject("email", "b")), plugin("c", Reject("email", "c"))]
    assert await calls_of(points).check_event(EVENT) == Reject("email", "b")
    assert asked == ["a", "b"]
    asked.clear()
    assert await calls_of(points, ["c", "b", "a"]).check_event(EVENT) == Reject("email", "c")
    assert asked == ["c"]


async def test_a_plugin_gets_its_own_settings_and_state(installed: Any) -> None:
    seen = {}

    def plugin(name: str) -> EntryPoint:
        async def check(settings: Any, state: Any) -> None:
            seen[name] = (settings, state)

        point: EntryPoint = installed(name, petitbleu_check_event=hookimpl(check))
        return point

    loaded = load(["a", "b"], [plugin("a"), plugin("b")])
    loaded.settings = {"a": 1, "b": 2}
    loaded.states = {"b": "open"}
    await Calls(loaded, 1).check_event(EVENT)
    assert seen == {"a": (1, None), "b": (2, "open")}


async def test_an_asked_plugin_that_raises_hangs_or_answers_rubbish_is_named(installed: Any) -> None:
    async def raises(event: Event) -> Any:
        raise KeyError("x")

    async def hangs(event: Event) -> Any:
        await asyncio.sleep(60)

    async def rubbish(event: Event) -> Any:
        return "yes"

    for function, cause in ((raises, "KeyError: 'x'"), (hangs, "no answer within 0.05 s"), (rubbish, "answered str")):
        calls = calls_of([installed("p", petitbleu_check_event=hookimpl(function))], deadline=0.05)
        with pytest.raises(HookFailed, match=f"plugin p, petitbleu_check_event: {cause}"):
            await calls.check_event(EVENT)
        assert calls.conduct.failures["p", "petitbleu_check_event"] == 1


async def test_notify_reaches_every_observer_whatever_one_does(
    installed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard = []

    async def raises(event: Event) -> None:
        raise RuntimeError("observer down")

    async def hears(event: Event) -> None:
        heard.append(event.id)

    points = [
        installed("a", petitbleu_event_accepted=hookimpl(raises)),
        installed("b", petitbleu_event_accepted=hookimpl(hears)),
    ]
    await calls_of(points).event_accepted(EVENT)
    assert heard == [1]
    assert "plugin a, petitbleu_event_accepted: RuntimeError: observer down" in caplog.text


async def test_health_keeps_every_answer(installed: Any) -> None:
    async def well() -> list[Check]:
        return [Check("x", True, "fine")]

    async def ill() -> list[Check]:
        raise OSError("gone")

    points = [installed("a", petitbleu_health=hookimpl(well)), installed("b", petitbleu_health=hookimpl(ill))]
    found = await calls_of(points).health()
    assert found == {"a": [Check("x", True, "fine")], "b": [Check("health", False, "OSError: gone")]}


def pigeon(installed: Any, name: str, deliver: Any, channel: str = "pigeon") -> EntryPoint:
    def channels() -> list[Channel]:
        return [Channel(channel, "mobilePhone", Nothing, aliases=("99",))]

    members = {"petitbleu_channels": hookimpl(channels)}
    if deliver is not None:
        members["petitbleu_deliver"] = hookimpl(deliver)
    point: EntryPoint = installed(name, **members)
    return point


async def no_hand_off(provider: str) -> None:
    raise HandOffRefused("too late")


async def test_only_the_owner_of_the_channel_delivers(installed: Any) -> None:
    async def ours(message: Message) -> Outcome:
        return Delivered("loft", "flew")

    async def theirs(message: Message) -> Outcome:
        return Deferred("other", "no", Scope.US)

    calls = calls_of([pigeon(installed, "a", theirs, "snail"), pigeon(installed, "b", ours)][1:])
    assert list(calls.channels()) == ["pigeon"]
    assert await calls.deliver(MESSAGE, Attempt(1, no_hand_off), 1) == Delivered("loft", "flew")


async def test_a_refused_hand_off_passes_through_a_plugin(installed: Any) -> None:
    async def deliver(message: Message, attempt: Attempt) -> Outcome:
        await attempt.hand_off("loft")
        return Delivered("loft", "flew")

    calls = calls_of([pigeon(installed, "a", deliver)])
    calls.channels()
    with pytest.raises(HandOffRefused, match="too late"):
        await calls.deliver(MESSAGE, Attempt(1, no_hand_off), 1)


def test_two_owners_of_one_channel_or_none_stop_the_start(installed: Any) -> None:
    async def deliver(message: Message) -> Outcome:
        return Delivered("loft", "flew")

    with pytest.raises(PluginError, match=r"plugin b .*claims the channel 'pigeon', which plugin a has"):
        calls_of([pigeon(installed, "a", deliver), pigeon(installed, "b", deliver)]).channels()
    with pytest.raises(PluginError, match="does not implement petitbleu_deliver"):
        calls_of([pigeon(installed, "a", None)]).channels()


def ring(text: str) -> str:
    """What a pigeon wears: two letters and a number."""
    if not text.isascii():
        raise TypeError("no ring")
    if not text[:2].isalpha():
        raise ValueError("is not a ring such as FR-7")
    return text.upper()


def roost(installed: Any, name: str, channel: Channel) -> EntryPoint:
    async def deliver(message: Message) -> Outcome:
        return Delivered("loft", "flew")

    members = {"petitbleu_channels": hookimpl(lambda: [channel]), "petitbleu_deliver": hookimpl(deliver)}
    point: EntryPoint = installed(name, **members)
    return point


def test_a_channel_may_have_an_address_of_its_own(installed: Any) -> None:
    calls = calls_of([roost(installed, "a", Channel("pigeon", "ringId", Nothing, address_check=ring))])
    check = calls.address_checks(calls.channels().values())["ringId"]
    assert check("fr-7") == "FR-7"
    with pytest.raises(ValueError, match="is not a ring"):
        check("7")
    with pytest.raises(HookFailed, match="plugin a, petitbleu_channels: address_check of pigeon: TypeError"):
        check("é")
    assert calls.conduct.failures["a", "petitbleu_channels"] == 1


@pytest.mark.parametrize(
    ("channel", "cause"),
    [
        (Channel("pigeon", "ringId", Nothing), "without an address_check; only email, mobilePhone, registrationToken"),
        (Channel("pigeon", "email", Nothing, address_check=ring), "a check of its own; the core has one"),
        (Channel("pigeon", "CTX", Nothing, address_check=ring), "which events have for something else"),
        (Channel("pigeon", "deviceToken", Nothing, address_check=ring), "which events have for something else"),
        (Channel("pigeon", "ring id", Nothing, address_check=ring), "no name for an attribute"),
    ],
)
def test_an_address_that_cannot_be_one_stops_the_start(installed: Any, channel: Channel, cause: str) -> None:
    with pytest.raises(PluginError, match=f"plugin a .*the channel 'pigeon' has the address .*{cause}"):
        calls_of([roost(installed, "a", channel)]).channels()


def test_two_checks_of_one_address_stop_the_start(installed: Any) -> None:
    one = roost(installed, "a", Channel("pigeon", "ringId", Nothing, address_check=ring))
    other = roost(installed, "b", Channel("dove", "ringid", Nothing, address_check=ring))
    with pytest.raises(PluginError, match=r"plugin b .*claims the address 'ringid', which plugin a has"):
        calls_of([one, other]).channels()


def test_a_failing_start_hook_names_the_plugin(installed: Any) -> None:
    def channels() -> list[Channel]:
        raise ValueError("no loft")

    point = installed("a", petitbleu_channels=hookimpl(channels))
    with pytest.raises(PluginError, match=r"plugin a .*hook petitbleu_channels.*ValueError: no loft"):
        calls_of([point]).channels()


async def test_enrichment_without_an_answer_keeps_the_event(installed: Any) -> None:
    async def enrich(event: Event) -> Event | None:
        return replace(event, language="fr") if event.country == "FR" else None

    calls = calls_of([installed("a", petitbleu_enrich_event=hookimpl(enrich))])
    assert await calls.enrich_event(EVENT) is EVENT
    assert (await calls.enrich_event(replace(EVENT, country="FR"))).language == "fr"
    assert await calls.route_event(EVENT) is None
    assert await calls.resolve_template(EVENT, Route("pigeon", "", "t")) is None
