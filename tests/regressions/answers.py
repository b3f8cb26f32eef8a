"""What every answer to a file must be, a scan or a sentence: shared by the tests that throw files at the readers."""

import re
import unicodedata
from pathlib import Path

import numpy as np

from model.scans import Scan, Unreadable, isolated

LONGEST = 300  # characters that somebody in a hurry reads
REMEDY = re.compile(
    r"(Export|Upload|Crop|Choose|Check|Save|Send|Scale|Convert|Unpack|Split|Remove|Ask|Open|Rename|Copy) [\w ,.'-]+"
)
NOT_FOR_CLINICIANS = re.compile(
    r"""\w(Error|Exception|Warning)\b | \bTraceback\b | \bobject\ at\b | 0x[0-9a-f] | \bNone\b | <class | __ | b'
    | \b(numpy|dtype|ndarray|pydicom|gdcm|nibabel|PIL|Pillow|zlib|libtiff|struct|bytes-like|NoneType)\b
    | (/[\w.-]+){2,} | \\\\ | \berrno\b | \bline\ \d""",
    re.VERBOSE | re.IGNORECASE,
)


def assert_plain(sentence: str, with_remedy: bool = True) -> None:
    """Full sentences in words of the user, on one line; a refusal ends with what to do."""
    assert sentence == sentence.strip() and sentence.endswith("."), sentence
    assert sentence[0].isupper() or sentence[0].isdigit(), sentence
    assert len(sentence) <= LONGEST and sentence.isprintable(), sentence
    assert not NOT_FOR_CLINICIANS.search(sentence), (sentence, NOT_FOR_CLINICIANS.search(sentence))
    if with_remedy:
        wrong, *remedies = sentence.split(". ")
        assert any(REMEDY.match(remedy) for remedy in remedies), sentence


def assert_proper(entry: Scan | Unreadable) -> None:
    """A scan with pixels that can be shown and judged, or a plain sentence."""
    assert_shown_name(entry.name)
    if isinstance(entry, Unreadable):
        assert_plain(entry.reason)
        return
    assert entry.slices
    for pixels in entry.slices:
        assert pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16, np.float32)
        assert min(pixels.shape) > 1 and pixels.flags.c_contiguous
        assert np.isfinite(pixels).all()
    assert entry.plane in ("", "axial", "coronal", "sagittal")
    assert entry.sequence in ("", "T1", "T1C+", "T2", "FLAIR")
    assert entry.kind in ("PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF", "DICOM", "DICOM series", "NIfTI")
    assert entry.spacing is None or all(np.isfinite(step) and step > 0 for step in entry.spacing)
    for note in entry.notes:
        assert_plain(note, with_remedy=False)


def assert_shown_name(name: str) -> None:
    """A name that cannot break a line, a table or the reading direction of what stands beside it."""
    assert len(name) <= 255 and "/" not in name and "\\" not in name
    assert not any(unicodedata.category(character).startswith("C") for character in name), ascii(name)


OF_THE_GUARD = (isolated.DEADLY, isolated.TOO_SLOW, isolated.TOO_HUNGRY, isolated.TOO_MANY)


def settle(folder: Path, content: bytes | Path, name: str = "IM0001") -> list[Scan | Unreadable]:
    """Read as the page does: each entry is a proper scan or a plain sentence that the readers themselves have said.

    That a file stops the process that reads it is a failure here, though the page would stand. `folder`: for the bytes.
    """
    path = content
    if isinstance(content, bytes):
        path = folder / "upload"
        path.write_bytes(content)
    entries = isolated.read_all([path], [name])
    assert entries
    for entry in entries:
        assert_proper(entry)
        assert not isinstance(entry, Unreadable) or entry.reason not in OF_THE_GUARD, (name, entry.reason)
    return entries


def was_read(entries: list[Scan | Unreadable]) -> bool:
    return all(isinstance(entry, Scan) for entry in entries)
