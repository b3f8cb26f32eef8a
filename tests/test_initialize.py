"""Where a run starts."""

import pytest
import torch
import torchvision

from training.initialize import fill_from_imagenet, initialize
from training.network import TumorNet


@pytest.fixture(scope="module")
def oracle() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.mobilenet_v2(weights=None).eval()


def assert_same_body(net: TumorNet, oracle: torch.nn.Module) -> None:
    gray = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        theirs = oracle.features[:-1](gray.expand(-1, 3, -1, -1))
        torch.testing.assert_close(net.eval().features(gray), theirs, atol=1e-4, rtol=1e-4)


def test_torchvisions_mobilenet_fits_and_a_gray_image_gives_what_it_would_as_rgb(oracle):
    net = TumorNet()
    fill_from_imagenet(net, oracle.state_dict())
    assert_same_body(net, oracle)


def test_a_file_of_weights_under_other_names_fits_too(oracle, tmp_path):
    renamed = {name.replace(".0.weight", ".weight"): tensor for name, tensor in oracle.state_dict().items()}
    assert renamed.keys() != oracle.state_dict().keys()
    torch.save(renamed, tmp_path / "mobilenet.pt")
    net = TumorNet()
    initialize(net, str(tmp_path / "mobilenet.pt"))
    assert_same_body(net, oracle)


def test_frozen_parts_keep_their_weights_and_what_batch_norm_has_seen():
    torch.manual_seed(0)
    net = TumorNet(frozen=4).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    net(torch.rand(2, 1, 64, 64) * 255).logits[:, 0].sum().backward()
    optimizer.step()
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and not any(name.startswith(tuple(f"features.{k}." for k in range(4))) for name in changed)
    assert "features.5.conv.0.1.running_mean" in changed


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="not the weights of a MobileNetV2"):
        fill_from_imagenet(TumorNet(), torchvision.models.resnet18(weights=None).state_dict())


def test_a_file_that_is_no_state_dict_ends_in_a_sentence(tmp_path):
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("broken.pt", "list.pt", "missing.pt"):
        with pytest.raises(ValueError, match=name):
            initialize(TumorNet(), str(tmp_path / name))


def test_imagenet_without_a_network_ends_in_a_sentence_that_names_the_remedy(monkeypatch, tmp_path):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(ValueError, match="--init scratch"):
        initialize(TumorNet(), "imagenet")


def test_a_name_that_is_neither_folder_nor_hub_id_ends_in_a_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="no folder"):
        initialize(TumorNet(), "no such/place at all")


def test_scratch_changes_nothing():
    net = TumorNet()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    initialize(net, "scratch")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
