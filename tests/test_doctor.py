"""The doctor finds what is wrong, with real servers of DNS and mail on this machine."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest
from command_line import Ended, Run, runner, sample_copy
from petitbleu.doctor import Finding, Level, look_up, resolver
from petitbleu.store import open_store

GOOD = {
    ("shop.example.com", "TXT"): ['"google-site=1"', '"v=spf1 include:relay.example -all"'],
    ("_dmarc.example.com", "TXT"): ['"v=DMARC1; p=quarantine"'],
    ("shop.example.com", "MX"): ["10 mail.example.com."],
    ("mail._domainkey.shop.example.com", "TXT"): ['"v=DKIM1; k=rsa; p=MIGf" "MA0G"'],
}
Zone = Mapping[tuple[str, str], list[str]]


class Names(asyncio.DatagramProtocol):
    """A name server that knows one zone."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        query = dns.message.from_wire(data)
        asked = query.question[0]
        answer = dns.message.make_response(query)
        name, kind = asked.name.to_text(omit_final_dot=True), asked.rdtype.name
        if name == "broken.example.com":
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records := self._zone.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *records))
        self._transport.sendto(answer.to_wire(), peer)


@contextmanager
def serving(zone: Zone) -> Iterator[str]:
    """In a thread of its own: commands run loops of theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = loop.create_datagram_endpoint(lambda: Names(zone), local_addr=("127.0.0.1", 0))
    transport, _ = asyncio.run_coroutine_threadsafe(listening, loop).result()
    try:
        host, port = transport.get_extra_info("sockname")
        yield f"{host}:{port}"
    finally:
        loop.call_soon_threadsafe(transport.close)
        loop.call_soon_threadsafe(loop.call_soon, loop.stop)
        thread.join()
        loop.close()


def levels(found: list[Finding]) -> dict[str, Level]:
    return {one.text.partition(":")[0]: one.level for one in found}


async def test_a_domain_in_order_is_in_order() -> None:
    with serving(GOOD) as server:
        found = await look_up("shop.example.com", ["mail"], resolver(server))
    assert levels(found) == dict.fromkeys(("SPF", "DMARC", "MX", "DKIM"), Level.OK)


TXT = ("shop.example.com", "TXT")
DMARC = ("_dmarc.shop.example.com", "TXT")
DKIM = ("mail._domainkey.shop.example.com", "TXT")
MX = ("shop.example.com", "MX")


@pytest.mark.parametrize(
    ("changes", "what", "level", "said"),
    [
        ({TXT: []}, "SPF", Level.PROBLEM, "there is no record"),
        ({TXT: ['"v=spf1 -all"', '"v=spf1 mx -all"']}, "SPF", Level.PROBLEM, "2 records"),
        ({TXT: ['"v=spf1 mx"']}, "SPF", Level.WARNING, "does not say"),
        ({TXT: ['"v=spf1 +all"']}, "SPF", Level.WARNING, "anybody"),
        ({TXT: ['"v=spf1 redirect=example.com"']}, "SPF", Level.OK, "redirect"),
        ({TXT: ['"v=spf10 -all"']}, "SPF", Level.PROBLEM, "there is no record"),
        ({DMARC: ['"v=DMARC1; p=none"']}, "DMARC", Level.WARNING, "only report"),
        ({DMARC: ['"v=DMARC1; rua=mailto:x@y.example"']}, "DMARC", Level.PROBLEM, "no policy"),
        ({("_dmarc.example.com", "TXT"): []}, "DMARC", Level.PROBLEM, "there is no record"),
        ({DKIM: []}, "DKIM", Level.PROBLEM, "has no key"),
        ({DKIM: ['"v=DKIM1; p="']}, "DKIM", Level.PROBLEM, "revoked"),
        ({MX: []}, "MX", Level.PROBLEM, "can take no mail"),
        ({MX: [], ("shop.example.com", "A"): ["192.0.2.1"]}, "MX", Level.OK, "the host itself"),
        ({MX: ["0 ."]}, "MX", Level.WARNING, "takes no mail"),
    ],
)
async def test_what_is_wrong_with_a_domain_is_told(changes: Zone, what: str, level: Level, said: str) -> None:
    with serving({**GOOD, **changes}) as server:
        found = await look_up("shop.example.com", ["mail"], resolver(server))
    (one,) = [one for one in found if one.text.startswith(what)]
    assert one.level is level
    assert said in one.text
    assert bool(one.todo) == (level is not Level.OK)


async def test_a_name_server_in_trouble_is_no_missing_record() -> None:
    with serving(GOOD) as server:
        found = await look_up("broken.example.com", [], resolver(server, 0.5))
    assert Level.PROBLEM not in {one.level for one in found}
    assert sum("cannot be looked up" in one.text for one in found) == 2


@pytest.mark.parametrize("server", ["ns.example.com", "192.0.2.1:x", "192.0.2.1:53:53"])
def test_a_name_server_is_an_address(server: str) -> None:
    with pytest.raises(ValueError, match="should be an IP address"):
        resolver(server)


# -------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def run(tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(sample_copy(tmp_path), sqlite_url, capsys)


def told(ended: Ended) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(ended.out):
        found.setdefault(one["area"], []).append(one)
    return found


def test_a_page_of_findings(run: Run, tmp_path: Path, sqlite_url: str, unused_tcp_port: int) -> None:
    async def hold() -> None:
        async with open_store(sqlite_url) as store:
            await store.connection.execute_script(
                "INSERT INTO queue (id, state, lane, priority, due, type, channel) VALUES (1, 3, 0, 5, 0, 't', 'email')"
            )

    asyncio.run(hold())
    assert run("templates", "publish", "password_reset/email").code == 0
    (tmp_path / "shop" / "templates" / "order_confirmation" / "email" / "body.html.j2").write_text("{{ broken")
    nobody = ("--set", f"plugins.email.providers.main.port={unused_tcp_port}")
    with serving(GOOD) as server:
        ended = run("doctor", "--dns", server, *nobody, "--set", "monitoring.dkim={shop.example.com: [mail]}")
        lines = ended.out.splitlines()
        assert ended.code == 1
        assert any(line.startswith("providers     PROBLEM  email/main: ") for line in lines)
        assert any("shop.example.com: DKIM: selector mail has a key" in line for line in lines)
        assert any("1 events are held" in line for line in lines)
        publish = (
            "→ petitbleu templates publish account_statement/email or petitbleu templates publish account_statement/sms"
        )
        assert any(line.endswith(publish) for line in lines)
        assert any("order_confirmation/email: the draft is broken: " in line for line in lines)
        assert {line.split()[0] for line in lines if not line.startswith(" ")} >= {"configuration", "disk", "versions"}
        # as programs read it, and only what is asked for
        some = told(run("doctor", "dns", "clock", "disk", "--json", "--dns", server))
        assert sorted(some) == ["clock", "disk", "dns"]
        assert [one["level"] for one in some["dns"]] == ["ok", "ok", "ok", "warning"]
        assert run("doctor", "dns", "--dns", server).code == 0


def test_a_broken_configuration_is_a_finding(run: Run) -> None:
    ended = run("doctor", "--set", "http.prot=1", "--json")
    assert ended.code == 1
    (one,) = told(ended)["configuration"]
    assert one["text"] == "http.prot: is not a setting here; did you mean 'port'?"


def test_a_database_that_is_away_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away = runner(sample_copy(tmp_path), "postgres://x:y@127.0.0.1:1/x?timeout=1", capsys)
    with serving(GOOD) as server:
        found = told(away("doctor", "--json", "--dns", server))
    assert [one["level"] for one in found["database"]] == ["problem"]
    # what does not need it is looked at all the same
    assert [one["level"] for one in found["dns"]] == ["ok", "ok", "ok", "warning"]
    assert {one["name"] for one in found["providers"]} >= {"email/main", "sms/main"}


async def test_a_clock_that_is_off_is_told(postgres_url: str, tmp_path: Path) -> None:
    from petitbleu.config import SAMPLE
    from petitbleu.doctor.checkup import _clock, _database
    from petitbleu.instance import open_instance

    async with open_instance(SAMPLE, [f"database={postgres_url}"]) as instance:
        (one,) = await _clock(instance)
        assert one.level is Level.OK
        await instance.store.shift_clock(-30)
        (one,) = await _clock(instance)
        assert (one.level, one.text) == (Level.WARNING, "is 30 s behind this machine's")
        assert [one.level for one in await _database(instance)] == [Level.OK]
