"""config.json and metrics.json -> the model card, and the numbers in the project's README: rendered, never typed.

    python -m training.evaluation.card             # writes model/weights/README.md and what stands between the marks in README.md
    python -m training.evaluation.card --add external=runs/external/metrics.json     # puts a report into metrics.json first
    python -m training.evaluation.card --check     # changes nothing; exit code 1 if either disagrees with metrics.json

metrics.json holds sections, of which any may be missing (the card then says "not measured"):

    test, external, vendor   reports of training.evaluation.evaluate: the pool's test split, another source, the vendor's split
    study                    figures of training.evaluation.studies: verdicts on volumes put together from the test split
    quantization             macro_f1_int8, macro_f1_fp32 of the same test split; bytes_int8, bytes_fp32 of the files
    not_brain_mri            refused: share of images of other things, none of them used in fitting
    training                 settings, versions, hardware, seconds, starts, data_fingerprint, left_out;
                             sources: {source: {split: {images, groups}}}, as `count_by_source` gives it
    speed                    report of training.benchmark
    phantoms                 report of training.evaluation.localization: where the evidence lies on drawn heads
    seeds                    report of training.evaluation.seeds: the same recipe with several seeds
    leave_source_out, folds, figshare      reports of training.evaluation.cross_validate
    probes                   report of training.evaluation.probes: what shortcuts are worth
    recorded                 answers to the drawn examples (training.evaluation.recorded), for a check before weights are published
    comparison               report of training.evaluation.compare: the systems that this one grew from
    retrained                comparison.json of training.retrain: these weights beside those that they started from

Each file renders one thing: results.py how well, certainty.py how sure, data.py from which images, making.py how it was
made, energy.py what that took, costs.py how large and quick, study.py whole volumes, retrained.py what is otherwise
after retraining, model_index.py results and examples for the Hub; document.py puts them together.
"""

from .data import count_by_source
from .document import PLOTS, card_of, model_card, readme_numbers
from .model_index import WIDGET

__all__ = ["PLOTS", "WIDGET", "card_of", "count_by_source", "model_card", "readme_numbers"]
