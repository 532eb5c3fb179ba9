"""Who is calling, and what they may."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Operator:
    """A login with rights; `event_types` and `brands` narrow them (`None`: no limit)."""

    login: str
    rights: frozenset[str]
    event_types: frozenset[str] | None = None
    brands: frozenset[str] | None = None

    def may(self, right: str, event_type: str | None = None, brand: str | None = None) -> bool:
        return (
            right in self.rights
            and (event_type is None or self.event_types is None or event_type in self.event_types)
            and (brand is None or self.brands is None or brand in self.brands)
        )


@dataclass(frozen=True, slots=True)
class Session:
    """What a log-on gives: two secrets, shown once, and how long they hold."""

    operator: Operator
    token: str = field(repr=False)
    security_token: str = field(repr=False)
    lifetime: float = 86400.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carries to say who is calling. Empty strings mean "not given"."""

    address: str
    """The caller's IP address, as seen through the trusted proxies."""
    token: str = field(default="", repr=False)
    """A session token, or `login/password`."""
    cookie: str = field(default="", repr=False)
    """A session token that came as a cookie: valid only with `security_token`."""
    security_token: str = field(default="", repr=False)
