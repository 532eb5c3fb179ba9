"""One installation put together: configuration, plugins, database, templates and the parts that join them.

`open_instance` is how every command starts; `serve` adds HTTP and the worker. A part that does something lives
elsewhere: here stands only which parts there are, what each is given, and in what order they open and close.
"""

from .assembly import assemble
from .opening import open_instance, open_services
from .parts import Instance, Surroundings
from .planning import Plan, Source, plan

__all__ = ["Instance", "Plan", "Source", "Surroundings", "assemble", "open_instance", "open_services", "plan"]
