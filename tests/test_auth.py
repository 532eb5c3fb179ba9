"""Sessions, passwords and trusted networks, over a real database and real Argon2."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession, web
from argon2 import PasswordHasher
from petitbleu import AccessDenied, Credentials, Operator, SessionExpired
from petitbleu.auth import Authenticator, hash_password
from petitbleu.auth.remembered import Remembered
from petitbleu.config.settings import OperatorSettings, Sessions
from petitbleu.networks import within
from petitbleu.store import open_store
from petitbleu.store.models import SessionRow

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Argon2id at a cost that tests can pay."""

MAX, HERE, ELSEWHERE = "max", "127.0.0.1", "192.0.2.7"


class Clock:
    """Time that passes only when told to, and remembers who slept."""

    def __init__(self) -> None:
        self.time = datetime(2026, 10, 5, 12, tzinfo=UTC)
        self.slept: list[float] = []
        self.reached: list[str] = []
        """Limits that held somebody up."""

    def now(self) -> datetime:
        return self.time

    def pass_(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


def operators() -> dict[str, OperatorSettings]:
    return {
        name: OperatorSettings.model_validate(value)
        for name, value in {
            "mc": {
                "password": QUICK.hash("demo/pass"),
                "rights": ["push", "read"],
                "event_types": ["order"],
                "password_token_from": ["127.0.0.0/8", "::1"],
            },
            MAX: {"password": QUICK.hash("other"), "rights": ["admin"]},
            "shop": {"rights": ["push"], "trusted_from": ["10.1.0.0/16", "2001:db8::/32"]},
        }.items()
    }


Start = Callable[..., Authenticator]


@asynccontextmanager
async def starting(url: str, clock: Clock) -> AsyncIterator[Start]:
    async with open_store(url):

        def start(known: dict[str, OperatorSettings] | None = None, **settings: Any) -> Authenticator:
            return Authenticator(
                known or operators(),
                Sessions(**settings),
                clock.now,
                sleep=clock.sleep,
                limit_reached=clock.reached.append,
            )

        yield start


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def denied(call: Awaitable[object]) -> str:
    """The refusal's text, once it is sure that it is not the one of an expired session."""
    with pytest.raises(AccessDenied) as refused:
        await call
    assert type(refused.value) is AccessDenied
    return str(refused.value)


async def expired(call: Awaitable[object]) -> None:
    with pytest.raises(SessionExpired):
        await call


def token(text: str, address: str = HERE, security: str = "") -> Credentials:
    return Credentials(address, token=text, security_token=security)


# ------------------------------------------------------------------------------------------------------------ sessions


async def test_a_session_from_logon_to_logoff(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start()
        session = await auth.logon("mc", "demo/pass", ELSEWHERE)
        assert session.operator == Operator("mc", frozenset({"push", "read"}), frozenset({"order"}), None)
        assert session.lifetime == 86400
        assert session.token.startswith("___")
        assert len(session.token) >= 3 + 22
        assert "/" not in session.token
        assert session.security_token.startswith("@")
        assert session.security_token.endswith("==")
        assert session.token not in repr(session)
        assert session.security_token not in repr(session)

        assert await auth.authenticate(token(session.token, ELSEWHERE)) == session.operator
        await auth.logoff(session.token)
        await expired(auth.authenticate(token(session.token)))
        await auth.logoff(session.token)
        await denied(auth.logoff("___never-given"))


async def test_only_hashes_are_stored(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        session = await start().logon("mc", "demo/pass", HERE)
        (row,) = await SessionRow.all().values()
    assert row["login"] == "mc"
    assert session.token not in str(row)
    assert session.security_token not in str(row)


async def test_a_session_runs_out(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start(lifetime="1h", cache="10m")
        session = await auth.logon("mc", "demo/pass", HERE)
        clock.pass_(3599)
        await auth.authenticate(token(session.token))
        clock.pass_(1)
        await expired(auth.authenticate(token(session.token)))
        await expired(start().authenticate(token(session.token)))


async def test_the_database_is_not_asked_with_every_call(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth, other = start(cache="5s"), start(cache="5s")
        session = await auth.logon("mc", "demo/pass", HERE)
        await auth.authenticate(token(session.token))
        await other.authenticate(token(session.token))
        await auth.logoff(session.token)
        await expired(auth.authenticate(token(session.token)))
        # another process may not know yet, for as long as its memory holds
        await other.authenticate(token(session.token))
        clock.pass_(5)
        await expired(other.authenticate(token(session.token)))


async def test_a_logoff_is_not_outrun_by_a_look_at_the_database(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start()
        for _ in range(20):
            session = await auth.logon("mc", "demo/pass", HERE)
            looks = [asyncio.create_task(auth.authenticate(token(session.token))) for _ in range(3)]
            await auth.logoff(session.token)
            await asyncio.gather(*looks, return_exceptions=True)
            await expired(auth.authenticate(token(session.token)))


async def test_an_operator_has_a_limited_number_of_sessions(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start(per_operator=2)
        other = await auth.logon(MAX, "other", HERE)
        sessions = []
        for _ in range(3):
            clock.pass_(1)
            sessions.append(await auth.logon("mc", "demo/pass", HERE))
            await auth.authenticate(token(sessions[-1].token))
        await expired(auth.authenticate(token(sessions[0].token)))
        assert clock.reached == ["sessions.per_operator"]
        for session in (*sessions[1:], other):
            await auth.authenticate(token(session.token))


async def test_the_session_of_an_operator_who_is_gone(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        session = await start().logon("mc", "demo/pass", HERE)
        left = operators()
        del left["mc"]
        await denied(start(left).authenticate(token(session.token)))


async def test_a_cookie_needs_its_security_token(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start()
        one, two = [await auth.logon("mc", "demo/pass", HERE) for _ in range(2)]
        right = Credentials(HERE, cookie=one.token, security_token=one.security_token)
        assert (await auth.authenticate(right)).login == "mc"
        for cookie, security in (
            (one.token, ""),
            (one.token, "@wrong=="),
            (one.token, two.security_token),
            ("mc/demo/pass", one.security_token),
            ("mc/demo/pass", ""),
        ):
            await denied(auth.authenticate(Credentials(HERE, cookie=cookie, security_token=security)))


async def test_a_token_may_come_with_its_security_token_but_with_no_other(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start()
        session = await auth.logon("mc", "demo/pass", HERE)
        assert (await auth.authenticate(token(session.token, HERE, session.security_token))).login == "mc"
        await denied(auth.authenticate(token(session.token, HERE, "@wrong==")))
        both = Credentials(HERE, token=session.token, cookie="___stale")
        assert (await auth.authenticate(both)).login == "mc"


# ------------------------------------------------------------------------------------------------- networks, passwords


@pytest.mark.parametrize(
    ("address", "login"),
    [("10.1.2.3", "shop"), ("::ffff:10.1.2.3", "shop"), ("2001:db8::9", "shop"), ("10.2.0.1", ""), ("", ""), ("x", "")],
)
async def test_trusted_networks(database_url: str, clock: Clock, address: str, login: str) -> None:
    async with starting(database_url, clock) as start:
        auth = start()
        if login:
            assert (await auth.authenticate(Credentials(address))).login == login
        else:
            await denied(auth.authenticate(Credentials(address)))
        # whoever shows something wrong is not trusted for where it comes from
        await denied(auth.authenticate(Credentials(address, token="___wrong")))
        await denied(auth.authenticate(Credentials(address, cookie="___wrong")))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_login_and_password_as_a_token(database_url: str, clock: Clock, address: str) -> None:
    async with starting(database_url, clock) as start:
        assert (await start().authenticate(token("mc/demo/pass", address))).login == "mc"
        assert await SessionRow.all().count() == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mc/wrong", HERE),
        ("mc/", HERE),
        ("/", HERE),
        ("/demo/pass", HERE),
        ("nobody/demo/pass", HERE),
        ("mc/demo/pass", ELSEWHERE),
        ("mc/demo/pass", "not an address"),
        ("max/other", HERE),
        ("shop/", "10.1.2.3"),
        ("MC/demo/pass", HERE),
        ("mc/demo/pass ", HERE),
        ("mc/" + "x" * 100_000, HERE),
        ("mc/\ud800", HERE),
        ("\ud800/x", HERE),
        ("___wrong", HERE),
        ("\ud800", HERE),
    ],
)
async def test_everything_wrong_looks_the_same(database_url: str, clock: Clock, text: str, address: str) -> None:
    async with starting(database_url, clock) as start:
        auth = start()
        expected = "Invalid login or password. Connection denied."
        assert await denied(auth.authenticate(token(text, address))) == expected
        login, _, password = text.partition("/")
        if text != "mc/demo/pass" and text != "max/other":
            assert await denied(auth.logon(login, password, address)) == expected


async def test_unknown_logins_and_wrong_networks_cost_as_much_as_wrong_passwords(
    database_url: str, clock: Clock
) -> None:
    slow = PasswordHasher(time_cost=3, memory_cost=32_768, parallelism=1)
    known = {
        "mc": OperatorSettings.model_validate(
            {"password": slow.hash("demo"), "rights": ["push"], "password_token_from": ["127.0.0.1"]}
        )
    }
    async with starting(database_url, clock) as start:
        auth = start(known)
        assert (await auth.authenticate(token("mc/demo"))).login == "mc"

        async def processor_time(text: str, address: str) -> float:
            took = []
            for _ in range(3):
                begun = time.process_time()
                await denied(auth.authenticate(token(text, address)))
                took.append(time.process_time() - begun)
            return min(took)

        wrong = await processor_time("mc/wrong", HERE)
        for text, address in (("nobody/demo", HERE), ("mc/demo", ELSEWHERE), ("mc/" + "x" * 2000, HERE)):
            assert await processor_time(text, address) > wrong / 2


async def test_a_correct_password_is_hashed_once(database_url: str, clock: Clock) -> None:
    known = {
        "mc": OperatorSettings.model_validate(
            {"password": hash_password("demo"), "rights": ["push"], "password_token_from": ["127.0.0.1"]}
        )
    }
    async with starting(database_url, clock) as start:
        auth = start(known, password_cache="5m")
        # a burst before anything is known, and then a hot intake
        await asyncio.gather(*(auth.authenticate(token("mc/demo")) for _ in range(50)))
        begun = time.perf_counter()
        for _ in range(500):
            await auth.authenticate(token("mc/demo"))
            clock.pass_(200)
        assert time.perf_counter() - begun < 5, "500 Argon2 checks take half a minute and more"
        await denied(auth.authenticate(token("mc/demo", ELSEWHERE)))
        await denied(auth.authenticate(token("mc/dem")))
        assert clock.slept == []


async def test_no_password_is_kept_in_memory(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start()
        await auth.authenticate(token("mc/demo/pass"))
        remembered = auth._passwords._correct
        assert len(remembered) == 1
        assert "demo" not in repr(vars(remembered))
        # and what is kept means nothing to another process
        other = start()
        await other.authenticate(token("mc/demo/pass"))
        assert not set(remembered._values) & set(other._passwords._correct._values)


async def test_guessing_gets_slower(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start(guess_delay="1s", guess_delay_cap="5s", guess_memory="10m")
        for _ in range(5):
            await denied(auth.logon("mc", "wrong", HERE))
        assert clock.slept == [1, 2, 4, 5]
        clock.slept.clear()
        # someone else, somewhere else: no wait
        await denied(auth.logon("mc", "wrong", ELSEWHERE))
        await denied(auth.logon("nobody", "wrong", HERE))
        await auth.logon(MAX, "other", HERE)
        assert clock.slept == []
        # the same login, whether it exists or not, and by whichever way it comes
        await denied(auth.logon("nobody", "wrong", HERE))
        await denied(auth.authenticate(token("nobody/wrong")))
        assert clock.slept == [1, 2]
        clock.slept.clear()
        # getting it right, or time, makes good
        await auth.logon("mc", "demo/pass", HERE)
        await denied(auth.logon("mc", "wrong", HERE))
        clock.pass_(601)
        await denied(auth.logon("nobody", "wrong", HERE))
        assert clock.slept == [5]


async def test_neighbours_with_ipv6_guess_together(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start(guess_delay="1s")
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.7", "192.0.2.7"):
            await denied(auth.logon("mc", "wrong", address))
        assert clock.slept == [1, 1]


async def test_guesses_at_the_same_time_wait_for_each_other(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start(guess_delay="1s", guess_delay_cap="100s", guess_waiting=3)
        await denied(auth.logon("mc", "wrong", HERE))
        await asyncio.gather(*(denied(auth.logon("mc", f"wrong{n}", HERE)) for n in range(20)))
        assert clock.slept == [1, 2, 4]
        assert clock.reached == ["sessions.guess_waiting"] * 17


async def test_memory_is_bounded(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start(remembered=3)
        for number in range(6):
            await denied(auth.logon(f"nobody{number}", "x", HERE))
            session = await auth.logon("mc", "demo/pass", HERE)
            await auth.authenticate(token(session.token))
        sizes = [len(part) for part in (auth._sessions, auth._passwords._correct, auth._passwords._guesses)]
        assert sizes == [3, 1, 3]


def test_remembering(clock: Clock) -> None:
    memory: Remembered[str, int] = Remembered(2, 10, clock.now)
    memory.put("a", 1)
    clock.pass_(5)
    memory.put("b", 2)
    memory.put("a", 3)
    memory.put("c", 4)
    assert [memory.get(key) for key in "abc"] == [3, None, 4]
    clock.pass_(10)
    assert memory.get("a") is None
    assert len(memory) == 1
    memory.drop("c")
    memory.drop("never there")
    assert len(memory) == 0


def test_networks() -> None:
    networks = operators()["shop"].trusted_from
    assert within("10.1.255.255", networks)
    assert within("2001:db8::1%eth0", networks)
    assert not within("10.2.0.0", networks)
    assert not within("unix:", networks)
    assert not within("10.1.2.3", ())


async def test_sessions_work_in_the_handlers_of_a_server(database_url: str, clock: Clock) -> None:
    async with starting(database_url, clock) as start:
        auth = start()

        async def handler(request: web.Request) -> web.Response:
            session = await auth.logon("mc", "demo/pass", request.remote or "")
            operator = await auth.authenticate(token(session.token))
            await auth.logoff(session.token)
            return web.Response(text=operator.login)

        app = web.Application()
        app.add_routes([web.get("/", handler)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with ClientSession() as client, client.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as answer:
                assert await answer.text() == "mc"
        finally:
            await runner.cleanup()
