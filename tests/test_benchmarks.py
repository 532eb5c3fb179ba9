"""What decides whether a figure of the benchmarks is true: arithmetic, requests, callers, counters, verdicts."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from petitbleu import Queue, XmlLimits, incoming_event, parse_xml
from petitbleu.instance import plan

from benchmarks.arithmetic import Window, median, percentile
from benchmarks.bare import CLIENTS, measure
from benchmarks.bench import per_event
from benchmarks.channels import APNS, FCM, SMS, Channel
from benchmarks.envelopes import APP, PEOPLE, Requests, logon, pushes, session_token, sizes
from benchmarks.latency import delays
from benchmarks.load import Load
from benchmarks.processes import Failed, busy_seconds, cpu_seconds, family, resident
from benchmarks.report import Figure, number, table, with_company, write
from benchmarks.server import make_instance
from benchmarks.settings import HERE, Settings, from_environment
from benchmarks.sink import Sink, counted, smtp_sink
from benchmarks.through_plugin import client
from benchmarks.throughput import Paired, against_raw

# ------------------------------------------------------------------------------------------------------- arithmetic


def test_the_median_of_runs() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0]) == 2.5
    with pytest.raises(ValueError, match="no run"):
        median([])


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(0.01, 1))
def test_so_many_values_are_within_a_percentile(values: list[float], part: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, part)
    assert sum(value <= found for value in values) >= part * len(values) - 1e-6
    assert sum(value < found for value in values) < part * len(values) + 1e-6


def test_percentiles_are_by_nearest_rank() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, part) for part in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]


@pytest.mark.parametrize(
    ("acknowledged", "sent", "steady"),
    [(1000, 1000, True), (1000, 950, True), (950, 1000, True), (1000, 949, False), (900, 1000, False), (0, 0, False)],
)
def test_a_window_is_steady_when_as_much_goes_out_as_comes_in(acknowledged: int, sent: int, steady: bool) -> None:
    window = Window(2.0, acknowledged, sent)
    assert window.steady is steady
    assert window.rate == sent / 2


def test_a_window_has_a_length() -> None:
    with pytest.raises(ValueError, match="has no rate"):
        Window(0.0, 1, 1)


def test_processor_time_per_event() -> None:
    assert per_event({"server": 1.0, "sink": 0.5}, {"server": 3.0, "sink": 0.5}, 1000) == {"server": 2000.0, "sink": 0}


def test_delays_need_one_mail_for_each_event() -> None:
    answers = [(7, 1_000_000), (8, 2_000_000), (9, 3_000_000)]
    taken = [(8, 2_500_000), (7, 5_000_000), (9, 2_000_000)]
    assert delays(answers, taken) == [-1.0, 0.5, 4.0]
    assert delays(answers, taken, since=2_000_000) == [-1.0, 0.5]
    with pytest.raises(Failed, match="1 events were mailed more than once"):
        delays(answers, [*taken, (7, 6_000_000)])
    with pytest.raises(Failed, match="3 events were acknowledged, 2 mailed, 1 of the former missing"):
        delays(answers, taken[1:])
    with pytest.raises(Failed, match="2 events were acknowledged, 3 mailed, 0 of the former missing"):
        delays(answers[1:], taken)


def test_the_processor_time_of_this_process_and_its_children() -> None:
    own = os.getpid()
    before, machine = cpu_seconds(own), busy_seconds()
    while cpu_seconds(own) < before + 0.05:
        pass
    assert busy_seconds() >= machine + 0.03
    assert own in family(os.getppid())
    assert 10_000_000 < resident(own) < 10_000_000_000


# --------------------------------------------------------------------------------------------------------- settings


def test_settings_come_from_the_environment() -> None:
    assert from_environment({}) == Settings()
    read = from_environment({"BENCH_SECONDS": "40", "BENCH_RUNS": "3", "BENCH_SET": "a.b=1 'c.d=x y'"})
    assert (read.seconds, read.runs, read.raw_seconds) == (40.0, 3, 10.0)
    assert read.assignments == ("a.b=1", "c.d=x y")


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "inf", "nan"])
def test_a_setting_that_is_no_length_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="BENCH_SECONDS"):
        from_environment({"BENCH_SECONDS": wrong})


# --------------------------------------------------------------------------------------------------------- requests

LIMITS = XmlLimits(size=1 << 20, depth=32, nodes=100_000)


def _read(request: bytes) -> etree._Element:
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    assert int(length[1]) == len(body)
    return parse_xml(body, None, LIMITS)


@pytest.mark.parametrize("per_call", [1, 3])
def test_each_request_carries_its_own_numbers(per_call: int) -> None:
    requests = pushes("a token", per_call)
    for first in (1, 1 + per_call, 999_999_990):
        root = _read(requests.of(first))
        assert root.findtext(".//{*}sessiontoken") == "a token"
        events = [incoming_event(one, Queue.REALTIME) for one in root.iter("rtEvent")]
        numbers = [f"{first + place:09d}" for place in range(per_call)]
        assert [one.attributes["externalId"] for one in events] == [f"B-{digits}" for digits in numbers]
        assert [one.attributes["email"] for one in events] == [f"client.{digits}@example.com" for digits in numbers]
        assert [element.get("number") for element in root.iter("order")] == numbers
        assert [str(element.text)[-9:] for element in root.iter("lastname")] == numbers


def test_callers_are_many_people_and_requests_of_the_agreed_size() -> None:
    requests = pushes("x" * 43)
    some = [requests.of(number) for number in range(len(PEOPLE))]
    assert len({element.text for one in some for element in _read(one).iter("firstname")}) == len(PEOPLE)
    assert all(800 <= size <= 880 for size in sizes(some))
    assert all(len(requests.of(number)) == len(one) for number, one in enumerate(some, 8 * len(PEOPLE)))


def test_requests_by_other_channels() -> None:
    text = incoming_event(next(_read(pushes("t", wish=SMS.wish).of(7)).iter("rtEvent")), Queue.REALTIME)
    assert (text.attributes["wishedChannel"], text.attributes["mobilePhone"]) == ("sms", "+33612345678")
    for wish in (APNS.wish, FCM.wish):
        devices = [
            incoming_event(one, Queue.REALTIME) for one in _read(pushes("t", 3, wish=wish).of(7)).iter("rtEvent")
        ]
        assert [one.attributes["registrationToken"] for one in devices] == [f"{n:064d}" for n in (7, 8, 9)]
        assert [one.children["mobileApp"] for one in devices] == [{"@uuid": APP}] * 3


def test_requests_of_the_batch_queue_and_for_later() -> None:
    root = _read(pushes("t", 2, batch=True, scheduled="2026-11-24T10:00:00+00:00").of(1))
    assert [one.get("scheduled") for one in root.iter("batchEvent")] == ["2026-11-24T10:00:00+00:00"] * 2
    assert list(root.iter("rtEvent")) == []


def test_a_session_token_is_read_from_the_answer() -> None:
    parse_xml(logon("a<b", "c&d"), None, LIMITS)
    assert session_token("<x><pstrSessionToken xsi:type='s'>___abc</pstrSessionToken></x>") == "___abc"
    with pytest.raises(ValueError, match="no session token in <Fault/>"):
        session_token("<Fault/>")


# ---------------------------------------------------------------------------------------------------------- callers

ONE = Requests(((b"PUT ", b"\n"),), 1)


class Answers(asyncio.Protocol):
    """Answers each line, in two pieces, with what it is told to."""

    def __init__(self, server: Endpoint) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._server.asked.append(data)
        answer = self._server.answer
        self._transport.write(answer[:20])
        asyncio.get_running_loop().call_soon(self._transport.write, answer[20:])


class Endpoint:
    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.port = 0
        self.say(b"<plId>7</plId>")

    def say(self, body: bytes, status: bytes = b"200 OK") -> None:
        self.answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    server = await asyncio.get_running_loop().create_server(lambda: Answers(made), "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()


async def test_callers_push_each_event_once_and_note_the_answers(endpoint: Endpoint) -> None:
    async with Load("127.0.0.1", endpoint.port, ONE, callers=3, most=20, record=True) as load:
        load.start()
        await load.finish(10)
        assert load.acknowledged == 20
        assert sorted(endpoint.asked) == [b"PUT %09d\n" % number for number in range(1, 21)]
        assert [event for event, _ in load.answers] == [7] * 20


async def test_callers_wait_for_the_sink(endpoint: Endpoint) -> None:
    sent = 0
    async with Load("127.0.0.1", endpoint.port, ONE, callers=2, bound=10, sent=lambda: sent) as load:
        load.start()
        async with asyncio.timeout(10):
            while load.acknowledged < 10 or not load.quiet:
                await asyncio.sleep(0)
        assert 10 <= load.acknowledged <= 11
        sent = 5
        load.pump()
        async with asyncio.timeout(10):
            while load.acknowledged < 15 or not load.quiet:
                await asyncio.sleep(0)
        assert 15 <= load.acknowledged <= 16
        await load.stop()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<plId>0</plId>", b"200 OK"), (b"<Fault/>", b"500 Internal Server Error"), (b"<other/>", b"200 OK")],
)
async def test_what_is_refused_ends_the_run(endpoint: Endpoint, body: bytes, status: bytes) -> None:
    endpoint.say(body, status)
    async with Load("127.0.0.1", endpoint.port, ONE, callers=1, most=5) as load:
        load.start()
        with pytest.raises(Failed, match="1 calls failed") as error:
            await load.finish(10)
        assert body.decode() in str(error.value)
        assert (load.acknowledged, len(endpoint.asked)) == (0, 1)


# ------------------------------------------------------------------------------------------------------------- sink


def test_the_counter_of_postfix_is_read_in_any_pieces() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        sink = Sink("a sink", 25, 1, read)
        for text, count in (
            (b"sess=0 quit=0 mesg=1\rsess=0 quit=0 me", 1),
            (b"sg=12", 1),
            (b"3\r", 123),
            (b"", 123),
            (b"sess=1 quit=1 mesg=123\rsess=1 quit=1 mesg=124\r", 124),
        ):
            os.write(write, text)
            sink.read()
            assert sink.accepted == count
    finally:
        os.close(read)
        os.close(write)


@asynccontextmanager
async def _to(sink: Sink) -> AsyncIterator[aiosmtplib.SMTP]:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=sink.port, use_tls=False, start_tls=False) as client:
        yield client


async def _counted(sink: Sink, mails: int) -> None:
    async with asyncio.timeout(10):
        while sink.accepted < mails:
            await asyncio.sleep(0.01)


async def test_either_sink_counts_what_it_accepts(tmp_path: Path) -> None:
    async with smtp_sink(tmp_path) as found, smtp_sink(tmp_path, keep=tmp_path / "mail") as own:
        for sink in (found, own):
            async with _to(sink) as client:
                await client.ehlo()
                assert client.supports_extension("pipelining")
                for number in range(3):
                    await client.sendmail("a@example.com", ["b@example.com"], b"Subject: %d\n\n.dot\n" % number)
            await _counted(sink, 3)
            assert sink.accepted == 3
    assert (tmp_path / "mail").read_bytes() == b"Subject: 2\r\n\r\n.dot\r\n"


WINDOW = 0.3
"""Seconds in which messages are counted: on a busy machine a provider may have no turn for a tenth of one."""


@pytest.mark.parametrize("channel", [SMS, APNS, FCM], ids=lambda channel: str(channel.name))
async def test_each_channels_own_client_counts_what_its_provider_counts(tmp_path: Path, channel: Channel) -> None:
    async with counted(channel.name, channel.sink, tmp_path) as sink:
        rate = await measure(CLIENTS[channel.name](sink.port), WINDOW)
        assert rate > 0
        # it warmed up before it counted
        await _counted(sink, int(rate * WINDOW))


@pytest.mark.parametrize("channel", [SMS, APNS, FCM], ids=lambda channel: str(channel.name))
async def test_each_plugin_alone_counts_what_its_provider_counts(tmp_path: Path, channel: Channel) -> None:
    async with counted(channel.name, channel.sink, tmp_path) as sink:
        settings: Any = next(iter(channel.plugin(sink.port).values()))
        rate = await measure(client(channel.name, settings), WINDOW)
        assert rate > 0
        await _counted(sink, int(rate * WINDOW))


async def test_our_sink_notes_which_event_came_when(tmp_path: Path) -> None:
    record = tmp_path / "taken"
    async with smtp_sink(tmp_path, record=record) as sink, _to(sink) as client:
        for event in (11, 12):
            mail = b"Subject: x\nX-Event-Id: %d\n\nX-Event-Id: 99\n" % event
            await client.sendmail("a@example.com", ["b@example.com"], mail)
        await client.sendmail("a@example.com", ["b@example.com"], b"")
        await _counted(sink, 3)
    (first, earlier), (second, later) = (map(int, line.split()) for line in record.read_text().splitlines())
    assert (first, second) == (11, 12)
    assert earlier <= later


# ----------------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("f", 500.0, "x", "raw", 0.61, 0.6), True),
        (Figure("f", 500.0, "x", "raw", 0.59, 0.6), False),
        (Figure("f", 24.0, "ms", target=25.0, side="<="), True),
        (Figure("f", 26.0, "ms", target=25.0, side="<="), False),
        (Figure("f", 0, "rows", target=0, side="<="), True),
        (Figure("f", 500.0, "x", "raw", 0.61), None),
        (Figure("f", None, "x", "a peer", None, 6.0), None),
    ],
)
def test_a_target_is_met_or_not(figure: Figure, met: bool | None) -> None:
    assert figure.met is met
    assert figure.as_json()["met"] is met


def test_figures_as_a_table_and_as_json(tmp_path: Path) -> None:
    figures = [
        Figure("drain", 12345.6, "events/s", "raw", 2.25, 2.0),
        Figure("beside", None, "events/s", "a peer", None, 6.0, note="a peer is lacked"),
    ]
    head, first, second = table(figures).splitlines()
    assert head.split()[:4] == ["FIGURE", "VALUE", "UNIT", "AGAINST"]
    assert first.split() == ["drain", "12,346", "events/s", "raw", "2.25", ">=", "2.00", "yes"]
    assert second.split()[:3] == ["beside", "lacked", "events/s"]
    write(figures, tmp_path / "out" / "bench.json")
    read = json.loads((tmp_path / "out" / "bench.json").read_text("utf-8"))
    assert list(read[0]) == ["figure", "value", "unit", "against", "ratio", "target", "met"]
    assert (read[0]["met"], read[1]["met"], read[1]["value"]) == (True, None, None)


def test_numbers_for_people() -> None:
    assert [number(value) for value in (None, 0, 0.0123, 1.5, 99.99, 1234.5)] == [
        "-",
        "0.00",
        "0.0123",
        "1.50",
        "99.99",
        "1,234",
    ]


def test_the_median_is_that_of_the_ratios_and_doubts_are_told() -> None:
    runs = [Paired(100.0, 100.0, {}), Paired(300.0, 100.0, {}), Paired(200.0, 400.0, {})]
    figure = against_raw("f", runs, 0.6)
    assert (figure.value, figure.ratio, figure.met, figure.note) == (200.0, 1.0, True, "")
    doubtful = against_raw("f", [*runs, Paired(1000.0, 1000.0, {}, steady=False)], 0.6)
    assert doubtful.note == "NOT STEADY in 1 of 4 runs"
    assert with_company([figure, doubtful], 0.05) == [figure, doubtful]
    assert [one.note for one in with_company([figure, doubtful], 0.42)] == [
        "OTHER PROGRAMS took 42 % of the processors",
        "OTHER PROGRAMS took 42 % of the processors; NOT STEADY in 1 of 4 runs",
    ]


# ----------------------------------------------------------------------------------------------------------- instance


@pytest.mark.parametrize("channel", [SMS, APNS, FCM], ids=lambda channel: str(channel.name))
def test_the_instances_of_other_channels_are_in_order(tmp_path: Path, channel: Channel) -> None:
    templates = HERE / f"instance_{channel.name}" / "templates"
    instance = make_instance(tmp_path / "instance", "sqlite://bench.db", 2525, [channel.plugin(4000)], templates)
    planned = plan(instance, [])
    (folder,) = (templates / "bench").iterdir()
    assert folder.name in planned.channels


def test_the_instance_is_in_order(tmp_path: Path) -> None:
    planned = plan(make_instance(tmp_path / "instance", "sqlite://bench.db", 2525), [])
    assert list(planned.config.event_types) == ["bench"]
    assert "email" in planned.channels
