"""A person's address, removed from everything that is kept, and the proof of it.

`spellings.py` knows how the address may be written, `forget.py` goes through the tables.
"""

from .forget import Forget, Forgotten
from .spellings import Person, person

__all__ = ["Forget", "Forgotten", "Person", "person"]
