"""Servers take over a changed configuration."""

from __future__ import annotations

from pydantic import Field

from .operation import Answer, Call, Given, Operation, Success, Told

ROOT = "/api/v1/reload"
TAG = "Installation"


class Reload(Told):
    """A request to all servers."""

    request: str
    href: str = Field(description="Where the servers' answers are.")


class ReloadPath(Given):
    request: str = Field(max_length=64, description="As the request was answered.")


class ServerReload(Told):
    """What came of it at one server."""

    server: str = Field(description="Machine and process.")
    done: bool | None = Field(None, description="Missing while it is at it; if false, nothing has changed there.")
    reason: str | None = Field(None, description="Why it has not taken the configuration over.")


class ServerReloads(Told):
    """What came of it at each server that has heard of it so far."""

    servers: tuple[ServerReload, ...]


async def reload(call: Call) -> Answer:
    request = await call.door.services.desk.installation.reload(call.actor)
    href = f"{ROOT}/{request}"
    return Answer(202, Reload(request=request, href=href), {"Location": href})


async def get_reload(call: Call, path: ReloadPath) -> Answer:
    found = await call.door.services.desk.installation.reloads(path.request, call.operator)
    return Answer(
        200,
        ServerReloads(
            servers=tuple(ServerReload(server=one.server, done=one.done, reason=one.reason or None) for one in found)
        ),
    )


OPERATIONS = (
    Operation(
        method="POST",
        path=ROOT,
        name="reload",
        summary="Have servers take over their changed configuration",
        text="Every server on the database, each from its own disk: all of the configuration, or nothing of it. For "
        "operators whose rights are not narrowed to event types or brands.",
        tag=TAG,
        right="admin",
        run=reload,
        answers={
            202: Success(
                "The servers are asked.",
                Reload,
                headers={"Location": "Where their answers are."},
                links={"getReload": {"request": "$response.body#/request"}},
            )
        },
    ),
    Operation(
        method="GET",
        path=f"{ROOT}/{{request}}",
        name="getReload",
        summary="What came of a reload",
        text="A server hears of it within some seconds; ask again while one of them has no `done`.",
        tag=TAG,
        right="admin",
        run=get_reload,
        parameters=ReloadPath,
        answers={200: Success("The servers' answers so far.", ServerReloads)},
    ),
)
