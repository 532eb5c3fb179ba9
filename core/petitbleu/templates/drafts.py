"""Drafts: template folders as admins edit them, read, checked and frozen.

TEMPLATES/<event_type>/<channel>/template.yaml, part files, attachments, seeds.yaml
TEMPLATES/_layouts/**                                 shared by all
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

from ..errors import TemplateError
from ..languages import TAG, canonical
from ..rendering.snapshots import Snapshot
from ..suggest import did_you_mean
from ..types import Channel, Part
from .seeds import Seed
from .templateyaml import TemplateYaml, read_seeds, read_template_yaml

TEMPLATE = "template.yaml"
SEEDS = "seeds.yaml"
LAYOUTS = "_layouts"


@dataclass(frozen=True, slots=True)
class DraftLimits:
    """Caps of one template folder, in bytes."""

    source: int = 512 * 1024
    """Of one template or YAML file."""
    file: int = 10 * 1024 * 1024
    """Of one attachment or image."""
    total: int = 25 * 1024 * 1024
    files: int = 200


@dataclass(frozen=True, slots=True)
class Draft:
    """What the folder holds: the content, and what helps to work on it."""

    snapshot: Snapshot
    seeds: tuple[Seed, ...]
    labels: tuple[str, ...] = ()
    """For finding templates; they change no message, so they are no part of the snapshot."""


class Drafts:
    """The drafts under `root`. Reading touches nothing outside it: symbolic links are refused."""

    def __init__(self, root: Path, channels: Sequence[Channel], limits: DraftLimits = DraftLimits()) -> None:
        self._root = root
        self._channels = {channel.name: channel for channel in channels}
        self._limits = limits

    def list(self) -> list[tuple[str, str]]:
        """(event type, channel) of every folder that looks like a draft, sorted."""
        if not self._root.is_dir():
            return []
        return [
            (event_type.name, channel.name)
            for event_type in _folders(self._root)
            if event_type.name != LAYOUTS
            for channel in _folders(event_type)
        ]

    def folder(self, event_type: str, channel: str) -> Path:
        """Where a draft is, or would be."""
        return self._root / event_type / channel

    def load(self, event_type: str, channel: str) -> Draft:
        """Raises `TemplateError` with everything that is wrong, one problem a line."""
        return _Reader(self._root, event_type, self._channel(event_type, channel), self._limits).draft()

    def _channel(self, event_type: str, channel: str) -> Channel:
        found = self._channels.get(channel)
        if found is None:
            near = did_you_mean(channel, self._channels)
            raise TemplateError(
                f"{event_type}/{channel}",
                f"no plugin provides the channel {channel!r}" + (f": {near}" if near else ""),
            )
        return found


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not _hidden(entry.name))


def _hidden(name: str) -> bool:
    """Hidden files and editors' backups."""
    return name.startswith(".") or name.endswith("~")


class _Reader:
    """Reads one folder and collects what is wrong with it."""

    def __init__(self, root: Path, event_type: str, channel: Channel, limits: DraftLimits) -> None:
        self._root = root
        self._channel = channel
        self._event_type = event_type
        self._name = f"{event_type}/{channel.name}"
        self._folder = root / event_type / channel.name
        self._limits = limits
        self._problems: list[str] = []
        self._total = 0

    def draft(self) -> Draft:
        for name in (self._event_type, self._channel.name):
            if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
                raise TemplateError(self._name, "not a name of a template")
        if self._root.joinpath(self._event_type).is_symlink() or self._folder.is_symlink():
            raise TemplateError(self._name, "a symbolic link; templates are real folders")
        if not self._folder.is_dir():
            raise TemplateError(self._name, "there is no such draft")
        parts: dict[str, dict[str, str]] = {}
        files: dict[str, bytes] = {}
        described = TemplateYaml()
        seeds: tuple[Seed, ...] = ()
        if not self._folder.joinpath(TEMPLATE).exists():
            self._problems.append(f"{TEMPLATE} is missing")
        for path in self._walk(self._folder):
            name = path.relative_to(self._folder).as_posix()
            if name == TEMPLATE:
                described = self._yaml(path)
            elif name == SEEDS:
                seeds = self._seeds(path)
            elif name.endswith(".j2"):
                self._part(name, path, parts)
            else:
                files[name] = self._bytes(path, self._limits.file)
        if not parts and self._channel.parts:
            known = ", ".join(part.file for part in self._channel.parts)
            self._problems.append(f"there is nothing to render; the channel has {known}")
        shared = self._shared(parts, described.fields)
        if self._problems:
            raise TemplateError(self._name, "\n".join(self._problems))
        snapshot = Snapshot(
            self._event_type, self._channel.name, described.meta, described.fields, parts, files, shared
        )
        return Draft(snapshot, seeds, described.labels)

    def _walk(self, folder: Path) -> Iterator[Path]:
        count = 0
        for entry in sorted(folder.iterdir()):
            if _hidden(entry.name):
                continue
            if entry.is_symlink():
                self._problems.append(f"{entry.relative_to(self._folder)}: a symbolic link; put the file itself here")
            elif entry.is_dir():
                yield from self._walk(entry)
            elif entry.is_file():
                count += 1
                if count > self._limits.files:
                    self._problems.append(f"more than {self._limits.files} files")
                    return
                yield entry
            else:
                self._problems.append(f"{entry.relative_to(self._folder)}: not a plain file")

    def _bytes(self, path: Path, limit: int) -> bytes:
        name = path.relative_to(self._root).as_posix()
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            self._problems.append(f"{name}: more than {limit} bytes")
            return b""
        self._total += len(data)
        if self._total > self._limits.total:
            self._problems.append(f"{name}: with this file the template has more than {self._limits.total} bytes")
        return data

    def _source(self, path: Path) -> str:
        try:
            return self._bytes(path, self._limits.source).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            self._problems.append(f"{path.relative_to(self._root).as_posix()}: not UTF-8 (byte {error.start})")
            return ""

    def _yaml(self, path: Path) -> TemplateYaml:
        return read_template_yaml(self._source(path), f"{self._name}/{TEMPLATE}", self._channel, self._problems)

    def _seeds(self, path: Path) -> tuple[Seed, ...]:
        return read_seeds(self._source(path), f"{self._name}/{SEEDS}", self._problems)

    def _part(self, name: str, path: Path, parts: dict[str, dict[str, str]]) -> None:
        for part in self._channel.parts:
            language = _variant_of(part, name)
            if language is None:
                continue
            if language and canonical(language) != language:
                self._problems.append(f"{name}: write the language as {canonical(language)!r}")
            parts.setdefault(part.name, {})[language] = self._source(path)
            return
        known = [part.file for part in self._channel.parts]
        near = did_you_mean(name, known)
        self._problems.append(
            f"{name}: not a part of the channel {self._channel.name}"
            + (f": {near}" if near else f", which has {', '.join(known) or 'none'}")
            + f"; what templates share belongs in {LAYOUTS}/"
        )

    # ------------------------------------------------------------------------------------ layouts and blocks

    def _shared(
        self, parts: Mapping[str, Mapping[str, str]], fields: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, str]:
        """The layouts and blocks that parts and fields use, and those that these use in turn."""
        files = {part.name: part for part in self._channel.parts}
        waiting: list[tuple[str, str]] = []
        for part, variants in parts.items():
            for language, source in variants.items():
                stem, dot, rest = files[part].file.partition(".")
                file = f"{stem}.{language}{dot}{rest}" if language else files[part].file
                waiting.append((f"{self._name}/{file}", source))
        for name, variants in fields.items():
            for language, value in variants.items():
                where = f"{self._name}/{TEMPLATE}: {name}" + (f".{language}" if language else "")
                waiting += [(where, text) for text in texts(value)]
        shared: dict[str, str] = {}
        while waiting:
            where, source = waiting.pop()
            for name, at in self._references(where, source):
                if name not in shared:
                    found = self._layout(name, at)
                    if found is not None:
                        shared[name] = found
                        waiting.append((name, found))
        return shared

    def _references(self, where: str, source: str) -> list[tuple[str, str]]:
        """(name, where it stands) of every template that `source` extends, includes or imports."""
        try:
            named = _named(source)
        except TemplateSyntaxError as error:
            self._problems.append(f"{where}:{error.lineno}: {error.message}")
            return []
        except RecursionError:
            self._problems.append(f"{where}: nested too deeply")
            return []
        found = []
        for name, line in named:
            at = f"{where}:{line}"
            if name is None:
                self._problems.append(f"{at}: the name of a layout or block must be written out, it cannot be computed")
            else:
                found.append((name, at))
        return found

    def _layout(self, name: str, at: str) -> str | None:
        steps = name.split("/")
        if len(steps) < 2 or steps[0] != LAYOUTS or any(step in ("", ".", "..") or "\\" in step for step in steps):
            self._problems.append(f"{at}: {name!r} must be a file in {LAYOUTS}/, such as '{LAYOUTS}/base.html.j2'")
            return None
        path = self._root
        for step in steps:
            path = path / step
            if path.is_symlink():
                self._problems.append(f"{at}: {name!r} is a symbolic link")
                return None
        if not path.is_file():
            near = did_you_mean(name, [file.relative_to(self._root).as_posix() for file in self._layouts()])
            self._problems.append(f"{at}: there is no {name!r}" + (f": {near}" if near else ""))
            return None
        return self._source(path)

    def _layouts(self) -> list[Path]:
        return sorted(self._root.joinpath(LAYOUTS).rglob("*.j2"))


# every template of an instance uses the same layouts and blocks
@lru_cache(maxsize=64)
def _named(source: str) -> tuple[tuple[str | None, int], ...]:
    """(name, line) of every template that `source` extends, includes or imports; None for a name that is computed."""
    wanted = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
    node: Any
    found: list[tuple[str | None, int]] = []
    for node in Environment(autoescape=True).parse(source).find_all(wanted):
        written = isinstance(node.template, nodes.Const) and isinstance(node.template.value, str)
        found.append((node.template.value if written else None, node.lineno))
    return tuple(found)


def texts(value: Any) -> list[str]:
    """Every text in a field's value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in texts(item)]
    return []


def _variant_of(part: Part, name: str) -> str | None:
    """The language in the name of a part's file: empty for none, None when `name` is no file of this part."""
    if name == part.file:
        return ""
    stem, _, rest = part.file.partition(".")
    match = re.fullmatch(rf"{re.escape(stem)}\.({TAG})\.{re.escape(rest)}", name)
    return match[1] if match else None


__all__ = ["Draft", "DraftLimits", "Drafts", "Seed", "Snapshot"]
