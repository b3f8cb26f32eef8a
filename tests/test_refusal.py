"""Out-of-distribution distance, against a covariance written out; the brain detector; the limits of both."""

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
from training.export import refusal
from training.export.refusal import FeatureDistance, fit_distance, refusal_limits


def features(count: int, seed: int, wide: int = 40, factors: int = 6) -> np.ndarray:
    """Correlated features (count, wide) of unequal scale, around a mean that is not 0."""
    mixing = np.random.default_rng(0).normal(size=(factors, wide))
    rng = np.random.default_rng(seed)
    scale = np.linspace(0.01, 5, wide)
    return 3 + scale * (rng.normal(size=(count, factors)) @ mixing + 0.3 * rng.normal(size=(count, wide)))


def distances(fitted: FeatureDistance, of: np.ndarray) -> np.ndarray:
    return fitted(torch.tensor(of, dtype=torch.float32)).numpy()


def test_the_distance_is_that_of_the_covariance_it_stands_for():
    fitted = fit_distance(features(400, 1), features(50, 2))
    mean, spread, directions, variances, variance = (tensor.double().numpy() for tensor in fitted.buffers())
    others = np.eye(len(mean)) - directions @ directions.T
    covariance = directions @ np.diag(variances) @ directions.T + variance * others
    z = (features(9, 3) - mean) / spread
    expected = np.sqrt(np.einsum("nd,de,ne->n", z, np.linalg.inv(covariance), z))
    np.testing.assert_allclose(distances(fitted, features(9, 3)), expected, rtol=1e-3)


def test_what_breaks_the_correlations_of_training_is_far_though_each_feature_is_ordinary():
    training = features(400, 1)
    fitted = fit_distance(training, features(100, 2))
    rng = np.random.default_rng(4)
    shuffled = np.stack([rng.permutation(column) for column in features(100, 5).T], axis=1)
    assert distances(fitted, shuffled).min() > np.quantile(distances(fitted, features(100, 6)), 0.98)


def test_the_median_is_one_in_whatever_unit_and_few_images_or_constant_features_give_finite_distances():
    factor, validation = np.geomspace(1e-2, 1e2, 40), features(101, 2)
    plain, scaled = (fit_distance(features(400, 1) * by, validation * by) for by in (1, factor))
    assert np.median(distances(plain, validation)) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(distances(scaled, features(9, 3) * factor), distances(plain, features(9, 3)), rtol=1e-2)
    few = features(5, 1)
    few[:, :3] = 7
    assert np.isfinite(distances(fit_distance(few, few), features(9, 3))).all()


def test_a_new_distance_and_a_new_detector_let_everything_through():
    assert (distances(FeatureDistance(40), features(9, 3)) == 0).all()
    scores = refusal.BrainDetector(40)(torch.tensor(features(9, 3), dtype=torch.float32))
    assert torch.equal(scores, torch.full((9,), 0.5))


def frames(images, size, margin):
    return torch.from_numpy(np.stack([frame(image, size, margin)[0] for image in images]))


def test_a_detector_fitted_on_some_heads_and_things_tells_others_apart(classifier, monkeypatch):
    monkeypatch.setattr(refusal, "DRAWN", 48)
    monkeypatch.setattr(refusal, "DRAWN_SIZE", 96)
    size = classifier.config["size"]
    heads = [draw_phantom(CLASSES[k % 4], seed=900 + k, size=96).image for k in range(32)]
    wide, served = frames(heads[:24], FRAME_SIZE, CACHE_MARGIN), frames(heads[:24], size, SERVING_MARGIN)
    brain = classifier.outputs(torch.cat((served, refusal.augmented(wide, size, seed=0)))).features
    images = refusal.frames_of_others([draw_other(700, 64)], size, SERVING_MARGIN, seed=0)
    assert images.shape == (48 + 1 + 1, size, size) and images.dtype == torch.uint8  # as served, and as augmented
    other = classifier.outputs(images).features
    fitted = refusal.fit_brain_detector(brain, other)

    things = [draw_other(seed=500 + k, size=96) for k in range(24)]
    of_heads, of_things = (
        fitted(torch.from_numpy(classifier.outputs(frames(images, size, SERVING_MARGIN)).features))
        for images in (heads[24:], things)
    )
    above = (of_heads[:, None] > of_things[None]).float().mean()
    assert above > 0.95  # 0.5 is chance


def test_limits_let_nearly_all_validation_heads_pass_stay_below_their_caps_and_only_loosen():
    scores, far = np.linspace(0.2, 1, 1001), np.linspace(0.5, 2, 1001)
    found = refusal_limits(scores, far)
    assert found["refused_below"] < found["doubtful_below"] and found["doubtful_from"] < found["refused_from"] < 2
    assert (scores < found["refused_below"]).mean() < 0.006 and (scores < found["doubtful_below"]).mean() < 0.021
    assert (far >= found["refused_from"]).mean() <= 0.003
    sure = refusal_limits(np.full(10, 0.9999), far)
    assert (sure["refused_below"], sure["doubtful_below"]) == (0.5, 0.9)
    start = {"refused_below": 0.01, "doubtful_below": 0.99, "doubtful_from": 9.0, "refused_from": 1.0}
    tuned = refusal_limits(scores, far, start)
    assert tuned == found | {"refused_below": 0.01, "doubtful_from": 9.0}, "no limit is stricter than at the start"


def test_look_alikes_are_all_for_fitting_or_all_for_measuring(tmp_path):
    with pytest.raises(DataError, match="no image"):
        refusal.read_other_images(tmp_path)
    for k in range(24):
        image = draw_other(seed=300 + k, size=96)
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        Image.fromarray(image[:, ::-1]).save(tmp_path / f"mirrored_{k}.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    others = refusal.read_other_images(tmp_path)
    assert len(others.slices) == 48 and len(others.problems) == 1
    side_of = {}
    for group, side in zip(others.groups, others.for_fitting, strict=True):
        assert side_of.setdefault(group, side) == side
    assert len(side_of) <= 24 and len(set(others.for_fitting)) == 2
