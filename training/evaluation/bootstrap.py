"""The group bootstrap: groups -> how often each image counts in each resample -> intervals.

Images of one patient resemble each other, so *groups* are drawn, never images. A resample is nothing but a weight for
each image (how often its group was drawn): a statistic written over rows of weights gives its value from a row of ones
and its 95 % interval from 1,000 random rows, in a fraction of a second.
"""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000


def resample_weights(groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """float64 (resamples, N): how often each image's group was drawn; as many draws as groups, with replacement."""
    names, group_of = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return draws[:, group_of].astype(np.float64)


def figure(value: float, spread: np.ndarray) -> dict[str, float | None]:
    """{value, low, high} with the 2.5th and 97.5th percentile of the resamples in which the figure is defined.

    The interval is widened to hold the value: resampling inflates a calibration error, so its bare percentiles may not.
    """
    spread = spread[np.isfinite(spread)]
    if not np.isfinite(value) or not len(spread):
        return {"value": None, "low": None, "high": None}
    low, high = np.percentile(spread, (2.5, 97.5))
    return {"value": float(value), "low": float(min(low, value)), "high": float(max(high, value))}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is nothing."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def mean_with_interval(
    values: np.ndarray, groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, int | float | None]:
    """Mean over images of `values` (N,), for bool the share of True: {n, n_groups, value, low, high}."""
    values, groups = np.asarray(values, dtype=float), np.asarray(groups, dtype=object)
    size = {"n": len(values), "n_groups": len(set(groups))}
    if not len(values):
        return size | figure(np.nan, np.array([np.nan]))
    weights = resample_weights(groups, resamples, seed)
    return size | figure(values.mean(), ratio(weights @ values, weights.sum(1)))
