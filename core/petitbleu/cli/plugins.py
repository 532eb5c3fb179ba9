"""`petitbleu plugins`: what is loaded, from where, what it does when, how it may be set, and how it is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..commands import Command
from ..config.schema import json_schema
from ..desk.plugins import hook_order, plugin_facts
from ..errors import PetitbleuError
from ..hosting.plugins import PREFIX, Plugin
from ..instance import Plan, open_instance, plan
from ..suggest import did_you_mean
from .output import as_json, table


async def _plugins(args: argparse.Namespace) -> int:
    planned = plan(args.config, args.set)
    for deprecation in planned.loaded.deprecations:
        print(f"warning: {deprecation}", file=sys.stderr)
    if args.hooks and not args.name:
        return _hooks(planned, args.json)
    chosen = _chosen(planned.loaded.plugins, args.name)
    names = {plugin.name for plugin in chosen}
    facts = plugin_facts(planned.loaded, planned.calls, planned.config.delivery)
    found = [asdict(one) for one in facts if one.name in names]
    if args.schema:
        types = planned.calls.settings_types()
        for one in found:
            one["schema"] = _schema(one["name"], types)
    well = True
    if args.health:
        health = await _health(args)
        for one in found:
            one["health"] = health.get(one["name"], [])
            well = well and all(check["ok"] for check in one["health"])
    if args.json:
        as_json(found)
    elif args.name:
        _page(found[0])
    else:
        _list(found, args)
    return 0 if well else 1


def _chosen(plugins: Sequence[Plugin], name: str | None) -> Sequence[Plugin]:
    if name is None:
        return plugins
    chosen = [one for one in plugins if one.name == name]
    if not chosen:
        known = [one.name for one in plugins]
        hint = did_you_mean(name, known) or f"there are: {', '.join(known) or 'none'}"
        raise PetitbleuError(f"{name!r} is not in the list of plugins; {hint}")
    return chosen


def _hooks(planned: Plan, json: bool) -> int:
    order = {hook: hook_order(planned.loaded, hook) for hook in planned.loaded.manager.hooks}
    if json:
        as_json(order)
    else:
        table(("HOOK", "RUNS"), [(hook, " → ".join(plugins) or "-") for hook, plugins in order.items()])
    return 0


def _schema(name: str, types: Any) -> Any:
    """JSON Schema of the plugin's section, on its own."""
    whole = json_schema({name: types[name]} if name in types else {})
    for item in whole["properties"]["plugins"]["items"]["anyOf"]:
        if name in item.get("properties", {}):
            section = next(one for one in item["properties"][name]["anyOf"] if one.get("type") != "null")
            return {"$schema": whole["$schema"], **section, "$defs": _needed(section, whole["$defs"])}
    return {"$schema": whole["$schema"], "type": "null"}


def _needed(schema: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The definitions that a schema refers to, and those that they refer to."""
    needed: dict[str, Any] = {}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).removeprefix("#/$defs/")
            if name in definitions and name not in needed:
                needed[name] = definitions[name]
                look(definitions[name])
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(schema)
    return needed


async def _health(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """As a process of its own finds it, which opens what a server would and sends nothing."""
    async with open_instance(args.config, args.set, plugins_running=True) as instance:
        found = await instance.calls.health()
    return {plugin: [asdict(check) for check in checks] for plugin, checks in found.items()}


# ----------------------------------------------------------------------------------------------------------- for people


def _list(found: Sequence[dict[str, Any]], args: argparse.Namespace) -> None:
    if args.schema:
        as_json({one["name"]: one["schema"] for one in found})
    elif args.health:
        _checks(found)
    else:
        rows = [
            (
                one["order"],
                one["name"],
                one["version"] or "-",
                one["distribution"] or "-",
                ", ".join(one["channels"]) or "-",
                ", ".join(hook["name"].removeprefix(PREFIX) for hook in one["hooks"]),
            )
            for one in found
        ]
        table(("", "PLUGIN", "VERSION", "DISTRIBUTION", "CHANNELS", "HOOKS"), rows)


def _checks(found: Sequence[dict[str, Any]]) -> None:
    rows = [
        (one["name"], check["name"], _state(check), check["text"])
        for one in found
        for check in one["health"] or [{"name": "-", "ok": True, "warning": False, "text": "has no checks"}]
    ]
    table(("PLUGIN", "CHECK", "STATE", "SAYS"), rows)


def _state(check: dict[str, Any]) -> str:
    return "failing" if not check["ok"] else "warning" if check["warning"] else "well"


def _page(one: dict[str, Any]) -> None:
    print(f"{one['name']} {one['version']}".rstrip())
    print(f"  from      {one['distribution'] or '-'}")
    print(f"  order     {one['order']}")
    print(f"  channels  {', '.join(one['channels']) or '-'}")
    for text in one["deprecations"]:
        print(f"  warning   {text}")
    print()
    table(
        ("HOOK", "DEADLINE", "RUNS"),
        [
            (
                hook["name"].removeprefix(PREFIX),
                "-" if hook["deadline"] is None else f"{hook['deadline']:g} s",
                " → ".join(hook["order"]),
            )
            for hook in one["hooks"]
        ],
    )
    if "health" in one:
        print()
        _checks([one])
    if "schema" in one:
        print()
        as_json(one["schema"])


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them, in detail")
    parser.add_argument("--hooks", action="store_true", help="what runs for each hook, in order")
    parser.add_argument("--schema", action="store_true", help="the JSON Schema of their settings")
    parser.add_argument(
        "--health",
        action="store_true",
        help="ask their checks, here and now; /readyz of a running server says how they are there",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (Command("plugins", "the plugins in use, in the order they are called", _plugins, _arguments),)
