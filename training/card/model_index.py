"""The results as YAML for the Hub."""

import json

from .results import FIGURES, SECTIONS


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
