"""The intake in a whole server, against a real RabbitMQ; where there is none, these tests say so."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiormq
import pytest
import trustme
from petitbleu import Check
from petitbleu.testing import RecordingChannel, Server
from rabbitmq_server import RabbitMq, program

TYPES = {"note": {"idempotency": "1d"}, "alarm": {}}
TEMPLATES = {f"{name}/record": {"body.txt.j2": "Hello {{ rtEvent.ctx.name }}"} for name in TYPES}
Serving = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, record_testsuite_property: Callable[[str, object], None]) -> Any:
    if program() is None:
        record_testsuite_property("lacked RabbitMQ", "its tests of petitbleu-amqp did not run")
        pytest.skip("there is no RabbitMQ on this machine: install rabbitmq-server")
    one = RabbitMq(tmp_path_factory.mktemp("rabbitmq"))
    try:
        asyncio.run(one.start())
        record_testsuite_property("used RabbitMQ", asyncio.run(version(one)))
        yield one
    finally:
        one.close()


async def version(broker: RabbitMq) -> str:
    connection = await aiormq.connect(broker.url)
    try:
        found: Any = connection.server_properties
        return str(found["version"].decode() if isinstance(found["version"], bytes) else found["version"])
    finally:
        await connection.close()


@pytest.fixture
def own(broker: RabbitMq) -> dict[str, Any]:
    """Settings of the plugin with queues of this test alone."""
    name = uuid.uuid4().hex[:8]
    return {
        "url": broker.url.replace("guest:guest@", ""),
        "password": "guest",
        "queue": f"events.{name}",
        "dead_letter": f"refused.{name}",
        "kind": "classic",
        "retry_cap": 0.5,
    }


@pytest.fixture
def channel() -> RecordingChannel:
    return RecordingChannel()


@pytest.fixture
def serving(petitbleu_server: Any, own: dict[str, Any], channel: RecordingChannel) -> Serving:
    @asynccontextmanager
    async def serve(connects: bool = True, **settings: Any) -> AsyncIterator[Server]:
        async with petitbleu_server(
            plugins={"amqp": own},
            modules={"recorder": channel},
            event_types=TYPES,
            templates=TEMPLATES,
            settings=settings,
        ) as server:
            if connects:
                await until(lambda: well(server))
            yield server

    return serve


async def until(true: Any, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.02)


async def check(server: Server) -> Check:
    (found,) = (await server.instance.calls.health())["amqp"]
    return found


async def well(server: Server) -> bool:
    return not (await check(server)).warning


async def publish(broker: RabbitMq, queue: str, body: Any, kind: str | None = "application/json", **more: Any) -> None:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    properties = aiormq.spec.Basic.Properties(content_type=kind, delivery_mode=2, **more)
    async with broker.channel() as channel:
        await channel.basic_publish(text, routing_key=queue, properties=properties, mandatory=True)


def note(name: str = "zoe", **more: Any) -> dict[str, Any]:
    return {"type": "note", "email": f"{name}@example.com", "ctx": {"name": name}, "wishedChannel": "record", **more}


async def stored(server: Server, count: int) -> None:
    async def enough() -> bool:
        return len(await server.stored()) >= count

    await until(enough)
    assert len(await server.stored()) == count


async def empty(broker: RabbitMq, queue: str) -> bool:
    """Nothing ready and, once the consumer is gone, nothing that comes back."""
    return await broker.depth(queue) == 0


XML = b"""<batch><rtEvent type="note" email="ann@example.com" wishedChannel="record" externalId="own">
<ctx><name>ann</name></ctx></rtEvent></batch>"""


async def test_a_message_becomes_events(
    broker: RabbitMq, own: dict[str, Any], serving: Serving, channel: RecordingChannel
) -> None:
    async with serving() as server:
        await publish(broker, own["queue"], note(), message_id="m-1", app_id="shop")
        await publish(broker, own["queue"], [note("bob"), note("eve", externalId="k")], message_id="m-2")
        await publish(broker, own["queue"], XML, "text/xml; charset=utf-8", message_id="m-3")
        await stored(server, 4)
        ids = await server.stored()
        records = await server.all_settled(ids)
        assert [one.status for one in records] == ["sent"] * 4
        events = [await server.event(one) for one in ids]
        assert [(one.external_id, one.origin) for one in events] == [
            ("m-1", "shop"),
            ("m-2/1", ""),
            ("k", ""),
            ("own", ""),
        ]
        texts = sorted(message.content.parts["text"] for message in channel.messages)
        assert texts == ["Hello ann", "Hello bob", "Hello eve", "Hello zoe"]
        assert (await check(server)).text == "4 events taken, 0 messages refused since the start"
    assert await empty(broker, own["queue"])


async def test_the_example_of_a_publisher(broker: RabbitMq, own: dict[str, Any], serving: Serving) -> None:
    script = Path(__file__).parent.parent / "publish.py"
    lines = "\n".join(json.dumps(note(f"n{n}", externalId=f"e-{n}", origin="shop")) for n in range(50))
    async with serving() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            broker.url,
            own["queue"],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(lines.encode())
        assert (process.returncode, out) == (0, b"50 confirmed\n")
        await stored(server, 50)
        # in the order in which they were published
        assert [(await server.event(one)).external_id for one in await server.stored()] == [f"e-{n}" for n in range(50)]


async def test_what_is_wrong_is_set_aside_with_the_reasons(
    broker: RabbitMq, own: dict[str, Any], serving: Serving
) -> None:
    own["event_types"] = ["note"]
    wrong = [
        (b"{", "application/json", "event 1: the body is no JSON: "),
        (note(), "image/png", "event 1: content_type 'image/png' is not read; send application/json or "),
        ([], "application/json", "event 1: the message holds no event"),
        (b"<a", "text/xml", "event 1: the body is no XML that is read: "),
        ([note("a"), note("b", email="b")], "application/json", "event 2 (externalId w-4/2): email: is not an email"),
        (note(type="not"), "application/json", "event 1 (externalId w-5): type: 'not' is not a declared event type"),
        (note(type="alarm"), "application/json", "event 1: its event type or brand is not one that may come by"),
    ]
    async with broker.channel() as setup:
        await setup.queue_declare(own["queue"], durable=True, arguments={"x-queue-type": "classic"})
    for n, (body, kind, _) in enumerate(wrong):
        headers = {"trace": f"t-{n}", "CC": ["elsewhere"]}
        await publish(broker, own["queue"], body, kind, message_id=f"w-{n}", headers=headers, user_id="guest")
        await publish(broker, own["queue"], note(f"good{n}"), message_id=f"g-{n}")
    async with serving() as server:
        await stored(server, len(wrong))
        assert [(await server.event(one)).external_id for one in await server.stored()] == [
            f"g-{n}" for n in range(len(wrong))
        ]
        assert (await check(server)).text == f"{len(wrong)} events taken, {len(wrong)} messages refused since the start"
    assert await empty(broker, own["queue"])
    found = {}
    for _ in wrong:
        letter = await broker.get(own["dead_letter"])
        found[letter.header.properties.message_id] = letter
    for n, (body, kind, reason) in enumerate(wrong):
        letter = found[f"w-{n}"]
        properties = letter.header.properties
        assert letter.body == (body if isinstance(body, bytes) else json.dumps(body).encode())
        assert (properties.content_type, properties.headers["trace"], properties.delivery_mode) == (kind, f"t-{n}", 2)
        assert properties.headers["x-petitbleu-queue"] == own["queue"]
        (told,) = properties.headers["x-petitbleu-reasons"]
        assert told.startswith(reason)


async def test_a_message_that_comes_twice_is_one_event(broker: RabbitMq, own: dict[str, Any], serving: Serving) -> None:
    async with serving() as server:
        for _ in range(3):
            await publish(broker, own["queue"], note(), message_id="m-1", app_id="shop")
        await publish(broker, own["queue"], note("bob"), message_id="m-2", app_id="shop")
        await stored(server, 2)
        # under the same key, something else: nobody may take it for the first
        await publish(broker, own["queue"], note("eve"), message_id="m-1", app_id="shop")
        async with asyncio.timeout(10):
            while (letter := await broker.get(own["dead_letter"])) is None:
                await asyncio.sleep(0.05)
        assert "externalId" in letter.header.properties.headers["x-petitbleu-reasons"][0]
        assert len(await server.stored()) == 2


async def test_killed_after_the_commit_and_before_the_acknowledgement(
    broker: RabbitMq, own: dict[str, Any], serving: Serving, petitbleu_database: str, tmp_path: Path
) -> None:
    async with broker.channel() as setup:
        await setup.queue_declare(own["queue"], durable=True, arguments={"x-queue-type": "classic"})
    for n in range(20):
        await publish(broker, own["queue"], note(f"n{n}"), message_id=f"m-{n}")
    script = Path(__file__).with_name("dying_server.py")
    arguments = [str(tmp_path / "dying"), petitbleu_database, json.dumps(own)]
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), *arguments)
    async with asyncio.timeout(60):
        assert await process.wait() == -signal.SIGKILL

    async def all_back() -> bool:
        return await broker.depth(own["queue"]) == 20

    await until(all_back)
    async with serving() as server:
        # it died with some of them stored
        assert await server.stored()

        async def taken() -> bool:
            return "20 events taken" in (await check(server)).text

        await until(taken)
        keys = [(await server.event(one)).external_id for one in await server.stored()]
        assert keys == [f"m-{n}" for n in range(20)]
    assert await empty(broker, own["queue"])


async def test_what_there_is_no_room_for_waits_unacknowledged(
    broker: RabbitMq, own: dict[str, Any], serving: Serving
) -> None:
    own["prefetch"] = 5
    async with serving(limits={"deadline": 0.2}) as server:
        async with server.stalled_database():
            for n in range(20):
                await publish(broker, own["queue"], note(f"n{n}"), message_id=f"m-{n}")

            async def told() -> bool:
                return "database" in (await check(server)).text

            await until(told)
            assert not await well(server)
            assert await broker.depth(own["queue"]) == 15
        await stored(server, 20)
        assert await well(server)
        assert await broker.get(own["dead_letter"]) is None


async def test_a_server_that_stops_gives_back_what_it_has_not_stored(
    broker: RabbitMq, own: dict[str, Any], serving: Serving
) -> None:
    own["retry_cap"] = 30
    async with serving(limits={"deadline": 0.2}) as server:
        async with server.stalled_database():
            await publish(broker, own["queue"], note(), message_id="m-1")

            async def troubled() -> bool:
                return not await well(server)

            await until(troubled)
        await server.stop()
        assert await broker.depth(own["queue"]) == 1


async def test_a_queue_that_is_deleted_is_made_again(broker: RabbitMq, own: dict[str, Any], serving: Serving) -> None:
    async with serving() as server:
        async with broker.channel() as other:
            await other.queue_delete(own["queue"])

        async def back() -> bool:
            try:
                await publish(broker, own["queue"], note(), message_id="m-1")
            except aiormq.AMQPError:
                return False
            return True

        await until(back)
        await stored(server, 1)


async def test_a_password_that_does_not_hold_is_told_and_not_shown(
    broker: RabbitMq, own: dict[str, Any], serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    own["password"] = "s3cret-and-wrong"
    async with serving(connects=False) as server:

        async def told() -> bool:
            return "ACCESS_REFUSED" in (await check(server)).text

        await until(told)
        assert (await check(server)).ok
        assert "s3cret" not in caplog.text + (await check(server)).text


async def test_tls_with_a_certificate_that_is_checked(
    broker: RabbitMq, own: dict[str, Any], serving: Serving, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    copies: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", broker.port)
        for one in (pipe(reader, back), pipe(there, writer)):
            copies.add(asyncio.create_task(one))

    listener = await asyncio.start_server(front, "127.0.0.1", 0, ssl=context)
    own["url"] = f"amqps://localhost:{listener.sockets[0].getsockname()[1]}/"
    try:
        async with serving(connects=False) as server:

            async def refused() -> bool:
                return "certificate" in (await check(server)).text.lower()

            await until(refused)
        own["ca_file"] = str(tmp_path / "ca.pem")
        async with serving() as server:
            await publish(broker, own["queue"], note(), message_id="m-1")
            await stored(server, 1)
    finally:
        listener.close()
        for one in copies:
            one.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


async def test_a_broker_that_is_killed_and_comes_back(broker: RabbitMq, own: dict[str, Any], serving: Serving) -> None:
    """The last one here, since it is everybody's broker."""
    own["kind"] = "quorum"
    async with serving() as server:
        await publish(broker, own["queue"], note("before"), message_id="m-1")
        await stored(server, 1)
        broker.kill()

        async def troubled() -> bool:
            return not await well(server)

        await until(troubled)
        await broker.start()
        await until(lambda: well(server))
        await publish(broker, own["queue"], note("after"), message_id="m-2")
        await stored(server, 2)
