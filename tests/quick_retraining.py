"""The process that retrains, as service.retraining.worker, but measuring on less: python -m tests.quick_retraining JOB.

What it does is the same, but it waits for nobody, and what it measures on is less: fewer drawn images that are no brain
MRI, and fewer studies put together for an interval.
"""

from service.retraining import worker
from training import retrain
from training.export import brain_detector, study

worker.NICENESS = 0
brain_detector.DRAWN, brain_detector.DRAWN_SIZE = 24, 64
retrain.UNSEEN_OTHERS = 6
study.RESAMPLES, study.MEASURED_ON, study.FITTED_ON, study.IN_A_RESAMPLE = 2, 30, 30, 30

if __name__ == "__main__":
    worker.main()
