"""spyne under guard: what it may log, that it imports everywhere, that it keeps nothing."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
SECRETS = ("TOKEN-4711", "PASSWORD-4711", "CTX-4711", "MAIL-4711")


def calls() -> list[str]:
    bodies = [
        '<u:PushEvent xmlns:u="urn:nms:rtEvent"><t>{}</t><e><rtEvent type="welcome" email="MAIL-4711@example.com">'
        "<ctx>CTX-4711</ctx></rtEvent></e></u:PushEvent>",
        '<u:PushEvent xmlns:u="urn:nms:rtEvent"><t>{}</t><e href="#CTX-4711"/></u:PushEvent>',
        '<u:PushEvent xmlns:u="urn:nms:rtEvent"><t>{}</t><e><rtEvent email="MAIL-4711"/></e></u:PushEvent>',
        '<u:PushEvents xmlns:u="urn:nms:batchEvent"><t>{}</t><e>CTX-4711</e></u:PushEvents>',
        '<u:Nonsense xmlns:u="urn:xtk:session"><t>{}</t><e>CTX-4711</e></u:Nonsense>',
        '<u:Logon xmlns:u="urn:xtk:session"><t/><l>mc</l><p>PASSWORD-4711</p></u:Logon>',
        '<u:ExecuteQuery xmlns:u="urn:xtk:queryDef"><t>{}</t><q><queryDef schema="CTX-4711"/></q></u:ExecuteQuery>',
        "<u:PushEvent xmlns:u='urn:nms:rtEvent'><t>{}</t><broken CTX-4711></u:PushEvent>",
    ]
    return [
        f'<e:Envelope xmlns:e="{SOAP}"><e:Body>{body.format(token)}</e:Body></e:Envelope>'
        for body in bodies
        for token in ("mc/demo", "TOKEN-4711")
    ]


async def test_no_logger_ever_sees_an_envelope(core: Any, post: Any, caplog: Any) -> None:
    core.tokens["TOKEN-4711"] = "@security"
    for name in ["", *(name for name in logging.root.manager.loggerDict if name.startswith(("spyne", "petitbleu")))]:
        caplog.set_level(logging.DEBUG, logger=name)
    statuses = [(await post(body)).status for body in calls()]
    assert (statuses.count(200), statuses.count(500)) == (2, 14)
    core.broken, core.secret = True, " ".join(SECRETS)
    assert (await post(calls()[0])).status == 500
    spoken = {record.name.partition(".")[0] for record in caplog.records}
    assert {"spyne", "petitbleu"} <= spoken, "the loggers are on"
    assert [secret for secret in SECRETS if secret in caplog.text] == []


def test_imports_without_warnings_and_leaves_six_alone() -> None:
    code = (
        "import six, sys; before = dict(vars(six)); import petitbleu_soap_ingest as p; from spyne.util import appreg;"
        "from petitbleu_soap_ingest.service import applications; made = applications();"
        "assert appreg.applications == {}, appreg.applications;"
        "assert vars(six).keys() == before.keys();"
        "print(sorted(made))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.strip() == "['nms:batchEvent', 'nms:rtEvent', 'xtk:persist', 'xtk:queryDef', 'xtk:session']"
