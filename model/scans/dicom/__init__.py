"""DICOM: files -> series -> scans. Imported when the first such file comes: pydicom takes half a second to load.

Nothing here prints a value of a tag: pydicom's warnings would quote the patient.
"""

import logging
import warnings

import pydicom.config

from .display import read_stack
from .files import read_instance
from .pixels import is_risky
from .series import Stack, series_of, stacks_of
from .tags import NO_IMAGE, Instance, text

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module="pydicom")

__all__ = ["NO_IMAGE", "Instance", "Stack", "is_risky", "read_instance", "read_stack", "series_of", "stacks_of", "text"]
