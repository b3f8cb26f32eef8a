"""Weights -> predictions: calibrated probabilities, where the evidence lies, and whether to trust input and answer."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import CLASSES
from .artifact import EMBEDDED, FILES, DamagedWeights, read_config, read_graph
from .graph import Graph, UntrustedGraph
from .marks import DRAWN_ON, has_lines
from .prediction import BLANK, NO_BRAIN, OUT_OF_DISTRIBUTION, UNUSUAL, Prediction, by_probability, doubts_about_answer
from .preprocess import Window, frame


class RawOutputs(NamedTuple):
    """Uncalibrated outputs of the graph, by name, for N framed slices: all float32."""

    logits: np.ndarray  # (N, classes)
    evidence: np.ndarray  # (N, classes, h, w), as in `Prediction`
    brain_score: np.ndarray  # (N,) in 0..1
    distance: np.ndarray  # (N,) >= 0, as in `Prediction`
    features: np.ndarray  # (N, D)


class TumorClassifier:
    """A loaded artifact. Calls from several threads at once are safe: nothing changes after loading.

    A single slice is answered in the calling thread, several are spread over `threads` (0: one for each core).
    Attributes: `config` (see `artifact.make_config`), `folder`, `version` (name and start of the graph's sha256).
    """

    def __init__(self, folder: Path, precision: str = "int8", threads: int = 0):
        self.folder = folder
        self.config = read_config(folder)
        try:
            self.graph = Graph(read_graph(folder, precision, self.config), self.config["size"], RawOutputs._fields)
        except UntrustedGraph as error:
            raise DamagedWeights(
                f"the weights in {folder} do not fit this program: {error}. Copy the folder again."
            ) from error
        self.version = f"{self.config['name']} {precision} {self.config['sha256'][FILES[precision]][:8]}"
        self.threads = ThreadPoolExecutor(threads or cores(), thread_name_prefix="slices")

    @classmethod
    def from_folder(cls, folder: str | Path, precision: str = "int8") -> "TumorClassifier":
        """Load the artifact in `folder`; `precision` "int8" or "fp32" names the file. Raises: `DamagedWeights`."""
        return cls(Path(folder), precision)

    @classmethod
    def from_pretrained(
        cls, source: str | Path | None = None, revision: str | None = None, precision: str = "int8"
    ) -> "TumorClassifier":
        """Load the artifact that `source` names: a folder, "ORG/NAME" on the Hub, or None for the embedded one.

        `revision`: see model/hub.py; `precision`: "int8" or "fp32". Raises: `WeightsUnavailable`, `DamagedWeights`.
        """
        if source is None and not revision:
            return cls(EMBEDDED, precision)
        from .hub import fetch  # here: who takes what is there has no need of the Hub's client

        return cls(fetch(source or EMBEDDED, revision, precision).folder, precision)

    def outputs(self, frames: np.ndarray) -> RawOutputs:
        """Run the network on uint8 (N, S, S) slices framed by `preprocess.frame` with this artifact's size and margin.

        One at a time: dynamic quantization takes its ranges from each call, and answers must not depend on each other.
        """
        return _joined(list(self.threads.map(self.graph.run, np.asarray(frames))))

    def _look_at(self, pixels: np.ndarray) -> tuple[np.ndarray, Window, bool, list[np.ndarray]]:
        """A slice -> its frame uint8 (S, S), where that lies, whether lines are drawn on it, and outputs (N = 1)."""
        square, window = frame(pixels, size=self.config["size"], margin=self.config["margin"])
        return square, window, has_lines(pixels), self.graph.run(square)

    def calibrate(self, logits: np.ndarray) -> np.ndarray:
        """Logits (N, classes) -> calibrated probabilities float64 (N, classes): softmax(logits / temperature).

        Source: Guo et al. 2017, arXiv:1706.04599.
        """
        scaled = np.asarray(logits, dtype=np.float64) / self.config["temperature"]
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    @property
    def threshold(self) -> float:
        """The operating point: the probability of a tumor from which one counts as seen."""
        return self.config["operating_point"]["threshold"]

    def prediction_sets(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N, classes) -> bool (N, classes): the classes that cannot be excluded.

        Split conformal prediction (training/export/calibration.py), and always the most probable one: no set is empty.
        """
        probabilities = np.asarray(probabilities)
        kept = probabilities >= self.config["prediction_set"]["keep_from"]
        kept[np.arange(len(kept)), probabilities.argmax(1)] = True
        return kept

    def predict(self, slices: Sequence[np.ndarray]) -> list[Prediction]:
        """Predictions for 2-D gray slices of any size and real dtype, in their order. Raises ValueError otherwise."""
        if not len(slices):
            return []
        look = self.threads.map if len(slices) > 1 else map
        squares, windows, drawn_on, pieces = zip(*look(self._look_at, slices), strict=True)
        raw = _joined(pieces)
        probabilities = self.calibrate(raw.logits)
        judged, sets = self.judge(np.stack(squares), raw, probabilities), self.prediction_sets(probabilities)
        return [
            Prediction(
                *judged[i],
                label=CLASSES[int(probabilities[i].argmax())],
                probabilities=dict(zip(CLASSES, probabilities[i].tolist(), strict=True)),
                prediction_set=by_probability(probabilities[i], sets[i]),
                threshold=self.threshold,
                brain_score=float(raw.brain_score[i]),
                distance=float(raw.distance[i]),
                evidence=raw.evidence[i],
                window=windows[i],
            ).doubted([DRAWN_ON] if drawn_on[i] else [])
            for i in range(len(judged))
        ]

    def judge(self, frames: np.ndarray, raw: RawOutputs, probabilities: np.ndarray) -> list[tuple[str, str, str]]:
        """`status`, `about_slice` and `about_answer` of each slice, as in `Prediction`.

        Args: `frames` uint8 (N, S, S), `raw` outputs of them, calibrated `probabilities` (N, classes).
        A slice is refused for what it shows, never for what is answered.
        """
        limits, sets = self.config["refusal"], self.prediction_sets(probabilities)
        judged = []
        for i, square in enumerate(frames):
            score, distance = raw.brain_score[i], raw.distance[i]
            if not square.any():
                judged.append(("refused", BLANK, ""))
            elif score < limits["refused_below"]:
                judged.append(("refused", NO_BRAIN, ""))
            elif distance >= limits["refused_from"]:
                judged.append(("refused", OUT_OF_DISTRIBUTION, ""))
            else:
                unusual = score < limits["doubtful_below"] or distance >= limits["doubtful_from"]
                about_slice = UNUSUAL if unusual else ""
                about_answer = " ".join(doubts_about_answer(probabilities[i], sets[i], self.threshold))
                judged.append(("doubtful" if about_slice or about_answer else "accepted", about_slice, about_answer))
        return judged


def _joined(pieces: Sequence[list[np.ndarray]]) -> RawOutputs:
    """The outputs of several slices, each in the order of `RawOutputs`, in one."""
    return RawOutputs(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
