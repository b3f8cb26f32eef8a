"""What transformers looks for, so that its pipeline answers:

    pipeline("image-classification", "ORG/NAME", trust_remote_code=True)("scan.png")

It gives calibrated probabilities alone: what inference.py refuses is only warned of. And it makes 8-bit color of every
picture that it opens: give 16-bit slices as arrays. A file of its own, since inference.py needs no PyTorch.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from transformers import BaseImageProcessor, BatchFeature, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import cached_file

from .inference import GRAPH, OURS, TumorModel, frame, gray


class BrainTumorConfig(PreTrainedConfig):
    model_type = OURS


class BrainTumorProcessor(BaseImageProcessor):
    """Pictures -> {"pixel_values": uint8 (N, 1, S, S)}. Attributes: `size`, `margin`, from preprocessor_config.json."""

    def preprocess(self, images, return_tensors=None, **_) -> BatchFeature:
        images = images if isinstance(images, list | tuple) else [images]
        frames = np.stack([frame(gray(image), self.size, self.margin) for image in images])
        return BatchFeature({"pixel_values": frames[:, None]}, tensor_type=return_tensors)


class BrainTumorClassifier(PreTrainedModel):
    """Frames as above -> logits (N, classes), the logarithms of calibrated probabilities; on the CPU."""

    config_class, main_input_name = BrainTumorConfig, "pixel_values"
    device, dtype = torch.device("cpu"), torch.float32  # there are no parameters to tell them

    def __init__(self, config: BrainTumorConfig, folder: Path):
        super().__init__(config)
        self.model = TumorModel(folder)

    @classmethod
    def from_pretrained(cls, source, *_, config, **options) -> "BrainTumorClassifier":
        named = {"cache_dir", "force_download", "local_files_only", "revision", "token"} & {*options}
        graph = cached_file(source, GRAPH, **{name: options[name] for name in named})
        return cls(config, Path(graph).parents[1])

    def forward(self, pixel_values: torch.Tensor, **_) -> ImageClassifierOutput:
        answers = [self.model.judge(square) for square in pixel_values[:, 0].cpu().numpy()]
        for answer in answers:
            if answer["status"] == "refused":
                warnings.warn(answer["reason"], stacklevel=2)
        probabilities = [[*answer["probabilities"].values()] for answer in answers]
        return ImageClassifierOutput(logits=torch.tensor(probabilities).log())
