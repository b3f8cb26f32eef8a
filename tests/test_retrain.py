"""What fine-tuning on own images does around the training itself; tests/test_retrain_service.py trains."""

import numpy as np
import pytest
from PIL import Image

from model.artifact import EMBEDDED, read_config
from tests.server import write_random_weights
from training import own_images
from training.data.frames import read_dataset
from training.data.phantoms import write_phantom_dataset
from training.own_images import OWN, read_own_images
from training.retrain import fine_tuning, main, parse, prepare, remember_root, root_fingerprint
from training.settings import Settings


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_phantom_dataset(tmp_path_factory.mktemp("original"), per_class=20, seed=3, size=96)


@pytest.fixture(scope="module")
def own(tmp_path_factory, draw_head):
    root = tmp_path_factory.mktemp("own")
    for number, label in enumerate(("meningioma", "notumor")):
        (root / label).mkdir()
        for k in range(12):
            Image.fromarray(draw_head(200 * number + k)).save(root / label / f"{k}.png")
    return root


def options(*more):
    return ["--data", "own", "--out", "run", *more]


def test_own_and_original_images_train_and_only_own_ones_are_compared(original, own, tmp_path, monkeypatch):
    monkeypatch.setattr(own_images, "REHEARSED", {"train": 20, "val": 8})
    prepare(read_own_images(own), read_dataset(original), tmp_path / "data", seed=0)
    dataset = read_dataset(tmp_path / "data")
    sources = {split: [r.source for r in dataset.where(split).records] for split in ("train", "val", "test")}
    assert set(sources["train"]) == set(sources["val"]) == {OWN, "phantom"} and set(sources["test"]) == {OWN}
    assert 15 <= sources["train"].count("phantom") <= 25
    assert {r.label for r in dataset.where("train").records} == {"glioma", "meningioma", "pituitary", "notumor"}
    held_out = {r.path.read_bytes() for r in read_dataset(original).where("test").records}
    assert not held_out & {r.path.read_bytes() for r in dataset.records}


def test_own_images_that_are_original_test_images_train_nothing(original, own, tmp_path):
    copied = read_dataset(original).where("test").records[0]
    own_dataset = read_own_images(own)
    training = next(k for k, record in enumerate(own_dataset.records) if record.split == "train")
    left = own_dataset.records[training].id
    own_dataset.records[training].path.with_name("copy.png").write_bytes(copied.path.read_bytes())
    own_dataset.records.append(copied.__class__(own_dataset.records[training].path.with_name("copy.png"), "copy.png",
                                                copied.label, OWN, "a copy", "train"))  # fmt: skip
    prepare(own_dataset, read_dataset(original), tmp_path / "data", seed=0)
    contents = {r.path.read_bytes() for r in read_dataset(tmp_path / "data").records}
    assert copied.path.read_bytes() not in contents
    assert (own / left).read_bytes() in contents
    assert "look the same" in (tmp_path / "own_images.txt").read_text()


def test_other_data_than_the_start_was_trained_on_is_refused_before_training(original, own, tmp_path, capsys):
    arguments = ["--data", str(own), "--out", str(tmp_path / "run"), "--original", str(original)]
    assert main(arguments) == 2
    assert "is not the data that tumornet" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_trained_on_is_a_sentence_and_exit_code_2(own, tmp_path, capsys):
    (tmp_path / "run" / "data").mkdir(parents=True)
    assert main(["--data", str(own), "--out", str(tmp_path / "run")]) == 2
    assert "already holds a run. Add --resume" in capsys.readouterr().err
    assert main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "new")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_the_head_trains_alone_at_first_and_the_steps_are_kept_whatever_the_images():
    settings, original, steps, resume = parse(options())
    assert settings.init == str(EMBEDDED) and 0 < settings.unfreeze_at < 1 and not original and not resume
    for images in (10, 100, 1000):
        run = fine_tuning(settings, settings.data, 64, images, steps)
        batches = run.epochs * int(np.ceil(images / run.batch))
        assert abs(batches - steps) < np.ceil(images / run.batch)
        assert run.patience == run.epochs and run.size == run.smallest_size == 64


@pytest.mark.parametrize("option", ["--size", "--folds", "--epochs", "--copies"])
def test_what_the_start_decides_is_no_option(option):
    with pytest.raises(SystemExit):
        parse(options(option, "3"))


def test_the_first_data_of_a_line_of_weights_is_remembered(tmp_path):
    weights = write_random_weights(tmp_path, temperature=1.0)
    remember_root(weights, {"data_fingerprint": "first"})
    config = read_config(weights) | {"data_fingerprint": "second"}
    assert root_fingerprint(config) == "first"
    remember_root(weights, config)
    assert root_fingerprint(read_config(weights)) == "first"


def test_unknown_settings_are_refused():
    with pytest.raises(SystemExit):
        parse(options("--epochz", "3"))
    with pytest.raises(ValueError):
        parse(options("--batch", "0"))
    assert isinstance(parse(options("--seed", "3"))[0], Settings)
