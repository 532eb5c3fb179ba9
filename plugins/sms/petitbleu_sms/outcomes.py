"""What an SMSC's `command_status` means for a message: one table (SMPP 3.4, section 5.1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from petitbleu import Deferred, Failed, Scope

from .settings import Meaning
from .spec import Status, status_name

Kind = Literal["failed", "deferred", "throttled"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`throttled`: the connector slows down and tries again in its place; what is left of it is deferred."""

    status: Status
    kind: Kind
    scope: Scope
    meaning: str


RULES = (
    Rule(Status.ESME_RINVMSGLEN, "failed", Scope.MESSAGE, "the text has a length it does not take"),
    Rule(Status.ESME_RINVCMDLEN, "failed", Scope.US, "our unit is not understood"),
    Rule(Status.ESME_RINVCMDID, "failed", Scope.US, "our unit is not understood"),
    Rule(Status.ESME_RINVBNDSTS, "deferred", Scope.PROVIDER, "the session may not send"),
    Rule(Status.ESME_RALYBND, "deferred", Scope.PROVIDER, "bound already: more binds than it allows"),
    Rule(Status.ESME_RINVPRTFLG, "failed", Scope.US, "our unit is not understood"),
    Rule(Status.ESME_RINVREGDLVFLG, "failed", Scope.US, "it gives no receipts"),
    Rule(Status.ESME_RSYSERR, "deferred", Scope.PROVIDER, "its own error"),
    Rule(Status.ESME_RINVSRCADR, "failed", Scope.MESSAGE, "the sender is not allowed"),
    Rule(Status.ESME_RINVDSTADR, "failed", Scope.ADDRESS, "no such number"),
    Rule(Status.ESME_RBINDFAIL, "deferred", Scope.PROVIDER, "the bind is refused"),
    Rule(Status.ESME_RINVPASWD, "deferred", Scope.PROVIDER, "the bind is refused: password"),
    Rule(Status.ESME_RINVSYSID, "deferred", Scope.PROVIDER, "the bind is refused: system_id"),
    Rule(Status.ESME_RMSGQFUL, "throttled", Scope.PROVIDER, "its queue is full"),
    Rule(Status.ESME_RINVSERTYP, "failed", Scope.US, "service_type is wrong"),
    Rule(Status.ESME_RINVESMCLASS, "failed", Scope.US, "it takes no user data header"),
    Rule(Status.ESME_RSUBMITFAIL, "deferred", Scope.MESSAGE, "refused for no reason given"),
    Rule(Status.ESME_RINVSRCTON, "failed", Scope.US, "the TON of the sender is wrong"),
    Rule(Status.ESME_RINVSRCNPI, "failed", Scope.US, "the NPI of the sender is wrong"),
    Rule(Status.ESME_RINVDSTTON, "failed", Scope.US, "the TON of the destination is wrong"),
    Rule(Status.ESME_RINVDSTNPI, "failed", Scope.US, "the NPI of the destination is wrong"),
    Rule(Status.ESME_RINVSYSTYP, "deferred", Scope.PROVIDER, "the bind is refused: system_type"),
    Rule(Status.ESME_RINVREPFLAG, "failed", Scope.US, "our unit is not understood"),
    Rule(Status.ESME_RTHROTTLED, "throttled", Scope.PROVIDER, "more than it allows"),
    Rule(Status.ESME_RINVSCHED, "failed", Scope.US, "our unit is not understood"),
    Rule(Status.ESME_RINVEXPIRY, "failed", Scope.US, "it takes no validity_period such as ours"),
    Rule(Status.ESME_RINVDFTMSGID, "failed", Scope.US, "our unit is not understood"),
    Rule(Status.ESME_RX_T_APPN, "deferred", Scope.MESSAGE, "not now"),
    Rule(Status.ESME_RX_P_APPN, "failed", Scope.MESSAGE, "never"),
    Rule(Status.ESME_RX_R_APPN, "failed", Scope.MESSAGE, "this message is refused"),
    Rule(Status.ESME_RINVOPTPARSTREAM, "failed", Scope.US, "it takes no such optional parameters"),
    Rule(Status.ESME_ROPTPARNOTALLWD, "failed", Scope.US, "it takes no such optional parameters"),
    Rule(Status.ESME_RINVPARLEN, "failed", Scope.US, "a field has a length it does not take"),
    Rule(Status.ESME_RMISSINGOPTPARAM, "failed", Scope.US, "it wants another optional parameter"),
    Rule(Status.ESME_RINVOPTPARAMVAL, "failed", Scope.US, "it takes no such optional parameters"),
    Rule(Status.ESME_RDELIVERYFAILURE, "deferred", Scope.MESSAGE, "it could not deliver"),
    Rule(Status.ESME_RUNKNOWNERR, "deferred", Scope.PROVIDER, "its own error"),
)
OTHERS = Meaning(outcome="deferred", scope=Scope.MESSAGE)
"""A status that is not in the table: those of the SMSC's maker, and those that answer other requests than ours."""

_BY_STATUS = {int(rule.status): rule for rule in RULES}


def meaning(status: int, configured: Mapping[int, Meaning]) -> Meaning:
    if status in configured:
        return configured[status]
    rule = _BY_STATUS.get(status)
    if rule is None:
        return OTHERS
    return Meaning(outcome="failed" if rule.kind == "failed" else "deferred", scope=rule.scope)


def outcome_of(provider: str, status: int, configured: Mapping[int, Meaning]) -> Deferred | Failed:
    """What a refusal of a message of which nothing was taken makes of it. The provider's own trouble fails none."""
    found = meaning(status, configured)
    rule = _BY_STATUS.get(status)
    text = f"submit_sm: {status_name(status)}" + (f": {rule.meaning}" if rule and status not in configured else "")
    code = status_name(status)
    if found.outcome == "failed" and found.scope is not Scope.PROVIDER:
        return Failed(provider, text, found.scope, code)
    return Deferred(provider, text, found.scope, code)
