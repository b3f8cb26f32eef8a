"""The shipped weights and the examples that a visitor clicks first."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model import CLASSES
from model.scans import read
from page import examples

FOLDER = Path(__file__).parents[1]
LABELS = {  # of the pictures, as their names say; "not" is no brain
    path: "notumor" if path.stem.startswith("no_tumor") else path.stem.split("_")[0]
    for path in sorted((FOLDER / "examples").glob("*.png"))
}


def test_each_class_has_two_examples_and_something_else_has_one():
    labels = list(LABELS.values())
    assert all(labels.count(label) >= 2 for label in CLASSES) and labels.count("not") == 1


@pytest.mark.parametrize("path", LABELS, ids=lambda path: path.stem)
def test_the_shipped_model_names_each_example_with_80_percent_and_refuses_what_is_no_brain(classifier, path):
    (prediction,) = classifier.predict(read(path).slices)
    if LABELS[path] == "not":
        assert prediction.status == "refused" and prediction.reason.endswith(".")
    else:
        assert prediction.status == "accepted"
        assert prediction.label == LABELS[path] and prediction.probabilities[prediction.label] >= 0.8


def test_volumes_are_shown_by_their_middle_slice():
    volumes = [path for path in examples.FILES if path.suffix != ".png"]
    assert len(volumes) == 2
    for path in volumes:
        np.testing.assert_array_equal(Image.open(examples.picture_of(path)), examples.middle_slice(path))


def test_the_page_starts_without_what_only_some_files_need():
    """Each of these costs up to a second before the port opens."""
    heavy = ("torch", "torchvision", "matplotlib", "sklearn", "scipy", "pydicom", "gdcm", "nibabel", "schemathesis")
    program = f"import sys, app; print(*{set(heavy)!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=FOLDER, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
