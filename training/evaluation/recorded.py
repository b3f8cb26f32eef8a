"""What weights answer to the drawn examples: recorded when they are measured, compared before they are published.

    python -m training.evaluation.recorded model/weights     # for weights that were exported before this was recorded

Weights, code and libraries that answer alike are those that the figures in metrics.json are of. The examples are the
pictures in examples/, which everybody has; one that was drawn anew since is left out of the comparison.
"""

import hashlib
import json
import sys
from pathlib import Path

from model.artifact import FILES
from model.classifier import TumorClassifier
from model.prediction import Prediction
from model.scans import read

EXAMPLES = Path(__file__).parents[2] / "examples"
TOLERANCE = 0.05  # of a probability: processors differ by rounding alone, other weights by far more


class OtherAnswers(ValueError):
    """The weights do not answer as recorded; the message is for the user."""


def sha256(file: Path) -> str:
    """Hexadecimal digest of a file. Raises: OSError."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def record(folder: Path) -> dict:
    """The section "recorded" of metrics.json: {precision: {sha256, answers}} for each of `FILES` that `folder` holds.

    `answers` of an example's file name: its sha256, the four probabilities, and whether it is refused.
    Raises: `DamagedWeights`.
    """
    precisions = [precision for precision, file in FILES.items() if (folder / file).exists()]
    return {
        precision: {
            "sha256": sha256(folder / FILES[precision]),
            "answers": {
                example.name: {"sha256": sha256(example)} | _told(answer)
                for example, answer in _answers(folder, precision, sorted(EXAMPLES.glob("*.png"))).items()
            },
        }
        for precision in precisions
    }


def compare(folder: Path, recorded: dict, precision: str) -> int:
    """How many examples the weights of `folder` answer as `recorded`, section of metrics.json, says.

    0 if none can be compared: nothing was recorded of them, or every example was drawn anew since.
    Raises: `DamagedWeights`; `OtherAnswers` if an answer differs.
    """
    answers = recorded.get(precision, {}).get("answers", {})
    examples = [EXAMPLES / name for name in answers]
    same = [file for file in examples if file.exists() and sha256(file) == answers[file.name]["sha256"]]
    for example, answer in _answers(folder, precision, same).items():
        told, expected = _told(answer), answers[example.name]
        off = max(abs(told["probabilities"][name] - value) for name, value in expected["probabilities"].items())
        if off > TOLERANCE or told["refused"] != expected["refused"]:
            raise OtherAnswers(
                f"{folder / FILES[precision]} answers {example.name} otherwise than when it was measured: a "
                f"probability is off by {off:.2f}, refused is {told['refused']}, was {expected['refused']}. The code "
                "has changed since, or config.json: measure again with python -m training.export.export.export."
            )
    return len(same)


def _answers(folder: Path, precision: str, examples: list[Path]) -> dict[Path, Prediction]:
    """The prediction of each example, read as the page reads it."""
    classifier = TumorClassifier.from_folder(folder, precision)
    return dict(zip(examples, classifier.predict([read(file).slices[0] for file in examples]), strict=True))


def _told(answer: Prediction) -> dict:
    return {"probabilities": answer.probabilities, "refused": answer.status == "refused"}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m training.evaluation.recorded WEIGHTS_FOLDER", file=sys.stderr)
        return 2
    file = Path(arguments[0]) / "metrics.json"
    try:
        metrics = json.loads(file.read_text())
        section = record(file.parent)
        if section.get("int8", {}).get("sha256") != metrics.get("weights_sha256"):
            raise ValueError(f"{file} is not of the weights beside it. Take the folder as training.export wrote it.")
        file.write_text(json.dumps(metrics | {"recorded": section}, indent=2) + "\n")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for precision, part in section.items():
        print(f"{file}: {len(part['answers'])} answers of the {precision} weights")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
