"""IP networks, as the configuration writes them and as callers fall into them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

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


def within(address: str, networks: Iterable[AnyNetwork]) -> bool:
    """Whether `address` lies in one of `networks`; an IPv4 address written as IPv6 counts as IPv4."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
