"""The configuration: a directory with `petitbleu.yaml`, read to typed settings, or every problem of it at once."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from pydantic import SecretStr, ValidationError

from ..errors import ConfigError, ConfigProblem
from ..networks import AnyNetwork
from ..suggest import did_you_mean
from ..types import Settings
from .complaints import complaints
from .schema import json_schema
from .settings import Sections
from .tree import plugin_items, read_tree
from .yamltree import Node, Place, Steps, dotted

FILE = "petitbleu.yaml"
# installed from a wheel it lies in the package; in a checkout it is the folder config/
_INSTALLED_SAMPLE = Path(__file__).parents[1] / "sample"
SAMPLE = _INSTALLED_SAMPLE if _INSTALLED_SAMPLE.is_dir() else Path(__file__).parents[3] / "config"
"""The sample instance."""

SAMPLE_PASSWORD = "$argon2id$v=19$m=65536,t=3,p=4$/uPgM1/N5jXnEwk17hShSA$pHXDKaTGYLB0gmqt2vhVZG8/72/qFskHn7XzijD8YgY"  # noqa: S105 - the sample's, known to all
"""The hash that the sample configuration has for `mc`."""

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
        directory = next((place for place in (Path("config"), SAMPLE) if (place / FILE).is_file()), Path("config"))
    if not (directory / FILE).is_file():
        raise ConfigError([ConfigProblem(str(directory), "", f"should be a directory that holds {FILE}")])
    return directory


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


def check_channels(
    raw: RawConfig, channels: Collection[str], providers: Mapping[str, Collection[str]] = MappingProxyType({})
) -> None:
    """Refuse rules, retries, terms and limits for channels that are not among `channels`, and limits for other
    providers than those a channel says it has. Raises `ConfigError`."""
    named = [
        (node.place, path, node.value)
        for pattern in (
            "routing.rules.*.channel",
            "routing.rules.*.when.channel",
            "recycling.rules.*.to",
            "recycling.rules.*.when.channel",
            "alerts.messages.*.channel",
        )
        for path, node in _select(raw.tree, pattern.split("."), ())
    ]
    named += [
        (node.key or node.place, path, path[-1])
        for pattern in ("delivery.retry.*", "delivery.failover.*", "suppression.channels.*", "safe_mode.catch_all.*")
        for path, node in _select(raw.tree, pattern.split("."), ())
    ]
    limited = [
        (node.key or node.place, path, *str(path[-1]).partition("/")[::2])
        for path, node in _select(raw.tree, ["delivery", "providers", "*"], ())
    ]
    named += [(place, path, channel) for place, path, channel, _ in limited]
    problems = [
        ConfigProblem(str(place), dotted(path), f"no plugin here serves the channel {name!r}{_hint(name, channels)}")
        for place, path, name in named
        if isinstance(name, str) and name and name not in channels
    ]
    problems += [
        ConfigProblem(str(place), dotted(path), f"{channel} has no provider {name!r}{_hint(name, known)}")
        for place, path, channel, name in limited
        if (known := providers.get(channel)) and name not in known
    ]
    if problems:
        raise ConfigError(problems)


def check_catch_all(raw: RawConfig, checks: Mapping[str, Callable[[str], str]]) -> None:
    """Refuse addresses of `safe_mode.catch_all` that are none of their channel's. Raises `ConfigError`."""
    problems = []
    for path, node in _select(raw.tree, ["safe_mode", "catch_all", "*"], ()):
        check = checks.get(str(path[-1]))
        if check is None or not isinstance(node.value, str):
            continue
        try:
            check(node.value)
        except ValueError as error:
            problems.append(ConfigProblem(str(node.place), dotted(path), str(error)))
    if problems:
        raise ConfigError(problems)


def check_messages(
    raw: RawConfig,
    checks: Mapping[str, Callable[[str], str]],
    fields: Mapping[str, Callable[[Mapping[str, Any]], object]],
) -> None:
    """Refuse addresses and fields of `alerts.messages` that are none of their channel's; `fields` tries some, and
    raises pydantic's `ValidationError`. Raises `ConfigError`."""
    problems = []
    for path, node in _select(raw.tree, ["alerts", "messages", "*"], ()):
        message = node.plain()
        channel = message["channel"]
        for inner, to in _select(node, ["to", "*"], path):
            try:
                checks[channel](str(to.value))
            except ValueError as error:
                problems.append(ConfigProblem(str(to.place), dotted(inner), str(error)))
        given = node.at("fields")
        try:
            fields[channel](message.get("fields") or {})
        except ValidationError as error:
            place = str((given or node).place)
            problems += [
                ConfigProblem(place, dotted((*path, "fields", *one["loc"])), one["msg"])
                for one in error.errors(include_url=False, include_input=False)
            ]
    if problems:
        raise ConfigError(problems)


def check_deadlines(raw: RawConfig, hooks: Mapping[str, Collection[str]]) -> None:
    """Refuse deadlines for plugins and hooks that are not among `hooks`, which has the hooks of each plugin that a
    deadline can be for. Raises `ConfigError`."""
    problems = []
    for path, node in _select(raw.tree, ["delivery", "deadlines", "*"], ()):
        plugin = str(path[-1])
        if plugin not in hooks:
            text = f"{plugin!r} is not in the list of plugins{_hint(plugin, hooks)}"
            problems.append(ConfigProblem(str(node.key or node.place), dotted(path), text))
            continue
        for hook, child in node.children():
            if hook != "*" and hook not in hooks[plugin]:
                text = f"{plugin} has no hook {str(hook)!r} that takes time{_hint(str(hook), hooks[plugin])}"
                problems.append(ConfigProblem(str(child.key or child.place), dotted((*path, hook)), text))
    if problems:
        raise ConfigError(problems)


def _hint(name: str, known: Collection[str]) -> str:
    return "; " + (did_you_mean(name, known) or f"there are: {', '.join(sorted(known)) or 'none'}")


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
        for path, node in _select(tree, pattern.split("."), ()):
            if isinstance(node.value, str) and node.value and node.value not in known:
                name = "a name from a secret" if node.secret else repr(node.value)
                say(node.place, path, f"{name} is not declared in {section}{_hint(node.value, known)}")


def _select(node: Node, pattern: Sequence[str], path: Steps) -> Iterator[tuple[Steps, Node]]:
    if not pattern:
        yield path, node
        return
    step, *rest = pattern
    for name, child in node.children():
        if step in ("*", name):
            yield from _select(child, rest, (*path, name))


def _check_templates(raw: RawConfig, say: Say) -> None:
    section = raw.tree.at("templates")
    given = section.at("directory") if section is not None else None
    value = given.value if given is not None else Sections().templates.directory
    if isinstance(value, str | Path) and not (raw.directory / value).is_dir():
        place = given.place if given is not None else raw.tree.place
        say(place, ("templates", "directory"), f"there is no directory {raw.directory / value}")


def findings(config: Config) -> list[str]:
    """What is allowed but worth a second look, in words for the administrator."""
    return [text for check in _CHECKS for text in check(config)]


def _listens_elsewhere(config: Config) -> bool:
    try:
        return not ipaddress.ip_address(config.http.host).is_loopback
    except ValueError:
        return config.http.host != "localhost"


def _loopback(networks: Iterable[AnyNetwork]) -> bool:
    return all(network.is_loopback for network in networks)


def _sample_password(config: Config) -> Iterator[str]:
    for login, operator in config.operators.items():
        used = operator.password is not None and operator.password.get_secret_value() == SAMPLE_PASSWORD
        if used and _listens_elsewhere(config):
            yield (
                f"operators.{login}.password: is the sample's password, which everyone knows, and the server listens "
                f"on {config.http.host}; set another one"
            )


def _open_doors(config: Config) -> Iterator[str]:
    for login, operator in config.operators.items():
        if not _loopback(operator.password_token_from):
            yield (
                f"operators.{login}.password_token_from: login/password is taken from other machines with every call; "
                "let only HTTPS reach this server"
            )
        if not _loopback(operator.trusted_from):
            yield f"operators.{login}.trusted_from: every program on those machines is {login} without a password"


def _no_tls(config: Config) -> Iterator[str]:
    if config.instance.public_url.startswith("http://") and _listens_elsewhere(config):
        yield "instance.public_url: callers come by http://, so tokens and passwords travel in clear; use https://"


def _behind_proxy(config: Config) -> Iterator[str]:
    if any(network.prefixlen == 0 for network in config.instance.trusted_proxies):
        yield "instance.trusted_proxies: everyone may claim any address; name only the proxies' own"


def _relaxed(config: Config) -> Iterator[str]:
    if config.durability == "relaxed":
        yield "durability: relaxed: a crash may lose events whose ids callers already have"


def _safe(config: Config) -> Iterator[str]:
    safe = config.safe_mode
    if safe.enabled:
        yield "safe_mode.enabled: this installation writes to those of safe_mode.allow only"
    elif safe.allow or safe.catch_all or safe.sink:
        yield "safe_mode: is not enabled, so its other settings keep nobody from being written to"


def _nobody(config: Config) -> Iterator[str]:
    if not any("push" in operator.rights for operator in config.operators.values()):
        yield "operators: none has the right push, so no event can come in"
    if not config.event_types:
        yield "event_types: none is declared, so every event is refused"
    if not config.plugin_settings:
        yield "plugins: none is listed, so events have no way in and no way out"


def _ailing(config: Config) -> Iterator[str]:
    for number, message in enumerate(config.alerts.messages):
        if not message.fields.get("provider"):
            yield (
                f"alerts.messages.{number}.fields: names no provider, so the message goes by the one that events go "
                "by, which may be what is ailing"
            )


_CHECKS = (_sample_password, _open_doors, _no_tls, _behind_proxy, _relaxed, _safe, _ailing, _nobody)

__all__ = [
    "FILE",
    "SAMPLE",
    "Config",
    "RawConfig",
    "build_config",
    "check_catch_all",
    "check_channels",
    "check_deadlines",
    "check_messages",
    "find_config",
    "findings",
    "json_schema",
    "read_config",
]
