"""What operators ask and do, on whatever way they come: values and contracts of `Services.desk`.

Whoever only looks is an `Operator`; whoever changes something is an `Actor`, and the audit says who it was. A right
that is lacking is `AccessDenied`; what is not there, or what the operator's rights do not reach, is `NotFound`; what an
operator gave and cannot be used is `InputRefused` or `QueryRefused`, and a template that cannot be used so is a
`TemplateError`.

A module for each part of the desk. Nothing is done here: `desk/` does it.
"""

from .asking import Actor, Page
from .audit import AuditDesk, AuditEntry, AuditFilter
from .events import (
    Done,
    EventAction,
    EventAttempt,
    EventDesk,
    EventFilter,
    EventReceipt,
    EventRecord,
    EventRecycling,
    FoundEvent,
    QueueLine,
    RenderedMessage,
)
from .installation import (
    ApiToken,
    EntranceDesk,
    Health,
    HookFacts,
    InstallationDesk,
    NewToken,
    OpenSession,
    OperatorFacts,
    PluginFacts,
    Reloaded,
    Setting,
)
from .suppressions import (
    ListDefaults,
    ListForm,
    Suppression,
    SuppressionDesk,
    SuppressionFilter,
    SuppressionReason,
    Unsuppressed,
)
from .templates import (
    Preview,
    Proof,
    Published,
    TemplateDesk,
    TemplateNeed,
    TemplateSource,
    TemplateState,
    TemplateVersion,
)
from .whole import Desk

__all__ = [
    "Actor",
    "ApiToken",
    "AuditDesk",
    "AuditEntry",
    "AuditFilter",
    "Desk",
    "Done",
    "EntranceDesk",
    "EventAction",
    "EventAttempt",
    "EventDesk",
    "EventFilter",
    "EventReceipt",
    "EventRecord",
    "EventRecycling",
    "FoundEvent",
    "Health",
    "HookFacts",
    "InstallationDesk",
    "ListDefaults",
    "ListForm",
    "NewToken",
    "OpenSession",
    "OperatorFacts",
    "Page",
    "PluginFacts",
    "Preview",
    "Proof",
    "Published",
    "QueueLine",
    "Reloaded",
    "RenderedMessage",
    "Setting",
    "Suppression",
    "SuppressionDesk",
    "SuppressionFilter",
    "SuppressionReason",
    "TemplateDesk",
    "TemplateNeed",
    "TemplateSource",
    "TemplateState",
    "TemplateVersion",
    "Unsuppressed",
]
