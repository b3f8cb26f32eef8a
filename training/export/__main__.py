"""Export a run once more, after a change to the calibration or the report.

python -m training.export runs/NAME
"""

import sys
from pathlib import Path

from .export import export

if len(sys.argv) != 2:
    sys.exit(__doc__.strip().splitlines()[-1])
export(Path(sys.argv[1]))
