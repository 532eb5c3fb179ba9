"""The values that cross the hooks: frozen, typed, valid once built.

Times are aware `datetime`s in UTC; durations are seconds. `Data` is what callers' XML or JSON becomes and
what templates walk (see `data.py`). A module for each thing that values are about; nothing here does anything.
"""

from .access import Credentials, Operator, Session
from .attempts import (
    Admit,
    Attempt,
    Deferred,
    Delivered,
    Failed,
    Outcome,
    Pick,
    Receipt,
    ReceiptState,
    Unknown,
    first_of,
    unheard,
    unlimited,
)
from .basics import Check, Data, Queue, Scope, Settings
from .events import Event, Hold, IncomingEvent, Recycle, Reject, Route, Suppress
from .messages import Catcher, Caught, Channel, Content, Message, Part, Retry, TemplateRef
from .notices import NOTICE_KINDS, Alert, AlertLevel, Notice, NotTold, Subscription, Told
from .questions import EVENT_ATTRIBUTES, Comparison, Condition, EventQuery, Junction

__all__ = [
    "EVENT_ATTRIBUTES",
    "NOTICE_KINDS",
    "Admit",
    "Alert",
    "AlertLevel",
    "Attempt",
    "Catcher",
    "Caught",
    "Channel",
    "Check",
    "Comparison",
    "Condition",
    "Content",
    "Credentials",
    "Data",
    "Deferred",
    "Delivered",
    "Event",
    "EventQuery",
    "Failed",
    "Hold",
    "IncomingEvent",
    "Junction",
    "Message",
    "NotTold",
    "Notice",
    "Operator",
    "Outcome",
    "Part",
    "Pick",
    "Queue",
    "Receipt",
    "ReceiptState",
    "Recycle",
    "Reject",
    "Retry",
    "Route",
    "Scope",
    "Session",
    "Settings",
    "Subscription",
    "Suppress",
    "TemplateRef",
    "Told",
    "Unknown",
    "first_of",
    "unheard",
    "unlimited",
]
