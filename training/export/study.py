"""How the slices of a volume become a verdict of the study: fitted on validation groups, measured on test groups.

    python -m training.export.study --weights model/weights --data ../shared/data/pool --set_aside training/doubtful_labels.csv

writes the part "study" of config.json and metrics.json and changes nothing else there (`python -m training.evaluation.card` then
renders it); training/export.py does the same for new weights. No labeled volumes are at hand: the studies are put
together from slices (training/export/synthetic_studies.py, which says what they miss). Exit code 2, with a sentence, if
something named does not exist.

Log-mean-exp of the slices' log-odds was chosen on the validation groups, by AUC and log-loss over all lengths and
numbers of slices, over the highest slice, the mean of the highest tenth, the best stretch of neighbors, noisy-or (which
grows with the number of slices), and log-mean-exp after smoothing over neighbors. Its sharpness is fitted.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from model import NO_TUMOR
from model.artifact import UNCALIBRATED_STUDY, read_config, write_config
from model.classifier import TumorClassifier
from model.study import pooled_odds, study_probabilities

from ..data.frames import Dataset, load_frames
from ..data.training_set import read_parts
from ..evaluation.metrics import figure, ratio
from ..evaluation.evaluate import statuses
from ..evaluation.metrics import calibration_error
from ..losses import PARTIAL
from ..settings import Settings
from .operating_point import fit_operating_point
from .synthetic_studies import LENGTHS_MM, SLICES, JudgedSlices, Studies, draw_studies

SHARPNESS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # tried; below, a lesion drowns in the slices beside it
FITTED_ON = 800  # studies with a tumor of each number of slices, and as many without
MEASURED_ON, IN_A_RESAMPLE = 800, 100  # the same, for a figure and for each of the resamples behind its interval
RESAMPLES = 200  # not 1,000: each draws its studies anew


def judged_slices(classifier: TumorClassifier, dataset: Dataset) -> JudgedSlices:
    """What the model says of the images of `dataset` that it does not refuse: those take no part in a study either."""
    frames = load_frames(dataset, classifier.config["size"], classifier.config["margin"])
    raw = classifier.outputs(frames.images)
    probabilities = classifier.calibrate(raw.logits)
    kept = np.array(statuses(classifier, frames, raw, probabilities)) != "refused"
    groups = np.array([record.group for record in dataset.records])
    return JudgedSlices(probabilities[kept], frames.labels.numpy()[kept], groups[kept])


def drawn(slices: JudgedSlices, free: np.ndarray, tumors: np.ndarray, count: int, seed: int) -> dict[tuple, Studies]:
    """{(slices, length of the tumor in mm): studies}: for each number of slices `count` studies with a tumor, of all
    lengths alike, and as many without (length 0). `free` and `tumors`: as in `draw_studies`.
    """
    rng, each = np.random.default_rng(seed), count // len(LENGTHS_MM)
    return {
        (n, length): draw_studies(slices, free, tumors, each if length else count, n, length, rng)
        for n in SLICES
        for length in (0, *LENGTHS_MM)
    }


def fit_study(slices: JudgedSlices) -> dict:
    """The part "study" of config.json, from `slices` of the validation groups.

    Returns: `sharpness`, `slope` and `intercept` of `model.study`, of least log-loss on the synthetic studies, and the
    operating point as `fit_operating_point` gives it, counted in studies. Not calibrated where either kind is missing.
    """
    free, tumors = slices.free_groups(), slices.tumor_groups()
    if not len(free) or not len(tumors):
        return UNCALIBRATED_STUDY
    studies = list(drawn(slices, free, tumors, FITTED_ON, seed=0).values())
    labels, groups = (np.concatenate([getattr(part, name) for part in studies]) for name in ("labels", "groups"))
    has_tumor, candidates = labels != NO_TUMOR, []
    for sharpness in SHARPNESS:
        scores = np.concatenate([pooled_odds(part.probabilities, sharpness)[0] for part in studies])[:, None]
        fit = LogisticRegression(C=np.inf).fit(scores, has_tumor)
        logistic = {"slope": float(fit.coef_[0, 0]), "intercept": float(fit.intercept_[0])}
        candidates.append((log_loss(has_tumor, fit.predict_proba(scores)), {"sharpness": sharpness} | logistic))
    _, parameters = min(candidates, key=lambda candidate: candidate[0])
    probabilities = np.concatenate([study_probabilities(part.probabilities, parameters) for part in studies])
    point = fit_operating_point(probabilities, labels, groups)
    return parameters | point | {"tumor_groups": len(tumors), "no_tumor_groups": len(free)}


def measure_study(slices: JudgedSlices, config: dict) -> dict:
    """Figures of the rule in `config` on synthetic studies of `slices`, each {value, low, high} over groups.

    A resample draws groups, tumor and tumor-free ones apart, and puts its studies together from these.
    Returns: `tumor_groups`, `no_tumor_groups`; `auc`, `sensitivity`, `specificity`, `ece` (of P(tumor), half of the
    studies having one), `named_right` (a tumor of known type is seen, and its likeliest type is right),
    `sensitivity_MM` of tumors of a length, `sensitivity_of_N` and `specificity_of_N` of studies of N slices, and of the
    naive rule, that one slice at the slices' operating point is enough, `any_slice_sensitivity` and
    `any_slice_specificity`. Without tumors or tumor-free images: {}.
    """
    free, tumors = slices.free_groups(), slices.tumor_groups()
    if not len(free) or not len(tumors):
        return {}
    values = _statistics(drawn(slices, free, tumors, MEASURED_ON, seed=1), config)
    rng, spread = np.random.default_rng(2), []
    for resample in range(RESAMPLES):
        again = (rng.choice(names, len(names)) for names in (free, tumors))
        spread.append(_statistics(drawn(slices, *again, IN_A_RESAMPLE, seed=3 + resample), config))
    figures = {name: figure(value, np.array([one[name] for one in spread])) for name, value in values.items()}
    return {"tumor_groups": len(tumors), "no_tumor_groups": len(free)} | figures


def _statistics(drawn_studies: dict[tuple, Studies], config: dict) -> dict[str, float]:
    """The values of `measure_study`'s figures."""
    sizes = [(n, length, len(part.labels)) for (n, length), part in drawn_studies.items()]
    n_slices, length = (np.repeat([size[k] for size in sizes], [size[2] for size in sizes]) for k in (0, 1))
    studies = drawn_studies.values()
    probabilities = np.concatenate([study_probabilities(part.probabilities, config["study"]) for part in studies])
    labels = np.concatenate([part.labels for part in studies])
    least = np.concatenate([part.probabilities[..., NO_TUMOR].min(-1) for part in studies])
    tumor, p = labels != NO_TUMOR, 1 - probabilities[:, NO_TUMOR]
    seen, any_slice = p >= config["study"]["threshold"], 1 - least >= config["operating_point"]["threshold"]
    right = seen & (probabilities[:, :NO_TUMOR].argmax(1) == labels)
    two_classes, whole = np.stack((1 - p, p), axis=1), np.ones((1, len(p)))
    return {
        "auc": float(roc_auc_score(tumor, p)),
        "sensitivity": _share(seen, tumor),
        "specificity": _share(~seen, ~tumor),
        "ece": float(calibration_error(two_classes, tumor.astype(int), whole)[0]),
        "named_right": _share(right, tumor & (labels != PARTIAL)),
        **{f"sensitivity_{mm}": _share(seen, length == mm) for mm in LENGTHS_MM},
        **{f"sensitivity_of_{n}": _share(seen, tumor & (n_slices == n)) for n in SLICES},
        **{f"specificity_of_{n}": _share(~seen, ~tumor & (n_slices == n)) for n in SLICES},
        "any_slice_sensitivity": _share(any_slice, tumor),
        "any_slice_specificity": _share(~any_slice, ~tumor),
    }


def _share(hits: np.ndarray, among: np.ndarray) -> float:
    """Share of True of `hits` where `among` holds; NaN where it never does."""
    return float(ratio(np.sum(hits & among), np.sum(among)))


def add_study(folder: Path, validation: Dataset, test: Dataset) -> dict:
    """Fit on `validation`, measure on `test`, and write both into the weights `folder`; returns metrics.json's part.

    Raises: OSError, ValueError if the folder cannot be used.
    """
    classifier = TumorClassifier.from_folder(folder)
    config, metrics = read_config(folder), json.loads((folder / "metrics.json").read_text())
    config["study"] = fit_study(judged_slices(classifier, validation))
    metrics["study"] = measure_study(judged_slices(classifier, test), config)
    if metrics["study"]:  # what the page prints: the groups that chose the threshold flatter it
        measured = {name: metrics["study"][name]["value"] for name in ("sensitivity", "specificity")}
        config["study"] = config["study"] | {"tested": measured}
    write_config(folder, config)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics["study"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.export.study", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--weights", type=Path, required=True, help="folder of the weights, with its metrics.json")
    parser.add_argument("--data", required=True, help="the data set that the weights were trained from")
    parser.add_argument("--set_aside", default="", help="CSV of images (path) to leave out, as for training")
    options = parser.parse_args(arguments)
    try:
        dataset, _, validation = read_parts(Settings(data=options.data, set_aside=options.set_aside))
        figures = add_study(options.weights, validation, dataset.where("test"))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if not figures:
        print("not measured: it takes images with a tumor and images without one, both in the test split")
    for name, measured in figures.items():
        if isinstance(measured, dict):
            print(f"  {name:24}{measured['value']:.3f}  ({measured['low']:.3f} to {measured['high']:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
