"""Listening sockets, made by whoever starts first and shared with the processes it starts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from ..errors import PetitbleuError

BACKLOG = 128


def listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of `host`, all with the same port; port 0 takes a free one.

    Raises `PetitbleuError` when the port is taken or the name is not known.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            made = socket.create_server(
                (str(address[0]), sockets[0].getsockname()[1] if sockets else port), family=family, backlog=BACKLOG
            )
            sockets.append(made)
    except OSError as error:
        # a name such as localhost may have an IPv6 address on a machine that has no IPv6
        if not sockets or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            for made in sockets:
                made.close()
            raise PetitbleuError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    for made in sockets:
        made.setblocking(False)
    return sockets


def inherited(descriptors: Sequence[int]) -> list[socket.socket]:
    """The sockets that a parent process left open under these numbers."""
    sockets = [socket.socket(fileno=number) for number in descriptors]
    for one in sockets:
        one.setblocking(False)
    return sockets


def url(one: socket.socket) -> str:
    host, port = one.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).partition(" (while")[0]
