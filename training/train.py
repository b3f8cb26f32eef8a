"""Train the four-class network on brain MRI slices, then calibrate, quantize and measure it.

    python -m training.train --data ../shared/data/pool --out runs/first
    python -m training.train --data DIR --out runs/first --resume     # go on after a stop, to the same result
    python -m training.train --data DIR --out runs/tuned --init runs/first/weights --learning_rate 3e-4
    torchrun --nproc_per_node 2 -m training.train --data DIR --out runs/two    # several GPUs, or nodes

With five healthy heads (--volumes) and three seeds, in 31 to 36 minutes of one CPU core each: macro-F1 0.902 (0.899 to
0.908) on test patients, tumor AUC 0.935 (0.924 to 0.950) on images of a source that training never saw.

The settings, each with its reason, are in training/settings.py. The run folder gets settings.json, history.jsonl,
TensorBoard logs, checkpoint.pt (to resume from, with any number of processes), best.pt, data_report.txt (what was left
out, and why) and `weights/`: the artifact that the page serves, with metrics, card and plots.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from sklearn.metrics import f1_score, recall_score, roc_auc_score
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from model import CLASSES, NO_TUMOR
from model.preprocess import SERVING_MARGIN

from .augmentation.augment import MILD, Strength, augment
from .augmentation.lesions import FEWER, Share, blank_some, move_lesions
from .augmentation.neighbors import pick_neighbors
from .checkpoint import (
    BEST,
    CHECKPOINT,
    StopRequest,
    broken_down,
    open_run,
    save_checkpoint,
    score,
    write_facts,
    write_history,
    write_whole,
)
from .data.frames import DataError, Frames, load_frames
from .data.training_set import TrainingSet, load_training_set, read_parts
from .distributed import (
    COUNT,
    IS_FIRST,
    RANK,
    bf16_is_fast,
    connected,
    from_first,
    gathered,
    in_turn,
    mean_of_all,
    part,
)
from .evaluation.metrics import calibration_error
from .export.export import export
from .export.refusal import read_other_images
from .losses import PARTIAL, class_loss, log_probability, position_loss, type_loss
from .network import STRIDE, TumorNet, initialize
from .settings import SIZE_STEP, Settings, parse_settings

WATCHED = ("loss", "class_loss", "position_loss", "type_loss", "gradient_norm")  # of a step, in this order
SEEDS_APART = 2_654_435_761  # of processes: 2**32 by the golden ratio, far from the seeds of other epochs

# ---- data


def read_data(settings: Settings, device: torch.device, state: dict | None) -> tuple[TrainingSet, Frames, int]:
    """Training images on the device, validation frames, and the steps of an epoch; settings.json notes the start.

    `state`: that of the run which goes on, as `open_run` returns it. Raises: DataError.
    """
    out, cache = Path(settings.out), Path(settings.cache)
    if settings.not_brain:
        read_other_images(Path(settings.not_brain))  # a mistyped folder must not show after an hour of training
    dataset, training, validation = from_first(lambda: read_parts(settings))
    if IS_FIRST:
        write_facts(settings, dataset, device, state["progress"]["epoch"] if state else None)
    with in_turn():
        training_set = load_training_set(training, settings, device)
        validation_frames = load_frames(validation, settings.size, SERVING_MARGIN, cache)
    if IS_FIRST:
        write_whole("".join(f"{problem}\n" for problem in dataset.problems).encode(), out / "data_report.txt")
    return training_set, validation_frames, math.ceil(len(training.records) / settings.batch)


class Batch(NamedTuple):
    """What the network sees in one step, and what it is asked for."""

    images: Tensor  # float32 (N, 1, S, S) in 0..255
    said: Tensor  # int8 (N, h, w), what the box says of each position (`augment.positions_in_box`)
    labels: Tensor  # int64 (N,)


def draw_batch(training_set: TrainingSet, chosen: Tensor, epoch: int, settings: Settings) -> Batch:
    """The images `chosen` (int64, N rows of the training set, on its device), as epoch `epoch`, from 0, shows them.

    Lesions are moved, insides painted over, all of it augmented: on the device, drawn from torch's global generator.
    """
    mild = epoch >= settings.mild_from * settings.epochs
    strength, share = (MILD, FEWER) if mild else (Strength(), Share())
    heads = Frames(*(part[chosen] for part in training_set.heads))
    if epoch >= settings.transplants_from * settings.epochs:
        heads = move_lesions(heads, pick_neighbors(training_set.heads, training_set.neighbors[chosen]), share)
    heads = blank_some(heads, settings.blanked)
    images, said = augment(heads.images, heads.boxes, image_size_at(epoch, settings), STRIDE, strength)
    return Batch(images, said, heads.labels)


def image_size_at(epoch: int, settings: Settings) -> int:
    """Small images first, the full size from half of the run on (progressive resizing); a multiple of 32."""
    progress = min(1.0, epoch / max(1, settings.epochs // 2))
    size = settings.smallest_size + (settings.size - settings.smallest_size) * progress
    return int(size) // SIZE_STEP * SIZE_STEP


# ---- network and step


class Learner:
    """The network with its optimizer and its averaged weights: what a step changes.

    `net`: as initialized, on the CPU. `bf16`: its matrix products are taken in that.
    """

    def __init__(self, net: TumorNet, settings: Settings, device: torch.device, bf16: bool):
        self.settings, self.device, self.bf16 = settings, device, bf16
        if COUNT > 1 and device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # on CPUs PyTorch has none
        self.net = net.to(device, memory_format=torch.channels_last)
        self.averaged = AveragedModel(self.net, use_buffers=True)
        self.averaged.multi_avg_fn = moving_average(self.averaged.n_averaged, settings.ema_decay)
        self.optimizer = torch.optim.AdamW(parameter_groups(net, settings.weight_decay), betas=(0.9, 0.99), fused=True)
        self.forward: nn.Module = self.net
        if COUNT > 1:
            here, rests = [device] if device.type == "cuda" else None, settings.unfreeze_at > 0
            self.forward = nn.parallel.DistributedDataParallel(self.net, here, find_unused_parameters=rests)
        if settings.compile == "always" or device.type == "cuda":
            self.forward = torch.compile(self.forward)

    def step(self, batch: Batch) -> Tensor:
        """Learn from a batch; returns `WATCHED`, float32 (5,), on the device, for which nothing has to wait."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.forward(batch.images.contiguous(memory_format=torch.channels_last))
        of_image = class_loss(output.logits, batch.labels, self.settings.label_smoothing)
        of_positions = position_loss(output.scores, batch.labels, batch.said)
        of_types = type_loss(output.logits, batch.labels)
        loss = of_image + self.settings.position_weight * of_positions + self.settings.even_types * of_types
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # of several processes, which take the mean of their gradients
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.averaged.update_parameters(self.net)
        return mean_of_all(torch.stack((loss, of_image, of_positions, of_types, norm)).detach())

    def state(self) -> dict[str, dict]:
        """What `load` goes on from."""
        return {name: getattr(self, name).state_dict() for name in ("net", "averaged", "optimizer")}

    def load(self, state: dict[str, dict]) -> None:
        """Go on from a state."""
        for name in ("net", "averaged", "optimizer"):
            getattr(self, name).load_state_dict(state[name])


def parameter_groups(net: TumorNet, weight_decay: float) -> list[dict]:
    """Decay the convolutions only; norms, biases and the pooling's sharpness stay free."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    free = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def moving_average(updates: Tensor, decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """Exponential moving average for `AveragedModel`; shorter at first, to forget the random start soon."""

    def update(averaged: list[Tensor], current: list[Tensor], _: Tensor) -> None:
        count = float(updates)  # lies on the CPU: to read the copy that the rule is given would wait
        get_ema_multi_avg_fn(min(decay, (1 + count) / (10 + count)))(averaged, current, _)

    return update


def learning_rate_at(step: int, total_steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to `peak`, then half a cosine down to zero."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


# ---- validation


@torch.inference_mode()
def predict_logits(net: TumorNet, frames: Frames, device: torch.device, batch: int = 128) -> Tensor:
    """Logits float32 (N, C) on the CPU for framed images."""
    net.eval()
    pieces = [net(piece[:, None].to(device)).logits for piece in frames.images.split(batch)]
    return torch.cat(pieces).cpu()


def measure(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """What history.jsonl says of an epoch; NaN where a figure is undefined.

    `logits` (N, C), `labels` (N,). Loss and AUC of tumor against none are over all labels, the rest over the full ones;
    the calibration error is that of the plain softmax, since the artifact is calibrated later.
    """
    full = (labels != PARTIAL).numpy()
    probabilities, truth = logits.softmax(dim=1).numpy(), labels.numpy()
    predicted = logits.argmax(dim=1).numpy()
    has_tumor = truth != NO_TUMOR
    every = list(range(len(CLASSES)))
    recalls = recall_score(truth[full], predicted[full], labels=every, average=None, zero_division=np.nan)
    weights = np.ones((1, full.sum()))
    return {
        "val_loss": -log_probability(logits, labels).mean().item(),
        "val_macro_f1": float(f1_score(truth[full], predicted[full], labels=every, average="macro")),
        "val_accuracy": float(np.mean(truth[full] == predicted[full])),
        "val_auc_tumor": float(roc_auc_score(has_tumor, 1 - probabilities[:, NO_TUMOR]))
        if 0 < has_tumor.sum() < len(truth)
        else float("nan"),
        "val_ece": float(calibration_error(probabilities[full], truth[full], weights)[0]),
        **{f"val_recall_{name}": float(recall) for name, recall in zip(CLASSES, recalls, strict=True)},
    }


# ---- the run


class Run:
    """A run in one of its processes: the learner, how far it has come, and what it leaves in the run folder.

    `state`: of the checkpoint that it goes on from; None if it begins. Raises: DataError, ValueError with a remedy.
    """

    def __init__(self, settings: Settings, device: torch.device, state: dict | None):
        self.settings, self.device, self.out = settings, device, Path(settings.out)
        self.training_set, self.validation_frames, self.steps = read_data(settings, device, state)
        torch.manual_seed(settings.seed)
        self.frozen = settings.frozen if settings.init != "scratch" else 0
        net = TumorNet(settings.dropout, self.frozen)
        initialize(net, settings.init)
        self.learner = Learner(net, settings, device, bf16_is_fast(device))
        self.progress = {"epoch": 0, "step": 0, "sums": [0.0] * len(WATCHED)}
        self.progress |= {"best_score": -1.0, "best_epoch": 0, "seconds": 0.0}
        self.history: list[dict] = []
        self.random: dict[int, list[Tensor]] = {}  # states of each process's generators, in the middle of an epoch
        if state:
            self.learner.load(state)
            self.progress |= state["progress"]
            self.history, self.random = state["history"], state["random"]
        if state and IS_FIRST:
            write_history(self.history, self.out)  # the run may have been killed between the checkpoint and this file
            print(f"resumed at epoch {self.progress['epoch'] + 1}, step {self.progress['step'] + 1}")
        self.board = SummaryWriter(self.out / "tensorboard", purge_step=self.steps_done + 1) if IS_FIRST else None
        self.clock = self.saved = time.monotonic()

    @property
    def steps_done(self) -> int:
        """Of all epochs so far."""
        return self.progress["epoch"] * self.steps + self.progress["step"]

    def is_over(self) -> bool:
        """Whether all epochs are done, or the last `patience` of them were of no use."""
        epoch, patience = self.progress["epoch"], self.settings.patience
        is_stuck = epoch - self.progress["best_epoch"] >= patience
        if is_stuck and IS_FIRST and epoch < self.settings.epochs:
            print(f"no better validation score for {patience} epochs: stopped early")
        return is_stuck or epoch >= self.settings.epochs

    def train_epoch(self, stop: StopRequest) -> None:
        """Train until the end of the epoch, or end the program at the next step when a stop is requested."""
        settings, epoch, first = self.settings, self.progress["epoch"], self.progress["step"]
        order = self.begin_epoch()
        total, warmup = settings.epochs * self.steps, round(settings.warmup_epochs * self.steps)
        sums = torch.tensor(self.progress["sums"], dtype=torch.float64, device=self.device)
        title = f"epoch {epoch + 1}/{settings.epochs}, {image_size_at(epoch, settings)} px"
        shown = {"desc": title, "unit": "batch", "mininterval": 2, "leave": False, "disable": not IS_FIRST}
        with tqdm(range(first, self.steps), total=self.steps, initial=first, **shown) as bar:
            for step in bar:
                rate = learning_rate_at(epoch * self.steps + step, total, warmup, settings.learning_rate)
                for group in self.learner.optimizer.param_groups:
                    group["lr"] = rate
                chosen = part(order[step * settings.batch : (step + 1) * settings.batch])
                sums += self.learner.step(draw_batch(self.training_set, chosen, epoch, settings))
                due = (step + 1) % settings.log_every == 0 or step + 1 == self.steps
                if due or (stop.made and COUNT == 1):  # several processes agree on a stop when all look
                    loss = self.look(step + 1, sums, rate)
                    bar.set_postfix(loss=f"{loss:.3f}", rate=f"{rate:.1e}", refresh=False)
                    self.save_if_asked(stop)

    def begin_epoch(self) -> Tensor:
        """Freeze and seed for the epoch; returns the order of its images, int64 (steps x batch,), on the device.

        The seed of an epoch fixes its order and its draws, so that a resumed run sees what an unbroken one would.
        """
        settings, epoch = self.settings, self.progress["epoch"]
        net, seed = self.learner.net, settings.seed * 100_003 + epoch
        net.freeze(len(net.features) if epoch < settings.unfreeze_at * settings.epochs else self.frozen)
        net.train()
        torch.manual_seed(seed)
        order = torch.multinomial(self.training_set.chances, self.steps * settings.batch, replacement=True)
        if not IS_FIRST:
            torch.manual_seed(seed + RANK * SEEDS_APART)
        if len(self.random) == COUNT:
            torch.set_rng_state(self.random[RANK][0])
            for on_device in self.random[RANK][1:]:
                torch.cuda.set_rng_state(on_device, self.device)
        self.random = {}
        return order.to(self.device)

    def look(self, step: int, sums: Tensor, rate: float) -> float:
        """Write what the last steps came to, for which the device has to finish them; returns their mean loss.

        Raises: FloatingPointError if it is not a number any more.
        """
        before, since = self.progress["sums"], step - self.progress["step"]
        weights_norm = nn.utils.get_total_norm(self.learner.net.parameters())  # the last step may have broken them
        *so_far, weights_norm = torch.cat((sums, weights_norm[None])).tolist()
        self.progress |= {"step": step, "sums": so_far}
        if not math.isfinite(sum(so_far) + weights_norm):
            where = f"between steps {step + 1 - since} and {step} of epoch {self.progress['epoch'] + 1}"
            raise FloatingPointError(broken_down(where, self.settings, self.history, self.out))
        means = {f"train/{n}": (now - then) / since for n, now, then in zip(WATCHED, so_far, before, strict=True)}
        self.draw_curves(means | {"train/learning_rate": rate, "train/weights_norm": weights_norm})
        return means["train/loss"]

    def draw_curves(self, values: dict[str, float]) -> None:
        """Show `values` in TensorBoard (`tensorboard --logdir runs`)."""
        for name, value in values.items() if self.board else ():
            self.board.add_scalar(name, value, self.steps_done)

    def save_if_asked(self, stop: StopRequest) -> None:
        """Save if it is time to, or if any process is to stop; then end the program."""
        is_time = time.monotonic() - self.saved > 60 * self.settings.save_minutes
        stopping, saving = (any(flags) for flags in zip(*gathered((stop.made, is_time)), strict=True))
        if stopping or saving:
            on_device = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
            self.save(dict(enumerate(gathered([torch.get_rng_state(), *on_device]))))
        if stopping:
            if IS_FIRST:
                where = f"epoch {self.progress['epoch'] + 1}, step {self.progress['step']}"
                print(f"stopped as asked in {where}; all is saved, --resume goes on")
            sys.exit(0)

    def end_epoch(self) -> None:
        """Validate the averaged weights, keep them if they are the best so far, and save."""
        averaged, epoch = self.learner.averaged.module, self.progress["epoch"]
        frames = self.validation_frames
        measured = from_first(lambda: measure(predict_logits(averaged, frames, self.device), frames.labels))
        line = {"epoch": epoch + 1, "size": image_size_at(epoch, self.settings)}
        line |= {"train_loss": self.progress["sums"][0] / self.steps}
        line |= {"learning_rate": self.learner.optimizer.param_groups[0]["lr"]} | measured
        if score(measured) > self.progress["best_score"]:
            self.progress |= {"best_score": score(measured), "best_epoch": epoch + 1}
            if IS_FIRST:
                save_checkpoint(averaged.state_dict(), self.out / BEST)
        self.progress |= {"epoch": epoch + 1, "step": 0, "sums": [0.0] * len(WATCHED)}
        line["seconds"] = self.progress["seconds"] + time.monotonic() - self.clock
        self.history.append(line)
        self.save({})
        if IS_FIRST:
            write_history(self.history, self.out)
            self.draw_curves({name: value for name, value in line.items() if name != "epoch"})
            minutes_left = line["seconds"] / (epoch + 1) * (self.settings.epochs - epoch - 1) / 60
            print(
                f"epoch {epoch + 1:3d}  loss {line['train_loss']:.3f}  val loss {measured['val_loss']:.3f}"
                f"  macro-F1 {measured['val_macro_f1']:.3f}  tumor AUC {measured['val_auc_tumor']:.3f}"
                f"  best epoch {self.progress['best_epoch']}  {minutes_left:.0f} min left",
                flush=True,
            )

    def save(self, random: dict[int, list[Tensor]]) -> None:
        """Write checkpoint.pt. `random`: each process's generators, in the middle of an epoch."""
        now = time.monotonic()
        self.progress["seconds"] += now - self.clock
        self.clock = self.saved = now
        if IS_FIRST:
            state = {"progress": self.progress, "history": self.history, "random": random}
            save_checkpoint(self.learner.state() | state, self.out / CHECKPOINT)


def fit(settings: Settings, resume: bool = False) -> Path:
    """Run the training that `settings` describe; returns the run folder with best.pt, of `TumorNet`, in it.

    Raises: DataError, OSError, ValueError with a remedy; FloatingPointError if the loss is not a number any more;
    RuntimeError if another process of the run is lost.
    """
    if settings.batch % COUNT:
        raise ValueError(f"--batch {settings.batch} has no {COUNT} equal parts, one for each process. Use a multiple.")
    with connected() as device:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        torch.set_float32_matmul_precision("high")
        run = Run(settings, device, from_first(lambda: open_run(Path(settings.out), resume)))
        with StopRequest() as stop:
            while not run.is_over():
                run.train_epoch(stop)
                run.end_epoch()
        if run.board:
            run.board.close()
            images, seconds = len(run.history) * run.steps * settings.batch, run.history[-1]["seconds"]
            print(f"{len(run.history)} epochs in {seconds / 60:.1f} min, {images / seconds:.0f} images/s")
    return run.out


def train(settings: Settings, resume: bool = False) -> Path:
    """`fit`, then `export`; returns the folder of the finished artifact.

    Raises: as `fit`; ValueError for folds and left-out sources, whose artifact could be measured on what it trained on.
    """
    if settings.folds or settings.leave_out or settings.sources:
        raise ValueError("--folds, --leave_out and --sources are for training.evaluation.cross_validate. Use that.")
    run = fit(settings, resume)
    return export(run) if IS_FIRST else run / "weights"


def main() -> None:
    """The command line: whatever ends a run, a sentence says why and what to do."""
    try:
        train(*parse_settings(sys.argv[1:], __doc__.split("\n")[0]))
    except KeyboardInterrupt:  # before the first step, or after the last one: in between StopRequest takes it
        sys.exit("training.train: stopped. What was saved is whole: go on with --resume.")
    except OSError as error:
        message = str(error)
        if error.strerror:  # the system's words instead of ours
            what = f"{error.filename or 'a file'} could not be read or written: {error.strerror.lower()}"
            message = f"{what}. What was saved before is whole."
        sys.exit(f"training.train: {message}")
    except (DataError, FloatingPointError, ValueError, SafetensorError) as error:
        sys.exit(f"training.train: {error}")
    except RuntimeError as error:
        if COUNT == 1:
            raise
        others = "If another one has failed or was killed, that is why: see its message. Nothing saved is lost"
        sys.exit(f"training.train: process {RANK} of {COUNT} ended: {error} {others}: start again with --resume.")


if __name__ == "__main__":
    main()
