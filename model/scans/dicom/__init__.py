"""DICOM: files -> series -> scans. Imported when the first such file comes: pydicom takes half a second to load.

Nothing here prints a value of a tag: pydicom's warnings would quote the patient.
"""

import logging
import warnings

import pydicom.config

from .headers import Instance, read_instance
from .series import read_series

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module="pydicom")

__all__ = ["Instance", "read_instance", "read_series"]
