"""What is no brain MRI, and what is too far from training, by features alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from model import CLASSES
from model.preprocess import SERVING_MARGIN, frame
from training.augmentation.augment import CACHE_MARGIN
from training.data.layouts import DataError
from training.data.phantoms import draw_other, draw_phantom
from training.data.training_set import FRAME_SIZE
from training.export import brain_detector


def frames(images, size, margin):
    return torch.from_numpy(np.stack([frame(image, size, margin)[0] for image in images]))


def test_a_detector_fitted_on_some_heads_and_things_tells_others_apart(classifier, monkeypatch):
    monkeypatch.setattr(brain_detector, "DRAWN", 48)
    monkeypatch.setattr(brain_detector, "DRAWN_SIZE", 96)
    size = classifier.config["size"]
    heads = [draw_phantom(CLASSES[k % 4], seed=900 + k, size=96).image for k in range(32)]
    wide, served = frames(heads[:24], FRAME_SIZE, CACHE_MARGIN), frames(heads[:24], size, SERVING_MARGIN)
    brain = classifier.outputs(torch.cat((served, brain_detector.varied(wide, size, seed=0)))).features
    other = classifier.outputs(brain_detector.frames_of_others([], size, SERVING_MARGIN, seed=0)).features
    fitted = brain_detector.fit_brain_detector(brain, other)

    things = [draw_other(seed=500 + k, size=96) for k in range(24)]
    of_heads, of_things = (
        fitted(torch.from_numpy(classifier.outputs(frames(images, size, SERVING_MARGIN)).features))
        for images in (heads[24:], things)
    )
    above = (of_heads[:, None] > of_things[None]).float().mean()
    assert above > 0.95  # 0.5 is chance


def test_a_new_detector_favors_nothing():
    features = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(brain_detector.BrainDetector(7)(features), torch.full((5,), 0.5))


def test_others_are_framed_as_served_and_as_augmented_and_the_drawn_ones_join_them(monkeypatch):
    monkeypatch.setattr(brain_detector, "DRAWN", 3)
    monkeypatch.setattr(brain_detector, "DRAWN_SIZE", 64)
    others = [draw_other(seed=700 + k, size=64) for k in range(2)]
    images = brain_detector.frames_of_others(others, 64, SERVING_MARGIN, seed=0)
    assert images.shape == (3 + 2 + 2, 64, 64) and images.dtype == torch.uint8


def test_limits_let_nearly_all_validation_heads_pass_and_stay_below_their_caps():
    scores = np.linspace(0.2, 1, 1001)
    found = brain_detector.brain_score_limits(scores)
    assert found["refused_below"] < found["doubtful_below"]
    assert (scores < found["refused_below"]).mean() < 0.006 and (scores < found["doubtful_below"]).mean() < 0.021
    sure = brain_detector.brain_score_limits(np.full(10, 0.9999))
    assert sure == {"refused_below": brain_detector.HIGHEST_REFUSED, "doubtful_below": brain_detector.HIGHEST_DOUBTFUL}


def test_look_alikes_are_all_for_fitting_or_all_for_measuring(tmp_path):
    for k in range(24):
        image = draw_other(seed=300 + k, size=96)
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        Image.fromarray(image[:, ::-1]).save(tmp_path / f"mirrored_{k}.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    others = brain_detector.read_other_images(tmp_path)
    assert len(others.slices) == 48 and len(others.problems) == 1
    side_of = {}
    for group, side in zip(others.groups, others.for_fitting, strict=True):
        assert side_of.setdefault(group, side) == side
    assert len(side_of) <= 24 and len(set(others.for_fitting)) == 2


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no image"):
        brain_detector.read_other_images(tmp_path)
