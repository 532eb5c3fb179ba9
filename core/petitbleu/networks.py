"""Hosts and IP networks, as the configuration writes them; and whether an address lies in one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

AnyNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: Any) -> AnyNetwork:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        cause = ": it has bits set beyond its length" if "host bits" in str(error) else ""
        raise ValueError(f"should be a network such as 10.0.0.0/8 or 2001:db8::/32, or one address{cause}") from None


Network = Annotated[AnyNetwork, PlainValidator(_network), WithJsonSchema({"type": "string"})]


_NAME = re.compile(r"[^\x00-\x20\x7f/:@\[\]]+")
_BLANK = re.compile(r"[\x00-\x20\x7f]")


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_host(text: str) -> bool:
    """Whether a resolver takes it. To look up what none takes raises a `UnicodeError` rather than an `OSError`."""
    try:
        return is_address(text) or (_NAME.fullmatch(text) is not None and text.encode("idna") != b"")
    except UnicodeError:
        return False


def _host(text: str) -> str:
    if not is_host(text):
        raise ValueError("should be a host, such as mail.example.com or 192.0.2.1, without a port")
    return text


Host = Annotated[str, Field(min_length=1), AfterValidator(_host)]
"""A name or address to connect to, or to listen on."""


def host_of(url: str) -> str:
    """The host of a URL; "" where there is none that a resolver takes, or the port is no number of one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    # some white space is left out on the way, and would not be where the URL is used
    return host if port != 0 and is_host(host) and not _BLANK.search(url) else ""


def within(address: str, networks: Iterable[AnyNetwork]) -> bool:
    """Whether `address` lies in one of `networks`; an IPv4 address written as IPv6 counts as IPv4."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
