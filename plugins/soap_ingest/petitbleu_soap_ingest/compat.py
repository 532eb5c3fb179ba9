"""spyne 2.14, importable on every Python we support. The rest of the plugin gets spyne's names from here.

spyne carries an old copy of `six` that Python 3.12 cannot import, so the real one takes its place, with the one
function that spyne added to its copy. Python 3.13 has no `cgi` module any more, which `legacy-cgi` brings back.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from operator import attrgetter
from types import ModuleType

import six

_COPY = "spyne.util.six"
_USED = ("moves", "moves.collections_abc", "moves.http_cookies", "moves.urllib")
_URLLIB = tuple(f"moves.urllib.{name}" for name in ("error", "parse", "request"))


def _replace_six() -> None:
    copy = ModuleType(_COPY)
    vars(copy).update(vars(six), get_function_name=attrgetter("__name__"))
    sys.modules.setdefault(_COPY, copy)
    for name in (*_USED, *_URLLIB):
        sys.modules.setdefault(f"{_COPY}.{name}", import_module(f"six.{name}"))


_replace_six()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.11 and 3.12 say that `cgi` will go
    from spyne import AnyXml, Application, Boolean, Long, Service, Unicode, rpc
    from spyne.interface import Wsdl11
    from spyne.protocol.soap import Soap11
    from spyne.server import ServerBase
    from spyne.util.appreg import unregister_application

__all__ = [
    "AnyXml",
    "Application",
    "Boolean",
    "Long",
    "ServerBase",
    "Service",
    "Soap11",
    "Unicode",
    "Wsdl11",
    "rpc",
    "unregister_application",
]
