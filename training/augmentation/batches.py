"""A batch as the network sees it: lesions moved, insides painted over, augmented, all on the device."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..data.training_set import TrainingSet
from ..draws import Streams
from ..network import STRIDE
from ..schedules import image_size_at
from ..settings import Settings
from .augment import MILD, Strength, augment
from .lesions import FEWER, Share, blank_some, move_lesions
from .neighbors import Heads, pick_neighbors


class Batch(NamedTuple):
    images: Tensor  # float32 (N, 1, S, S) in 0..255
    said: Tensor  # int8 (N, h, w), what the box says of each position (`augment.positions_in_box`)
    labels: Tensor  # int64 (N,)


def draw_batch(training_set: TrainingSet, chosen: Tensor, epoch: int, settings: Settings, streams: Streams) -> Batch:
    """The images `chosen` (int64, N rows of the training set, on its device), as epoch `epoch`, from 0, shows them.

    Each of the streams' shards draws for its part of the rows.
    """
    if len(streams.shards) == 1:
        return draw_shard(training_set, chosen, epoch, settings)
    parts = []
    for shard, rows in zip(streams.shards, chosen.chunk(len(streams.shards)), strict=True):
        with streams.of(shard):
            parts.append(draw_shard(training_set, rows, epoch, settings))
    return Batch(*(torch.cat(part) for part in zip(*parts, strict=True)))


def draw_shard(training_set: TrainingSet, chosen: Tensor, epoch: int, settings: Settings) -> Batch:
    """As `draw_batch`, from torch's global generator."""
    mild = epoch >= settings.mild_from * settings.epochs
    strength, share = (MILD, FEWER) if mild else (Strength(), Share())
    heads = Heads(*(part[chosen] for part in training_set.heads))
    if epoch >= settings.transplants_from * settings.epochs:
        heads = move_lesions(heads, pick_neighbors(training_set.heads, training_set.neighbors[chosen]), share)
    heads = blank_some(heads, settings.blanked)
    images, said = augment(heads.images, heads.boxes, image_size_at(epoch, settings), STRIDE, strength)
    return Batch(images, said, heads.labels)
