"""Where a run starts."""

import pytest
import torch
import torchvision

from model.network import TumorNet
from training.initialize import fill_from_imagenet, initialize


def test_torchvisions_resnet18_fits_and_a_grey_image_gives_what_it_would_as_rgb():
    torch.manual_seed(0)
    oracle = torchvision.models.resnet18(weights=None).eval()
    net = TumorNet(64).eval()
    fill_from_imagenet(net, oracle.state_dict())
    grey = torch.rand(2, 1, 64, 64)

    def body(parts, images):
        x = torch.relu(parts.bn1(parts.conv1(images)))
        x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
        return parts.layer4(parts.layer3(parts.layer2(parts.layer1(x))))

    with torch.inference_mode():
        torch.testing.assert_close(body(net, grey), body(oracle, grey.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)


def test_other_weights_are_refused():
    state = torchvision.models.resnet18(weights=None).state_dict()
    with pytest.raises(ValueError, match="not torchvision"):
        fill_from_imagenet(TumorNet(64), {name: value for name, value in state.items() if "layer3" not in name})


def test_imagenet_needs_its_own_width():
    with pytest.raises(ValueError, match="--width 64"):
        initialize(TumorNet(32), "imagenet")


def test_a_name_that_is_neither_folder_nor_hub_id_ends_in_a_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="no folder"):
        initialize(TumorNet(32), "no such/place at all")


def test_scratch_changes_nothing():
    net = TumorNet(8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    initialize(net, "scratch")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
