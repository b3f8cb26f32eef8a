"""TensorBoard: what a run looks like while it goes on. `tensorboard --logdir runs` shows it."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR
from model.overlay import evidence_picture
from model.preprocess import SERVING_MARGIN, Window, frame

from .data.phantoms import draw_phantom
from .network import TumorNet

DRAWN_SEED = 2  # no phantom that trains comes from it


class Board:
    """Writes the logs of one run; those after step `goes_on_at`, which the run is about to do again, are dropped."""

    def __init__(self, folder: Path, size: int, goes_on_at: int):
        self._writer = SummaryWriter(folder, purge_step=goes_on_at)
        drawn = [draw_phantom(name, DRAWN_SEED).image for name in CLASSES[:NO_TUMOR]]
        self._heads = np.stack([frame(pixels, size, SERVING_MARGIN)[0] for pixels in drawn])

    def write(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    @torch.inference_mode()
    def draw_evidence(self, net: TumorNet, step: int) -> None:
        """Where `net` sees the tumor in a drawn head of each type: the shares of that type's score."""
        net.eval()
        output = net(torch.from_numpy(self._heads)[:, None].to(net.pixel_mean.device))
        for k, pixels in enumerate(self._heads):
            picture = evidence_picture(pixels, output.shares[k, k].cpu().numpy(), Window(0, 0, len(pixels)))
            self._writer.add_image(f"evidence of a {DISPLAY_NAMES[CLASSES[k]]}", picture, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
