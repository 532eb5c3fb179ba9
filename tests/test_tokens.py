"""Tokens of programs: what they are, what they open, and how they end."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from command_line import runner, sample_copy
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import AccessDenied, Credentials, InputRefused, NotFound, Operator, SessionExpired
from petitbleu.auth import Authenticator, Tokens
from petitbleu.auth.tokens import make_token, well_formed
from petitbleu.config.settings import OperatorSettings, Sessions
from petitbleu.instance import open_instance
from petitbleu.operating import Actor
from petitbleu.store import Store, open_store
from petitbleu.store.payload import moment

ANN, BEN = (Actor(Operator(name, frozenset({"admin"})), "cli") for name in ("ann", "ben"))
HERE = "192.0.2.7"
OPERATORS = {
    name: OperatorSettings.model_validate(value)
    for name, value in {
        "mc": {"rights": ["push", "read"]},
        "shop": {"rights": ["push"], "event_types": ["order", "parcel"], "brands": ["shop"]},
    }.items()
}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        yield store


class Site:
    """One process of an instance, whose clock is the store's."""

    def __init__(self, store: Store, operators: dict[str, OperatorSettings] | None = None) -> None:
        known = OPERATORS if operators is None else operators
        types, brands = ["order", "parcel", "note"], ["shop", "outlet"]
        self.store = store
        self.auth = Authenticator(known, Sessions(cache=5), self.now)
        self.tokens = Tokens(store, known, types, brands, self.now, lambda count: bytes(range(count)))

    def now(self) -> Any:
        return moment(self.store.now())

    async def who(self, token: str) -> Operator | None:
        try:
            return await self.auth.authenticate(Credentials(HERE, token=token))
        except SessionExpired:
            raise AssertionError("nobody can log on anew with a token") from None
        except AccessDenied:
            return None


@given(st.binary(min_size=32, max_size=32), st.integers(3, 51), st.sampled_from("0aZ~é"))
def test_a_token_tells_that_it_is_whole(random: bytes, at: int, other: str) -> None:
    token = make_token(lambda count: random[:count])
    assert re.fullmatch(r"pb_[0-9A-Za-z]{49}", token)
    assert well_formed(token)
    assert well_formed(token[:at] + other + token[at + 1 :]) == (token[at] == other)
    assert not well_formed(token[:-1])
    assert not well_formed(token + "0")


async def test_a_token_opens_what_its_operator_and_it_may(store: Store) -> None:
    site = Site(store)
    new = await site.tokens.create("shop", "erp", ANN, event_types=["order"])
    assert new.token not in repr(new)
    assert await site.who(new.token) == Operator("shop", frozenset({"push"}), frozenset({"order"}), frozenset({"shop"}))
    # what the operator lost since, the token has lost too
    fewer = Site(store, {"shop": OperatorSettings.model_validate({"rights": ["read"], "event_types": ["parcel"]})})
    assert await fewer.who(new.token) == Operator("shop", frozenset(), frozenset(), None)
    assert await Site(store, {"mc": OPERATORS["mc"]}).who(new.token) is None
    rows = await store.read("SELECT * FROM api_tokens", [])
    assert new.token not in str(rows)
    assert new.token[:9] == rows[0]["start"]


async def test_a_token_that_is_revoked_or_over_opens_nothing(store: Store) -> None:
    site, elsewhere = Site(store), Site(store)
    new = await site.tokens.create("mc", "erp", ANN, expires=site.now() + timedelta(hours=1))
    assert await elsewhere.who(new.token) is not None
    (listed,) = await site.tokens.find("mc")
    assert listed.used is not None
    await store.shift_clock(3601)
    assert await elsewhere.who(new.token) is None
    assert await site.who(new.token) is None
    assert await site.tokens.find("mc") == []
    site.tokens._random_bytes = lambda count: bytes(count)
    other = await site.tokens.create("mc", "crm", ANN)
    assert await elsewhere.who(other.token) is not None
    await site.tokens.revoke(other.known.id, BEN)
    assert await site.who(other.token) is None
    await store.shift_clock(3607)
    assert await elsewhere.who(other.token) is None
    with pytest.raises(NotFound, match="was revoked before"):
        await site.tokens.revoke(other.known.id, BEN)
    for number in (77, 0, -1, 1 << 63):
        with pytest.raises(NotFound, match=f"there is no token {number}"):
            await site.tokens.revoke(number, BEN)
    states = [one.state(site.now()) for one in await site.tokens.find(everything=True)]
    assert states == ["revoked", "expired"]
    audited = await store.read('SELECT action, object, "by" FROM audit ORDER BY id', [])
    assert [(one["action"], one["object"], one["by"]) for one in audited] == [
        ("tokens.create", "mc/erp", "ann"),
        ("tokens.create", "mc/crm", "ann"),
        ("tokens.revoke", "mc/crm", "ben"),
    ]


async def test_what_is_no_token_is_looked_up_nowhere(store: Store) -> None:
    site = Site(store)
    token = make_token(lambda count: bytes(count))
    assert await site.who(token) is None
    await store.connection.execute_script("DROP TABLE api_tokens")
    assert await site.who(token[:-1] + "x") is None
    assert await site.who("pb_") is None


@pytest.mark.parametrize(
    ("login", "more", "words"),
    [
        ("shoop", {}, "there is no operator 'shoop'; did you mean 'shop'?"),
        ("shop", {"rights": ["admin"]}, "lacks the right 'admin', so a token cannot have it; shop has push"),
        ("shop", {"rights": []}, "without any right"),
        ("shop", {"event_types": ["ordr"]}, "there is no event type 'ordr'; did you mean 'order'?"),
        ("shop", {"event_types": ["note"]}, "do not reach the event type 'note'"),
        ("shop", {"brands": ["outlet"]}, "do not reach the brand 'outlet'"),
        ("mc", {"name": "a\nb"}, "needs a name"),
        ("mc", {"expires": moment(0)}, "would have expired already"),
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(
    sqlite_url: str, login: str, more: dict[str, Any], words: str
) -> None:
    async with open_store(sqlite_url) as store:
        tokens = Site(store).tokens
        name = more.pop("name", "erp")
        with pytest.raises(InputRefused, match=re.escape(words)):
            await tokens.create(login, name, ANN, **more)
        assert await tokens.find(everything=True) == []


def test_tokens_by_command(tmp_path: Any, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = runner(sample_copy(tmp_path), sqlite_url, capsys)
    words = ("--name", "erp", "--rights", "push", "--expires", "90d", "--event-types", "password_reset")
    made = run("operators", "token", "create", "mc", *words)
    assert (made.code, made.err.splitlines()[0][:32]) == (0, "This is the only time it is show")
    assert well_formed(made.out.strip())
    listed = json.loads(run("operators", "token", "list", "--json").out)
    assert [(one["login"], one["rights"], one["state"]) for one in listed] == [("mc", ["push"], "valid")]
    assert made.out.strip() not in str(listed)
    assert run("operators", "token", "revoke", str(listed[0]["id"])).out == "token 1 of mc, erp: revoked\n"
    assert run("operators", "token", "revoke", "1").code == 1
    assert run("operators", "token", "list").out.count("\n") == 1
    assert "revoked" in run("operators", "token", "list", "--all").out
    refused = run("operators", "token", "create", "mc", "--name", "erp", "--expires", "soon")
    assert (refused.code, "such as 90d" in refused.err) == (1, True)
    assert run("audit", "--action", "tokens").out.count("mc/erp") == 2


def test_sessions_by_command(tmp_path: Any, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sample_copy(tmp_path)
    run = runner(folder, sqlite_url, capsys)

    async def sign_in() -> None:
        async with open_instance(folder, [f"database={sqlite_url}"]) as instance:
            for login in ("ops", "ops", "mc"):
                await instance.auth.logon(login, "demo", HERE)

    asyncio.run(sign_in())
    listed = json.loads(run("operators", "session", "list", "--login", "ops", "--json").out)
    assert [(one["login"], one["address"]) for one in listed] == [("ops", HERE)] * 2
    session = listed[0]["id"]
    assert run("operators", "session", "end", session).out == f"session {session} of ops: ended\n"
    assert run("operators", "session", "end", session).err == f"there is no open session '{session}'\n"
    assert run("operators", "session", "end", "--login", "ops").out == "ops: 1 sessions ended\n"
    assert [run("operators", "session", "end", *words).code for words in ((), ("x", "--login", "ops"))] == [2, 2]
    assert run("operators", "session", "list").out.splitlines()[1].split()[1:3] == ["mc", HERE]
