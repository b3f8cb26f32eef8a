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
from training.export.refusal import DIRECTIONS, FeatureDistance, fit_distance, refusal_limits


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


def test_the_median_validation_image_has_distance_one():
    validation = features(101, 2)
    assert np.median(distances(fit_distance(features(400, 1), validation), validation)) == pytest.approx(1, abs=1e-4)


def test_what_breaks_the_correlations_of_training_is_far_though_each_feature_is_ordinary():
    training = features(400, 1)
    fitted = fit_distance(training, features(100, 2))
    rng = np.random.default_rng(4)
    shuffled = np.stack([rng.permutation(column) for column in features(100, 5).T], axis=1)
    assert distances(fitted, shuffled).min() > np.quantile(distances(fitted, features(100, 6)), 0.98)


def test_a_unit_of_a_feature_makes_no_difference():
    factor = np.geomspace(1e-2, 1e2, 40)
    plain = fit_distance(features(400, 1), features(50, 2))
    scaled = fit_distance(features(400, 1) * factor, features(50, 2) * factor)
    np.testing.assert_allclose(distances(scaled, features(9, 3) * factor), distances(plain, features(9, 3)), rtol=1e-2)


def test_few_images_and_constant_features_give_finite_distances():
    training = features(5, 1)
    training[:, :3] = 7
    fitted = fit_distance(training, training)
    assert np.isfinite(distances(fitted, features(9, 3))).all()


def test_it_takes_a_few_tens_of_kilobytes():
    fitted = fit_distance(features(600, 1, wide=416), features(50, 2, wide=416))
    assert fitted.directions.shape == (416, DIRECTIONS)
    assert sum(tensor.numel() * 4 for tensor in fitted.buffers()) < 50_000


def test_to_a_new_one_nothing_is_far():
    assert (distances(FeatureDistance(40), features(9, 3)) == 0).all()


def frames(images, size, margin):
    return torch.from_numpy(np.stack([frame(image, size, margin)[0] for image in images]))


def test_a_detector_fitted_on_some_heads_and_things_tells_others_apart(classifier, monkeypatch):
    monkeypatch.setattr(refusal, "DRAWN", 48)
    monkeypatch.setattr(refusal, "DRAWN_SIZE", 96)
    size = classifier.config["size"]
    heads = [draw_phantom(CLASSES[k % 4], seed=900 + k, size=96).image for k in range(32)]
    wide, served = frames(heads[:24], FRAME_SIZE, CACHE_MARGIN), frames(heads[:24], size, SERVING_MARGIN)
    brain = classifier.outputs(torch.cat((served, refusal.augmented(wide, size, seed=0)))).features
    other = classifier.outputs(refusal.frames_of_others([], size, SERVING_MARGIN, seed=0)).features
    fitted = refusal.fit_brain_detector(brain, other)

    things = [draw_other(seed=500 + k, size=96) for k in range(24)]
    of_heads, of_things = (
        fitted(torch.from_numpy(classifier.outputs(frames(images, size, SERVING_MARGIN)).features))
        for images in (heads[24:], things)
    )
    above = (of_heads[:, None] > of_things[None]).float().mean()
    assert above > 0.95  # 0.5 is chance


def test_a_new_detector_favors_nothing():
    features = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(refusal.BrainDetector(7)(features), torch.full((5,), 0.5))


def test_others_are_framed_as_served_and_as_augmented_and_the_drawn_ones_join_them(monkeypatch):
    monkeypatch.setattr(refusal, "DRAWN", 3)
    monkeypatch.setattr(refusal, "DRAWN_SIZE", 64)
    others = [draw_other(seed=700 + k, size=64) for k in range(2)]
    images = refusal.frames_of_others(others, 64, SERVING_MARGIN, seed=0)
    assert images.shape == (3 + 2 + 2, 64, 64) and images.dtype == torch.uint8


def test_limits_let_nearly_all_validation_heads_pass_and_stay_below_their_caps():
    scores, far = np.linspace(0.2, 1, 1001), np.linspace(0.5, 2, 1001)
    found = refusal_limits(scores, far)
    assert found["refused_below"] < found["doubtful_below"] and found["doubtful_from"] < found["refused_from"] < 2
    assert (scores < found["refused_below"]).mean() < 0.006 and (scores < found["doubtful_below"]).mean() < 0.021
    assert (far >= found["refused_from"]).mean() <= 0.003
    sure = refusal_limits(np.full(10, 0.9999), far)
    assert (sure["refused_below"], sure["doubtful_below"]) == (0.5, 0.9)


def test_after_fine_tuning_no_limit_is_stricter_than_at_the_start():
    scores, far = np.linspace(0.2, 1, 1001), np.linspace(0.5, 2, 1001)
    start = {"refused_below": 0.01, "doubtful_below": 0.99, "doubtful_from": 9.0, "refused_from": 1.0}
    found, alone = refusal_limits(scores, far, start), refusal_limits(scores, far)
    assert (found["refused_below"], found["doubtful_from"]) == (0.01, 9.0)
    assert (found["doubtful_below"], found["refused_from"]) == (alone["doubtful_below"], alone["refused_from"])


def test_look_alikes_are_all_for_fitting_or_all_for_measuring(tmp_path):
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


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no image"):
        refusal.read_other_images(tmp_path)
