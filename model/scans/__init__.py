"""Files of any kind -> scans. The first bytes decide on the kind, never the name; limits are checked before pixels.

Whatever is wrong with a file, `UnreadableScan` says so in a sentence that a clinician can act on.
"""

from .geometry import planes
from .kinds import READABLE
from .limits import MAX_BYTES, MAX_PIXELS
from .reading import read, read_all
from .scan import Scan, Unreadable, UnreadableScan

__all__ = ["MAX_BYTES", "MAX_PIXELS", "READABLE", "Scan", "Unreadable", "UnreadableScan", "planes", "read", "read_all"]
