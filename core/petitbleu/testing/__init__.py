"""What plugins are tested with: a server inside the test, parts that write down what they are told, and suites of tests
that every channel and every way in must pass.

`pip install petitbleu[testing]` brings pytest and pytest-asyncio; the fixtures are in `pytest_petitbleu`, which pytest
loads by itself. What stands in `__all__` is public, as `petitbleu.__all__` is.
"""

from .channel_contract import ChannelContract
from .crashes import CRASH_PLACES
from .hostile import HOSTILE
from .instances import PASSWORD
from .intake_contract import Answered, IntakeContract
from .plugin_contract import PluginContract, Serve
from .providers import Answer, HttpProvider, Provider, Received, http_provider
from .recording import HANG, RecordingChannel, RecordingObserver
from .server import EVERYTHING, Record, Server, Try, serving

__all__ = [
    "CRASH_PLACES",
    "EVERYTHING",
    "HANG",
    "HOSTILE",
    "PASSWORD",
    "Answer",
    "Answered",
    "ChannelContract",
    "HttpProvider",
    "IntakeContract",
    "PluginContract",
    "Provider",
    "Received",
    "Record",
    "RecordingChannel",
    "RecordingObserver",
    "Serve",
    "Server",
    "Try",
    "http_provider",
    "serving",
]
