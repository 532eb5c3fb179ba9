"""Measures how fast Petitbleu is, always beside something else. README.md says what each figure means."""

import sys
from pathlib import Path

# the tests' server and stand-ins are not part of any package
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
