"""One page about a case, to print or to file: PDF, and the same page as PNG.

It says what the page says of the case, and nothing about who it is of: no file name, no tag, only a line to write on.
reportlab and pypdfium2 are imported with the first report, which takes 16 MB and half a second.
"""

import io
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from model.cases import Case
    from model.classifier import TumorClassifier
    from model.serving import Origin

PNG_DOTS_PER_INCH = 150  # small type stays sharp on a screen and in print, and the file stays under 2 MB
POINTS_PER_INCH = 72

_one_at_a_time = threading.Lock()  # PDFium must not be called from two threads at once, not even for two documents


def pdf(
    case: "Case",
    classifier: "TumorClassifier",
    index: int | None = None,
    shown: "np.ndarray | None" = None,
    origin: "Origin | None" = None,
) -> bytes:
    """One A4 page about a case that has an answer, a refusal included.

    Args: `case` as `model.cases.classify` yields it, in the plane that it was taken in: a volume's verdict is of that
        plane; `classifier`, the one that answered it; `index` of the slice to show, from 0, by default a volume's most
        suspicious one; `shown`, that slice as the page shows it (uint8, under the volume's window), by default windowed
        by itself; `origin` of the classifier's weights, where it is known, for the repository and its commit.
    Returns: the file. The same arguments give the same bytes: the only date in it is `case.answered`.
    Raises: ValueError if the case has no answer (unreadable, failed), or no slice `index`.
    """
    if not case.predictions:
        raise ValueError("There is no report of a file that could not be answered.")
    if index is None:
        index = _first(case)
    if not 0 <= index < len(case.predictions):
        raise ValueError(f"There is no slice {index + 1} among {len(case.predictions)}.")
    from .page import draw  # here: nobody should wait for reportlab who wants no report

    pixels = case.scan.slices[index] if shown is None else shown
    return draw(case, classifier, index, pixels, origin)


def png(pdf: bytes) -> bytes:
    """The page of a report as a picture: RGB PNG, `PNG_DOTS_PER_INCH`."""
    import pypdfium2  # here, as above

    with _one_at_a_time, pypdfium2.PdfDocument(pdf) as document:
        image = document[0].render(scale=PNG_DOTS_PER_INCH / POINTS_PER_INCH).to_pil()
    file = io.BytesIO()
    image.save(file, "PNG", dpi=(PNG_DOTS_PER_INCH, PNG_DOTS_PER_INCH))
    return file.getvalue()


def _first(case: "Case") -> int:
    """The most suspicious slice, else the middle one."""
    suspicious = case.study.suspicious if case.study else ()
    return suspicious[0] if suspicious else len(case.predictions) // 2
