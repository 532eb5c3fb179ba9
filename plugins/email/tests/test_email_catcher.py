"""The stand-in for a relay that the demo starts."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

import petitbleu_email as plugin
import pytest
from petitbleu import Caught


def _mail(**changes: str) -> EmailMessage:
    mail = EmailMessage()
    head = {"From": "shop@example.com", "Subject": "Hello", "Auto-Submitted": "auto-generated"} | changes
    for name, value in head.items():
        if value:
            mail[name.replace("_", "-")] = value
    mail.set_content("Hello Zoé")
    mail.add_alternative("<html><body>Hello</body></html>", subtype="html")
    return mail


def _send(port: int, mail: EmailMessage) -> bytes:
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.ehlo()
        client.mail("shop@example.com")
        client.rcpt("zoe@example.com")
        return client.data(mail.as_bytes())[1]


async def _caught(mail: EmailMessage) -> tuple[Caught, bytes, Mapping[str, Any]]:
    found: list[Caught] = []
    (catcher,) = plugin.petitbleu_catchers()
    async with catcher.start(found.append) as instead:
        answer = await asyncio.to_thread(_send, instead["providers"]["main"]["port"], mail)
    (one,) = found
    return one, answer, instead


async def test_a_mail_is_told_under_the_reference_it_was_answered_with() -> None:
    caught, answer, instead = await _caught(_mail())
    assert caught.reference.encode() in answer
    assert (caught.channel, caught.to, caught.problems) == ("email", "zoe@example.com", ())
    assert caught.lines == ("From:    shop@example.com", "To:      zoe@example.com", "Subject: Hello", "", "Hello Zoé")
    assert instead["providers"]["main"]["host"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Subject": ""}, "has no subject"),
        ({"From": ""}, "has no sender"),
        ({"Auto-Submitted": ""}, "is not marked as automatic"),
    ],
)
async def test_what_is_wrong_with_a_mail_is_named(changes: dict[str, str], problem: str) -> None:
    caught, _, _ = await _caught(_mail(**changes))
    assert caught.problems == (problem,)
