"""The sections of `petitbleu.yaml`: what there is to set, with its type, limits and default.

The descriptions are the words of the JSON Schema that editors show. A module holds the sections of one part of the
work; what two sections say together is checked in `config/build.py`.
"""

from .access import OperatorSettings, Right, Sessions
from .delivery import ChannelSuppression, DeliverySettings, SuppressionSettings
from .events import EventTypeSettings, TypeRetention
from .installation import Http
from .values import Duration
from .watching import Thresholds
from .whole import Sections

__all__ = [
    "ChannelSuppression",
    "DeliverySettings",
    "Duration",
    "EventTypeSettings",
    "Http",
    "OperatorSettings",
    "Right",
    "Sections",
    "Sessions",
    "SuppressionSettings",
    "Thresholds",
    "TypeRetention",
]
