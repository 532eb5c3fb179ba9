"""What a caller reads when a call fails, as one table from error to fault.

Calling systems match on these texts. In the first one the product that set them swaps service and method; so do we.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from petitbleu import AccessDenied, EventsRefused, PetitbleuError, QueryRefused, SessionExpired, Unavailable, XmlRefused

MESSAGE = "The XML SOAP message is invalid (service '{method}', method '{service}')."
PARAMETERS = "Error while reading parameters of method '{method}' of service '{service}'."
EVENT = "The event is invalid."
EXECUTION = "Error while executing the method '{method}' of service '{service}'."
UNAVAILABLE = "The server cannot take the call now."
INTERNAL = "Internal error."

EXPIRED = "XSV-350008 Session has expired or is invalid. Please reconnect."
OVERDUE = "The call did not end in time; it is not known whether it took effect. Try again later."
UNEXPECTED = "The server could not process the call. Its log tells why."


class CallRefused(PetitbleuError):
    """A parameter is missing or of no use."""


class MethodUnknown(PetitbleuError):
    """A method or service that does not exist here."""


_TABLE: tuple[tuple[type[Exception], str, str, Callable[[Exception], str]], ...] = (
    (XmlRefused, "Client", MESSAGE, str),
    (SessionExpired, "Client", PARAMETERS, lambda error: EXPIRED),
    (AccessDenied, "Client", PARAMETERS, str),
    (CallRefused, "Client", PARAMETERS, str),
    (EventsRefused, "Client", EVENT, str),
    (QueryRefused, "Client", EXECUTION, str),
    (MethodUnknown, "Client", EXECUTION, str),
    (Unavailable, "Server", UNAVAILABLE, str),
    (TimeoutError, "Server", UNAVAILABLE, lambda error: OVERDUE),
    (Exception, "Server", INTERNAL, lambda error: UNEXPECTED),
)


class FaultTexts(NamedTuple):
    """`code` is `Client` or `Server`."""

    code: str
    reason: str
    detail: str


def fault_of(error: Exception, service: str, method: str) -> FaultTexts:
    """The fault for an error, by the first row of the table that fits."""
    code, reason, detail = next(row[1:] for row in _TABLE if isinstance(error, row[0]))
    return FaultTexts(code, reason.format(service=service[:100], method=method[:100]), detail(error))


def is_expected(error: Exception) -> bool:
    """Whether the table has a row of its own for the error; what has none is to be looked into."""
    return any(isinstance(error, row[0]) for row in _TABLE[:-1])
