"""The network as trained, and where a run starts."""

import pytest
import torch
import torchvision
from torch import nn

from model import CLASSES, NO_TUMOR
from training.network import FEATURES, STRIDE, EvidencePool, TumorNet, enlarge, initialize


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


@torch.inference_mode()
def test_every_position_has_a_share_of_each_logit_and_features_are_as_many_as_promised(net):
    images = torch.randint(0, 256, (3, 1, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    output = net(images)
    assert output.shares.shape == output.scores.shape == (3, len(CLASSES), 64 // STRIDE, 96 // STRIDE)
    assert output.shares.min() >= 0 and output.features.shape == (3, FEATURES)
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


def test_enlarged_scores_rise_between_two_cells_without_a_step():
    row = enlarge(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2))
    torch.testing.assert_close(row, torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(1, 1, 2, 4))


@torch.inference_mode()
def test_a_score_can_differ_between_neighbors_of_the_finest_stride(net):
    images = torch.randint(0, 256, (1, 1, 64, 64), generator=torch.Generator().manual_seed(1))
    before, weight = net(images).scores, net.score_fine.weight.clone()
    net.score_fine.weight.zero_()
    fine = before - net(images).scores
    net.score_fine.weight.copy_(weight)
    blocks = nn.functional.interpolate(fine[:, :, ::2, ::2], scale_factor=2)
    assert not torch.allclose(fine, blocks, atol=1e-3)


# ---- where a run starts


def test_a_file_of_torchvisions_weights_under_other_names_fits_and_a_gray_image_gives_what_it_would_as_rgb(tmp_path):
    oracle = torchvision.models.mobilenet_v2(weights=None).eval()
    renamed = {name.replace(".0.weight", ".weight"): tensor for name, tensor in oracle.state_dict().items()}
    assert renamed.keys() != oracle.state_dict().keys()
    torch.save(renamed, tmp_path / "mobilenet.pt")
    net = TumorNet()
    initialize(net, str(tmp_path / "mobilenet.pt"))
    gray = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        theirs = oracle.features[:-1](gray.expand(-1, 3, -1, -1))
        torch.testing.assert_close(net.eval().features(gray), theirs, atol=1e-4, rtol=1e-4)


def test_frozen_parts_keep_their_weights_and_what_batch_norm_has_seen():
    net = TumorNet(frozen=4).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = torch.optim.SGD([parameter for parameter in net.parameters() if parameter.requires_grad], lr=0.1)
    net(torch.rand(2, 1, 64, 64) * 255).logits[:, 0].sum().backward()
    optimizer.step()
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and not any(name.startswith(tuple(f"features.{k}." for k in range(4))) for name in changed)
    assert "features.5.conv.0.1.running_mean" in changed


def test_other_weights_are_refused(tmp_path):
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    for name in ("broken.pt", "list.pt", "missing.pt"):
        with pytest.raises(ValueError, match=name):
            initialize(TumorNet(), str(tmp_path / name))
    with pytest.raises(ValueError, match="not the weights of a MobileNetV2"):
        initialize(TumorNet(), str(tmp_path / "other.pt"))


def test_imagenet_without_a_network_is_refused_with_the_remedy(monkeypatch, tmp_path):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(ValueError, match="--init scratch"):
        initialize(TumorNet(), "imagenet")
