"""What is sent: a drawn slice as a JPEG of 512 pixels."""

import io

from PIL import Image

from tests.server import REPOSITORY

SIDE, QUALITY = 512, 90


def _jpeg() -> bytes:
    out = io.BytesIO()
    drawn = Image.open(REPOSITORY / "examples" / "glioma_axial_flair.png").convert("L")
    drawn.resize((SIDE, SIDE)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


JPEG = _jpeg()
