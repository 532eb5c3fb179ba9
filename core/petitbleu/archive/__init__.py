"""Events that are deleted from the database, kept in files for as long as the configuration says.

`files.py` knows the form of the files, `archiver.py` what goes into them and when it goes.
"""

from .archiver import Archiver, Terms
from .files import ArchiveError, ArchiveFile, Folder

__all__ = ["ArchiveError", "ArchiveFile", "Archiver", "Folder", "Terms"]
