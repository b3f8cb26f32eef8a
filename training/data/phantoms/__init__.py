"""Drawn heads that look like MRI: training data with every contrast, the tests' data, and the examples of the page.

No patient is in them: anatomy is ellipses, strokes and smooth noise. Everything comes from one integer seed.
"""

from training.data.phantoms.dataset import write_phantom_dataset
from training.data.phantoms.others import draw_other
from training.data.phantoms.phantom import Phantom, draw_phantom

__all__ = ["Phantom", "draw_other", "draw_phantom", "write_phantom_dataset"]
