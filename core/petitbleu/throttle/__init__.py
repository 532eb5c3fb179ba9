"""The flow to providers: how much each is given at once and in a second, and when it is left alone for a while.

`throttle` decides by what is known in this process, `lane` and `window` of a provider and of each destination; `shared`
and `exchange` are what processes tell each other by the database. It knows nothing of messages.
"""

from .limits import Feedback, Limit, ProviderLimits
from .shared import Pause, Shared
from .throttle import Throttle
from .ticket import State, Ticket

__all__ = ["Feedback", "Limit", "Pause", "ProviderLimits", "Shared", "State", "Throttle", "Ticket"]
