"""The results, and examples, as YAML for the Hub."""

import json
from pathlib import Path

from model import DISPLAY_NAMES

from .results import FIGURES, SECTIONS

WIDGET = {  # pictures in the repository that its page shows, with the answers
    "examples/glioma_axial_t1c.png": "A drawn glioma, T1 with contrast agent",
    "examples/no_tumor_axial_t2.png": "A drawn head without a tumor, T2",
}


def model_index(name: str, metrics: dict) -> str:
    """The results as YAML for the Hub, without the vendor's: those are of other weights."""
    lines = []
    for section in ("test", "external"):
        report = metrics.get(section)
        if not report:
            continue
        lines += [
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            f"      name: {json.dumps(SECTIONS[section])}",
            f"      type: {section}",
            "      split: test",
            "    metrics:",
        ]
        for key, kind in (("macro_f1", "f1"), ("accuracy", "accuracy"), ("auc_tumor", "roc_auc"), ("ece", "ece")):
            figure, (words, _) = report[key], FIGURES[key]
            if figure["value"] is not None:
                interval = f"{words} (95 % interval {figure['low']:.3f} to {figure['high']:.3f})"
                lines += [f"    - type: {kind}", f"      name: {json.dumps(interval)}"]
                lines += [f"      value: {figure['value']:.4f}"]
    return "\n".join(["model-index:", f"- name: {json.dumps(name)}", "  results:", *lines]) if lines else ""


def widget(metrics: dict) -> str:
    """The pictures of `WIDGET` and what the weights answered when they were measured; empty if nothing was recorded."""
    answers = metrics.get("recorded", {}).get("int8", {}).get("answers", {})
    lines = []
    for path, title in WIDGET.items():
        if answer := answers.get(Path(path).name):
            lines += [f"- src: {path}", f"  example_title: {title}", "  output:"]
            for name, probability in answer["probabilities"].items():
                lines += [f"  - label: {DISPLAY_NAMES[name]}", f"    score: {probability:.3f}"]
    return "\n".join(["widget:", *lines]) if lines else ""
