"""How the networks that training/benchmark.py times are opened, each from its file, with the imports that it needs.

python -m training.contestants KIND FILE [NAME]     # the time of its first answer, and this process's peak of memory
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Contestant(NamedTuple):
    """A network in its file."""

    kind: str  # onnx: an ONNX file | torch: a state dict | whole: a weights folder, from a slice to its answer
    file: str
    name: str = ""  # torch: torchvision's | whole: an .npy file, the slice

    def open(self, threads: int = 1) -> Callable[[], object]:
        """What answers one image; "whole" gives it one thread, as `TumorClassifier` does."""
        if self.kind == "whole":
            from model.classifier import TumorClassifier

            classifier, pixels = TumorClassifier.from_folder(self.file), np.load(self.name)
            return partial(classifier.predict, [pixels])
        if self.kind == "torch":
            import torch
            import torchvision

            torch.set_num_threads(threads)
            net = torchvision.models.get_model(self.name, weights=None).eval()
            net.load_state_dict(torch.load(self.file, weights_only=True))
            return torch.inference_mode()(partial(net, torch.rand(1, 3, 224, 224)))
        import onnxruntime

        options = onnxruntime.SessionOptions()  # as in model/graph.py, but for the threads
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        image = np.random.default_rng(0).random(taken.shape, np.float32)
        image = (255 * image).astype(np.uint8) if taken.type == "tensor(uint8)" else image
        return partial(session.run, None, {taken.name: image})


if __name__ == "__main__":
    Contestant(*sys.argv[1:]).open()()
    status = Path("/proc/self/status")  # Linux's; the peak that `resource` gives may be that of the process before
    print(time.time(), status.read_text().split("VmHWM:")[1].split()[0] if status.exists() else "nan")
