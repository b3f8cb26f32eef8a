"""How bright each tissue is: one draw in the manner of T1, T1 with contrast agent, T2 or FLAIR.

The order of the tissues is a sequence's own; the values jitter, so that brightness alone tells nothing.
"""

from typing import NamedTuple

import numpy as np

SEQUENCES = ("t1", "t1c", "t2", "flair")


class Tissues(NamedTuple):
    """Signal of every tissue, about 0 (black) to 1 (white)."""

    csf: float
    gray: float
    white: float
    fat: float
    muscle: float
    marrow: float
    bone: float
    mucosa: float
    vessel: float
    dura: float
    gland: float
    vitreous: float
    solid: float  # vital part of a glioma
    core: float  # its necrosis
    edema: float
    meningioma: float
    adenoma: float


# fmt: off
TYPICAL = {  # in the order of the fields of Tissues
    "t1": Tissues(.13, .42, .55, .95, .38, .62, .05, .45, .15, .35, .52, .14, .34, .20, .36, .36, .37),
    "t1c": Tissues(.10, .37, .44, .92, .36, .58, .05, .72, .82, .58, .78, .12, .86, .16, .30, .84, .76),
    "t2": Tissues(.95, .55, .38, .72, .24, .45, .05, .80, .08, .20, .50, .95, .72, .92, .80, .66, .70),
    "flair": Tissues(.10, .54, .43, .62, .28, .4, .05, .66, .12, .30, .50, .12, .78, .34, .9, .76, .74),
}
# fmt: on


def draw_tissues(rng: np.random.Generator, sequence: str) -> Tissues:
    """Tissues of one scan: the typical ones, jittered; gray and white matter nearer to or farther from each other."""
    typical = TYPICAL[sequence]
    jittered = Tissues(*(value * float(np.exp(rng.normal(0, 0.08))) for value in typical))
    middle = (jittered.gray + jittered.white) / 2
    half = (typical.white - typical.gray) / 2 * rng.uniform(0.6, 1.5)
    return jittered._replace(gray=middle - half, white=middle + half)
