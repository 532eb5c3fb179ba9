"""The ways by which messages leave an installation: what it is told of each, and whom its messages reach."""

from __future__ import annotations

import hashlib
import json
import shutil
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from node_programs import npm_smpp, program

from .callers import Shape, event_xml
from .oracle import Receipt, Report, Stored
from .sink import RunningSink, running_sink, started

HERE = Path(__file__).parent
STAND_INS = HERE / "stand_ins"
APP = "3b2f7c1e-0000-4000-8000-00000000000a"
WINDOW = 10
"""Messages that the stand-in for an SMSC lets each session have unanswered."""
STREAMS = 20
"""Requests that the stand-in for Apple's service takes at a time on each connection."""
STATES = {"DELIVRD": "received", "UNDELIV": "bounced"}


class Provider(RunningSink):
    """A stand-in that names messages by the keys of their events, and may say more of them than that it took them."""

    def __init__(self, process: Process, port: int, file: Path) -> None:
        super().__init__(process, port, file)

    async def orders(self, **orders: Any) -> None:
        await self.tell(json.dumps(orders))

    def receipts(self, events: Sequence[Stored] = ()) -> list[Receipt]:
        ids = {event.key: event.id for event in events}
        return [
            Receipt(ids.get(line["key"], 0), line["at"], line.get("part", 1)) for line in self.lines() if "key" in line
        ]

    def reports(self, events: Sequence[Stored]) -> list[Report]:
        ids = {event.key: event.id for event in events}
        return [Report(ids.get(line["told"], 0), STATES[line["state"]]) for line in self.lines() if "told" in line]

    def dead(self) -> frozenset[str]:
        return frozenset(_listed(line["dead"]) for line in self.lines() if "dead" in line)

    def count(self, name: str) -> int:
        return sum(name in line for line in self.lines())

    @property
    def owes(self) -> int:
        """Receipts that nobody has acknowledged yet."""
        return self.count("owed") - self.count("told")


@dataclass(frozen=True, slots=True)
class Way:
    """`settings` are changes of the configuration for a provider's port; `plugins` are added to it, with the templates
    of the folder `templates/NAME` of the instance. `sink` starts the stand-in, which writes into a file."""

    name: str
    settings: Callable[[int], Mapping[str, Any]]
    sink: Callable[[Path, Mapping[str, Any]], AbstractAsyncContextManager[RunningSink]]
    shape: Shape = event_xml
    plugins: tuple[str | dict[str, Any], ...] = ()
    holds: bool = False
    """Whether what is unknown waits for its receipt, rather than going out once more."""

    def add_templates(self, folder: Path) -> None:
        own = HERE / "instance" / "more" / self.name
        if own.is_dir():
            shutil.copytree(own, folder, dirs_exist_ok=True)


def number_of(key: str) -> int:
    return int(key.rpartition("-")[2])


# ----------------------------------------------------------------------------------------------------------------- SMS


def sms_xml(key: str, type: str = "note", ctx: str = "", attributes: str = "") -> str:
    return (
        f'<rtEvent type="{type}" wishedChannel="sms" mobilePhone="+3361{number_of(key):07d}" externalId="{key}"'
        f' origin="rig"{attributes}><ctx><n>{key}</n>{ctx}</ctx></rtEvent>'
    )


def _smsc(file: Path, orders: Mapping[str, Any]) -> AbstractAsyncContextManager[RunningSink]:
    _, folder = npm_smpp()
    known = json.dumps({"window": WINDOW, **orders})
    return started(["env", f"NODE_PATH={folder}", program("node"), STAND_INS / "smsc.js", file, known], file, Provider)


SMS = Way(
    "sms",
    lambda port: {"sms.connectors.main.port": port},
    _smsc,
    sms_xml,
    (
        {
            "sms": {
                "connectors": {
                    "main": {
                        "host": "127.0.0.1",
                        "window": WINDOW,
                        "timeouts": {"wait": 3, "connect": 3, "response": 3, "unbind": 2, "parts": 5},
                        "reconnect": {"first": 0.2, "cap": 1},
                        "throttle": {"first": 0.2, "cap": 1, "patience": 2},
                    }
                },
                "senders": {"*": {"*": "Rig"}},
            }
        },
    ),
    holds=True,
)

# ---------------------------------------------------------------------------------------------------------------- push


GRAVEYARD = {"3": "dead", "7": "5a1e", "9": "bad0"}
"""By the last digit of a device's number, how its token begins."""
DEVICES = 50


def one_of_few(key: str) -> str:
    """A device's number, for several events each."""
    return str(number_of(key) % DEVICES)


def fate(key: str) -> str:
    """How the token of such a device begins, where it has a fate."""
    return GRAVEYARD.get(one_of_few(key)[-1], "")


def _listed(token: str) -> str:
    """How the suppression list has a token: hashed, and its last characters."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}…{token[-6:]}"


def push_xml(wish: str, device: Callable[[str], str] = lambda key: key) -> Shape:
    """Events to devices; each has a token that begins as `GRAVEYARD` says where `device` gives its number."""

    def shape(key: str, type: str = "note", ctx: str = "", attributes: str = "") -> str:
        name = device(key)
        token = (GRAVEYARD.get(name[-1:] if name.isdecimal() else "", "") + hashlib.sha256(name.encode()).hexdigest())[
            :64
        ]
        registered = (datetime.now(UTC) - timedelta(minutes=10 if token.startswith("5a1e") else 90)).isoformat()
        return (
            f'<rtEvent type="{type}" wishedChannel="{wish}" registrationToken="{token}" externalId="{key}"'
            f' origin="rig"{attributes}><mobileApp uuid="{APP}" registered="{registered}"/>'
            f"<ctx><n>{key}</n>{ctx}</ctx></rtEvent>"
        )

    return shape


@cache
def _apple_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _google_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


TIMEOUTS = {"wait": 5, "connect": 3, "answer": 3}


def _apns_settings(port: int) -> dict[str, Any]:
    apns = {
        "team": "TEAM123456",
        "key_id": "KEY1234567",
        "key": pem(_apple_key()),
        "topic": "com.example.rig",
        "url": f"http://127.0.0.1:{port}",
        "timeouts": TIMEOUTS,
    }
    return {"push.apps.rig.apns": apns}


def service_account(port: int) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "rig",
            "private_key": pem(_google_key()),
            "client_email": "rig@rig.iam.gserviceaccount.com",
            "token_uri": f"http://127.0.0.1:{port}/token",
        }
    )


def _fcm_settings(port: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"
    return {"push.apps.rig.fcm": {"service_account": service_account(port), "url": url, "timeouts": TIMEOUTS}}


def _push(kind: str) -> Callable[[Path, Mapping[str, Any]], AbstractAsyncContextManager[RunningSink]]:
    def sink(file: Path, orders: Mapping[str, Any]) -> AbstractAsyncContextManager[RunningSink]:
        public = _apple_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        known = json.dumps({"key": public, "streams": STREAMS, **orders})
        return started([program("node"), STAND_INS / "push.mjs", kind, file, known], file, Provider)

    return sink


_PLUGIN = ({"push": {"apps": {"rig": {"uuid": APP}}}},)
APNS = Way("ios", _apns_settings, _push("apns"), push_xml("41"), _PLUGIN)
FCM = Way("android", _fcm_settings, _push("fcm"), push_xml("42"), _PLUGIN)
MAIL = Way("email", lambda port: {"email.providers.main.port": port}, lambda file, orders: running_sink(file))
