"""Whether slices are of a size that can be decoded and judged: asked of headers, before pixels."""

from . import limits
from .scan import UnreadableScan


def check_shape(height: int, width: int) -> None:
    """Raises UnreadableScan if a slice of that many pixels is too large, a thumbnail or a stripe."""
    if width * height > limits.MAX_PIXELS:
        raise too_large()
    if min(height, width) < limits.MIN_SIDE:
        raise UnreadableScan(
            f"The image has only {width} x {height} pixels; at least {limits.MIN_SIDE} on each side are needed. "
            "Upload the slice itself, not a thumbnail."
        )
    if max(height, width) > limits.MAX_ASPECT * min(height, width):
        raise UnreadableScan(
            f"The image is a stripe of {width} x {height} pixels, not a slice. Crop it to one slice and upload that."
        )


def check_in_all(pixels: int, slices: int = 1) -> None:
    """Raises UnreadableScan if a scan of that many pixels and slices in all is too large."""
    if slices > limits.MAX_SLICES:
        raise UnreadableScan(f"The scan has more than {limits.MAX_SLICES} slices. Export fewer slices at once.")
    if pixels > limits.MAX_PIXELS_IN_ALL:
        raise UnreadableScan(
            f"The slices have more than {limits.MAX_PIXELS_IN_ALL // 10**6} million pixels in all. "
            "Export fewer slices at once, or smaller ones."
        )


def too_large() -> UnreadableScan:
    return UnreadableScan(
        f"The image has more than {limits.MAX_PIXELS // 10**6} million pixels. Crop it to one slice, or scale it down."
    )
