"""A volume in the three planes that radiologists look at."""

from dataclasses import replace

import numpy as np

from . import orientation
from .resample import fits, resized
from .scan import Scan

FINEST_MM = 1.0  # of pixels and distances in a plane that is cut: the network sees no finer, and no volume takes 100 MB


def planes(scan: Scan) -> dict[str, Scan]:
    """Cut a volume into "axial", "coronal" and "sagittal" slices with square pixels, turned as radiologists see them.

    The plane that `scan` came in is `scan` itself. A plane whose slices would be stripes is left out, as of a volume of
    few thick slices. A scan that is no volume gives only itself, under its own plane's name, which may be "".
    """
    if not scan.is_volume:
        return {scan.plane: scan}
    between, pixel = scan.spacing
    side = max(FINEST_MM, min(between, pixel))
    shape = [max(1, round(length * pixel / side)) for length in scan.slices[0].shape]
    cut = {scan.plane: scan}
    if fits(len(scan.slices), *shape):
        volume = np.stack([resized(pixels, *shape) for pixels in scan.slices])
        for plane in orientation.DISPLAY.keys() - cut.keys():
            slices = _cut(volume, scan.plane, plane, (between, side, side), side)
            if slices:
                marked = tuple(range(len(slices))) if scan.marked else ()  # a line may pass through each of them
                cut[plane] = replace(scan, slices=slices, plane=plane, spacing=(side, side), marked=marked)
    return {plane: cut[plane] for plane in orientation.DISPLAY if plane in cut}


def _cut(volume: np.ndarray, own: str, plane: str, steps: tuple[float, ...], side: float) -> list[np.ndarray]:
    """Slices of `plane` from the stacked slices of the plane `own`; none if they would be stripes or too many.

    Args: `steps`, mm along each index of `volume`; `side`, mm of the square pixels that are wanted.
    """
    axes = orientation.DISPLAY[own]
    view = orientation.displayed(volume, axes, plane)
    _, down, right = (steps[i] for i in orientation.displayed_order(axes, plane))
    shape = round(view.shape[1] * down / side), round(view.shape[2] * right / side)
    return [resized(pixels, *shape) for pixels in view] if fits(len(view), *shape) else []
