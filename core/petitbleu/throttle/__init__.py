"""The flow to providers: how much each is given at once and in a second, and when it is left alone for a while."""

from .limits import Feedback, Limit, ProviderLimits
from .shared import Pause, Shared
from .throttle import Throttle
from .ticket import State, Ticket

__all__ = ["Feedback", "Limit", "Pause", "ProviderLimits", "Shared", "State", "Throttle", "Ticket"]
