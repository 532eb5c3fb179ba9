"""What plugins are tested with: a server inside the test, parts that write down what they are told, and suites of tests
that every channel and every way in must pass.

`pip install petitbleu[testing]` brings pytest and pytest-asyncio; the fixtures are in `pytest_petitbleu`, which pytest
loads by itself. What stands in `__all__` is public, as `petitbleu.__all__` is.
"""

from .crashes import CRASH_PLACES
from .instances import PASSWORD
from .recording import HANG, RecordingChannel, RecordingObserver
from .server import EVERYTHING, Record, Server, Try, serving

__all__ = [
    "CRASH_PLACES",
    "EVERYTHING",
    "HANG",
    "PASSWORD",
    "Record",
    "RecordingChannel",
    "RecordingObserver",
    "Server",
    "Try",
    "serving",
]
