"""How far a slice lies from the training images, in the network's own features."""

from typing import NamedTuple

import torch
from torch import Tensor


class Familiarity(NamedTuple):
    """Mean and covariance of D training features, the latter as K main directions and one variance for all others.

    Source: probabilistic principal components, Tipping and Bishop 1999; the Mahalanobis distance of features as a sign
    of strangeness, Lee et al. 2018, arXiv:1807.03888. All float32.
    """

    mean: Tensor  # (D,)
    spread: Tensor  # (D,): standard deviation of each feature, so that none counts more for being large
    directions: Tensor  # (D, K): orthonormal, in features minus `mean` over `spread`
    variances: Tensor  # (K + 1,): along each direction, then along any other; in units that make 1 an ordinary distance

    def distance(self, features: Tensor) -> Tensor:
        """Mahalanobis distances of (N, D) features: (N,), >= 0; 1 is what the median validation image has."""
        z = (features - self.mean) / self.spread
        along = z @ self.directions
        beside = (z - along @ self.directions.T).square().sum(1)
        return ((along.square() / self.variances[:-1]).sum(1) + beside / self.variances[-1]).sqrt()


def never_strange(features: int) -> Familiarity:
    """The one to whom nothing is strange: distance 0 for all of (N, `features`)."""
    return Familiarity(
        torch.zeros(features), torch.ones(features), torch.zeros(features, 1), torch.full((2,), torch.inf)
    )
