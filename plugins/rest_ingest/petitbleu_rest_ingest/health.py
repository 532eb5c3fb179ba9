"""Whether the server is fit for work, and what waits."""

from __future__ import annotations

from pydantic import Field

from .operation import Answer, Call, Operation, Success, Told


class Check(Told):
    """Something that was looked at."""

    plugin: str = Field(description="Whose check it is; `core` is the server's own.")
    name: str
    ok: bool
    warning: bool = Field(description="It is `ok`, but somebody should look.")
    text: str


class Health(Told):
    """How the process that answers is doing."""

    status: str = Field(description="`ok`, `warning` or `failing`.")
    checks: tuple[Check, ...]
    limits: dict[str, float] = Field(description="Every number that bounds something, by the name of its setting.")


class QueueLine(Told):
    """What is open in one queue for one channel, in numbers of events."""

    queue: str = Field(description="`realtime` or `batch`.")
    channel: str
    ready: int = Field(description="To be sent.")
    later: int = Field(description="To be tried later.")
    sending: int = Field(description="With a worker.")
    paused: int
    oldest: float = Field(description="Seconds for which one of the ready ones has been due.")


class Open(Told):
    """What is open, as of about a second ago."""

    queues: tuple[QueueLine, ...]


async def get_queue(call: Call) -> Answer:
    found = await call.door.services.desk.queue(call.operator)
    queues = tuple(
        QueueLine(
            queue=one.queue,
            channel=one.channel,
            ready=one.ready,
            later=one.later,
            sending=one.sending,
            paused=one.paused,
            oldest=one.oldest,
        )
        for one in found
    )
    return Answer(200, Open(queues=queues))


async def get_health(call: Call) -> Answer:
    found = await call.door.services.desk.health()
    checks = tuple(
        Check(plugin=plugin, name=one.name, ok=one.ok, warning=one.warning, text=one.text)
        for plugin, group in found.checks.items()
        for one in group
    )
    return Answer(200, Health(status=found.status, checks=checks, limits=dict(found.limits)))


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v1/health",
        name="getHealth",
        summary="Whether the server is fit for work",
        text="What `/readyz` tells a load balancer by its status, always with the status 200; and the limits that are "
        "set.",
        tag="Health",
        right="read",
        run=get_health,
        answers={200: Success("How it is doing.", Health)},
    ),
    Operation(
        method="GET",
        path="/api/v1/queue",
        name="getQueue",
        summary="What is open, by queue and channel",
        text="In the whole installation, as far as the operator's rights reach.",
        tag="Health",
        right="read",
        run=get_queue,
        answers={200: Success("How much waits where.", Open)},
    ),
)
