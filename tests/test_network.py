"""The network as trained."""

import pytest
import torch
from torch import nn

from model import CLASSES, NO_TUMOR
from training.network import FEATURES, STRIDE, EvidencePool, TumorNet, enlarge


@pytest.fixture(scope="module")
def net():
    """A small network whose BatchNorms and heads are far from their first state, so that a slip in folding shows."""
    torch.manual_seed(0)
    net = TumorNet().train()
    for _ in range(3):
        net(torch.randint(0, 256, (8, 1, 64, 64)))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    for head in (net.score_fine, net.score_near, net.score_wide):
        nn.init.normal_(head.weight, std=0.1)
        nn.init.normal_(head.bias)
    net.pool.log_sharpness.data.uniform_(-0.5, 0.5)
    net.pool.no_tumor_logit.data.fill_(0.7)
    return net.eval()


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 1, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_every_position_has_a_share_of_each_logit(net, images):
    output = net(images)
    assert output.shares.shape == (3, len(CLASSES), 12, 12) and output.shares.min() >= 0
    torch.testing.assert_close(output.shares.sum((2, 3)), torch.ones(3, len(CLASSES)), atol=1e-5, rtol=0)


def test_shares_are_the_gradient_of_the_logit():
    scores = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(2)).mul(3).requires_grad_()
    logits, shares = EvidencePool(3)(scores)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), scores)
    torch.testing.assert_close(shares[:, 1], gradient[:, 1], atol=1e-6, rtol=1e-4)


def test_one_position_with_a_tumor_is_enough_and_none_without_it():
    scores = torch.full((2, 3, 10, 10), -6.0)
    scores[0, 2, 4, 7] = 12.0
    logits, shares = EvidencePool(3)(scores)
    assert logits[0].argmax() == 2 and logits[1].argmax() == NO_TUMOR
    assert shares[0, 2].argmax() == 4 * 10 + 7


def test_scores_follow_the_tumor_when_the_image_is_shifted_by_one_position(net):
    images = torch.zeros(1, 1, 128, 128)
    images[..., 40:60, 40:60] = 200
    shifted = images.roll(32, dims=3)
    with torch.inference_mode():
        first, second = net(images).scores[0, 0], net(shifted).scores[0, 0]
    torch.testing.assert_close(second[6, 10], first[6, 6], atol=0.2, rtol=0.1)


def test_features_are_as_many_as_promised_and_the_grid_as_fine(net):
    output = net.eval()(torch.zeros(1, 1, 64, 96))
    assert output.features.shape == (1, FEATURES) and output.scores.shape[2:] == (64 // STRIDE, 96 // STRIDE)


def test_enlarged_scores_rise_between_two_cells_without_a_step():
    row = enlarge(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2))
    torch.testing.assert_close(row, torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(1, 1, 2, 4))


def test_a_score_can_be_told_at_the_finest_stride_alone(net, images):
    with torch.inference_mode():
        before = net(images).scores
        net.score_fine.weight.zero_()
        fine = before - net(images).scores
    blocks = nn.functional.interpolate(fine[:, :, ::2, ::2], scale_factor=2)
    assert not torch.allclose(fine, blocks, atol=1e-3)
