"""The configuration: a directory with `petitbleu.yaml`, read to typed settings, or every problem of it at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import SecretStr, ValidationError

from ..errors import ConfigError, ConfigProblem
from ..types import Settings
from .complaints import complaints, hint
from .settings import Sections
from .tree import plugin_items, read_tree
from .yamltree import Node, Place, Steps, dotted, select

FILE = "petitbleu.yaml"
# installed from a wheel it lies in the package; in a checkout it is the folder config/
_INSTALLED_SAMPLE = Path(__file__).parents[1] / "sample"
SAMPLE = _INSTALLED_SAMPLE if _INSTALLED_SAMPLE.is_dir() else Path(__file__).parents[3] / "config"
"""The sample instance."""

Say: TypeAlias = Callable[[Place, Steps, str], None]
M = TypeVar("M", bound=Settings)


class Config(Sections):
    """Every section typed. `templates.directory`, `retention.archive.path` and an SQLite file's path are absolute."""

    directory: Path
    plugin_settings: Mapping[str, Settings]
    """By plugin, in the order of the list."""

    @property
    def file(self) -> Path:
        return self.directory / FILE

    def database_url(self) -> str:
        return self.database.get_secret_value()

    def template_directory(self) -> Path:
        return self.templates.directory

    def bounds(self) -> dict[str, float]:
        """Every number that bounds something (pieces, bytes, seconds), by the name of its setting."""
        found: dict[str, float] = {}
        for name in _BOUNDING:
            found.update(_numbers(name, getattr(self, name)))
        del found["http.port"]
        return found

    def brand_values(self, name: str) -> dict[str, Any]:
        """What templates know as `brand`; without a name, of the instance's brand."""
        name = name or self.instance.brand
        brand = self.brands.get(name)
        if brand is None:
            return {}
        return {**brand.variables, **brand.model_dump(exclude={"variables", "share"}), "name": brand.name or name}


_BOUNDING = ("http", "sessions", "delivery", "limits", "suppression", "retention", "monitoring", "alerts", "templates")


def _numbers(name: str, value: object) -> Iterator[tuple[str, float]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
    elif isinstance(value, Settings | Mapping):
        for key, inner in value.items() if isinstance(value, Mapping) else value:
            yield from _numbers(f"{name}.{key}", inner)


@dataclass(frozen=True, slots=True)
class RawConfig:
    """A configuration read, with includes, overrides and secrets in place, but not yet checked against types."""

    directory: Path
    file: Path
    tree: Node = field(repr=False)

    def plugin_names(self) -> list[str]:
        """In the order of the list."""
        return [item.name for item in plugin_items(self.tree, lambda place, path, text: None)]


def find_config(directory: Path | None = None) -> Path:
    """The directory given, else `./config` if it holds a configuration, else the sample. Raises `ConfigError`."""
    if directory is None:
        directory = next((place for place in (Path("config"), SAMPLE) if _is_one(place)), Path("config"))
    if not _is_one(directory):
        raise ConfigError([ConfigProblem(str(directory), "", f"should be a directory that holds {FILE}")])
    return directory


def _is_one(directory: Path) -> bool:
    try:
        return (directory / FILE).is_file()
    except OSError as error:
        raise ConfigError([ConfigProblem(str(directory), "", f"cannot be read: {error.strerror}")]) from None


def read_config(directory: Path, overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> RawConfig:
    """`petitbleu.yaml` of the directory with what it includes, `--set` overrides and secrets. Raises `ConfigError`."""
    file = directory / FILE
    return RawConfig(directory, file, read_tree(file, overrides, environ))


def build_config(raw: RawConfig, plugin_settings_types: Mapping[str, type[Settings]]) -> Config:
    """The typed configuration; the section of a plugin without a type must be empty.

    Raises `ConfigError` with every problem, in the order of the files.
    """
    found: list[tuple[Place, ConfigProblem]] = []

    def say(place: Place, path: Steps, text: str) -> None:
        found.append((place, ConfigProblem(str(place), dotted(path), text)))

    sections = _typed(Sections, _sections_tree(raw.tree), (), say, also=("plugins", "include"))
    plugin_settings: dict[str, Settings] = {}
    for item in plugin_items(raw.tree, say):
        model = plugin_settings_types.get(item.name, Settings)
        typed = _typed(model, item.settings, ("plugins", item.name), say)
        if typed is not None:
            plugin_settings[item.name] = typed
    _check_references(raw.tree, say)
    _check_templates(raw, say)
    if sections is None or found:
        raise ConfigError([problem for _, problem in sorted(found, key=lambda one: one[0])])
    values = dict(sections)
    values["database"] = SecretStr(_absolute_url(sections.database.get_secret_value(), _data_directory(raw)))
    directory = (raw.directory / sections.templates.directory).absolute()
    values["templates"] = sections.templates.model_copy(update={"directory": directory})
    if (archive := sections.retention.archive).path is not None:
        moved = archive.model_copy(update={"path": (_data_directory(raw) / archive.path).absolute()})
        values["retention"] = sections.retention.model_copy(update={"archive": moved})
    return Config.model_construct(**values, directory=raw.directory.absolute(), plugin_settings=plugin_settings)


def _data_directory(raw: RawConfig) -> Path:
    """The configuration's own, but nothing is written into an installed package: there it is the current one."""
    return Path() if raw.directory == SAMPLE else raw.directory


def _absolute_url(url: str, directory: Path) -> str:
    """An SQLite file's path counts from `directory`."""
    scheme, _, rest = url.partition("://")
    path, mark, query = rest.partition("?")
    if scheme != "sqlite" or path == ":memory:":
        return url
    if path.startswith("/"):
        path = "/" + path.lstrip("/")
    return f"sqlite://{os.path.abspath(directory / path)}{mark}{query}"


def _sections_tree(tree: Node) -> Node:
    """Without the plugins, and without sections of which only the heading is left."""
    kept = {str(name): child for name, child in tree.children() if name != "plugins" and child.value is not None}
    return replace(tree, value=kept)


def _typed(model: type[M], tree: Node, path: Steps, say: Say, also: Sequence[str] = ()) -> M | None:
    try:
        return model.model_validate(tree.plain())
    except ValidationError as error:
        for place, steps, text in complaints(error, model, tree, also):
            say(place, (*path, *steps), text)
    return None


_REFERENCES = (
    ("instance.brand", "brands"),
    ("event_types.*.brand", "brands"),
    ("routing.rules.*.brand", "brands"),
    ("routing.rules.*.template", "event_types"),
    ("routing.rules.*.when.type", "event_types"),
    ("operators.*.event_types.*", "event_types"),
    ("watchdog.type", "event_types"),
    ("operators.*.brands.*", "brands"),
)
"""Where names stand, and the section that must declare them."""


def _check_references(tree: Node, say: Say) -> None:
    for pattern, section in _REFERENCES:
        declared = tree.at(section)
        known = [str(name) for name, _ in declared.children()] if declared is not None else []
        for path, node in select(tree, pattern.split("."), ()):
            if isinstance(node.value, str) and node.value and node.value not in known:
                name = "a name from a secret" if node.secret else repr(node.value)
                say(node.place, path, f"{name} is not declared in {section}{hint(node.value, known)}")


def _check_templates(raw: RawConfig, say: Say) -> None:
    section = raw.tree.at("templates")
    given = section.at("directory") if section is not None else None
    value = given.value if given is not None else Sections().templates.directory
    if isinstance(value, str | Path) and not (raw.directory / value).is_dir():
        place = given.place if given is not None else raw.tree.place
        say(place, ("templates", "directory"), f"there is no directory {raw.directory / value}")


__all__ = ["FILE", "SAMPLE", "Config", "RawConfig", "build_config", "find_config", "read_config"]
