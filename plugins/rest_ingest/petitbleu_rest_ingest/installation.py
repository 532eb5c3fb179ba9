"""The installation itself: plugins, and the configuration as it holds."""

from __future__ import annotations

from pydantic import Field

from .operation import Answer, Call, Operation, Success, Told
from .reload import TAG

NARROW = "For operators whose rights are not narrowed to event types or brands."


class Hook(Told):
    """A hook that a plugin has."""

    name: str
    order: tuple[str, ...] = Field(description="The plugins that have it, as they are called.")
    deadline: float | None = Field(None, description="In seconds; missing for what is called at the start only.")


class Plugin(Told):
    """A plugin as it is loaded."""

    order: int = Field(description="Its place in the list of plugins, from 1.")
    name: str
    version: str
    distribution: str = Field(description="The installed package it comes from.")
    channels: tuple[str, ...]
    hooks: tuple[Hook, ...]
    deprecations: tuple[str, ...] = Field(description="What it does in a way that will go.")


class Plugins(Told):
    """The plugins in use, in the order they are called."""

    plugins: tuple[Plugin, ...]


class Setting(Told):
    """A setting as it holds."""

    path: str = Field(description="Such as `http.port`.")
    value: str = Field(description="What is secret shows as `***`.")
    place: str | None = Field(None, description="File, line and column it comes from; missing for a default.")


class Configuration(Told):
    """Every setting."""

    settings: tuple[Setting, ...]


async def list_plugins(call: Call) -> Answer:
    found = await call.door.services.desk.installation.plugins(call.operator)
    plugins = tuple(
        Plugin(
            order=one.order,
            name=one.name,
            version=one.version,
            distribution=one.distribution,
            channels=tuple(one.channels),
            hooks=tuple(Hook(name=hook.name, order=tuple(hook.order), deadline=hook.deadline) for hook in one.hooks),
            deprecations=tuple(one.deprecations),
        )
        for one in found
    )
    return Answer(200, Plugins(plugins=plugins))


async def get_configuration(call: Call) -> Answer:
    found = await call.door.services.desk.installation.settings(call.operator)
    settings = tuple(Setting(path=one.path, value=one.value, place=one.place or None) for one in found)
    return Answer(200, Configuration(settings=settings))


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v1/plugins",
        name="listPlugins",
        summary="The plugins in use, in the order they are called",
        text=NARROW,
        tag=TAG,
        right="admin",
        run=list_plugins,
        answers={200: Success("All of them.", Plugins)},
    ),
    Operation(
        method="GET",
        path="/api/v1/configuration",
        name="getConfiguration",
        summary="Every setting as it holds, and where it is from",
        text=f"Of the process that answers, without secrets. {NARROW}",
        tag=TAG,
        right="admin",
        run=get_configuration,
        answers={200: Success("All settings.", Configuration)},
    ),
)
