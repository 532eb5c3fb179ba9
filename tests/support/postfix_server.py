"""A Postfix of our own for tests: it relays what it is given, and reports what cannot be delivered."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POSTFIX = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_dns_support_level = disabled
smtp_host_lookup = native
alias_maps =
maximal_queue_lifetime = 0
bounce_queue_lifetime = 1h
alias_database =
transport_maps = inline:{{ {transports} }}
default_transport = error:5.4.4 no way there
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class PostfixServer:
    port: int
    version: str
    log: Path


def can_run() -> bool:
    """Its master process needs root."""
    return POSTFIX is not None and os.geteuid() == 0


@contextmanager
def postfix_server(transports: Mapping[str, str]) -> Iterator[PostfixServer]:
    """`transports`: by domain where mail for it goes, such as `smtp:[127.0.0.1]:2525`."""
    assert POSTFIX is not None
    with tempfile.TemporaryDirectory(prefix="postfix-") as name, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
        free.close()
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("etc", "spool", "data"):
            (folder / part).mkdir()
        shutil.chown(folder / "data", "postfix")
        table = ", ".join(f"{{ {domain} = {transport} }}" for domain, transport in transports.items())
        (folder / "etc/main.cf").write_text(_MAIN.format(folder=folder, transports=table))
        (folder / "etc/master.cf").write_text(_MASTER.format(port=port))
        postfix = [POSTFIX, "-c", str(folder / "etc")]
        subprocess.run([*postfix, "start"], check=True, capture_output=True, timeout=60)
        try:
            said = subprocess.run(
                ["/usr/sbin/postconf", "-dh", "mail_version"], check=True, capture_output=True, text=True
            )
            yield PostfixServer(port, said.stdout.strip(), folder / "log")
        finally:
            subprocess.run([*postfix, "stop"], check=True, capture_output=True, timeout=60)
