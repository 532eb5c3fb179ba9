"""What a template reads of `ctx`, told from its texts, and which of it an event lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from jinja2 import Environment, TemplateSyntaxError, nodes

_MOST = 200
"""Paths that are told of one template."""


def needed(texts: Iterable[str]) -> Sequence[str]:
    """Paths below `ctx`, such as `order.number`; of a loop over `ctx.order.line`, what is read of each `line` too, and
    what is read of a name that was set to something of `ctx`."""
    environment = Environment(autoescape=True)
    paths: set[str] = set()
    for text in texts:
        try:
            tree = environment.parse(text)
        except TemplateSyntaxError:
            continue  # a draft that is broken, and says so elsewhere
        paths |= set(_paths(tree))
    deepest = [one for one in paths if not any(other.startswith(one + ".") for other in paths)]
    return sorted(deepest)[:_MOST]


def lacking(paths: Iterable[str], ctx: object) -> Sequence[str]:
    """Those of `paths` where there is nothing; in a list, where any item has nothing."""
    return [path for path in paths if not _holds(ctx, path.split("."))]


def _paths(tree: nodes.Node) -> Iterator[str]:
    aliases: dict[str, str] = {}
    named: Iterable[nodes.For | nodes.Assign] = tree.find_all((nodes.For, nodes.Assign))
    for one in named:
        over = _path(one.iter if isinstance(one, nodes.For) else one.node, aliases)
        if over is not None and isinstance(one.target, nodes.Name):
            aliases[one.target.name] = over
    for found in tree.find_all((nodes.Getattr, nodes.Getitem)):
        path = _path(found, aliases)
        if path:
            yield path


def _path(node: nodes.Node, aliases: Mapping[str, str]) -> str | None:
    """Below `ctx`; "" is `ctx` itself, None is something else."""
    steps: list[str] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem | nodes.Filter | nodes.Call):
        if isinstance(node, nodes.Getattr):
            steps.append(node.attr)
        elif isinstance(node, nodes.Getitem):
            if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
                steps.append(node.arg.value)
            elif not isinstance(node.arg, nodes.Const):
                return None
        elif isinstance(node, nodes.Call):
            return None
        inner = node.node
        if inner is None:
            return None
        node = inner
    if not isinstance(node, nodes.Name):
        return None
    steps.reverse()
    if node.name in aliases:
        return ".".join(filter(None, (aliases[node.name], *steps)))
    if node.name == "rtEvent" and steps[:1] == ["ctx"]:
        return ".".join(steps[1:])
    return ".".join(steps) if node.name == "ctx" else None


def _holds(value: object, steps: Sequence[str]) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_holds(one, steps) for one in value)
    if not steps:
        return value is not None and value != ""
    if not isinstance(value, Mapping):
        return False
    name = steps[0]
    names: Set[str] = {name, f"@{name}"}
    return any(one in value and _holds(value[one], steps[1:]) for one in names)
