"""What is published for programs of others answers as model/ does, to the last digit."""

import ast
import copy
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model import preprocess, scans
from model.artifact import FILES
from model.classifier import EMBEDDED, TumorClassifier
from model.graph import with_unsigned_weights
from training.evaluation.recorded import EXAMPLES
from training.publish import upload_of
from training.publishing import inference

PICTURES = sorted(EXAMPLES.rglob("*.png"))
KINDS = ("u1", "i1", "<u2", ">u2", "<i2", "?", "i4", "i8", "f2", "f4", "f8")
SIDES, SEEDS = st.integers(1, 90), st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """The repository as it is downloaded, of the embedded weights."""
    folder = tmp_path_factory.mktemp("published")
    for name, content in upload_of(EMBEDDED, "hospital/net").files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder


@pytest.fixture(scope="module")
def model(published) -> inference.TumorModel:
    return inference.TumorModel(published)


@pytest.fixture(scope="module")
def own() -> TumorClassifier:
    return TumorClassifier.from_folder(EMBEDDED)


@pytest.fixture
def without_lines(monkeypatch):
    """The one doubt that is left out there: slices on which something is drawn."""
    monkeypatch.setattr("model.classifier.has_lines", lambda pixels: False)


def test_it_is_one_short_file_that_needs_three_packages():
    source = Path(inference.__file__).read_text()
    assert source.count("\n") <= 200
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"numpy", "PIL", "onnxruntime"}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_every_example_is_answered_alike(model, own, picture):
    (expected,) = own.predict(scans.read(picture).slices)
    assert model(picture) == expected.as_dict()


def test_the_command_prints_the_answer_or_what_is_wrong(published, own):
    program = [sys.executable, str(published / "inference.py")]
    (expected,) = own.predict(scans.read(PICTURES[0]).slices)
    printed = subprocess.run([*program, str(PICTURES[0])], stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(printed) == expected.as_dict()
    failed = subprocess.run([*program, "nowhere.png"], capture_output=True, text=True)
    assert failed.returncode == 1 and "No such file" in failed.stderr and "Traceback" not in failed.stderr


def drawn(kind: str, height: int, width: int, share: float, seed: int) -> np.ndarray:
    """A slice: noise on a head on a ground, of which only a `share` is not constant."""
    rng, dtype = np.random.default_rng(seed), np.dtype(kind)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = np.hypot(x / rng.uniform(0.1, 1.2), y / rng.uniform(0.1, 1.2)) < 1
    values = np.where(inside, rng.normal(rng.uniform(-1, 1), 0.3, inside.shape), rng.normal())
    values = np.where(rng.random(inside.shape) < share, values, rng.normal())
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = (values * 10.0 ** rng.integers(-3, 9)).astype(dtype)
        values[rng.random(inside.shape) < rng.choice((0, 0.1))] = rng.choice((np.nan, np.inf, -np.inf))
        return values
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.interp(values, (-2, 2), limits).astype(dtype)


@given(st.sampled_from(KINDS), SIDES, SIDES, st.sampled_from((1, 0.3, 0.003, 0)), SEEDS, st.sampled_from((0.06, 0.25)))
def test_slices_of_every_type_and_shape_are_framed_alike(kind, height, width, share, seed, margin):
    pixels = drawn(kind, height, width, share, seed)
    before = pixels.copy()
    np.testing.assert_array_equal(inference.frame(pixels, 40, margin), preprocess.frame(pixels, 40, margin)[0])
    np.testing.assert_array_equal(pixels, before)


def test_whatever_the_limits_are_the_reasons_are_the_same(model, own, without_lines):
    """Limits and temperatures at which each sentence is the reason of some slice."""
    rng, reasons = np.random.default_rng(4), set()
    slices = [scans.read(picture).slices[0] for picture in PICTURES[:9:2]] + [np.full((50, 60), 7, np.uint16)]
    slices += [drawn(kind, 90, 80, 0.5, seed) for seed, kind in enumerate(KINDS[::3])]
    for _ in range(20):
        facts = {
            "temperature": float(rng.choice((0.5, 2, 4, 9))),
            "operating_point": {"threshold": float(rng.choice((0.01, 0.3, 0.98)))},
            "prediction_set": {"keep_from": float(rng.choice((0.1, 0.3, 1)))},
            "refusal": {f"{kind}_below": float(rng.random() ** 3) for kind in ("refused", "doubtful")}
            | {f"{kind}_from": float(rng.uniform(0.9, 3)) for kind in ("refused", "doubtful")},
        }
        there, here = copy.copy(model), copy.copy(own)
        there.config = here.config = own.config | facts
        answers = [there(pixels) for pixels in slices]
        assert answers == [prediction.as_dict() for prediction in here.predict(slices)]
        reasons |= {answer["reason"] for answer in answers}
    of_slice = inference.BLANK, inference.NO_BRAIN, inference.OUT_OF_DISTRIBUTION, inference.UNUSUAL
    of_answer = inference.UNDECIDED, inference.UNSEEN, inference.UNSURE, " or no tumor: the model cannot tell which."
    for sentence in (*of_slice, *of_answer):
        assert any(sentence in reason for reason in reasons), sentence


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "YCbCr")


@given(st.sampled_from(inference.FORMATS), st.sampled_from(MODES), st.integers(1, 8), st.booleans(), SEEDS)
def test_pictures_are_read_alike(tmp_path_factory, file_format, mode, orientation, transparent, seed):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (41, 57, 4), dtype=np.uint8))
    gray = Image.fromarray(rng.integers(0, 900, (41, 57), dtype=np.uint16))
    image = gray if mode == "I;16" else image.convert(mode)
    options = {"exif": Image.Exif()} if file_format in ("PNG", "JPEG", "WEBP") else {}
    if options:
        options["exif"][0x0112] = orientation
    if transparent and file_format in ("PNG", "GIF"):
        options["transparency"] = 100
    content = io.BytesIO()
    try:
        image.save(content, file_format, **options)
    except (OSError, ValueError, TypeError):
        return  # there is no such file
    file = tmp_path_factory.getbasetemp() / "picture"
    file.write_bytes(content.getvalue())
    expected = scans.read(file).slices[0]
    for picture in (file, str(file), Image.open(file)):
        pixels = inference.gray(picture)
        assert pixels.dtype == expected.dtype
        np.testing.assert_array_equal(pixels, expected)


def test_arrays_are_taken_as_they_are_and_colored_ones_as_pictures():
    colored = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(inference.gray(colored), np.asarray(Image.fromarray(colored).convert("L")))
    assert inference.gray(colored[..., 0]).base is colored


@pytest.mark.parametrize("content", [b"not a picture", b"II*\0"])
def test_files_of_other_kinds_are_not_opened(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(OSError, match="cannot identify"):
        inference.gray(tmp_path / "file")


def test_weights_are_turned_where_products_saturate_and_answer_alike(published, model, monkeypatch):
    content = (published / inference.GRAPH).read_bytes()
    assert inference.unsigned(content) == with_unsigned_weights(content) != content
    turned = []
    turn = inference.unsigned
    monkeypatch.setattr(inference, "unsigned", lambda graph: turned.append(graph) or turn(graph))
    monkeypatch.setattr(inference, "EXACT", 0)  # the probe says that they do
    assert inference.TumorModel(published)(PICTURES[0]) == model(PICTURES[0]) and turned == [content]


def test_a_graph_that_is_not_the_one_that_is_named_is_refused(published, tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_bytes((published / "config.json").read_bytes())
    (tmp_path / FILES["int8"]).write_bytes((published / FILES["int8"]).read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="Download it again"):
        inference.TumorModel(tmp_path)


ASK = """
import json, sys, warnings
import numpy as np
from transformers import pipeline

ask = pipeline("image-classification", sys.argv[1], trust_remote_code=True)
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    answers = ask(sys.argv[2:], batch_size=2) + [ask(np.load(sys.argv[1] + "/slice.npy"))]
scores = [{shown["label"]: shown["score"] for shown in answer} for answer in answers]
print(json.dumps([scores, [str(warning.message) for warning in warned if warning.category is UserWarning]]))
"""


def test_the_pipeline_of_transformers_gives_the_same_probabilities(published, model, tmp_path):
    if not importlib.util.find_spec("transformers"):
        pytest.skip("needs transformers 5")
    pictures = [EXAMPLES / f"{name}.png" for name in ("glioma_axial_t1c", "not_a_brain_chest", "no_tumor_axial_t2")]
    of_16_bit = np.asarray(Image.open(pictures[0]).convert("L")).astype(np.uint16) * 31 + 5
    np.save(published / "slice.npy", of_16_bit)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", ASK, str(published), *map(str, pictures)]
    printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    all_scores, warned = json.loads(printed)
    answers = [model(picture) for picture in (*pictures, of_16_bit)]
    assert warned == [answer["reason"] for answer in answers if answer["status"] == "refused"]
    for scores, answer in zip(all_scores, answers, strict=True):
        names = {inference.DISPLAY_NAMES.get(name, name): share for name, share in answer["probabilities"].items()}
        assert scores == pytest.approx(names, abs=1e-6)
