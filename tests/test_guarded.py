"""What may be fetched and what may not, against a real server on this machine, which is let in by its network."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import FetchFailed, FetchRefused, GuardedClient, GuardSettings, is_public
from pydantic import ValidationError

HERE = "127.0.0.1/32"


class Names(AbstractResolver):
    """Answers from a table; a list of answers is given one after the other, the last again and again."""

    def __init__(self, table: Mapping[str, Sequence[str]]) -> None:
        self.table = {name: list(answers) for name, answers in table.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self.table[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        kind = socket.AF_INET6 if ":" in answer else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=answer, port=port, family=kind, proto=0, flags=int(socket.AI_NUMERICHOST))
        ]

    async def close(self) -> None:
        """Nothing is open."""


class Site:
    """A server that writes down what it is asked."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.port = 0
        self.gate = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        match request.path.split("/")[1:]:
            case ["to", *_]:
                return web.Response(
                    status=int(request.query.get("status", 302)), headers={"Location": request.query["url"]}
                )
            case ["size", size]:
                return web.Response(body=b"x" * int(size))
            case ["stream", size]:
                response = web.StreamResponse()
                response.enable_chunked_encoding()
                await response.prepare(request)
                for _ in range(int(size) // 1000):
                    await response.write(b"x" * 1000)
                return response
            case ["slow"]:
                await self.gate.wait()
            case ["zip"]:
                return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})
        return web.Response(text=await request.text() or "hello")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        assert server.port is not None
        site.port = server.port
        yield site
        site.gate.set()


def client(site: Site, names: Mapping[str, Sequence[str]] | None = None, **settings: Any) -> GuardedClient:
    given = {"networks": (HERE,), "ports": (site.port,), "plain": True, **settings}
    table = {"here.example": ["127.0.0.1"], "other.example": ["127.0.0.1"], "inside.example": ["127.0.0.2"]}
    return GuardedClient(GuardSettings.model_validate(given), resolver=Names({**table, **(names or {})}))


# ------------------------------------------------------------------------------------------------------- addresses

PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "100.63.255.255",
    "172.32.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::",
]
CLOSED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:1.1.1.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::101:101",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:101:101::1",
    "3ffe::1",
    "3fff::1",
    "2a00:1450::5efe:7f00:1",
    "2a00:1450::200:5efe:7f00:1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", CLOSED)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_no_ipv6_spelling_of_an_ipv4_address_is_let_through(inner: IPv4Address) -> None:
    number = int(inner)
    for outer in (
        number,
        0xFFFF << 32 | number,
        0x0064FF9B << 96 | number,
        0x2002 << 112 | number << 80 | 1,
        0x20010000 << 96 | number << 64,
        0x2A001450 << 96 | 0x5EFE << 32 | number,
    ):
        assert not is_public(str(IPv6Address(outer)))


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_not_public(address: IPv4Address | IPv6Address) -> None:
    # one way only: Python lets pass what we do not
    exempt = [ip_network(one) for one in ("192.0.0.9/32", "192.0.0.10/32")]
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert not is_public(str(address)) or any(address in one for one in exempt if one.version == address.version)


# ------------------------------------------------------------------------------------------------------------ URLs


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://user@example.com/", "login"),
        ("https://user:pass@example.com/", "login"),
        ("https://example.com:22/", "port 22"),
        ("ftp://example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("//example.com/", "scheme"),
        ("/etc/passwd", "scheme"),
        ("https:///path", "not a URL|no host"),
        ("https://exa mple.com/", "visible"),
        ("https://example.com/\r\nX: y", "visible"),
        ("https://example.com\\@127.0.0.1/", "backslash"),
        ("https://exämple.com/", "visible"),
        ("https://example.com:99999/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://ex%61mple.com/", "no host"),
        ("https://-example.com/", "no host"),
        ("https://example..com/", "no host"),
        (f"https://{'a' * 64}.example/", "no host"),
        ("https://example.com/" + "a" * 2048, "2048"),
        ("", "not a URL"),
    ],
)
async def test_urls_that_are_refused_before_anything_is_asked(url: str, reason: str) -> None:
    async with GuardedClient(GuardSettings()) as guarded:
        with pytest.raises(FetchRefused, match=reason):
            guarded.check(url)
        with pytest.raises(FetchRefused, match=reason):
            await guarded.fetch(url)


async def test_clear_text_must_be_allowed(site: Site) -> None:
    async with client(site, plain=False) as guarded:
        with pytest.raises(FetchRefused, match="scheme is not https"):
            await guarded.fetch(f"http://here.example:{site.port}/")
    assert site.seen == []


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("push.example.com", True),
        ("PUSH.example.com", True),
        ("a.notify.example.com", True),
        ("a.b.notify.example.com", True),
        ("notify.example.com", False),
        ("push.example.com.evil.test", False),
        ("evilpush.example.com", False),
        ("push.example.com.", False),
        ("127.0.0.1", False),
    ],
)
async def test_hosts_from_a_list(host: str, allowed: bool) -> None:
    settings = GuardSettings(hosts=("push.example.com", "*.notify.example.com"))
    async with GuardedClient(settings) as guarded:
        if allowed:
            guarded.check(f"https://{host}/x")
        else:
            with pytest.raises(FetchRefused, match=r"not on the list|no host"):
                guarded.check(f"https://{host}/x")


@pytest.mark.parametrize("host", ["http://example.com", "Push.example.com", "a*.example.com", "", "a b", "*.*.com"])
def test_a_misspelt_host_is_told(host: str) -> None:
    with pytest.raises(ValidationError, match="is not a host such as"):
        GuardSettings(hosts=(host,))


# ---------------------------------------------------------------------------------------------------------- dialling


async def test_an_allowed_server_answers(site: Site) -> None:
    async with client(site) as guarded:
        got = await guarded.fetch(f"http://here.example:{site.port}/a%2Fb?x=%20#top", "POST", {"X-Kind": "1"}, b"body")
    assert (got.status, got.body) == (200, b"body")
    assert got.headers["content-length"] == "4"
    (request,) = site.seen
    assert request.raw_path == "/a%2Fb?x=%20"
    assert request.headers["X-Kind"] == "1"
    assert request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
    ],
)
async def test_no_spelling_of_this_machine_is_dialled(site: Site, host: str) -> None:
    settings = GuardSettings(ports=(site.port,), plain=True)
    async with GuardedClient(settings) as guarded:
        with pytest.raises(FetchRefused, match=r"is not public|no IP address") as refused:
            await guarded.fetch(f"http://{host}:{site.port}/")
    assert not refused.value.sent
    assert site.seen == []


async def test_an_allowed_network_lets_in_nothing_beside_it(site: Site) -> None:
    async with client(site, {"mapped.example": ["::ffff:127.0.0.1"]}) as guarded:
        for host, address in (("inside.example", "127.0.0.2"), ("mapped.example", "::ffff:127.0.0.1")):
            with pytest.raises(FetchRefused, match=f"{address} is not public"):
                await guarded.fetch(f"http://{host}:{site.port}/")
    assert site.seen == []


async def test_what_a_name_means_is_judged_each_time(site: Site) -> None:
    """A resolver that answers an allowed address first and another one then."""
    async with client(site, {"turns.example": ["127.0.0.1", "127.0.0.2"]}) as guarded:
        url = f"http://turns.example:{site.port}/"
        assert (await guarded.fetch(url, headers={"Connection": "close"})).status == 200
        with pytest.raises(FetchRefused, match=r"127\.0\.0\.2 is not public"):
            await guarded.fetch(url)
    assert len(site.seen) == 1


async def test_no_proxy_of_the_environment_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{site.port}")
    async with client(site) as guarded:
        with pytest.raises(FetchRefused):
            await guarded.fetch(f"http://inside.example:{site.port}/")
    assert site.seen == []


async def test_an_outage_is_told_from_a_refusal(site: Site) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with client(site, ports=(port,)) as guarded:
            with pytest.raises(FetchFailed) as failed:
                await guarded.fetch(f"http://here.example:{port}/secret")
    assert not failed.value.sent
    assert "secret" not in str(failed.value)


async def test_certificates_are_verified(site: Site, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("here.example").configure_cert(context)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    try:
        async with client(site, ports=(port,), ca_file=tmp_path / "ca.pem") as guarded:
            assert (await guarded.fetch(f"https://here.example:{port}/")).status == 200
            with pytest.raises(FetchFailed, match="Certificate"):
                await guarded.fetch(f"https://other.example:{port}/")
        async with client(site, ports=(port,)) as guarded:
            with pytest.raises(FetchFailed, match="Certificate"):
                await guarded.fetch(f"https://here.example:{port}/")
    finally:
        await runner.cleanup()


# --------------------------------------------------------------------------------------------------------- redirects


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://inside.example:{port}/", "is not public"),
        ("http://127.0.0.2:{port}/", "is not public"),
        ("http://169.254.169.254:{port}/", "is not public"),
        ("file:///etc/passwd", "scheme"),
        ("http://elsewhere.test:{port}/", "not on the list"),
        ("http://here.example:1/", "port 1 "),
        ("http://a@here.example:{port}/", "login"),
        ("http://[", "not a URL"),
    ],
)
async def test_a_redirect_is_judged_like_the_first_address(site: Site, location: str, reason: str) -> None:
    hosts = ("*.example", "127.0.0.2", "169.254.169.254")
    async with client(site, hosts=hosts) as guarded:
        url = f"http://here.example:{site.port}/to?url=" + location.format(port=site.port)
        with pytest.raises(FetchRefused, match=reason):
            await guarded.fetch(url)
    assert len(site.seen) == 1


async def test_redirects_are_followed_as_far_as_allowed(site: Site) -> None:
    async with client(site, redirects=2) as guarded:
        start = f"http://here.example:{site.port}"
        got = await guarded.fetch(f"{start}/to?url=/to?url=/end")
        assert (got.status, got.url) == (200, f"{start}/end")
        with pytest.raises(FetchRefused, match="more than 2 times"):
            await guarded.fetch(f"{start}/to?url=/to?url=/to?url=/end")


async def test_logins_stay_with_the_host_they_are_for(site: Site) -> None:
    async with client(site) as guarded:
        url = f"http://here.example:{site.port}/to?url=http://other.example:{site.port}/end"
        await guarded.fetch(url, headers={"Authorization": "Bearer x", "X-Kind": "1"})
    assert site.seen[0].headers["Authorization"] == "Bearer x"
    assert "Authorization" not in site.seen[1].headers
    assert site.seen[1].headers["X-Kind"] == "1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_post_is_not_sent_on(site: Site, status: int) -> None:
    async with client(site) as guarded:
        url = f"http://here.example:{site.port}/to?url=/end&status={status}"
        assert (await guarded.fetch(url, "POST", body=b"x")).status == status
    assert len(site.seen) == 1


# -------------------------------------------------------------------------------------------------------------- caps


@pytest.mark.parametrize("path", ["size/5001", "stream/6000"])
async def test_a_body_is_capped(site: Site, path: str) -> None:
    async with client(site, max_size=5000) as guarded:
        with pytest.raises(FetchRefused, match=r"limit is 5000|more than 5000") as refused:
            await guarded.fetch(f"http://here.example:{site.port}/{path}")
        assert (refused.value.sent, refused.value.status) == (True, 200)
        for fits in ("size/5000", "stream/5000"):
            assert len((await guarded.fetch(f"http://here.example:{site.port}/{fits}")).body) == 5000


async def test_a_compressed_body_is_refused(site: Site) -> None:
    async with client(site) as guarded:
        with pytest.raises(FetchRefused, match="compressed") as refused:
            await guarded.fetch(f"http://here.example:{site.port}/zip")
    assert refused.value.status == 200


async def test_time_is_capped(site: Site) -> None:
    async with client(site, timeout=0.1) as guarded:
        with pytest.raises(FetchFailed, match=r"within 0\.1 s") as failed:
            await guarded.fetch(f"http://here.example:{site.port}/slow")
    assert (failed.value.sent, failed.value.status) == (True, 0)


async def test_a_redirect_s_status_is_not_the_answer_s(site: Site) -> None:
    async with client(site, timeout=0.3) as guarded:
        with pytest.raises(FetchFailed) as failed:
            await guarded.fetch(f"http://here.example:{site.port}/to?url=/slow")
    assert failed.value.status == 0


def test_the_addresses_of_this_page_are_addresses() -> None:
    assert all(ip_address(one) for one in PUBLIC)
