"""What is allowed in a configuration but worth a second look."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from ..networks import AnyNetwork
from .build import Config

SAMPLE_PASSWORD = "$argon2id$v=19$m=65536,t=3,p=4$/uPgM1/N5jXnEwk17hShSA$pHXDKaTGYLB0gmqt2vhVZG8/72/qFskHn7XzijD8YgY"  # noqa: S105 - the sample's, known to all
"""The hash that the sample configuration has for `mc`."""


def findings(config: Config) -> list[str]:
    """In words for the administrator."""
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
