"""The process that retrains, as service.retraining.worker, but measuring on less: python -m tests.quick_retraining JOB.

What it does is the same, but it waits for nobody, and what it measures on is less: fewer drawn images that are no brain
MRI, and fewer studies put together for an interval.
"""

from service.retraining import worker
from training import retrain
from training.evaluation import studies
from training.export import calibration, refusal

worker.NICENESS = 0
refusal.DRAWN, refusal.DRAWN_SIZE = 24, 64
retrain.UNSEEN_OTHERS = 6
studies.RESAMPLES, studies.MEASURED_ON, studies.IN_A_RESAMPLE, calibration.FITTED_ON = 2, 30, 30, 30

if __name__ == "__main__":
    worker.main()
