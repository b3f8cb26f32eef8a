"""What weights answer to the drawn examples: recorded when they are measured, compared before they are published.

Weights, code and libraries that answer alike are those that the figures in metrics.json are of. The examples are the
pictures in examples/, which everybody has; one that was drawn anew since is left out of the comparison.
"""

from pathlib import Path

from model.artifact import FILES
from model.classifier import TumorClassifier
from model.files import sha256
from model.scans import read

EXAMPLES = Path(__file__).parents[2] / "examples"
TOLERANCE = 0.05  # of a probability: processors differ by rounding alone, other weights by far more


def record(folder: Path) -> dict:
    """The section "recorded" of metrics.json: {precision: {sha256, answers}} for each of `FILES` that `folder` holds.

    `answers` of an example's file name: its sha256, the four probabilities, and whether it is refused.
    Raises: `DamagedWeights`.
    """
    examples = sorted(EXAMPLES.glob("*.png"))
    return {
        precision: {"sha256": sha256(folder / file), "answers": _answers(folder, precision, examples)}
        for precision, file in FILES.items()
        if (folder / file).exists()
    }


def compare(folder: Path, recorded: dict, precision: str) -> int:
    """How many examples the weights of `folder` answer as `recorded`, section of metrics.json, says.

    0 if none can be compared: nothing was recorded of them, or every example was drawn anew since.
    Raises: `DamagedWeights`; ValueError, with a message for the user, if an answer differs.
    """
    answers = recorded.get(precision, {}).get("answers", {})
    examples = [EXAMPLES / name for name in answers]
    same = [file for file in examples if file.exists() and sha256(file) == answers[file.name]["sha256"]]
    for name, found in _answers(folder, precision, same).items():
        expected = answers[name]
        off = max(abs(found["probabilities"][label] - value) for label, value in expected["probabilities"].items())
        if off > TOLERANCE or found["refused"] != expected["refused"]:
            raise ValueError(
                f"{folder / FILES[precision]} answers {name} otherwise than when it was measured (a probability is off "
                f"by {off:.2f}): the code has changed since, or config.json. Export and measure it again."
            )
    return len(same)


def _answers(folder: Path, precision: str, examples: list[Path]) -> dict[str, dict]:
    """By file name, of examples that are read as the page reads them."""
    classifier = TumorClassifier.from_folder(folder, precision)
    predictions = classifier.predict([read(example).slices[0] for example in examples])
    return {
        example.name: {
            "sha256": sha256(example),
            "probabilities": prediction.probabilities,
            "refused": prediction.status == "refused",
        }
        for example, prediction in zip(examples, predictions, strict=True)
    }
