"""What the DNS says of a domain that emails come from: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 7489), and whether
answers to it have anywhere to go (RFC 5321 5.1).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

import dns.asyncresolver
import dns.exception
import dns.resolver

from .findings import Finding, Level

AREA = "dns"
LookUp = Callable[[str, str], Awaitable[list[str]]]
"""The records of a name and a type, as text; raises `LookUpFailed`."""
_FORMS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:]+)\]|(?P<four>[0-9.]+))(?::(?P<port>\d{1,5}))?")


class LookUpFailed(Exception):
    """Nobody knows: no server answered, or it could not."""


def resolver(server: str = "", seconds: float = 5.0) -> LookUp:
    """Asks the machine's own name servers, or `server`: an address such as 192.0.2.53, 192.0.2.53:5353 or
    [2001:db8::53]:5353. Raises `ValueError`."""
    asked = dns.asyncresolver.Resolver(configure=not server)
    asked.lifetime = seconds
    if server:
        found = _FORMS.fullmatch(server)
        if found is None:
            raise ValueError("should be an IP address, with a port perhaps, such as 192.0.2.53:5353")
        asked.nameservers = [found["six"] or found["four"]]
        asked.port = int(found["port"] or 53)

    async def look(name: str, kind: str) -> list[str]:
        try:
            answer = await asked.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise LookUpFailed(f"{type(error).__name__} for {name} {kind}") from error
        if kind == "TXT":
            return [b"".join(one.strings).decode("utf-8", "replace") for one in answer]
        return [one.to_text() for one in answer]

    return look


async def look_up(domain: str, selectors: Sequence[str], ask: LookUp) -> list[Finding]:
    """What there is to say of a domain; `selectors` are those its relays sign with."""
    checks = [_spf(domain, ask), _dmarc(domain, ask), _mailbox(domain, ask)]
    checks += [_dkim(domain, one, ask) for one in selectors]
    found = []
    for check in checks:
        try:
            found.append(await check)
        except LookUpFailed as failed:
            text = f"cannot be looked up: {failed}"
            found.append(Finding(AREA, domain, Level.WARNING, text, "see whether this machine's name servers answer"))
    if not selectors:
        text = "DKIM: not looked for, since no selector is named"
        todo = f"name those your relay signs with in monitoring.dkim, such as {{{domain}: [mail]}}"
        found.append(Finding(AREA, domain, Level.WARNING, text, todo))
    return found


async def _spf(domain: str, ask: LookUp) -> Finding:
    records = [one for one in await ask(domain, "TXT") if re.match(r"v=spf1( |$)", one, re.I)]
    if not records:
        todo = f'publish a TXT record of {domain} with your relays, such as "v=spf1 include:relay.example -all"'
        return Finding(AREA, domain, Level.PROBLEM, "SPF: there is no record", todo)
    if len(records) > 1:
        text = f"SPF: there are {len(records)} records, and receivers then take none (RFC 7208 4.5)"
        return Finding(AREA, domain, Level.PROBLEM, text, "make one record of them")
    end = re.search(r"(?:^|\s)([-~?+]?)all(?:\s|$)", records[0], re.I)
    if end is None and "redirect=" not in records[0].lower():
        todo = 'let it end with "-all", or "~all"'
        return Finding(AREA, domain, Level.WARNING, "SPF: does not say what to do with other senders", todo)
    if end is not None and end[1] in ("+", "?", ""):
        text = f"SPF: ends with {end[0].strip()}, which lets anybody send in your name"
        return Finding(AREA, domain, Level.WARNING, text, 'let it end with "-all", or "~all"')
    return Finding(AREA, domain, Level.OK, f"SPF: {records[0]}")


async def _dmarc(domain: str, ask: LookUp) -> Finding:
    labels = domain.split(".")
    # of the domain itself, else of one above it that is none of a whole country
    for start in range(len(labels) - 1):
        name = ".".join(labels[start:])
        records = [one for one in await ask(f"_dmarc.{name}", "TXT") if re.match(r"v=DMARC1\s*(;|$)", one)]
        if not records:
            continue
        if len(records) > 1:
            text = f"DMARC: {name} has {len(records)} records, and receivers then take none (RFC 7489 6.6.3)"
            return Finding(AREA, domain, Level.PROBLEM, text, "keep one of them")
        policy = re.search(r";\s*p\s*=\s*(\w+)", records[0])
        if policy is None:
            return Finding(AREA, domain, Level.PROBLEM, "DMARC: the record has no policy", "add p=quarantine")
        if policy[1].lower() == "none":
            todo = "once its reports show that your own mail passes, p=quarantine or p=reject"
            return Finding(AREA, domain, Level.WARNING, "DMARC: p=none, receivers only report", todo)
        return Finding(AREA, domain, Level.OK, f"DMARC: {records[0]}")
    todo = f'publish a TXT record of _dmarc.{domain}, at first "v=DMARC1; p=none; rua=mailto:you@…"'
    return Finding(AREA, domain, Level.PROBLEM, "DMARC: there is no record", todo)


async def _dkim(domain: str, selector: str, ask: LookUp) -> Finding:
    name = f"{selector}._domainkey.{domain}"
    records = [one for one in await ask(name, "TXT") if re.search(r"(?:^|;)\s*p\s*=", one)]
    if not records:
        todo = f"publish the key your relay shows as a TXT record of {name}, or correct monitoring.dkim"
        return Finding(AREA, domain, Level.PROBLEM, f"DKIM: selector {selector} has no key", todo)
    if re.search(r"(?:^|;)\s*p\s*=\s*(;|$)", records[0]):
        todo = "let the relay sign with another selector"
        return Finding(AREA, domain, Level.PROBLEM, f"DKIM: the key of selector {selector} is revoked", todo)
    return Finding(AREA, domain, Level.OK, f"DKIM: selector {selector} has a key")


async def _mailbox(domain: str, ask: LookUp) -> Finding:
    exchangers = await ask(domain, "MX")
    if any(one.split()[-1] == "." for one in exchangers):
        text = "MX: says that the domain takes no mail (RFC 7505), so bounces and answers are lost"
        return Finding(AREA, domain, Level.WARNING, text, "send from a domain that has a mailbox")
    if exchangers or await ask(domain, "A") or await ask(domain, "AAAA"):
        return Finding(AREA, domain, Level.OK, f"MX: {', '.join(exchangers) or 'the host itself'}")
    todo = "publish an MX record, or send from a domain that has one"
    return Finding(AREA, domain, Level.PROBLEM, "MX: the domain can take no mail, so receivers refuse it", todo)


__all__ = ["LookUp", "LookUpFailed", "look_up", "resolver"]
