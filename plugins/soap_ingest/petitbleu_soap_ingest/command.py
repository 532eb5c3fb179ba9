"""`petitbleu wsdl`: a WSDL without a running server."""

from __future__ import annotations

import argparse
import sys

from petitbleu import Command

from . import wsdl
from .pages import ROUTER


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("schema", help=f"one of {', '.join(wsdl.NAMES)}")
    parser.add_argument(
        "--address",
        default=f"http://127.0.0.1:8080{ROUTER}",
        help="where the callers will find the server (default: %(default)s)",
    )


async def _run(arguments: argparse.Namespace) -> int:
    document = wsdl.document(arguments.schema, arguments.address)
    if document is None:
        print(f"there is no schema {arguments.schema!r}; try one of {', '.join(wsdl.NAMES)}", file=sys.stderr)
        return 1
    print(document.decode())
    return 0


WSDL = Command("wsdl", "print the WSDL of a schema", _run, _arguments)
