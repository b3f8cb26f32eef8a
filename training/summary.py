"""What came out of a run, in a few lines for the terminal."""

import math
from collections.abc import Sequence

from model import CLASSES, DISPLAY_NAMES

from .validate import score


def summary(history: Sequence[dict], images: int) -> str:
    """A table of the kept epoch beside the last one. `history`: as in history.jsonl; `images` drawn in each epoch."""
    best, last = max(history, key=score), history[-1]
    rows = [("validation", f"epoch {best['epoch']}, kept", f"epoch {last['epoch']}, last")]
    named = {"val_loss": "loss", "val_macro_f1": "macro-F1", "val_accuracy": "accuracy", "val_auc_tumor": "tumor AUC"}
    named |= {f"val_recall_{name}": f"recall, {DISPLAY_NAMES[name]}" for name in CLASSES}
    named |= {"val_ece": "calibration error, before calibration"}
    rows += [
        (title, f"{best.get(name, math.nan):.3f}", f"{last.get(name, math.nan):.3f}") for name, title in named.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{title:{widths[0]}}  {kept:>{widths[1]}}  {at_end:>{widths[2]}}" for title, kept, at_end in rows]
    seconds = last["seconds"]
    return "\n".join(
        [*lines, f"{len(history)} epochs in {seconds / 60:.1f} min, {len(history) * images / seconds:.0f} images/s"]
    )
