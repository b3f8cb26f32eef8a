"""The int8 artefact on disk and back."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model.kernels import FusedConv, Int8Depthwise, Int8Linear, activation_levels, fuse_relu6, on_grid
from model.network import Depthwise, PatchLinear, TumorNet, served
from model.quantization import (
    CONFIG,
    FILES,
    FORMAT_VERSION,
    DamagedWeights,
    load_trained,
    load_weights,
    make_config,
    quantize_rows,
    save_weights,
)


@pytest.fixture(scope="module")
def trained():
    """A network with spread-out answers: heads scaled up, BatchNorm statistics of real activations."""
    torch.manual_seed(3)
    net = TumorNet().train()
    for _ in range(4):
        net(blobs(8, seed=4))
    nn.init.normal_(net.score_fine.weight, std=0.1)
    nn.init.normal_(net.score_near.weight, std=0.1)
    nn.init.normal_(net.score_wide.weight, std=0.1)
    return net.eval()


def blobs(count: int, seed: int) -> torch.Tensor:
    """Smooth random images (count, 1, 96, 96) in 0..255: network-like input, unlike white noise."""
    coarse = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1) * 255


@pytest.fixture
def folder(trained, tmp_path):
    (tmp_path / CONFIG).write_text(json.dumps(make_config("test", 96, 0.06)))
    for precision in FILES:
        save_weights(trained, {"gate.weight": torch.arange(3.0)}, tmp_path, precision)
    return tmp_path


def test_rows_are_quantized_to_half_a_step():
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(5)) * torch.tensor(
        [[1e-6], [0.1], [1], [10], [0]]
    )
    rows, scale = quantize_rows(weight)
    assert rows.dtype == torch.int8 and rows.abs().max() == 127
    assert ((rows * scale[:, None] - weight).abs() <= scale[:, None] / 2 + 1e-12).all()


@torch.inference_mode()
def test_int8_logits_stay_within_five_percent_of_the_spread(trained, folder):
    images = blobs(32, seed=6)
    expected, got = trained(images).logits[:, :3], load_weights(folder)[0](images).logits[:, :3]
    spread = expected.max() - expected.min()
    assert (got - expected).abs().mean() < 0.05 * spread


@torch.inference_mode()
def test_int8_kernel_and_dequantized_fallback_agree(folder):
    if not activation_levels():
        pytest.skip("this PyTorch has no int8 kernel: only the fallback is in use")
    images = blobs(16, seed=7)
    kernel = load_weights(folder)[0]
    fallback = load_weights(folder, kernel="float")[0]
    assert any(isinstance(module, Int8Linear) for module in kernel.modules())
    assert not any(isinstance(module, Int8Linear) for module in fallback.modules())
    difference, logits = kernel(images).logits - fallback(images).logits, fallback(images).logits
    assert difference.abs().mean() < 0.03 * (logits.max() - logits.min())


def test_int8_convolution_is_exact_where_the_activations_fit_the_grid():
    if not activation_levels():
        pytest.skip("this PyTorch has no int8 kernel")
    rng = torch.Generator().manual_seed(8)
    conv = nn.Conv2d(27, 6, 1)
    rows = torch.randint(-127, 128, (6, 27), dtype=torch.int8, generator=rng)
    conv.weight.data = (rows.float() * 0.5)[:, :, None, None]
    levels = activation_levels()
    x = torch.randint(-60, levels - 59, (2, 27, 5, 5), generator=rng).float()
    x[0, 0, 0, 0], x[0, 0, 0, 1] = -60, levels - 60  # the range of a grid with step 1
    got = Int8Linear(PatchLinear(conv), rows, torch.full((6,), 0.5), levels)(x.permute(0, 2, 3, 1))
    torch.testing.assert_close(got.permute(0, 3, 1, 2), conv(x), atol=1e-2, rtol=1e-5)


@pytest.mark.parametrize("levels", [255, 127])  # a full uint8 cuts by itself what ReLU6 would; half of one does not
@torch.inference_mode()
def test_what_relu6_bounds_is_cut_at_both_ends(levels):
    if not activation_levels():
        pytest.skip("this PyTorch has no int8 kernel")
    torch.manual_seed(11)
    conv, norm = nn.Conv2d(16, 32, 1).eval(), nn.BatchNorm2d(32).eval()
    wide = PatchLinear(conv, norm, relu6=True)
    rows, scale = quantize_rows(wide.linear.weight)
    x = 20 * torch.randn(1, 6, 6, 16)
    got, expected = Int8Linear(wide, rows, scale, levels)(x), wide(x)
    assert (expected == 0).any() and (expected == 6).any() and got.max() == levels
    torch.testing.assert_close(got.float() * 6 / levels, expected, atol=0.7, rtol=0)  # inputs reach 60
    filtered = Depthwise(nn.Conv2d(32, 32, 3, 1, 1, groups=32), nn.BatchNorm2d(32).eval())
    filtered.weight.data.mul_(5)
    rows, scale = quantize_rows(filtered.weight.flatten(1))
    between = Int8Depthwise(filtered, rows.view(32, 1, 3, 3), scale, levels)(got)
    exact = filtered(got.float() * 6 / levels)
    assert (exact == 0).any() and (exact == 6).any() and between.max() == levels
    torch.testing.assert_close(between.float() * 6 / levels, exact, atol=0.2, rtol=0)


@torch.inference_mode()
def test_layers_fused_with_relu6_compute_what_they_did_apart(trained):
    net, images = served(trained), blobs(3, seed=12)
    expected = net(images)
    fuse_relu6(net)
    if not any(isinstance(module, FusedConv) for module in net.modules()):
        pytest.skip("this PyTorch cannot fuse them")
    for fused, apart in zip(net(images), expected, strict=True):
        torch.testing.assert_close(fused, apart, atol=1e-4, rtol=1e-4)


def test_the_largest_activation_does_not_wrap_around():
    unlucky = [0.2901841, -0.4417503, 0.2916570, -1.2436465, 0.8919080, -0.3913905, 0.0356562, -0.7320065]
    grids = [torch.tensor([-1.0, 254.0]) + half for half in (0.5, 0.49999, 0.50001)] + [torch.tensor(unlucky)]
    for x in grids:
        grid, step, zero = on_grid(x, 255)
        torch.testing.assert_close(step * (grid.float() - zero), x, atol=0.51 * step, rtol=0)


def test_int8_file_is_at_most_three_tenths_and_covers_all_large_weights(folder):
    sizes = {name: (folder / file).stat().st_size for name, file in FILES.items()}
    assert sizes["int8"] <= 0.30 * sizes["fp32"]
    large = {name: t.dtype for name, t in load_file(folder / FILES["int8"]).items() if t.numel() > 5000}
    assert large and set(large.values()) == {torch.int8}


def test_extra_tensors_and_config_come_back(folder):
    _, extras, config = load_weights(folder)
    assert torch.equal(extras["gate.weight"], torch.arange(3.0)) and config["size"] == 96


@torch.inference_mode()
def test_fine_tuning_starts_from_what_the_artefact_computes(trained, folder):
    images = blobs(4, seed=10)
    torch.testing.assert_close(load_trained(folder)(images).logits, trained(images).logits, atol=1e-4, rtol=1e-4)
    (folder / FILES["fp32"]).unlink()
    fallback = load_weights(folder, kernel="float")[0]
    torch.testing.assert_close(load_trained(folder)(images).logits, fallback(images).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "damage",
    [
        "no config",
        "broken config",
        "newer format",
        "no weights",
        "cut weights",
        "other network",
        "other classes",
        "no size",
    ],
)
def test_damaged_artefacts_are_refused_with_a_sentence(folder, damage):
    config, weights = folder / CONFIG, folder / FILES["int8"]
    match damage:
        case "no config":
            config.unlink()
        case "broken config":
            config.write_text("{")
        case "newer format":
            config.write_text(json.dumps(make_config("test", 96, 0.06, format_version=99)))
        case "no weights":
            weights.unlink()
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:-1000])
        case "other network":
            save_file({"stem.linear.weight": torch.zeros(3, 3)}, weights)
        case "other classes":
            config.write_text(json.dumps(make_config("test", 96, 0.06, classes=["yes", "no"])))
        case "no size":
            config.write_text(json.dumps({"format_version": FORMAT_VERSION}))
    with pytest.raises(DamagedWeights, match=r"\.$"):
        load_weights(folder)
