"""django-post_office as an application would run it, for comparison. Runs in an environment of its own, by its path.

`setup` makes the tables and the template. `work` sends what is queued, over and over. `enqueue` reads numbers of mails
from standard input, enqueues each with its own data and one commit, and answers the number. `count` prints how many
mails have which status.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import django
from django.conf import settings
from django.core.management import call_command

HERE = Path(__file__).resolve().parent
PEOPLE = (
    ("Zoé", "Lefèvre", "Orléans", "Théière émaillée"),
    ("Jürgen", "Groß", "Köln", "Füllhalter „Æsir“"),
    ("Łucja", "Żak", "Łódź", "Kabel USB-C 2 m"),
    ("Søren", "Bjørn", "Århus", "Lampe à pince"),
)
TEMPLATE = "bench"


def configure(url: str, port: int) -> None:
    address = urlsplit(url)
    hosts = parse_qs(address.query).get("host", [])
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": address.path.lstrip("/"),
                "USER": unquote(address.username or ""),
                "PASSWORD": unquote(address.password or ""),
                "HOST": hosts[0] if hosts else address.hostname or "",
                "PORT": str(address.port or ""),
                "CONN_MAX_AGE": None,
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        USE_TZ=True,
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        DEFAULT_FROM_EMAIL="Petit Bleu – Été <orders@shop.example.com>",
        POST_OFFICE={
            "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
            "BATCH_SIZE": 250,
        },
    )
    django.setup()


def setup() -> None:
    from post_office.models import EmailTemplate

    call_command("migrate", verbosity=0)
    EmailTemplate.objects.create(
        name=TEMPLATE,
        subject="Votre commande {{ order.number }} est confirmée",
        content=(HERE / "body.txt").read_text("utf-8"),
        html_content=(HERE / "body.html").read_text("utf-8"),
    )


def context(number: int) -> dict[str, Any]:
    first, last, city, item = PEOPLE[number % len(PEOPLE)]
    digits = f"{number:09d}"
    return {
        "client": {"firstname": first, "lastname": f"{last} {digits}"},
        "order": {
            "number": digits,
            "currency": "EUR",
            "date": "2026-11-23",
            "line": {"sku": "TE-01", "name": item, "quantity": "2", "price": "34.50"},
            "shipping": "5.90",
            "total": "74.90",
        },
        "delivery": {"street": "12 rue des Écoles", "city": city},
    }


def enqueue() -> None:
    from post_office import mail

    number = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            number += 1
            mail.send(
                f"client.{number:09d}@example.com",
                template=TEMPLATE,
                context=context(number),
                headers={"X-Event-Id": str(number)},
                render_on_delivery=True,
            )
        print(line.strip(), flush=True)


def work(lock: Path) -> None:
    """One process and five threads, its defaults: more of either were slower on two processors."""
    from post_office.mail import send_queued_mail_until_done

    logging.disable(logging.INFO)
    while True:
        send_queued_mail_until_done(str(lock))
        time.sleep(0.05)


def count() -> None:
    from post_office.models import STATUS, Email

    statuses = Counter(Email.objects.values_list("status", flat=True))
    print(statuses.pop(STATUS.sent, 0), sum(statuses.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("setup", "enqueue", "work", "count"))
    parser.add_argument("--database", required=True)
    parser.add_argument("--port", type=int, default=25)
    parser.add_argument("--lock", type=Path, default=Path("post_office"))
    args = parser.parse_args()
    configure(args.database, args.port)
    if args.what == "work":
        work(args.lock)
    else:
        {"setup": setup, "enqueue": enqueue, "count": count}[args.what]()


if __name__ == "__main__":
    main()
