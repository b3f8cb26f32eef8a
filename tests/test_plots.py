"""Plots keep what they promise: colors that tell the classes apart, in small files."""

import numpy as np
from PIL import Image, ImageColor

from training.evaluation import plots
from training.evaluation.metrics import measure


def test_thin_curves_keep_their_colors_in_the_small_file(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 4
    probabilities = 0.9 * np.eye(4)[labels] + 0.1 * rng.dirichlet(np.ones(4), 80)  # curves hide in the corner
    report = measure(probabilities, labels, [str(k) for k in range(80)], resamples=20)
    plots.plot_roc(probabilities, labels, tmp_path / "roc.png", report, "drawn")
    drawn = np.asarray(Image.open(tmp_path / "roc.png").convert("RGB"), dtype=int).reshape(-1, 3)
    for color in plots.COLORS[:3]:
        away = np.abs(drawn - ImageColor.getrgb(color)).max(1)
        assert away.min() < 16, f"{color} is nowhere in the plot"
    assert (tmp_path / "roc.png").stat().st_size < 100_000


def test_history_marks_the_epoch_that_was_kept(tmp_path):
    line = {"train_loss": 1.0, "val_loss": 1.1, "val_accuracy": 0.5, "val_macro_f1": 0.4, "val_auc_tumor": 0.7}
    plots.plot_history([line | {"epoch": 1}, line | {"epoch": 2}], tmp_path / "history.png")
    assert min(Image.open(tmp_path / "history.png").size) > 300
