"""Whether the server is fit for work."""

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
)
