"""What every request meets: proxies, errors, health, the routes of plugins."""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from collections.abc import AsyncIterator, Callable
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from petitbleu import Accept, Check, IncomingEvent, Operator, Queue, Unavailable, elements, hookimpl
from petitbleu.config import SAMPLE
from petitbleu.errors import PluginError
from petitbleu.metrics import Metrics
from petitbleu.serving.app import Server, running
from petitbleu.serving.http import measured, plain_errors, quiet, trusted_proxies

EMAIL = "{email: {providers: {main: {host: 127.0.0.1, port: 1, security: plain}}}}"
CTX = elements({"link": "https://shop.example.com/r", "minutes": "30", "user": {"login": "zoe"}})
PROXIES = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8")]


async def echo(request: web.Request) -> web.Response:
    return web.json_response([request.remote, request.scheme, request.host])


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Any]]:
    clients: list[TestClient[web.Request, web.Application]] = []

    async def make(*middlewares: Any, handler: Any = echo) -> TestClient[web.Request, web.Application]:
        app = web.Application(middlewares=middlewares)
        app.router.add_get("/", handler)
        made = TestClient(TestServer(app))
        await made.start_server()
        clients.append(made)
        return made

    yield make
    for one in clients:
        await one.close()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ["127.0.0.1", "http", None]),
        ({"X-Forwarded-For": "198.51.100.7"}, ["198.51.100.7", "http", None]),
        ({"X-Forwarded-For": "1.1.1.1, 198.51.100.7, 10.1.2.3"}, ["198.51.100.7", "http", None]),
        ({"X-Forwarded-For": "10.9.9.9, 10.1.2.3"}, ["10.9.9.9", "http", None]),
        ({"X-Forwarded-For": "198.51.100.7, nonsense"}, ["127.0.0.1", "http", None]),
        ({"X-Forwarded-For": "::ffff:198.51.100.7"}, ["::ffff:198.51.100.7", "http", None]),
        (
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "mail.example.com"},
            ["127.0.0.1", "https", "mail.example.com"],
        ),
        ({"X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "evil/../x"}, ["127.0.0.1", "http", None]),
    ],
)
async def test_a_trusted_proxy_speaks_for_the_caller(client: Any, headers: dict[str, str], expected: list[Any]) -> None:
    made = await client(trusted_proxies(PROXIES))
    async with made.get("/", headers=headers) as response:
        remote, scheme, host = await response.json()
    assert [remote, scheme] == expected[:2]
    assert expected[2] is None or host == expected[2]


async def test_without_trust_forwarded_headers_mean_nothing(client: Any) -> None:
    for networks in ([], [ipaddress.ip_network("10.0.0.0/8")]):
        made = await client(trusted_proxies(networks))
        async with made.get("/", headers={"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}) as response:
            assert (await response.json())[:2] == ["127.0.0.1", "http"]


async def test_some_answers_are_the_last_of_their_connection(client: Any) -> None:
    drawn = iter([0.5, 0.04, 0.05, 0.06])
    made = await client(measured(Metrics(), 10, set(), asyncio.Event(), 0.05, lambda: next(drawn)))
    ends = []
    for _ in range(4):
        async with made.get("/") as response:
            await response.read()
            ends.append(response.headers.get("Connection", ""))
    assert ends == ["", "close", "", ""]


async def test_an_unexpected_failure_shows_no_trace(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: web.Request) -> web.Response:
        raise RuntimeError("secret detail")

    made = await client(plain_errors, handler=broken)
    async with made.get("/") as response:
        assert (response.status, await response.text()) == (500, "Internal error\n")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "secret detail" in caplog.text


async def test_a_body_that_is_not_what_its_headers_say_is_the_callers_fault(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    quiet()
    one = await client(plain_errors, handler=read)
    answer = await one.get("/", data=b"no gzip", headers={"Content-Encoding": "gzip"}, compress=None)
    assert (answer.status, await answer.text()) == (400, "The body is not what its headers say\n")
    assert answer.headers["Connection"] == "close"
    assert caplog.records == []


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_does_not_fill_the_log(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    async with running(SAMPLE, overrides(sqlite_url, "[email]"), role="intake") as server:
        caplog.clear()
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
        writer.close()
        assert [one.name for one in caplog.records if one.name.startswith("aiohttp")] == []


@pytest.mark.parametrize("error", [RuntimeError, web.RequestPayloadError])
async def test_an_answer_that_breaks_off_is_seen_not_to_be_whole(
    client: Any, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        raise error("the rest is gone")

    made = await client(plain_errors, handler=breaking)
    reader, writer = await asyncio.open_connection(made.server.host, made.server.port)
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
    received = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"6\r\nfirst\n\r\n"
    assert caplog.text.count("RuntimeError: the rest is gone") == (error is RuntimeError)


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install one more plugin, called `extra`, for this test."""

    def install(**members: Any) -> None:
        from petitbleu.hosting import plugins

        module = ModuleType("extra_plugin")
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, "extra_plugin", module)
        points = [*plugins.installed(), EntryPoint("extra", "extra_plugin", plugins.GROUP)]
        monkeypatch.setattr(plugins, "installed", lambda: points)

    return install


def overrides(sqlite_url: str, plugins: str = "[email, soap_ingest, extra]") -> list[str]:
    return [
        f"database={sqlite_url}",
        "http.port=0",
        f"plugins={plugins.replace('email', EMAIL)}",
    ]


async def test_two_plugins_claiming_one_route_stop_the_start(extra: Any, sqlite_url: str) -> None:
    def routes() -> list[web.RouteDef]:
        return [web.get("/nl/jsp/ping.jsp", echo)]

    extra(petitbleu_routes=hookimpl(routes))
    with pytest.raises(PluginError, match=r"claims GET /nl/jsp/ping.jsp, which plugin soap_ingest has"):
        async with running(SAMPLE, overrides(sqlite_url)):
            pass


async def get(server: Server, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(server.url + path) as response:
        return response.status, await response.json()


async def test_readiness_names_the_plugin_that_is_not_well(extra: Any, sqlite_url: str) -> None:
    async def health() -> list[Check]:
        return [Check("pump", False, "out of steam")]

    extra(petitbleu_health=hookimpl(health))
    async with running(SAMPLE, overrides(sqlite_url)) as server:
        status, body = await get(server, "/readyz")
        assert (status, body["status"]) == (503, "failing")
        assert {"plugin": "extra", "name": "pump", "ok": False, "text": "out of steam", "warning": False} in body[
            "checks"
        ]
        assert (await get(server, "/healthz"))[0] == 200


async def test_a_lifespan_is_entered_in_order_left_in_reverse_and_its_failure_named(
    extra: Any, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    from contextlib import asynccontextmanager

    seen: list[Any] = []

    @asynccontextmanager
    async def lifespan(services: Any, accept: Accept | None) -> AsyncIterator[str]:
        seen.append(services.instance)
        yield "state"
        # nothing comes in any more
        assert accept is not None
        with pytest.raises(Unavailable, match="the server is stopping"):
            await accept([], Operator("own", frozenset({"push"})))
        raise RuntimeError("stuck valve")

    async def check(state: Any) -> list[Check]:
        seen.append(state)
        return []

    extra(petitbleu_lifespan=hookimpl(lifespan), petitbleu_health=hookimpl(check))
    async with running(SAMPLE, overrides(sqlite_url)) as server:
        assert (await get(server, "/readyz"))[0] in (200, 503)
    assert seen[1] == "state"
    assert "plugin extra, petitbleu_lifespan: RuntimeError: stuck valve" in caplog.text

    @asynccontextmanager
    async def broken(services: Any) -> AsyncIterator[str]:
        raise OSError("no water")
        yield ""

    extra(petitbleu_lifespan=hookimpl(broken))
    from petitbleu import PetitbleuError

    with pytest.raises(PetitbleuError, match="plugin extra could not start: OSError: no water"):
        async with running(SAMPLE, overrides(sqlite_url)):
            pass


@pytest.mark.parametrize("role", ["all", "intake", "worker"])
async def test_a_lifespan_may_bring_events_in_where_the_server_takes_them(
    extra: Any, sqlite_url: str, role: Any
) -> None:
    from contextlib import asynccontextmanager

    doors: list[Accept | None] = []

    @asynccontextmanager
    async def lifespan(accept: Accept | None) -> AsyncIterator[None]:
        doors.append(accept)
        yield

    extra(petitbleu_lifespan=hookimpl(lifespan))
    async with running(SAMPLE, overrides(sqlite_url), role=role) as server:
        (accept,) = doors
        assert (accept is None) == (role == "worker")
        if accept is not None:
            event = IncomingEvent(Queue.BATCH, {"type": "password_reset", "email": "zoe@example.com"}, {"ctx": CTX})
            (event_id,) = await accept([event], Operator("own", frozenset({"push"})))
            assert await server.instance.services.load_event(event_id) is not None


async def test_a_body_over_the_limit_is_refused(sqlite_url: str) -> None:
    sets = [*overrides(sqlite_url, "[email, soap_ingest]"), "http.body_limit=1000"]
    async with running(SAMPLE, sets) as server, aiohttp.ClientSession() as session:
        url = f"{server.url}/nl/jsp/soaprouter.jsp"
        async with session.post(url, data=b"<a>" + b"x" * 5000 + b"</a>") as response:
            assert response.status in (413, 500)
            assert "limit" in (await response.text()).lower() or response.status == 413


async def test_requests_beyond_the_limit_are_refused_at_once_and_health_is_told(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls whose bodies never end hold every place; who comes then is not left waiting."""
    sets = [*overrides(sqlite_url, "[email, soap_ingest]"), "http.requests=2"]
    head = "POST /nl/jsp/soaprouter.jsp HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n<a>"
    async with running(SAMPLE, sets) as server, aiohttp.ClientSession() as session:
        host, port = server.url.removeprefix("http://").split(":")
        slow = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        for _, writer in slow:
            writer.write(head.encode())
            await writer.drain()
        url = f"{server.url}/nl/jsp/soaprouter.jsp"

        async def status() -> tuple[int, str | None]:
            async with session.post(url, data=b"<a/>") as response:
                await response.read()
                return response.status, response.headers.get("Retry-After")

        async def measures() -> str:
            async with session.get(f"{server.url}/metrics") as response:
                return await response.text()

        while (refused := await status())[0] != 503:
            await asyncio.sleep(0.01)
        assert refused == (503, "2")
        assert (await get(server, "/healthz"))[0] == 200
        text = await measures()
        assert 'petitbleu_limits_reached_total{limit="http.requests"} 1.0' in text
        assert 'petitbleu_http_requests_total{path="/nl/jsp/soaprouter.jsp",status="503"} 1.0' in text
        for _, writer in slow:
            writer.close()
        while (await status())[0] == 503:
            await asyncio.sleep(0.01)
    # callers that hang up are no trouble of ours
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_running_server_follows_publications_of_others(sqlite_url: str) -> None:
    sets = overrides(sqlite_url, "[email, soap_ingest]")
    async with running(SAMPLE, sets) as server:
        templates = server.instance.templates
        assert templates.current("password_reset", "email") is None
        name = "password_reset/email"
        publish = [sys.executable, "-m", "petitbleu", "templates", "publish", name, "--config", str(SAMPLE)]
        process = await asyncio.create_subprocess_exec(
            *publish, "--set", f"database={sqlite_url}", stdout=asyncio.subprocess.PIPE
        )
        await process.communicate()
        assert process.returncode == 0
        for _ in range(50):
            if templates.current("password_reset", "email") == 1:
                break
            await asyncio.sleep(0.1)
        assert templates.current("password_reset", "email") == 1
