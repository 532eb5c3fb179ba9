"""The one way out to an address that somebody else has chosen: a subscription's endpoint, an image, a webhook.

The URL is judged first, by scheme, port and host; then each address that is dialled, when it is dialled. So it does
not matter how a host is spelt, what a resolver answers the second time, or where a redirect leads. No proxy, cookie
or login of this machine's environment takes part.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, Field

from .errors import FetchFailed, FetchRefused
from .networks import AnyNetwork, Network, is_address, is_host
from .types import Settings

if TYPE_CHECKING:
    from aiohttp import ClientResponse, TraceConfig
    from aiohttp.abc import AbstractResolver
    from yarl import URL

_CLOSED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # shared by carriers' customers (RFC 6598)
        "127.0.0.0/8",  # loopback (RFC 1122)
        "169.254.0.0/16",  # link-local, and clouds' metadata (RFC 3927)
        "172.16.0.0/12",  # private (RFC 1918)
        "192.0.0.0/24",  # protocol assignments (RFC 6890)
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private (RFC 1918)
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved, and broadcast (RFC 1112, RFC 919)
        "2001::/23",  # protocol assignments; Teredo, which holds an IPv4 address (RFC 2928, RFC 4380)
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4, which holds an IPv4 address (RFC 3056)
        "3ffe::/16",  # once the 6bone (RFC 3701)
        "3fff::/20",  # documentation (RFC 9637)
    )
)
"""`ipaddress.is_global` is not asked: what it says differs between versions of Python, and NAT64 passes it."""
_GLOBAL = ip_network("2000::/3")
"""All IPv6 addresses in use (RFC 4291). Outside are loopback, mapped and compatible IPv4, NAT64, link-local, unique
local and multicast addresses."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""First half of an interface id whose second half is an IPv4 address (RFC 5214)."""

_URL = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,2048}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}", re.ASCII)
_NUMBER = re.compile(r"(.*\.)?(\d+|0[xX][0-9A-Fa-f]*)\.?", re.ASCII)
"""What the C library and browsers read as an IPv4 address, in all its spellings."""
_PATTERN = re.compile(r"\*|(\*\.)?[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?|[0-9a-f:.]{2,45}", re.ASCII)
_FOLLOWED = (301, 302, 303, 307, 308)
_PRIVATE_HEADERS = ("authorization", "cookie", "proxy-authorization")


def _pattern(value: str) -> str:
    if not _PATTERN.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is not a host such as push.example.com, *.example.com, or * for every host")
    return value


class GuardSettings(Settings):
    """What may be fetched. Plugins have it as a part of their settings."""

    hosts: tuple[Annotated[str, AfterValidator(_pattern)], ...] | None = None
    """Hosts that may be asked, such as push.example.com or *.example.com; every one unless given."""
    networks: tuple[Network, ...] = ()
    """Addresses that may be dialled although they are not public: servers of your own."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = ()
    """Ports beside the scheme's own."""
    plain: bool = False
    """Whether http is allowed beside https."""
    timeout: float = Field(15, gt=0, le=600)
    """Seconds for all of it: resolving, connecting, redirects, and the body."""
    max_size: int = Field(1_048_576, ge=0)
    """Bytes of a body at most."""
    redirects: int = Field(3, ge=0, le=10)
    """How many are followed, each judged like the first address. A POST follows none."""
    ca_file: Path | None = None
    """PEM certificates to trust instead of the system's."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public Internet, and to itself alone: one that stands for an IPv4 address
    behind a translator or tunnel is refused with all of its range."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not _in(parsed, _CLOSED)
    if parsed.scope_id is not None or parsed not in _GLOBAL or _in(parsed, _CLOSED):
        return False
    return (int(parsed) >> 32) & 0xFFFFFFFF not in _ISATAP


def _in(address: IPv4Address | IPv6Address, networks: Sequence[AnyNetwork]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, whatever its status. Names of `headers` are in lower case; of several of a name the last is kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    """Where it came from in the end."""


@dataclass(slots=True)
class _Progress:
    """What became of one request: the address that was refused where none was dialled, whether anything of it left, the
    status of its answer."""

    refused: str = ""
    dialled: bool = False
    sent: bool = False
    status: int = 0


_progress: ContextVar[_Progress] = ContextVar("petitbleu_guarded_progress")


class _AddressRefused(OSError):
    """Raised in place of a socket."""


class GuardedClient:
    """Fetches what its settings allow; connections are kept and used again.

    `connections` is how many there are at the same time at most, `resolver` takes the place of the system's. Use it as
    an asynchronous context manager.
    """

    def __init__(
        self, settings: GuardSettings, connections: int = 20, resolver: AbstractResolver | None = None
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._resolver = resolver
        self._session: Any = None

    async def __aenter__(self) -> Self:
        # imported here: commands that fetch nothing start sooner without it
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        authorities = self._settings.ca_file
        self._session = ClientSession(
            connector=TCPConnector(
                limit=self._connections,
                # aiohttp has read the system's already, once for all
                ssl=ssl.create_default_context(cafile=authorities) if authorities else True,
                resolver=self._resolver,
                socket_factory=self._socket,
                use_dns_cache=False,
            ),
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=ClientTimeout(total=None),
            trace_configs=[_trace()],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def check(self, url: str) -> None:
        """Judge a URL without any network. Raises `FetchRefused`."""
        self._allowed(url)

    async def fetch(
        self, url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Fetched:
        """The answer, with its body. Redirects are followed for GET and HEAD; of other methods the 3xx is the answer.

        Raises `FetchRefused` for what the settings do not allow, `FetchFailed` where there is no answer.
        """
        progress = _Progress()
        token = _progress.set(progress)
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._follow(url, method, {"Accept-Encoding": "identity", **(headers or {})}, body)
        except TimeoutError:
            reason = f"no answer within {self._settings.timeout:g} s"
            raise FetchFailed(reason, progress.sent, progress.status) from None
        except FetchRefused as refused:
            refused.sent, refused.status = progress.sent, progress.status
            raise
        except Exception as error:
            if progress.refused and not progress.dialled:
                raise FetchRefused(f"its address {progress.refused} is not public", progress.sent) from None
            raise FetchFailed(_words(error), progress.sent, progress.status) from error
        finally:
            _progress.reset(token)

    async def _follow(self, url: str, method: str, headers: Mapping[str, str], body: bytes | None) -> Fetched:
        target = self._allowed(url)
        for left in range(self._settings.redirects, -1, -1):
            progress = _progress.get()
            progress.refused, progress.dialled = "", False
            async with self._session.request(
                method, target, headers=headers, data=body, allow_redirects=False
            ) as response:
                location = response.headers.get("Location")
                if response.status not in _FOLLOWED or location is None or method not in ("GET", "HEAD"):
                    progress.status = response.status
                    return await self._read(response, target)
            if left == 0:
                break
            if not _URL.fullmatch(location):
                raise FetchRefused("it redirects to what is not a URL")
            target, before = self._allowed(str(_join(target, location))), target
            if target.origin() != before.origin():
                headers = {name: value for name, value in headers.items() if name.lower() not in _PRIVATE_HEADERS}
        raise FetchRefused(f"it redirects more than {self._settings.redirects} times")

    async def _read(self, response: ClientResponse, target: URL) -> Fetched:
        most = self._settings.max_size
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchRefused("its body is compressed, though that was not asked for")
        if (response.content_length or 0) > most and response.method != "HEAD":
            raise FetchRefused(f"its body has {response.content_length} bytes; the limit is {most}")
        found = bytearray()
        async for chunk in response.content.iter_chunked(65536):
            found += chunk
            if len(found) > most:
                raise FetchRefused(f"its body has more than {most} bytes")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Fetched(response.status, headers, bytes(found), str(target))

    def _allowed(self, url: str) -> URL:
        from yarl import URL

        settings = self._settings
        if not _URL.fullmatch(url):
            raise FetchRefused("it is not a URL: 1 to 2048 visible ASCII characters, no backslash")
        try:
            # taken as written: what is judged here is what is asked for
            parsed = URL(url, encoded=True)
            host, port, default = parsed.raw_host, parsed.port, 443 if parsed.scheme == "https" else 80
        except ValueError:
            raise FetchRefused("it is not a URL") from None
        if parsed.scheme != "https" and not (settings.plain and parsed.scheme == "http"):
            raise FetchRefused("its scheme is not https" + (" or http" if settings.plain else ""))
        if parsed.raw_user is not None or parsed.raw_password is not None:
            raise FetchRefused("it holds a login")
        if not host or not _HOST.fullmatch(host) or not is_host(host):
            raise FetchRefused("it has no host")
        if _NUMBER.fullmatch(host) and not is_address(host):
            raise FetchRefused("its host is a number, but no IP address in its usual form")
        if settings.hosts is not None and not any(fnmatchcase(host.lower(), one) for one in settings.hosts):
            raise FetchRefused("its host is not on the list")
        if port not in (default, *settings.ports):
            raise FetchRefused(f"port {port} is not allowed")
        return parsed.with_fragment(None)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for one address, or none: here it is known what will be dialled, and nothing changes it after."""
        family, kind, protocol, _, where = info
        address = str(where[0])
        if family not in (socket.AF_INET, socket.AF_INET6) or not self._dialled(address, where):
            _progress.get().refused = address
            raise _AddressRefused(f"{address} is not public")
        _progress.get().dialled = True
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def _dialled(self, address: str, where: Sequence[Any]) -> bool:
        if len(where) == 4 and where[3]:
            return False  # an IPv6 scope: an address of this machine's own links
        return is_public(address) or (is_address(address) and _in(ip_address(address), self._settings.networks))


def _trace() -> TraceConfig:
    from aiohttp import TraceConfig

    async def headers_sent(*_: object) -> None:
        _progress.get().sent = True

    trace = TraceConfig()
    trace.on_request_headers_sent.append(headers_sent)
    return trace


def _join(base: URL, location: str) -> URL:
    from yarl import URL

    try:
        return base.join(URL(location, encoded=True))
    except ValueError:
        raise FetchRefused("it redirects to what is not a URL") from None


def _words(error: BaseException) -> str:
    """Without the URL, which may be a secret by itself."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return f"{type(error).__name__}: {cause.strerror}"
    return type(error).__name__


__all__ = ["Fetched", "GuardSettings", "GuardedClient", "is_public"]
