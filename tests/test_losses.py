"""What the network is asked for, and that it can learn it."""

import numpy as np
import pytest
import torch

from model import CLASSES, NO_TUMOR
from model.preprocess import frame
from training.augmentation.augment import INSIDE, OUTSIDE, UNKNOWN, positions_in_box
from training.data.phantoms import draw_phantom
from training.losses import PARTIAL, class_loss, log_probability, position_loss, type_loss
from training.network import STRIDE, TumorNet

SIZE = 64


@pytest.fixture
def logits():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_partial_label_asks_for_any_tumor(logits):
    expected = (1 - logits.softmax(1)[:, NO_TUMOR]).log()
    torch.testing.assert_close(log_probability(logits, torch.full((6,), PARTIAL)), expected)


def test_partial_label_does_not_choose_between_types(logits):
    logits = logits.requires_grad_()
    class_loss(logits, torch.full((6,), PARTIAL), smoothing=0.0).backward()
    tumor_types = logits.grad[:, :NO_TUMOR]
    shares = logits.detach()[:, :NO_TUMOR].softmax(1)
    torch.testing.assert_close(tumor_types / tumor_types.sum(1, keepdim=True), shares)  # pulled alike: ratios stay


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_full_labels_give_pytorchs_cross_entropy(logits, smoothing):
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(class_loss(logits, labels, smoothing), expected)


def test_even_types_are_asked_for_where_there_is_no_tumor(logits):
    labels = torch.tensor([0, NO_TUMOR, PARTIAL, NO_TUMOR, 1, 2])
    logits = logits.requires_grad_()
    type_loss(logits, labels).backward()
    assert not logits.grad[labels != NO_TUMOR].any()
    assert not logits.grad[:, NO_TUMOR].any()  # whether there is a tumor is not touched
    torch.testing.assert_close(
        logits.grad[labels == NO_TUMOR][:, :NO_TUMOR] * 2,
        logits.detach()[labels == NO_TUMOR][:, :NO_TUMOR].softmax(1) - 1 / 3,
    )
    assert type_loss(logits, torch.zeros(6, dtype=torch.int64)) == 0


def test_position_loss_is_lowest_where_the_box_is_right():
    said = torch.full((1, 6, 6), OUTSIDE, dtype=torch.int8)
    said[0, 2:4, 2:4] = INSIDE
    right = torch.zeros(1, 4, 6, 6)
    right[0, :NO_TUMOR], right[0, 1, 2:4, 2:4] = -8, 8
    moved = right.roll(2, dims=3)
    label = torch.tensor([1])
    assert position_loss(right, label, said) < 0.01 < 2 < position_loss(moved, label, said)


def test_unknown_positions_cost_nothing_and_tumor_free_images_are_free_of_it_everywhere():
    scores = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    unknown = torch.full((2, 6, 6), UNKNOWN, dtype=torch.int8)
    assert position_loss(scores, torch.tensor([0, PARTIAL]), unknown) == 0
    everywhere = -scores[1:].log_softmax(1)[:, NO_TUMOR].mean() / 2
    torch.testing.assert_close(position_loss(scores, torch.tensor([0, NO_TUMOR]), unknown), everywhere)


def test_an_inpainted_place_is_left_out_while_the_rest_of_the_head_is_tumor_free():
    said = torch.full((1, 4, 4), OUTSIDE, dtype=torch.int8)
    said[0, 1:3, 1:3], said[0, 0, 0] = INSIDE, UNKNOWN
    scores, at_rest = torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 4)
    scores[0, 0, 1:3, 1:3] = 9.0
    inpainted = torch.tensor([NO_TUMOR])
    assert position_loss(scores, inpainted, said) == position_loss(at_rest, inpainted, said)
    scores[0, 0, 3, 3] = 9.0
    assert position_loss(scores, inpainted, said) > position_loss(at_rest, inpainted, said)


def test_a_small_network_learns_heads_by_heart_and_points_at_their_tumors():
    """Oracle for the chain of labels, boxes, positions and losses: a slip in any of them makes this impossible."""
    drawn = [draw_phantom(label, seed=70 + k, size=160) for label in CLASSES for k in range(2)]
    framed = [frame(phantom.image, SIZE, 0.06) for phantom in drawn]
    images = torch.from_numpy(np.stack([square for square, _ in framed]))[:, None]
    labels = torch.tensor([CLASSES.index(phantom.label) for phantom in drawn])
    boxes = torch.full((len(drawn), 4), torch.nan)
    for k, (phantom, (_, window)) in enumerate(zip(drawn, framed, strict=True)):
        if phantom.box:
            x, y, width, height = (160 * share for share in phantom.box)
            edges = x - width / 2 - window.left, y - height / 2 - window.top
            boxes[k] = torch.tensor([*edges, edges[0] + width, edges[1] + height]) / window.side
    identity = torch.eye(2, 3).expand(len(drawn), 2, 3)
    grid = torch.nn.functional.affine_grid(identity, [len(drawn), 1, SIZE, SIZE], align_corners=False)
    said = positions_in_box(grid, boxes, STRIDE)

    torch.manual_seed(0)
    net = TumorNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(35):
        output = net(images)
        loss = class_loss(output.logits, labels, 0.0) + position_loss(output.scores, labels, said)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (output.logits.argmax(1) == labels).all()
    tumors = labels != NO_TUMOR
    shares = output.shares[torch.arange(len(labels)), labels][tumors]
    peaks = shares.flatten(1).argmax(1)
    at_peaks = said[tumors].flatten(1).gather(1, peaks[:, None])
    assert (at_peaks != OUTSIDE).all() and (at_peaks == INSIDE).float().mean() > 0.8
