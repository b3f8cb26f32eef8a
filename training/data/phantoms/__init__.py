"""Drawn heads that look like MRI: training data with every contrast, the tests' data, and the examples of the page.

No patient is in them: anatomy is ellipses, strokes and smooth noise. Everything comes from one integer seed.
"""

from .others import draw_other
from .phantom import FIRST_SEED, SOURCE, Phantom, draw_phantom, draw_volume, write_phantom_dataset

__all__ = ["FIRST_SEED", "SOURCE", "Phantom", "draw_other", "draw_phantom", "draw_volume", "write_phantom_dataset"]
