"""What mails that came back say: as RFCs show them and as well-known systems write them; and mails of ill will."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu import ReceiptState, Scope
from petitbleu_email.mailtree import LOOKED_AT, pieces_of
from petitbleu_email.reports import Finding, read_report
from petitbleu_email.verdicts import VERDICTS, WORDS, Verdict, judge, matches

BOUNCED, UNDERWAY, RECEIVED, COMPLAINED = (
    ReceiptState.BOUNCED,
    ReceiptState.UNDERWAY,
    ReceiptState.RECEIVED,
    ReceiptState.COMPLAINED,
)
ADDRESS, MESSAGE, PROVIDER, US = Scope.ADDRESS, Scope.MESSAGE, Scope.PROVIDER, Scope.US
README = Path(__file__).parents[1] / "README.md"


def mail(text: str) -> bytes:
    return text.lstrip("\n").replace("\n", "\r\n").encode()


def report(*blocks: str, kind: str = "message/delivery-status", words: str = "Something went wrong.") -> bytes:
    """A multipart/report (RFC 6522) with these groups of fields."""
    fields = "\n\n".join(blocks)
    return mail(f"""
From: MAILER-DAEMON@mx.example.org
Subject: a report
Date: Mon, 23 Nov 2026 11:00:00 +0100
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"

--=_b
Content-Type: text/plain

{words}

--=_b
Content-Type: {kind}

{fields}

--=_b
Content-Type: text/rfc822-headers

Subject: Hello
X-Event-Id: 4711

--=_b--
""")


def about(action: str, status: str, diagnostic: str = "", more: str = "") -> bytes:
    block = f"Final-Recipient: rfc822; zoe@example.org\nAction: {action}\nStatus: {status}"
    if diagnostic:
        block += f"\nDiagnostic-Code: {diagnostic}"
    return report("Reporting-MTA: dns; mx.example.org", block + more)


# ------------------------------------------------------------------------------------------------------- real bounces

# RFC 3464 E.1, a simple one
RFC_SIMPLE = mail("""
Date: Thu, 7 Jul 1994 17:16:05 -0400
From: Mail Delivery Subsystem <MAILER-DAEMON@CS.UTK.EDU>
Message-Id: <199407072116.RAA14128@CS.UTK.EDU>
Subject: Returned mail: Cannot send message for 5 days
To: <owner-info-mime@cs.utk.edu>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
      boundary="RAA14128.773615765/CS.UTK.EDU"

--RAA14128.773615765/CS.UTK.EDU

The original message was received at Sat, 2 Jul 1994 17:10:28 -0400
from root@localhost

   ----- The following addresses had delivery problems -----
<louisl@larry.slip.umd.edu>  (unrecoverable error)

   ----- Transcript of session follows -----
<louisl@larry.slip.umd.edu>... Deferred: Connection timed out
      with larry.slip.umd.edu.
Message could not be delivered for 5 days
Message will be deleted from queue

--RAA14128.773615765/CS.UTK.EDU
content-type: message/delivery-status

Reporting-MTA: dns; cs.utk.edu

Original-Recipient: rfc822;louisl@larry.slip.umd.edu
Final-Recipient: rfc822;louisl@larry.slip.umd.edu
Action: failed
Status: 4.0.0
Diagnostic-Code: smtp; 426 connection timed out
Last-Attempt-Date: Thu, 7 Jul 1994 17:15:49 -0400

--RAA14128.773615765/CS.UTK.EDU
content-type: message/rfc822

[original message goes here]

--RAA14128.773615765/CS.UTK.EDU--
""")

# RFC 3464 E.2 in short: several recipients, each with a story of its own
RFC_MANY = report(
    "Reporting-MTA: dns; cs.utk.edu",
    "Original-Recipient: rfc822;arathib@vnet.ibm.com\nFinal-Recipient: rfc822;arathib@vnet.ibm.com\n"
    "Action: failed\nStatus: 5.0.0 (permanent failure)\n"
    "Diagnostic-Code: smtp; 550 'arathib@vnet.IBM.COM' is not a\n registered gateway user\n"
    "Remote-MTA: dns; vnet.ibm.com",
    "Original-Recipient: rfc822;johnh@hpnjld.njd.hp.com\nFinal-Recipient: rfc822;johnh@hpnjld.njd.hp.com\n"
    "Action: delayed\nStatus: 4.0.0 (hpnjld.njd.jp.com: host name lookup failure)",
    "Original-Recipient: rfc822;wsnell@sdcc13.ucsd.edu\nFinal-Recipient: rfc822;wsnell@sdcc13.ucsd.edu\n"
    "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 user unknown\nRemote-MTA: dns; sdcc13.ucsd.edu",
)

POSTFIX = mail("""
Received: by relay.test (Postfix)
	id 362BE20E360; Wed, 25 Nov 2026 12:54:08 +0000 (UTC)
Date: Wed, 25 Nov 2026 12:54:08 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON@relay.test>
Subject: Undelivered Mail Returned to Sender
To: b+abc@bounces.test
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="2B83B20E35B.1795611248/relay.test"
Content-Transfer-Encoding: 8bit
Message-Id: <20261125125408.362BE20E360@relay.test>

This is a MIME-encapsulated message.

--2B83B20E35B.1795611248/relay.test
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is the mail system at host relay.test.

<gone@dest.test>: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 <gone@dest.test>:
    Recipient address rejected: User unknown (in reply to RCPT TO command)

--2B83B20E35B.1795611248/relay.test
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.test
Original-Envelope-Id: abc
X-Postfix-Queue-ID: 2B83B20E35B
X-Postfix-Sender: rfc822; b+abc@bounces.test
Arrival-Date: Wed, 25 Nov 2026 12:54:08 +0000 (UTC)

Final-Recipient: rfc822; gone@dest.test
Original-Recipient: rfc822;gone@dest.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 550 5.1.1 <gone@dest.test>: Recipient address rejected:
    User unknown

--2B83B20E35B.1795611248/relay.test
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 8bit

Return-Path: <b+abc@bounces.test>
Subject: x
From: b+abc@bounces.test

--2B83B20E35B.1795611248/relay.test--
""")

# as Gmail writes it: the text and its picture in a multipart/related of their own, before the report
GMAIL = mail("""
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
To: b+abc@bounces.example.com
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
Content-Type: multipart/report; boundary="000000000000a1b2c3"; report-type=delivery-status
Date: Wed, 25 Nov 2026 04:54:08 -0800 (PST)

--000000000000a1b2c3
Content-Type: multipart/related; boundary="000000000000a1b2c3a"

--000000000000a1b2c3a
Content-Type: multipart/alternative; boundary="000000000000a1b2c3ab"

--000000000000a1b2c3ab
Content-Type: text/plain; charset="UTF-8"

** Address not found **

Your message wasn't delivered to zoe@example.org because the address couldn't be found.

--000000000000a1b2c3ab
Content-Type: text/html; charset="UTF-8"

<html>Address not found</html>

--000000000000a1b2c3ab--
--000000000000a1b2c3a
Content-Type: image/png; name="icon.png"
Content-Transfer-Encoding: base64
Content-ID: <icon.png>

iVBORw0KGgo=
--000000000000a1b2c3a--
--000000000000a1b2c3
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.com
Arrival-Date: Wed, 25 Nov 2026 04:54:07 -0800 (PST)
X-Original-Message-ID: <1@demo>

Final-Recipient: rfc822; zoe@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.org. (192.0.2.7, the server for the domain example.org.)
Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please
 550-5.1.1 try double-checking the recipient's email address.
Last-Attempt-Date: Wed, 25 Nov 2026 04:54:08 -0800 (PST)

--000000000000a1b2c3
Content-Type: message/rfc822

Subject: Hello

Hello
--000000000000a1b2c3--
""")

# as Exchange Online writes it: unspecific status, the truth in the diagnostic code
EXCHANGE = report(
    "Reporting-MTA: dns;AM0PR01MB0001.eurprd01.prod.exchangelabs.com\nReceived-From-MTA: dns;relay.example.com\n"
    "Arrival-Date: Wed, 25 Nov 2026 12:54:07 +0000",
    "Final-Recipient: rfc822;zoe@example.org\nAction: failed\nStatus: 5.1.10\n"
    "Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient zoe@example.org not found by SMTP"
    " address lookup\nX-Display-Name: zoe@example.org",
)

SENDMAIL_DELAYED = report(
    "Reporting-MTA: dns; mx.example.org\nArrival-Date: Wed, 25 Nov 2026 08:00:00 +0000",
    "Final-Recipient: RFC822; zoe@example.org\nAction: delayed\nStatus: 4.4.1\n"
    "Remote-MTA: DNS; mx2.example.org\nLast-Attempt-Date: Wed, 25 Nov 2026 12:03:00 +0000\n"
    "Will-Retry-Until: Mon, 30 Nov 2026 08:00:00 +0000",
)

NOW = datetime(2026, 11, 25, 12, 54, 8, tzinfo=UTC)
MONDAY = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
REPORTS = {
    "RFC 3464 E.1": (
        RFC_SIMPLE,
        Finding(
            BOUNCED, "426 connection timed out", "4.0.0", MESSAGE, False, datetime(1994, 7, 7, 21, 15, 49, tzinfo=UTC)
        ),
    ),
    "RFC 3464 E.2": (
        RFC_MANY,
        Finding(BOUNCED, "550 'arathib@vnet.IBM.COM' is not a registered gateway user", "5.0.0", MESSAGE, True, MONDAY),
    ),
    "Postfix": (
        POSTFIX,
        Finding(
            BOUNCED, "550 5.1.1 <gone@dest.test>: Recipient address rejected: User unknown", "5.1.1", ADDRESS, True, NOW
        ),
    ),
    "Gmail": (
        GMAIL,
        Finding(
            BOUNCED,
            "550-5.1.1 The email account that you tried to reach does not exist. Please 550-5.1.1 try double-checking"
            " the recipient's email address.",
            "5.1.1",
            ADDRESS,
            True,
            NOW,
        ),
    ),
    "Exchange": (
        EXCHANGE,
        Finding(
            BOUNCED,
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient zoe@example.org not found by SMTP address lookup",
            "5.1.10",
            ADDRESS,
            True,
            MONDAY,
        ),
    ),
    "Sendmail, delayed": (
        SENDMAIL_DELAYED,
        Finding(UNDERWAY, "delayed", "4.4.1", at=datetime(2026, 11, 25, 12, 3, tzinfo=UTC)),
    ),
    "delivered": (about("delivered", "2.0.0", "smtp; 250 ok"), Finding(RECEIVED, "250 ok", "2.0.0", at=MONDAY)),
    "relayed": (about("relayed", "2.0.0", "smtp; 250 ok"), Finding(UNDERWAY, "250 ok", "2.0.0", at=MONDAY)),
    "expanded": (about("expanded", "2.0.0"), Finding(UNDERWAY, "expanded", "2.0.0", at=MONDAY)),
    "tried for too long": (
        about("failed", "4.4.7", "smtp; 451 4.4.7 delivery time expired"),
        Finding(BOUNCED, "451 4.4.7 delivery time expired", "4.4.7", PROVIDER, False, MONDAY),
    ),
    "mailbox full": (
        about("failed", "5.2.2", "smtp; 552 5.2.2 over quota"),
        Finding(BOUNCED, "552 5.2.2 over quota", "5.2.2", ADDRESS, False, MONDAY),
    ),
    "spam": (
        about("failed", "5.7.1", "smtp; 550 5.7.1 looks like spam"),
        Finding(BOUNCED, "550 5.7.1 looks like spam", "5.7.1", MESSAGE, True, MONDAY),
    ),
    "an unspecific status, the diagnostic code says more": (
        about("failed", "5.0.350", "smtp;550 5.1.1 no such user"),
        Finding(BOUNCED, "550 5.1.1 no such user", "5.1.1", ADDRESS, True, MONDAY),
    ),
    "no status": (
        report("Final-Recipient: rfc822; zoe@example.org\nAction: failed"),
        Finding(BOUNCED, "the report gives no reason", "", MESSAGE, False, MONDAY),
    ),
    "no action": (
        report("Reporting-MTA: dns; mx", "Final-Recipient: rfc822; zoe@example.org\nStatus: 5.1.1"),
        Finding(BOUNCED, "the report gives no reason", "5.1.1", ADDRESS, True, MONDAY),
    ),
    "in UTF-8 (RFC 6533)": (
        report(
            "Reporting-MTA: dns; mx",
            "Final-Recipient: utf-8; zoë@example.org\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 zoë?",
            kind="message/global-delivery-status",
        ),
        Finding(BOUNCED, "550 zoë?", "5.1.1", ADDRESS, True, MONDAY),
    ),
    "an IP address is no status": (
        about("failed", "5.0.0", "smtp; 550 host 5.1.1.2 refuses"),
        Finding(BOUNCED, "550 host 5.1.1.2 refuses", "5.0.0", MESSAGE, True, MONDAY),
    ),
}


@pytest.mark.parametrize(("text", "expected"), REPORTS.values(), ids=REPORTS)
def test_reports(text: bytes, expected: Finding) -> None:
    assert read_report(text, from_nobody=True) == expected
    # who sent it does not matter: some systems give a sender
    assert read_report(text, from_nobody=False) == expected


# --------------------------------------------------------------------------------------------------------- plain words

QMAIL = mail("""
From: MAILER-DAEMON@mx.example.org
To: b+abc@bounces.example.com
Subject: failure notice
Date: Mon, 23 Nov 2026 10:00:00 -0000

Hi. This is the qmail-send program at mx.example.org.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<zoe@example.org>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Subject: version 4.2.2 (#5.7.1)
""")
QMAIL_WITHOUT_STATUS = QMAIL.replace(b" (#5.1.1)", b"")
EXIM = mail("""
X-Failed-Recipients: zoe@example.org
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.example.org>
Subject: Mail delivery failed: returning message to sender
Date: Mon, 23 Nov 2026 10:00:00 +0000

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  zoe@example.org
    host mx2.example.org [192.0.2.7]
    SMTP error from remote mail server after RCPT TO:<zoe@example.org>:
    552 5.2.2 mailbox is full
""")
EXCHANGE_2003 = mail("""
From: postmaster@example.org
Subject: Undeliverable: Hello
Date: Mon, 23 Nov 2026 10:00:00 +0000

Your message did not reach some or all of the intended recipients.

      zoe@example.org on 23.11.2026 11:00
            The e-mail account does not exist at the organization this message was sent to.
            <mx.example.org #5.1.1>
""")
SENDMAIL_WARNING = mail("""
From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.org>
Subject: Warning: could not send message for past 4 hours
Date: Mon, 23 Nov 2026 10:00:00 +0000

    **********************************************
    **      THIS IS A WARNING MESSAGE ONLY      **
    **********************************************
""")
SOMEBODY = mail("""
From: Mail Administrator <postmaster@example.org>
Subject: =?utf-8?Q?Mail_non_remis=C2=A0:_Hello?=
Date: Mon, 23 Nov 2026 10:00:00 +0000

Your version 5.1.1 of something.
""")
DRAGONFLY = mail("""
From: MAILER-DAEMON <>
Subject: Mail delivery failed
Date: Mon, 23 Nov 2026 10:00:00 +0000

There was an error delivering your mail to <zoe@example.org>.

mx.example.org [192.0.2.7] did not like our final DATA:
550-5.7.26 Unauthenticated email from example.com
550 5.7.26 is not accepted

Message headers follow.
""")
PLAIN = {
    "qmail": (QMAIL, Finding(BOUNCED, "Sorry, no mailbox here by that name. (#5.1.1)", "5.1.1", ADDRESS, True, MONDAY)),
    "qmail without a status": (
        QMAIL_WITHOUT_STATUS,
        Finding(BOUNCED, "Sorry, no mailbox here by that name.", "", MESSAGE, True, MONDAY),
    ),
    "Exim": (EXIM, Finding(BOUNCED, "552 5.2.2 mailbox is full", "5.2.2", ADDRESS, False, MONDAY)),
    "Exchange 2003": (EXCHANGE_2003, Finding(BOUNCED, "<mx.example.org #5.1.1>", "5.1.1", ADDRESS, True, MONDAY)),
    "Sendmail's warning": (
        SENDMAIL_WARNING,
        Finding(UNDERWAY, "Warning: could not send message for past 4 hours", at=MONDAY),
    ),
    "a report left empty": (
        report("").replace(b"Subject: a report", b"Subject: Delivery Status Notification (Failure)"),
        Finding(BOUNCED, "Delivery Status Notification (Failure)", "", MESSAGE, True, MONDAY),
    ),
    "DragonFly": (
        DRAGONFLY,
        Finding(BOUNCED, "550-5.7.26 Unauthenticated email from example.com", "5.7.26", PROVIDER, False, MONDAY),
    ),
    "a message about a delay": (
        EXCHANGE_2003.replace(b": Hello", b": Your parcel is delayed"),
        Finding(BOUNCED, "<mx.example.org #5.1.1>", "5.1.1", ADDRESS, True, MONDAY),
    ),
    "delayed, in the text": (
        SENDMAIL_WARNING.replace(b"Warning: could not send message for past 4 hours", b"Mail status").replace(
            b"    **      THIS", b"451 4.4.1 timeout\r\nTHIS"
        ),
        Finding(UNDERWAY, "Mail status", "4.4.1", at=MONDAY),
    ),
    "no clear status": (SOMEBODY, Finding(BOUNCED, "Mail non remis : Hello", "", MESSAGE, True, MONDAY)),
}


@pytest.mark.parametrize(("text", "expected"), PLAIN.values(), ids=PLAIN)
def test_bounces_without_a_report(text: bytes, expected: Finding) -> None:
    assert read_report(text, from_nobody=True) == expected
    assert read_report(text, from_nobody=False) is None


NOTHING = {
    "out of office": "From: Zoe <zoe@example.org>\nAuto-Submitted: auto-replied\nSubject: Re: Hello\n\nI am away.",
    "out of office by its subject": "From: postmaster@example.org\nSubject: Automatic reply: undeliverable\n\nAway.",
    "out of office, old": "From: postmaster@example.org\nPrecedence: auto_reply\nSubject: failure notice\n\nAway.",
    "a person": "From: Zoe <zoe@example.org>\nSubject: Re: Hello\n\nThank you. 550 5.1.1 is what I got.",
    "nothing at all": "",
    "no head": "\n\nfailure notice",
}


@pytest.mark.parametrize("text", NOTHING.values(), ids=NOTHING)
def test_what_is_no_bounce_says_nothing(text: str) -> None:
    assert read_report(text.replace("\n", "\r\n").encode(), from_nobody=True) is None


@pytest.mark.parametrize(
    "text",
    [
        report(
            "Reporting-UA: Mailer\nFinal-Recipient: rfc822; zoe@example.org\n"
            "Disposition: manual-action/MDN-sent-manually; displayed",
            kind="message/disposition-notification",
        ),
        about("wished", "5.1.1"),
        report("Reporting-MTA: dns; mx.example.org"),
        # a bounce inside a message that came back is somebody else's
        mail("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n" + POSTFIX.decode()),
    ],
    ids=["displayed", "an unknown action", "no recipient", "inside a message"],
)
def test_a_report_that_says_nothing_of_delivery(text: bytes) -> None:
    assert read_report(text, from_nobody=True) is None


def test_of_several_recipients_the_worst_counts() -> None:
    found = read_report(
        report(
            "Reporting-MTA: dns; mx",
            "Final-Recipient: rfc822; a@example.org\nAction: delivered\nStatus: 2.0.0",
            "Final-Recipient: rfc822; b@example.org\nAction: failed\nStatus: 5.1.1",
            "Final-Recipient: rfc822; c@example.org\nAction: failed\nStatus: 4.2.2",
        ),
        from_nobody=True,
    )
    assert found is not None
    assert (found.state, found.code, found.permanent) == (BOUNCED, "5.1.1", True)


def test_texts_are_one_printable_line_and_not_too_long() -> None:
    found = read_report(about("failed", "5.1.1", "smtp; 550 \x1b[31m" + "é" * 600), from_nobody=True, longest=100)
    assert found is not None
    assert len(found.text) == 100
    assert found.text.startswith("550 [31mé")
    assert found.text.endswith("é…")


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Nov 2026 10:00:00", "Mon, 31 Dec 9999 23:00:00 -2300"])
def test_a_date_that_is_none(date: str) -> None:
    text = about("failed", "5.1.1").replace(b"Mon, 23 Nov 2026 11:00:00 +0100", date.encode())
    found = read_report(text, from_nobody=True)
    assert found is not None
    assert found.at is None


# ---------------------------------------------------------------------------------------------------- feedback reports

# RFC 5965 B.2, in our domains
FEEDBACK = mail("""
From: <abusedesk@example.net>
Date: Thu, 8 Mar 2005 17:40:36 EDT
Subject: FW: Earn money
To: <fbl@bounces.example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part1_13d.2e68ed54_boundary"

--part1_13d.2e68ed54_boundary
Content-Type: text/plain; charset="US-ASCII"
Content-Transfer-Encoding: 7bit

This is an email abuse report for an email message received from IP
192.0.2.1 on Thu, 8 Mar 2005 14:00:00 EDT.

--part1_13d.2e68ed54_boundary
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <b+abc@bounces.example.com>
Original-Rcpt-To: <user@example.com>
Arrival-Date: Thu, 8 Mar 2005 14:00:00 EDT
Reporting-MTA: dns; mail.example.com
Source-IP: 192.0.2.1

--part1_13d.2e68ed54_boundary
Content-Type: message/rfc822
Content-Disposition: inline

Return-Path: <b+def@bounces.example.com>
From: <shop@example.com>
X-Event-Token: ghi
Subject: Earn money

Spam Spam Spam
--part1_13d.2e68ed54_boundary--
""")


def test_a_feedback_report_brings_what_may_prove_it() -> None:
    assert read_report(FEEDBACK, from_nobody=False) == Finding(
        COMPLAINED,
        "abuse, reported by SomeGenerator/1.0",
        scope=ADDRESS,
        at=datetime(2005, 3, 8, 18, 0, tzinfo=UTC),
        claims=("<b+abc@bounces.example.com>", "<b+def@bounces.example.com>", "ghi"),
    )


def test_what_microsoft_sends_in_place_of_a_feedback_report() -> None:
    text = mail("""
From: staff@hotmail.example
Date: Mon, 23 Nov 2026 10:00:00 +0000
Subject: complaint about message from 192.0.2.222
Content-Type: multipart/mixed; boundary="F-1"

--F-1
Content-Type: message/rfc822

X-HmXmrOriginalRecipient: zoe@example.org
X-Event-Token: ghi
Subject: Hello

Hello
--F-1--
""")
    expected = Finding(COMPLAINED, "abuse, reported by Microsoft", scope=ADDRESS, at=MONDAY, claims=("ghi",))
    assert read_report(text, from_nobody=False) == expected
    assert read_report(text.replace(b"complaint", b"Re: complaint"), from_nobody=False) is None


@pytest.mark.parametrize("kind", ["not-spam", "virus", "other", "auth-failure", ""])
def test_other_feedback_is_no_complaint(kind: str) -> None:
    assert read_report(FEEDBACK.replace(b": abuse", b": " + kind.encode()), from_nobody=False) is None


# ----------------------------------------------------------------------------------------------------------- ill will

SEEDS = [text for text, _ in (*REPORTS.values(), *PLAIN.values())] + [FEEDBACK]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 200), st.binary(max_size=20)), min_size=1, max_size=8),
)
def test_a_damaged_mail_raises_nothing(text: bytes, damages: list[tuple[int, int, bytes]]) -> None:
    for at, length, instead in damages:
        text = text[:at] + instead + text[at + length :]
    read_report(text, from_nobody=True)


@given(st.binary(max_size=2000) | st.text(max_size=500).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_noise_raises_nothing_and_says_nothing(text: bytes) -> None:
    assert read_report(text, from_nobody=False) is None


ODD = [
    "Content-Type: multipart/report; boundary*=a; boundary*0=b",
    "Content-Type: multipart/report; boundary*0*=b; boundary*1*=%E9'; boundary*=utf-8''x",
    "Content-Type: multipart/report; boundary*=unknown-8bit''%ff%00",
    "Subject: =?utf\ufffd-8?q?Undeliverable?=",
    "Subject: =?punycode?q?abc-9?=",
    "Date: Fri, 31 Dec 9999 23:59:59 -1200",
]
"""Heads at which the standard library gives up, or did."""


@pytest.mark.parametrize("head", ODD)
def test_a_bounce_with_an_odd_head_is_a_bounce_all_the_same(head: str) -> None:
    finding = read_report(
        f"From: MAILER-DAEMON@example.org\r\n{head}\r\n\r\n550 5.1.1 unknown".encode(), from_nobody=True
    )
    assert finding is not None
    assert finding.state is BOUNCED


def _nested(depth: int) -> bytes:
    heads = (f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(depth))
    return mail("".join(heads) + "Content-Type: message/delivery-status\n\nAction: failed\nStatus: 5.1.1\n")


BIG = 1_000_000
HOSTILE = {
    "nested without end": _nested(5000),
    "parts without end": mail("Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\n" * (BIG // 5)),
    "one boundary": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b" * (BIG // 3),
    "blocks without end": about("failed", "5.1.1").replace(b"Action", b"a:b\r\n\r\n" * (BIG // 7) + b"Action"),
    "fields without end": b"a:b\r\n" * (BIG // 5),
    "one field": b"Subject: " + b"=?utf-8?q?a?= " * (BIG // 14),
    "folds without end": b"From: a\r\n" + b" x\r\n" * (BIG // 4),
    "parameters": b'Content-Type: multipart/report; boundary="' + b'\\";' * (BIG // 3),
    "digits": b"From: mailer-daemon@x\r\n\r\n" + b"550 5." * (BIG // 6),
    "dashes": b"From: mailer-daemon@x\r\n\r\n" + b"-" * BIG,
    "dashed lines": b"From: mailer-daemon@x\r\n\r\n" + b"-- copy of\n" * (BIG // 11),
    "spaces": b"From: mailer-daemon@x\r\nSubject: " + b"deliver " + b" " * BIG,
    "empty lines": b"From: mailer-daemon@x\r\n\r\nHi. This is the\n" + b"\n \t" * (BIG // 3),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_mail_made_to_cost_much_costs_little(text: bytes) -> None:
    begin = time.process_time()
    read_report(text, from_nobody=True)
    assert time.process_time() - begin < 0.2


def test_a_report_too_deep_or_too_far_behind_is_not_found() -> None:
    assert read_report(_nested(4), from_nobody=True) is not None
    assert read_report(_nested(5), from_nobody=True) is None
    late = POSTFIX.replace(b"This is the mail system", b"x" * LOOKED_AT)
    assert read_report(late, from_nobody=False) is None


def test_a_boundary_that_begins_like_another_one() -> None:
    text = mail(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n"
        "--bb\n\none\n--bb\n\ntwo\n--bb--\n--b\n\nthree\n--b--\n"
    )
    assert [piece.text for piece in pieces_of(text)] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("encoding", "body", "read"),
    [("base64", "w6k=", "é"), ("quoted-printable", "=C3=A9", "é"), ("base64", "w6k", "w6k"), ("x-own", "=C3", "=C3")],
)
def test_encodings_of_parts(encoding: str, body: str, read: str) -> None:
    (piece,) = pieces_of(f"Content-Transfer-Encoding: {encoding}\n\n{body}".encode())
    assert piece.text == read


# ----------------------------------------------------------------------------------------------------------- the table

SEEN = [
    ("5.1.0", "", ADDRESS, False),
    ("5.1.1", "no such user", ADDRESS, True),
    ("4.1.1", "unknown for now", ADDRESS, False),
    ("5.1.2", "no such domain", ADDRESS, True),
    ("5.1.3", "bad syntax", ADDRESS, True),
    ("5.1.4", "", ADDRESS, False),
    ("5.1.5", "", MESSAGE, False),
    ("5.1.6", "moved", ADDRESS, True),
    ("5.1.8", "", MESSAGE, True),
    ("5.1.9", "", MESSAGE, True),
    ("5.1.10", "null MX", ADDRESS, True),
    ("5.2.0", "", ADDRESS, False),
    ("5.2.1", "disabled", ADDRESS, True),
    ("4.2.2", "full", ADDRESS, False),
    ("5.2.2", "full", ADDRESS, False),
    ("5.2.3", "", MESSAGE, True),
    ("5.3.0", "", PROVIDER, False),
    ("5.3.4", "", MESSAGE, True),
    ("5.4.1", "Recipient address rejected: Access denied", ADDRESS, False),
    ("5.4.1", "no answer from mailbox.example.org@example.org", PROVIDER, False),
    ("5.4.4", "host not found", ADDRESS, False),
    ("4.4.7", "", PROVIDER, False),
    ("5.4.6", "loop", PROVIDER, False),
    ("5.5.0", "Requested action not taken: mailbox unavailable", ADDRESS, False),
    ("5.5.2", "syntax", US, True),
    ("5.6.0", "", MESSAGE, True),
    ("5.7.1", "spam", MESSAGE, True),
    ("5.7.26", "DMARC", PROVIDER, False),
    ("5.7.509", "DMARC, in Microsoft's numbers", MESSAGE, True),
    ("5.7.8", "", PROVIDER, False),
    ("5.0.0", "", MESSAGE, True),
    ("5.0.0", "554 Host network not allowed", MESSAGE, True),
    ("5.0.0", "550 Unknown user unknown-user@example.org", ADDRESS, False),
    ("5.0.0", "550 user-unknown@example.org: no", MESSAGE, True),
    ("", "", MESSAGE, False),
]


@pytest.mark.parametrize(("status", "text", "scope", "permanent"), SEEN)
def test_what_a_status_means(status: str, text: str, scope: Scope, permanent: bool) -> None:
    assert judge(status, text) == (scope, permanent)


def test_every_row_of_the_table_decides_something() -> None:
    decided = {next(row for row in VERDICTS if matches(row, status, text)) for status, text, *_ in SEEN}
    assert [row for row in VERDICTS if row not in decided] == []


@given(st.from_regex(r"[45]\.7\.\d{1,3}", fullmatch=True), st.text(max_size=40))
def test_policy_never_suppresses(status: str, text: str) -> None:
    assert judge(status, text)[0] is not ADDRESS


def _row(verdict: Verdict) -> str:
    words = WORDS.get(verdict.words, "")
    kind = "soft" if verdict.soft else "hard" if verdict.scope is ADDRESS else ""
    return f"| `{verdict.statuses}` | {words} | {verdict.scope} | {kind} | {verdict.meaning} |"


def test_the_readme_has_the_table() -> None:
    readme = README.read_text()
    table = readme.partition("| statuses | words | scope | kind | meaning |")[2]
    for words, name in WORDS.items():
        assert f"- *{name}*: `{words}`" in readme
    assert table.split("\n\n")[0].strip().split("\n")[1:] == [_row(verdict) for verdict in VERDICTS]
