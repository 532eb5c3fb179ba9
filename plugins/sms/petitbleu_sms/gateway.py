"""A message by way of an HTTP gateway, as its description in the settings says."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import cache
from typing import Any

from aiohttp import ClientConnectorError, ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.client_exceptions import ServerTimeoutError
from jinja2 import TemplateError
from petitbleu import Attempt, Deferred, Delivered, Failed, Outcome, Scope, Unknown, retry_after

from .addressing import calling_code, choose_sender
from .compose import Sms
from .filling import compile_text, compile_tree, texts_at
from .gateway_settings import Answers, Gateway, Refusal, Senders

REFUSALS = (
    Refusal(status=("401", "402", "403", "404", "405", "407"), outcome="deferred", scope=Scope.PROVIDER),
    Refusal(status=("408", "425", "429", "503"), outcome="deferred", scope=Scope.PROVIDER),
    Refusal(status=("400", "409", "410", "411", "413", "414", "415", "422"), outcome="failed", scope=Scope.MESSAGE),
    Refusal(status=("4xx",), outcome="deferred", scope=Scope.MESSAGE),
    Refusal(status=("1xx", "2xx", "3xx", "5xx"), outcome="unknown", scope=Scope.PROVIDER),
)
"""What an answer means that is no success, where the settings say nothing of it; read from the top."""
LONGEST_NAME = 255
MOST_NAMES = 255


class HttpGateway:
    """One gateway with its connections. `now` is the time for people."""

    def __init__(
        self,
        name: str,
        settings: Gateway,
        senders: Senders,
        session: ClientSession,
        reply_length: int,
        now: Callable[[], datetime],
    ) -> None:
        self.name = name
        self._settings = settings
        self._tables = (settings.senders, senders)
        self._session = session
        self._reply_length = reply_length
        self._now = now
        self._url = compile_text(settings.url, encode=True)
        self._query = compile_tree(settings.query)
        self._headers = compile_tree(settings.headers)
        self._json = compile_tree(settings.json_body)
        self._form = compile_tree(settings.form or {})
        self._secrets = {name: secret.get_secret_value() for name, secret in settings.secrets.items()}

    async def send(self, sms: Sms, attempt: Attempt) -> Outcome:
        """Raises what `attempt.admit` and `attempt.hand_off` raise."""
        settings = self._settings
        await attempt.admit(self.name, calling_code(sms.number), settings.at_once)
        try:
            url, asked = self._request(sms)
        except (TemplateError, ValueError) as error:
            return Deferred(self.name, f"plugins.sms.gateways.{self.name} cannot be filled in: {error}", Scope.US)
        await attempt.hand_off(self.name)
        try:
            async with self._session.request(settings.method, url, allow_redirects=False, **asked) as response:
                body = await _read(response, settings.longest_answer)
        except ClientConnectorError as error:
            return Deferred(self.name, f"{self.name}: {error}", Scope.PROVIDER)
        except ServerTimeoutError as error:
            if "onnection timeout" in str(error):
                return Deferred(self.name, f"{self.name}: no connection in {settings.connect:g} s", Scope.PROVIDER)
            return Unknown(self.name, f"no answer in {settings.response:g} s")
        except TimeoutError:
            return Unknown(self.name, f"no answer in {settings.response:g} s")
        except ClientError as error:
            return Unknown(self.name, f"no answer: {str(error) or type(error).__name__}")
        return self._outcome(response.status, body, response.headers.get("Retry-After"))

    def _request(self, sms: Sms) -> tuple[str, dict[str, Any]]:
        settings = self._settings
        values = {
            "to": sms.number,
            "number": sms.number[1:],
            "sender": sms.sender or choose_sender(self._tables, sms.brand, sms.number),
            "text": sms.written,
            "key": sms.key,
            "event": sms.key.partition("@")[0],
            "secrets": self._secrets,
        }
        asked: dict[str, Any] = {"params": self._query(values), "headers": self._headers(values)}
        for name, value in asked["headers"].items():
            if not value.isprintable():
                raise ValueError(f"the header {name} holds a line break or another control character")
        if settings.json_body is not None:
            asked["json"] = self._json(values)
        elif settings.form is not None:
            asked["data"] = self._form(values)
        return self._url(values), asked

    def _outcome(self, status: int, body: bytes, asked: str | None) -> Outcome:
        settings = self._settings
        data = _parsed(body)
        said = _line(body, self._reply_length, self._secrets.values())
        text, code = f"HTTP {status}: {said}".rstrip(": "), str(status)
        if fits(settings.success, status, data):
            names = tuple(dict.fromkeys(texts_at(data, settings.id)))[:MOST_NAMES]
            awaits = tuple(name for name in names if 0 < len(name) <= LONGEST_NAME) if settings.receipts else ()
            return Delivered(self.name, text, code, names[0][:LONGEST_NAME] if names else "", awaits)
        rule = next(rule for rule in (*settings.refusals, *REFUSALS) if fits(rule, status, data))
        if rule.outcome == "unknown":
            return Unknown(self.name, text)
        if rule.outcome == "failed" and rule.scope is not Scope.PROVIDER:
            return Failed(self.name, text, rule.scope, code)
        return Deferred(self.name, text, rule.scope, code, retry_after(asked, self._now()))


@cache
def _numbers(pattern: str) -> range:
    if "-" in pattern:
        low, _, high = pattern.partition("-")
        return range(int(low.replace("x", "0")), int(high) + 1)
    return range(int(pattern.replace("x", "0")), int(pattern.replace("x", "9")) + 1)


def fits(wanted: Answers, status: int, data: Any) -> bool:
    if not any(status in _numbers(pattern) for pattern in wanted.status):
        # no server should say 600, and if one does, it is as odd as 500
        return status >= 600 and "5xx" in wanted.status and wanted.path is None
    if wanted.path is None:
        return True
    found = texts_at(data, wanted.path)
    return bool(found) and (not wanted.values or all(one in wanted.values for one in found))


async def _read(response: ClientResponse, longest: int) -> bytes:
    """The beginning of a body; a longer one is not read on. Where it breaks off, the status has been told all the
    same, which is what became of the message unless the settings look into the body."""
    found = bytearray()
    with suppress(ClientError, TimeoutError, OSError):
        async for chunk in response.content.iter_chunked(65_536):
            found += chunk
            if len(found) > longest:
                response.close()
                break
    return bytes(found[:longest])


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _line(body: bytes, longest: int, secrets: Sequence[str] | Any) -> str:
    """For people, on one line, without what is secret."""
    text = re.sub(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]+", " ", body[: longest * 4].decode("utf-8", "replace")).strip()
    for secret in secrets:
        text = text.replace(secret, "***")
    return text if len(text) <= longest else text[: longest - 1] + "…"


@asynccontextmanager
async def open_gateway(
    name: str, settings: Gateway, senders: Senders, reply_length: int, now: Callable[[], datetime]
) -> AsyncIterator[HttpGateway]:
    """Certificate and host name are verified, redirects are not followed, and the environment's proxies not asked."""
    context = ssl.create_default_context(cafile=settings.ca_file)
    connector = TCPConnector(limit=settings.at_once, ssl=context)
    timeout = ClientTimeout(total=settings.response, sock_connect=settings.connect)
    async with ClientSession(connector=connector, timeout=timeout, trust_env=False, cookie_jar=None) as session:
        yield HttpGateway(name, settings, senders, session, reply_length, now)
