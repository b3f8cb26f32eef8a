"""Distance from the training images, against a covariance written out and against data that is strange by making."""

import numpy as np
import pytest
import torch

from training.export.distance import DIRECTIONS, FeatureDistance, distance_limits, fit_distance


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


def test_to_whom_nothing_is_strange_everything_is_at_distance_zero():
    assert (distances(FeatureDistance(40), features(9, 3)) == 0).all()


def test_limits_let_nearly_all_validation_images_pass():
    found = distance_limits(np.linspace(0.5, 2, 1001))
    assert found["doubtful_from"] < found["refused_from"] < 2
    assert (np.linspace(0.5, 2, 1001) >= found["refused_from"]).mean() <= 0.003
