"""From message to provider: which app, which service, what is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from petitbleu import (
    Attempt,
    Check,
    Deferred,
    Event,
    Failed,
    FetchRefused,
    GuardedClient,
    Message,
    Outcome,
    Reject,
    Scope,
    Services,
)
from pydantic import ValidationError

from .apns import ApnsProvider
from .devices import SERVICES, Apps, DeviceRefused, Service, registered, service_of, services, subscription
from .fcm import FcmProvider
from .fields import AndroidFields, IosFields, PushFields, WebFields
from .settings import PushSettings
from .standing import Note, Standing
from .webpush import WebProvider

FIELDS: Mapping[str, type[PushFields]] = {"ios": IosFields, "android": AndroidFields, "web": WebFields}
"""By channel, what its templates hold."""


class Provider(Protocol):
    """One app's way to one service."""

    standing: Standing

    async def send(self, note: Note, attempt: Attempt) -> Outcome: ...

    async def close(self) -> None: ...


class Sender:
    """All providers: the plugin's state."""

    def __init__(
        self, settings: PushSettings, providers: Mapping[tuple[Service, str], Provider], client: GuardedClient
    ) -> None:
        self._apps = Apps(settings.apps)
        self._providers = providers
        self._client = client
        self._memory = settings.failure_memory

    def check_event(self, event: Event) -> Reject | None:
        """What the caller can still mend: the app, the form of the token."""
        if event.channel not in FIELDS:
            return None
        token = event.addresses.get("registrationToken", "")
        try:
            _, app = self._apps.find(event.data, event.channel)
            registered(event.data)
            if service_of(app, event.channel, token) == "web":
                self._client.check(subscription(token).endpoint)
        except DeviceRefused as refused:
            return Reject(refused.attribute, str(refused))
        except FetchRefused as refused:
            return Reject("registrationToken", f"the subscription's endpoint: {refused}")
        return None

    async def deliver(self, message: Message, attempt: Attempt) -> Outcome:
        event = message.event
        try:
            name, app = self._apps.find(event.data, message.channel)
            service = service_of(app, message.channel, message.address)
            fields = FIELDS[message.channel].model_validate(dict(message.content.fields))
            note = Note(message.address, message.key, fields, event.expiration, registered(event.data))
        except DeviceRefused as refused:
            text = f"{refused.attribute}: {refused}"
            return Deferred("", text, Scope.US) if refused.ours else Failed("", text, Scope.MESSAGE)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, one['loc'])) or 'fields'}: {one['msg']}" for one in error.errors()]
            return Failed("", "; ".join(problems), Scope.MESSAGE)
        return await self._providers[service, name].send(note, attempt)

    def checks(self) -> list[Check]:
        return [provider.standing.check(self._memory) for provider in self._providers.values()]


def provider_names(settings: PushSettings, channel: str) -> tuple[str, ...]:
    """Those that reach devices of a channel."""
    return tuple(
        f"{service}/{name}"
        for service in SERVICES[channel]
        for name, app in settings.apps.items()
        if service in services(app, channel)
    )


@asynccontextmanager
async def open_sender(settings: PushSettings, services: Services) -> AsyncIterator[Sender]:
    """No connection is made before the first message."""
    length, now = settings.reply_length, services.now
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(GuardedClient(settings.fetch, settings.web_connections))
        providers: dict[tuple[Service, str], Provider] = {}
        for name, app in settings.apps.items():
            if app.apns is not None:
                providers["apns", name] = ApnsProvider(f"apns/{name}", app.apns, length, now)
            if app.fcm is not None:
                providers["fcm", name] = FcmProvider(f"fcm/{name}", app.fcm, length, now)
            if app.web is not None:
                connections = settings.web_connections
                providers["web", name] = WebProvider(f"web/{name}", app.web, length, now, client, connections)
        for provider in providers.values():
            stack.push_async_callback(provider.close)
        yield Sender(settings, providers, client)
