"""docs/hooks.md tells the truth about every hook, docs/plugins.md shows when it is called, and it really is."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import petitbleu
import petitbleu.testing
import pytest
from aiohttp import ClientSession
from petitbleu import (
    Content,
    Delivered,
    IncomingEvent,
    Operator,
    Queue,
    TemplateRef,
    hookspecs,
)
from petitbleu.answers import CoreAnswers
from petitbleu.audit import ITSELF
from petitbleu.data import Element
from petitbleu.hosting.plugins import load
from petitbleu.instance import open_services
from petitbleu.serving.app import running

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "config"
SHIPPED = sorted(folder.name for folder in (ROOT / "plugins").iterdir() if folder.is_dir())
REFERENCE = (ROOT / "docs" / "hooks.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "plugins.md").read_text("utf-8")
CTX = Element(link="https://shop.example.com/reset")

# ---------------------------------------------------------------------------------------------------------------- hooks


@dataclass(frozen=True)
class Hook:
    name: str
    mode: str
    signature: str
    since: str


def specified() -> dict[str, Hook]:
    """From the page of specifications: section comments name the modes."""
    source = inspect.getsource(hookspecs)
    modes = [(source.count("\n", 0, m.start()) + 1, m[1]) for m in re.finditer(r"^# -+ .*: (\w+)$", source, re.M)]
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("petitbleu_"):
            kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
            assert node.returns is not None
            signature = f"{kind} {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
            since = re.search(r"Since (\d[\d.]*\d)\.", ast.get_docstring(node) or "")
            assert since is not None, f"{node.name} does not say since when"
            mode = [mode for line, mode in modes if line < node.lineno][-1]
            found[node.name] = Hook(node.name, mode, signature, since[1])
    return found


HOOKS = specified()


def implemented() -> dict[str, list[str]]:
    """By hook, the shipped plugins that have it; `core` for the core's own answers."""
    loaded = load(SHIPPED)
    found = {name: [plugin.name for plugin in loaded.plugins if name in plugin.hooks] for name in HOOKS}
    for name in found:
        if hasattr(CoreAnswers, name):
            found[name].append("core")
    return found


def documented() -> dict[str, str]:
    """By hook, its section of the reference."""
    parts = re.split(r"^## `(petitbleu_\w+)`$", REFERENCE, flags=re.M)[1:]
    return {name: re.split(r"^## ", body, flags=re.M)[0] for name, body in zip(parts[::2], parts[1::2], strict=True)}


def test_every_hook_is_documented_in_the_order_of_the_specifications() -> None:
    assert list(documented()) == list(HOOKS)


def test_the_picture_shows_every_hook() -> None:
    picture = re.split(r"^## ", PAGE, flags=re.M)[1]
    assert picture.startswith("When each hook is called")
    shown = re.findall(r"\b[a-z_]+\b", picture)
    assert [name for name in HOOKS if name.removeprefix("petitbleu_") not in shown] == []
    assert max(map(len, picture.splitlines())) <= 140


@pytest.mark.parametrize("hook", HOOKS.values(), ids=lambda hook: hook.name)
def test_a_hook_is_documented_as_it_is(hook: Hook) -> None:
    section = documented()[hook.name]
    users = ", ".join(implemented()[hook.name])
    assert users, f"no shipped plugin uses {hook.name}"
    assert section.startswith(f"\n*{hook.mode}* · since {hook.since} · used by {users}\n")
    assert [block.strip() for block in re.findall(r"```python\n(.*?)```", section, re.S)] == [hook.signature]
    if hook.mode == "ask":
        assert re.search(r"^- None: ", section, re.M)
    if hook.mode in ("ask", "address"):
        assert re.search(r"^- .*failure", section, re.M)
    # what it means for all others is said at the top
    assert re.search(rf"^- \*{hook.mode}\*: ", REFERENCE, re.M)


def test_every_public_name_has_its_place_on_the_page() -> None:
    _, own, testing = re.split(r"^## Public names$|^Those of `petitbleu.testing`", REFERENCE, flags=re.M)
    for part, package in ((own, petitbleu), (testing, petitbleu.testing)):
        rows = re.findall(r"^\| .* \| (`.*`) \|$", part, re.M)
        named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
        assert sorted(named) == sorted(package.__all__)


@pytest.mark.parametrize("hook", HOOKS.values(), ids=lambda hook: hook.name)
def test_modes_are_what_they_say(hook: Hook) -> None:
    assert hook.mode in ("collect", "ask", "address", "notify")
    assert (hook.mode == "collect") == hook.signature.startswith("def ")


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_appears_in_a_test(name: str) -> None:
    short = name.removeprefix("petitbleu_")
    tests = {*ROOT.glob("tests/*.py"), *ROOT.glob("tests/support/*.py"), *ROOT.glob("plugins/*/tests/*.py")} - {
        Path(__file__)
    }
    assert any(re.search(rf"\b{name}\b|\bcalls\.{short}\b", path.read_text("utf-8")) for path in tests)


async def test_an_event_meets_every_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin installed as a third party's, that listens at every hook: each is really called, in the given order."""
    heard: list[str] = []
    witness = ModuleType("petitbleu_witness")
    for name, hook in HOOKS.items():
        vars(witness)[name] = petitbleu.hookimpl(_listener(name, hook, heard))
    monkeypatch.setitem(sys.modules, "petitbleu_witness", witness)
    info = tmp_path / "site" / "petitbleu_witness-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: petitbleu-witness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[petitbleu]\nwitness = petitbleu_witness\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    instance = tmp_path / "instance"
    instance.mkdir()
    text = (SAMPLE / "petitbleu.yaml").read_text("utf-8").replace("  - soap_ingest", "  - soap_ingest\n  - witness")
    (instance / "petitbleu.yaml").write_text(text, "utf-8")
    (instance / "templates").symlink_to(SAMPLE / "templates")

    overrides = ["http.port=0", "routing.rules=[{when: {type: password_reset}, channel: witness}]"]
    async with running(instance, overrides) as server, ClientSession() as client:
        server.instance.calls.commands(open_services)
        server.instance.calls.catchers()
        assert (await server.instance.calls.check_providers(5.0))["witness"][0].name == "wire"
        await server.instance.templates.publish(server.instance.drafts.load("password_reset", "email"), ITSELF)
        event = IncomingEvent(Queue.REALTIME, {"type": "password_reset", "email": "zoe@example.com"}, {"ctx": CTX})
        for number in (1, 2):
            (event_id,) = await server.instance.intake([event], Operator("test", frozenset({"push"})))
            async with asyncio.timeout(10):
                while heard.count("petitbleu_outcome_recorded") < number:
                    await asyncio.sleep(0.01)
        async with client.get(f"{server.url}/readyz") as response:
            assert "witness" in await response.text()
        receipt = petitbleu.Receipt("witness", "", petitbleu.ReceiptState.RECEIVED, "seen", event=event_id, attempt=1)
        await server.instance.services.record_receipts([receipt])
        async with asyncio.timeout(10):
            while not {"petitbleu_receipt_recorded", "petitbleu_tell"} <= {*heard}:
                await asyncio.sleep(0.01)
    assert set(heard) == set(HOOKS)
    beside = {"petitbleu_health", "petitbleu_check_providers"}
    on_the_way = [name for name in dict.fromkeys(heard) if HOOKS[name].mode != "collect" and name not in beside]
    # observers of the acceptance hear of it beside the work, and so does who is told from the outbox
    assert [name for name in on_the_way if "accepted" not in name and "tell" not in name] == [
        "petitbleu_check_event",
        "petitbleu_enrich_event",
        "petitbleu_route_event",
        "petitbleu_resolve_template",
        "petitbleu_render",
        "petitbleu_check_message",
        "petitbleu_deliver",
        "petitbleu_recycle_event",
        "petitbleu_outcome_recorded",
        "petitbleu_receipt_recorded",
    ]


class _Nothing(petitbleu.Settings):
    pass


def _listener(name: str, hook: Hook, heard: list[str]) -> Any:
    """An implementation that notes its call and says what lets the event go on, by its own channel."""
    answers: dict[str, Any] = {
        "petitbleu_settings_type": petitbleu.Settings,
        "petitbleu_channels": [petitbleu.Channel("witness", address="email", fields=_Nothing)],
        "petitbleu_intake_routes": [],
        "petitbleu_routes": [],
        "petitbleu_commands": [],
        "petitbleu_catchers": [],
        "petitbleu_subscriptions": [petitbleu.Subscription("all", frozenset({"sent"}))],
        "petitbleu_tell": petitbleu.Told(),
        "petitbleu_lifespan": contextlib.nullcontext("open"),
        "petitbleu_resolve_template": TemplateRef("password_reset", "witness", 1),
        "petitbleu_render": Content({}, {}),
        "petitbleu_health": [petitbleu.Check("eyes", True, "open")],
        "petitbleu_check_providers": [petitbleu.Check("wire", True, "dry")],
    }

    outcomes = iter((petitbleu.Failed("witness", "not again", petitbleu.Scope.MESSAGE), Delivered("witness", "seen")))

    def note() -> Any:
        heard.append(name)
        return next(outcomes) if name == "petitbleu_deliver" else answers.get(name)

    async def note_async() -> Any:
        return note()

    return note if hook.mode == "collect" else note_async
