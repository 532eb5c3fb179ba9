"""Templates to messages: a snapshot is compiled once, in every language when first needed, and rendered per event."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from jinja2 import Template, TemplateNotFound, TemplateSyntaxError
from jinja2.runtime import Context
from pydantic import ValidationError

from ..data import Element, elements
from ..errors import TemplateError
from ..languages import effective, fallbacks, pick
from ..types import Channel, Content, Event
from .budget import BUDGET, Budget, RenderLimits
from .formats import format_filters
from .missing import missing_type
from .sandbox import GLOBALS, FrozenLoader, SafeEnvironment

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

    from .snapshots import Snapshot


MOST_LANGUAGES = 256
"""Spellings of languages whose texts are remembered."""


def event_context(event: Event, brand: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that templates get of an event; `Compiled.render` adds `language` and `instance`."""
    data = event.data if event.data.__class__ is Element else Element(event.data)
    return {
        "rtEvent": data,
        "batchEvent": data,
        "brand": brand if isinstance(brand, Element) else elements(brand),
        "event": Element(id=event.id, type=event.type, created=event.created),
    }


class Renderer:
    """Compiles snapshots for the channels there are.

    `prepare` is given every new environment and its channel, to add plugins' filters and tests. `time_zone` is the one
    dates are shown in; `clock` gives seconds and is only ever compared with itself.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        prepare: Callable[[SandboxedEnvironment, str], None],
        limits: RenderLimits = RenderLimits(),
        time_zone: tzinfo = UTC,
        instance: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channels = {channel.name: channel for channel in channels}
        self.limits = limits
        self.clock = clock
        self.instance = elements(instance or {})
        self._prepare = prepare
        self._formats = format_filters(time_zone)

    def compile(self, snapshot: Snapshot) -> Compiled:
        """Raises `TemplateError` when the snapshot's channel is not there."""
        channel = self.channels.get(snapshot.channel)
        if channel is None:
            raise TemplateError(snapshot.name, f"no plugin provides the channel {snapshot.channel!r}")
        return Compiled(self, channel, snapshot)

    def environment(self, snapshot: Snapshot, sources: Mapping[str, tuple[str, str]], escape: bool) -> SafeEnvironment:
        environment = SafeEnvironment(
            FrozenLoader(sources), escape, missing_type(snapshot.meta.default_text), self._formats
        )
        self._prepare(environment, snapshot.channel)
        environment.guard()
        return environment


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is rendered for one language: (name, template) and (name, value with templates in it) pairs."""

    parts: tuple[tuple[str, Template], ...]
    fields: tuple[tuple[str, Any], ...]


class Compiled:
    """One template version, ready to render."""

    def __init__(self, renderer: Renderer, channel: Channel, snapshot: Snapshot) -> None:
        self._renderer = renderer
        self.channel = channel
        self._snapshot = snapshot
        self._where = snapshot.name
        self._sources = _sources(channel, snapshot)
        self._environments: dict[bool, SafeEnvironment] = {}
        self._plans: dict[str, _Plan] = {}
        self._chosen: dict[str, str] = {}
        self.brand = snapshot.meta.brand
        self.languages: tuple[str, ...] = snapshot.languages
        """Every language there is a part or field for, the default one first."""

    def check(self) -> None:
        """Compile everything, in every language. Raises `TemplateError` for the first that cannot be compiled."""
        for language in self.languages:
            self._plan(language)

    def language(self, wanted: str) -> str:
        """The language a message for `wanted` is written in, `fr-CA` keeping its formats with texts in `fr`."""
        if wanted not in self._chosen:
            if len(self._chosen) >= MOST_LANGUAGES:
                self._chosen.clear()
            self._chosen[wanted] = effective(wanted, self.languages, self._snapshot.meta.language)
        return self._chosen[wanted]

    def render(self, language: str, context: Mapping[str, Any]) -> Content:
        """One message. Raises `TemplateError`, which names the file and line."""
        renderer = self._renderer
        chosen = self.language(language)
        plan = self._plan(chosen)
        variables = {
            **GLOBALS,
            **context,
            "language": chosen,
            "instance": renderer.instance,
            BUDGET: Budget(renderer.limits, renderer.clock),
        }
        parts = {name: self._text(template, variables) for name, template in plan.parts}
        fields = {name: self._value(value, variables) for name, value in plan.fields}
        return Content(parts, self._validated(fields), self._snapshot.files)

    def _plan(self, language: str) -> _Plan:
        """The templates of one language, compiled when it is first needed."""
        texts = next((tag for tag in fallbacks(language) if tag in self.languages), self._snapshot.meta.language)
        if texts not in self._plans:
            self._plans[texts] = self._compile(texts)
        return self._plans[texts]

    def _compile(self, language: str) -> _Plan:
        snapshot = self._snapshot
        parts = []
        for part in self.channel.parts:
            found = _variant(snapshot.parts.get(part.name, {}), language, snapshot.meta.language)
            if found is not None:
                parts.append((part.name, self._template(_part_name(part.file, found), part.escape == "html")))
        fields = []
        for name, variants in snapshot.fields.items():
            found = _variant(variants, language, snapshot.meta.language)
            if found is not None:
                fields.append((name, self._prepared(variants[found], _field_name(name, found))))
        return _Plan(tuple(parts), tuple(fields))

    def _prepared(self, value: Any, name: str) -> Any:
        """`value` with every text that is a template replaced by the compiled one."""
        if isinstance(value, str):
            return self._template(name, False) if name in self._sources else value
        if isinstance(value, list):
            return [self._prepared(item, f"{name}[{index}]") for index, item in enumerate(value)]
        if isinstance(value, Mapping):
            return {key: self._prepared(item, f"{name}.{key}") for key, item in value.items()}
        return value

    def _value(self, value: Any, variables: dict[str, Any]) -> Any:
        if isinstance(value, Template):
            return self._text(value, variables)
        if isinstance(value, list):
            return [self._value(item, variables) for item in value]
        if isinstance(value, dict):
            return {key: self._value(item, variables) for key, item in value.items()}
        return value

    def _validated(self, fields: dict[str, Any]) -> Mapping[str, Any]:
        try:
            return self.channel.fields.model_validate(fields).model_dump()
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, problem['loc'])) or 'fields'}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            ]
            raise TemplateError(f"{self._where}/template.yaml", "; ".join(problems)) from None

    def _template(self, name: str, escape: bool) -> Template:
        if escape not in self._environments:
            self._environments[escape] = self._renderer.environment(self._snapshot, self._sources, escape)
        try:
            return self._environments[escape].get_template(name)
        except Exception as error:
            raise self._problem(error, name) from error

    def _text(self, template: Template, variables: dict[str, Any]) -> str:
        budget: Budget = variables[BUDGET]
        try:
            # as `Template.new_context`, which copies the globals for each text anew
            context = Context(template.environment, variables, template.name, template.blocks)
            return budget.concat(template.root_render_func(context))
        except Exception as error:
            raise self._problem(error, template.name or "") from error

    def _problem(self, error: Exception, name: str) -> TemplateError:
        """`error` in words, at the template line it came from."""
        if isinstance(error, TemplateError):
            return error
        where = self._sources[name][1]
        if isinstance(error, TemplateSyntaxError):
            file = self._sources.get(error.name or "", ("", where))[1]
            return TemplateError(f"{file}:{error.lineno}", error.message or "not a valid template")
        for frame, line in walk_tb(error.__traceback__):
            template = frame.f_globals.get("__jinja_template__")
            if template is not None:
                where = f"{template.filename}:{template.get_corresponding_lineno(line)}"
        return TemplateError(where, _words(error))


_FIELDS = "template.yaml: "


def _sources(channel: Channel, snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """Every text that is a template, by the name the loader knows, with the name errors show."""
    found: dict[str, tuple[str, str]] = {name: (source, name) for name, source in snapshot.shared.items()}
    for part in channel.parts:
        for language, source in snapshot.parts.get(part.name, {}).items():
            name = _part_name(part.file, language)
            found[name] = (source, f"{snapshot.name}/{name}")
    for field, variants in snapshot.fields.items():
        for language, value in variants.items():
            for name, text in _leaves(value, _field_name(field, language)):
                if "{{" in text or "{%" in text or "{#" in text:
                    found[name] = (text, f"{snapshot.name}/{name}")
    return found


def _leaves(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, f"{name}[{index}]")]
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{name}.{key}")]
    return []


def _variant(variants: Mapping[str, Any], language: str, default: str) -> str | None:
    return pick({name: name for name in variants}, language, default)


def _part_name(file: str, language: str) -> str:
    stem, dot, rest = file.partition(".")
    return f"{stem}.{language}{dot}{rest}" if language else file


def _field_name(field: str, language: str) -> str:
    return f"{_FIELDS}{field}.{language}" if language else f"{_FIELDS}{field}"


def _words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply: does a macro, block or include use itself without end?"
    if isinstance(error, TemplateNotFound):
        return f"{error.message} is not part of this template"
    return str(error) or type(error).__name__


__all__ = ["Compiled", "RenderLimits", "Renderer", "event_context"]
