"""Train the four-class network on brain MRI slices, then calibrate, quantize and measure it.

    python -m training.train --data ../shared/data/pool --out runs/first
    python -m training.train --data DIR --out runs/first --resume     # go on after a stop, to the same result
    python -m training.train --data DIR --out runs/tuned --init runs/first/weights --learning_rate 3e-4

The settings, each with its reason, are in training/settings.py. The run folder gets settings.json, history.jsonl,
TensorBoard logs, checkpoint.pt (to resume from), best.pt, data_report.txt (what was left out, and why), and `weights/`:
the artefact that the page serves, with its metrics, card and plots.
"""

import dataclasses
import json
import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from model.network import STRIDE, TumorNet
from model.preprocess import SERVING_MARGIN

from .augment import MILD, Strength, augment
from .blanked import blank_some
from .checkpoint import load_checkpoint, save_checkpoint
from .data import DataError, Dataset, load_frames
from .export import export
from .gate import read_other_images
from .hardware import best_device, bf16_is_fast, describe, git_commit, versions
from .initialize import initialize
from .losses import class_loss, position_loss, type_loss
from .schedules import image_size_at, learning_rate_at
from .settings import Settings, parse_settings
from .training_set import load_training_set, read_parts
from .transplant import FEWER, Share, move_lesions
from .twins import Heads, pick_twins
from .validate import score, validate

# On resuming: where things lie and how fast they go, not what they are.
FREE_TO_DIFFER = ("data", "out", "not_brain", "cache", "compile", "threads")


class StopRequest:
    """While it is open, SIGTERM and SIGINT set a flag, so that the run ends between two steps with everything saved."""

    made = False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._make) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _make(self, *_) -> None:
        self.made = True


def write_facts(settings: Settings, dataset: Dataset, device: torch.device, resumed_in: int | None) -> None:
    """Write settings.json, or add this start to it. Raises DataError if the run was begun with other settings or data.

    `resumed_in`: the epoch, from 0, in which the run goes on; None if it begins.
    """
    file = Path(settings.out) / "settings.json"
    facts = {
        "settings": dataclasses.asdict(settings),
        "versions": versions(),
        "hardware": describe(device),
        "data_fingerprint": dataset.fingerprint(),
        "starts": [],
    }
    if resumed_in is not None:
        began = json.loads(file.read_text())
        settings_began = began["settings"].items()
        changed = [f"--{name} {old}" for name, old in settings_began if facts["settings"].get(name, old) != old]
        changed = [option for option in changed if option.removeprefix("--").split()[0] not in FREE_TO_DIFFER]
        if began["data_fingerprint"] != facts["data_fingerprint"]:
            changed.append("other images in --data")
        if changed:
            raise DataError(
                f"{settings.out} was begun with {', '.join(changed)}. Resume with these, or choose another --out."
            )
        facts = began
    facts["starts"].append({"epoch": (resumed_in or 0) + 1, "git_commit": git_commit(), "torch": torch.__version__})
    file.write_text(json.dumps(facts, indent=2) + "\n")


def parameter_groups(net: TumorNet, weight_decay: float) -> list[dict]:
    """Decay the convolutions only; norms, biases and the pooling's sharpness stay free."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    free = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """Exponential moving average for `AveragedModel`, shorter at first, so that it soon forgets the random start."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
        if not averaged[0].is_floating_point():  # BatchNorm's counters
            torch._foreach_copy_(averaged, current)
            return
        count = float(updates)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + count) / (10 + count)))

    return update


def random_state(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def train(settings: Settings, resume: bool = False) -> Path:
    """`fit`, then `export`; returns the folder of the finished artefact.

    Raises: as `fit`; ValueError for folds and left-out sources, whose artefact could be measured on what it trained on.
    """
    if settings.folds or settings.leave_out or settings.sources:
        raise ValueError("--folds, --leave_out and --sources belong to training.cross_validate. Use that command.")
    return export(fit(settings, resume))


def fit(settings: Settings, resume: bool = False) -> Path:
    """Run the training that `settings` describe; returns the run folder with best.pt, of `TumorNet`, in it.

    Raises: DataError, OSError, ValueError with a sentence; FloatingPointError if the loss is not a number any more.
    """
    device = best_device()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision("high")
    out = Path(settings.out)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise DataError(f"{out} already holds a run. Add --resume to go on with it, or choose another --out.")
    if settings.not_brain:
        read_other_images(Path(settings.not_brain))  # a mistyped folder must not show after an hour of training
    state = load_checkpoint(checkpoint) if checkpoint.exists() else None
    out.mkdir(parents=True, exist_ok=True)

    dataset, training, validation = read_parts(settings)
    write_facts(settings, dataset, device, state["progress"]["epoch"] if state else None)
    training_set = load_training_set(training, settings, device)
    validation_frames = load_frames(validation, settings.size, SERVING_MARGIN, Path(settings.cache))
    (out / "data_report.txt").write_text("".join(f"{problem}\n" for problem in dataset.problems))

    torch.manual_seed(settings.seed)
    net = TumorNet(settings.dropout, settings.frozen if settings.init != "scratch" else 0)
    initialize(net, settings.init)
    net = net.to(device, memory_format=torch.channels_last)
    averaged = AveragedModel(net, multi_avg_fn=moving_average(settings.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(parameter_groups(net, settings.weight_decay), betas=(0.9, 0.99), fused=True)
    forward = torch.compile(net) if settings.compile == "always" or device.type == "cuda" else net
    bf16 = bf16_is_fast(device)

    steps = math.ceil(len(training.records) / settings.batch)  # of an epoch
    warmup = round(settings.warmup_epochs * steps)
    progress = {"epoch": 0, "step": 0, "loss_sum": 0.0, "best_score": -1.0, "best_epoch": 0, "seconds": 0.0}
    history: list[dict] = []
    interrupted: list[Tensor] = []  # state of the random generators in the middle of an epoch
    if state:
        net.load_state_dict(state["net"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        progress, history, interrupted = state["progress"], state["history"], state["random"]
        print(f"resumed at epoch {progress['epoch'] + 1}, step {progress['step'] + 1}")

    board = SummaryWriter(out / "tensorboard", purge_step=progress["epoch"] * steps + 1)
    clock = time.monotonic()

    def save(random: list[Tensor]) -> None:
        nonlocal clock
        progress["seconds"] += time.monotonic() - clock
        clock = time.monotonic()
        state = {"net": net.state_dict(), "averaged": averaged.state_dict(), "optimizer": optimizer.state_dict()}
        save_checkpoint(state | {"progress": progress, "history": history, "random": random}, checkpoint)

    with StopRequest() as stop:
        for epoch in range(progress["epoch"], settings.epochs):
            if epoch - progress["best_epoch"] >= settings.patience:
                print(f"no better validation score for {settings.patience} epochs: stopped early")
                break
            # The seed of an epoch fixes its order and its draws, so that a resumed run sees what an unbroken one would.
            torch.manual_seed(settings.seed * 100_003 + epoch)
            order = torch.multinomial(training_set.chances, steps * settings.batch, replacement=True)
            if interrupted:
                set_random_state(interrupted, device)
                interrupted = []
            size = image_size_at(epoch, settings)
            mild = epoch >= settings.mild_from * settings.epochs
            strength, share = (MILD, FEWER) if mild else (Strength(), Share())
            title = f"epoch {epoch + 1}/{settings.epochs}, {size} px"
            bar = tqdm(total=steps, initial=progress["step"], desc=title, unit="batch", mininterval=2, leave=False)
            net.train()
            for step in range(progress["step"], steps):
                rate = learning_rate_at(epoch * steps + step, settings.epochs * steps, warmup, settings.learning_rate)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                chosen = order[step * settings.batch : (step + 1) * settings.batch].to(device)
                heads = Heads(*(part[chosen] for part in training_set.heads))
                if epoch >= settings.transplants_from * settings.epochs:
                    twins = pick_twins(training_set.heads, training_set.twins[chosen])
                    heads = move_lesions(heads, twins, share)
                heads = blank_some(heads, settings.blanked)
                images, said = augment(heads.images, heads.boxes, size, STRIDE, strength)
                labels = heads.labels
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    output = forward(images.contiguous(memory_format=torch.channels_last))
                of_image = class_loss(output.logits, labels, settings.label_smoothing)
                of_positions = position_loss(output.scores, labels, said)
                of_types = type_loss(output.logits, labels)
                loss = of_image + settings.position_weight * of_positions + settings.even_types * of_types
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), settings.clip_norm)
                optimizer.step()
                averaged.update_parameters(net)
                progress |= {"step": step + 1, "loss_sum": progress["loss_sum"] + loss.item()}  # a CPU-GPU sync point
                if not math.isfinite(progress["loss_sum"]):
                    where = f"in epoch {epoch + 1}, step {step + 1}"
                    raise FloatingPointError(f"the loss is not a number {where}. Lower --learning_rate and --resume.")
                bar.update()
                bar.set_postfix(loss=f"{progress['loss_sum'] / (step + 1):.3f}", rate=f"{rate:.1e}", refresh=False)
                if stop.made:
                    bar.close()
                    save(random_state(device))
                    print(
                        f"stopped as asked in epoch {epoch + 1}, step {step + 1}; everything is saved, --resume goes on"
                    )
                    sys.exit(0)
            bar.close()

            measured = validate(averaged.module, validation_frames, device)
            line = {"epoch": epoch + 1, "size": size, "train_loss": progress["loss_sum"] / steps}
            line["learning_rate"] = optimizer.param_groups[0]["lr"]
            history.append(line | measured)
            if score(measured) > progress["best_score"]:
                progress |= {"best_score": score(measured), "best_epoch": epoch + 1}
                save_checkpoint(averaged.module.state_dict(), out / "best.pt")
            progress |= {"epoch": epoch + 1, "step": 0, "loss_sum": 0.0}
            history[-1]["seconds"] = progress["seconds"] + time.monotonic() - clock
            save([])
            (out / "history.jsonl").write_text("".join(json.dumps(past) + "\n" for past in history))
            for name, value in history[-1].items():
                board.add_scalar(name, value, (epoch + 1) * steps)
            minutes_left = progress["seconds"] / (epoch + 1) * (settings.epochs - epoch - 1) / 60
            print(
                f"epoch {epoch + 1:3d}  loss {line['train_loss']:.3f}  val loss {measured['val_loss']:.3f}"
                f"  macro-F1 {measured['val_macro_f1']:.3f}  tumor AUC {measured['val_auc_tumor']:.3f}"
                f"  best epoch {progress['best_epoch']}  {minutes_left:.0f} min left",
                flush=True,
            )
    board.close()
    return out


def main() -> None:
    try:
        train(*parse_settings(sys.argv[1:], __doc__.split("\n")[0]))
    except (DataError, OSError, FloatingPointError, ValueError) as error:
        sys.exit(f"training.train: {error}")


if __name__ == "__main__":
    main()
