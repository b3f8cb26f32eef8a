"""Train the four-class network on brain MRI slices, then calibrate, quantize and measure it.

    python -m training.train --data ../shared/data/pool --out runs/first
    python -m training.train --data DIR --out runs/first --resume     # go on after a stop, to the same result
    python -m training.train --data DIR --out runs/tuned --init runs/first/weights --learning_rate 3e-4
    torchrun --nproc_per_node 2 -m training.train --data DIR --out runs/two    # several GPUs, or nodes

The settings, each with its reason, are in training/settings.py. The run folder gets settings.json, history.jsonl,
TensorBoard logs, checkpoint.pt (to resume from, with any number of processes), best.pt, data_report.txt (what was left
out, and why), curves.png (with --plot) and `weights/`: the artifact that the page serves, with metrics, card and plots.
"""

import dataclasses
import math
import sys
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from tqdm import tqdm

from model.preprocess import SERVING_MARGIN

from .augmentation.batches import draw_batch
from .board import Board
from .checkpoint import save_checkpoint, told, write_whole
from .data.frames import DataError, load_frames
from .data.training_set import load_training_set, read_parts
from .draws import StreamedDropout, Streams, shards_of
from .evaluation.plots import plot_history
from .export.refusal import read_other_images
from .export.export import export
from .hardware import bf16_is_fast
from .initialize import initialize
from .losses import label_weights
from .network import TumorNet
from .optimization import averaged_copy, make_optimizer
from .processes import Processes, ProcessLost, is_first, joined
from .run_folder import (
    BEST,
    CHECKPOINT,
    StopRequest,
    broken_down,
    open_run,
    shards_begun_with,
    write_facts,
    write_history,
)
from .schedules import drops, image_size_at, learning_rate_at
from .settings import Settings, parse_settings
from .step import WATCHED, Step
from .summary import summary
from .validate import score, validate


def train(settings: Settings, resume: bool = False, plot: bool = False) -> Path:
    """`fit`, then `export`; returns the folder of the finished artifact.

    Raises: as `fit`; ValueError for folds and left-out sources, whose artifact could be measured on what it trained on.
    """
    if settings.folds or settings.leave_out or settings.sources:
        raise ValueError(
            "--folds, --leave_out and --sources belong to training.evaluation.cross_validate. Use that command."
        )
    run = fit(settings, resume, plot)
    return export(run) if is_first() else run / "weights"


def fit(settings: Settings, resume: bool = False, plot: bool = False) -> Path:
    """Run the training that `settings` describe; returns the run folder with best.pt, of `TumorNet`, in it.

    `plot`: write curves.png after each epoch.
    Raises: DataError, OSError, ValueError with a sentence; FloatingPointError if the loss is not a number any more;
    ProcessLost.
    """
    with joined() as processes:
        return fit_part(settings, resume, plot, processes)


def fit_part(settings: Settings, resume: bool, plot: bool, processes: Processes) -> Path:
    """`fit` in one of the processes."""
    device, out = processes.device, Path(settings.out)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision("high")
    if settings.not_brain:
        read_other_images(Path(settings.not_brain))  # a mistyped folder must not show after an hour of training
    state = processes.from_first(lambda: open_run(out, resume))
    began_with = processes.from_first(lambda: shards_begun_with(out) if state else None)
    settings = dataclasses.replace(settings, shards=shards_of(settings.shards, began_with, processes.count))

    dataset, training, validation = processes.from_first(lambda: read_parts(settings))
    went_on_in = state["progress"]["epoch"] if state else None
    processes.from_first(lambda: write_facts(settings, dataset, device, processes.count, went_on_in))
    with processes.first_here_goes_first():
        training_set = load_training_set(training, settings, device)
        validation_frames = load_frames(validation, settings.size, SERVING_MARGIN, Path(settings.cache))
    if processes.is_first:
        report = "".join(f"{problem}\n" for problem in dataset.problems)
        write_whole(report.encode(), out / "data_report.txt")

    torch.manual_seed(settings.seed)
    frozen = settings.frozen if settings.init != "scratch" else 0
    net = TumorNet(settings.dropout, frozen)
    initialize(net, settings.init)
    net = processes.synced(net).to(device, memory_format=torch.channels_last)
    averaged = averaged_copy(net, settings.ema_decay)
    optimizer = make_optimizer(net, settings)
    forward = processes.share_out(net, rests=settings.unfreeze_at > 0)
    forward = torch.compile(forward) if settings.compile == "always" or device.type == "cuda" else forward
    streams = Streams(processes.part(torch.arange(settings.shards)).tolist(), device)
    if len(streams.shards) > 1:
        net.dropout = StreamedDropout(settings.dropout, streams)
    weights = label_weights(settings.class_weights, training_set.heads.labels, training_set.chances)
    take_step = Step(net, forward, optimizer, averaged, settings, processes, weights, bf16_is_fast(device))

    steps = math.ceil(len(training.records) / settings.batch)  # of an epoch
    warmup = round(settings.warmup_epochs * steps)
    progress = {
        "epoch": 0,
        "step": 0,
        "sums": [0.0] * len(WATCHED),
        "best_score": -1.0,
        "best_epoch": 0,
        "seconds": 0.0,
    }
    history: list[dict] = []
    interrupted = {}  # states of the random streams in the middle of an epoch
    if state:
        net.load_state_dict(state["net"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        progress, history, interrupted = progress | state["progress"], state["history"], state["random"]
        if processes.is_first:
            write_history(history, out)  # the run may have been killed between the checkpoint and this file
            print(f"resumed at epoch {progress['epoch'] + 1}, step {progress['step'] + 1}")

    if processes.is_first:
        board = Board(out / "tensorboard", settings.size, progress["epoch"] * steps + progress["step"] + 1)
    clock = saved = time.monotonic()

    def save(random: dict) -> None:
        nonlocal clock, saved
        random = {shard: state for own in processes.gather_objects(random) for shard, state in own.items()}
        progress["seconds"] += time.monotonic() - clock
        clock = saved = time.monotonic()
        if processes.is_first:
            state = {"net": net.state_dict(), "averaged": averaged.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(state | {"progress": progress, "history": history, "random": random}, out / CHECKPOINT)

    with StopRequest() as stop:
        for epoch in range(progress["epoch"], settings.epochs):
            if epoch - progress["best_epoch"] >= settings.patience:
                if processes.is_first:
                    print(f"no better validation score for {settings.patience} epochs: stopped early")
                break
            # The seed of an epoch fixes its order and its draws, so that a resumed run sees what an unbroken one would.
            torch.manual_seed(settings.seed * 100_003 + epoch)
            order = torch.multinomial(training_set.chances, steps * settings.batch, replacement=True).to(device)
            streams.begin(settings.seed * 100_003 + epoch)
            if set(streams.shards) <= set(interrupted):
                streams.restore(interrupted)
            interrupted = {}
            peak = settings.learning_rate
            if settings.schedule == "plateau":
                peak *= settings.plateau_factor ** drops([score(past) for past in history], settings.plateau_patience)
            size = image_size_at(epoch, settings)
            title = f"epoch {epoch + 1}/{settings.epochs}, {size} px"
            shown = {"desc": title, "unit": "batch", "mininterval": 2, "leave": False}
            bar = tqdm(total=steps, initial=progress["step"], disable=not processes.is_first, **shown)
            head_only = epoch < settings.unfreeze_at * settings.epochs
            net.freeze(len(net.features) if head_only else frozen)
            net.train()
            sums = torch.tensor(progress["sums"], dtype=torch.float64, device=device)
            for step in range(progress["step"], steps):
                rate = learning_rate_at(epoch * steps + step, settings.epochs * steps, warmup, peak, settings.schedule)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                chosen = processes.part(order[step * settings.batch : (step + 1) * settings.batch])
                sums += take_step(draw_batch(training_set, chosen, epoch, settings, streams))
                bar.update()
                asked = stop.made and processes.alone  # several agree on it below
                if not (asked or (step + 1) % settings.log_every == 0 or step + 1 == steps):
                    continue

                before, since = progress["sums"], step + 1 - progress["step"]
                weights_norm = torch.nn.utils.get_total_norm(net.parameters())  # the last step may have broken them
                *so_far, weights_norm = torch.cat((sums, weights_norm[None])).tolist()  # waits for the device
                progress |= {"step": step + 1, "sums": so_far}
                if not math.isfinite(sum(so_far) + weights_norm):
                    bar.close()
                    where = f"between steps {step + 2 - since} and {step + 1} of epoch {epoch + 1}"
                    raise FloatingPointError(broken_down(where, settings, history, out))
                if processes.is_first:
                    gains = (now - then for now, then in zip(progress["sums"], before, strict=True))
                    means = {f"train/{name}": gain / since for name, gain in zip(WATCHED, gains, strict=True)}
                    means |= {"train/learning_rate": rate, "train/weights_norm": weights_norm}
                    board.write(means, epoch * steps + step + 1)
                    bar.set_postfix(loss=f"{means['train/loss']:.3f}", rate=f"{rate:.1e}", refresh=False)
                due = time.monotonic() - saved > 60 * settings.save_minutes
                stopping, saving = processes.any(stop.made, due)
                if stopping or saving:
                    save(streams.states())
                if stopping:
                    bar.close()
                    if processes.is_first:
                        print(f"stopped as asked in epoch {epoch + 1}, step {step + 1}; all is saved, --resume goes on")
                    sys.exit(0)
            bar.close()

            measured = validate(averaged.module, validation_frames, processes)
            line = {"epoch": epoch + 1, "size": size, "train_loss": progress["sums"][0] / steps}
            line["learning_rate"] = optimizer.param_groups[0]["lr"]
            history.append(line | measured)
            if score(measured) > progress["best_score"]:
                progress |= {"best_score": score(measured), "best_epoch": epoch + 1}
                if processes.is_first:
                    save_checkpoint(averaged.module.state_dict(), out / BEST)
            progress |= {"epoch": epoch + 1, "step": 0, "sums": [0.0] * len(WATCHED)}
            history[-1]["seconds"] = progress["seconds"] + time.monotonic() - clock
            save({})
            if not processes.is_first:
                continue
            write_history(history, out)
            board.write({name: value for name, value in history[-1].items() if name != "epoch"}, (epoch + 1) * steps)
            board.draw_evidence(averaged.module, (epoch + 1) * steps)
            if plot:
                plot_history(history, out / "curves.png")
            minutes_left = progress["seconds"] / (epoch + 1) * (settings.epochs - epoch - 1) / 60
            print(
                f"epoch {epoch + 1:3d}  loss {line['train_loss']:.3f}  val loss {measured['val_loss']:.3f}"
                f"  macro-F1 {measured['val_macro_f1']:.3f}  tumor AUC {measured['val_auc_tumor']:.3f}"
                f"  best epoch {progress['best_epoch']}  {minutes_left:.0f} min left",
                flush=True,
            )
    if processes.is_first:
        board.close()
        print(summary(history, steps * settings.batch))
    return out


def main() -> None:
    try:
        train(*parse_settings(sys.argv[1:], __doc__.split("\n")[0]))
    except ProcessLost as lost:
        sys.exit(f"training.train: {lost}")
    except KeyboardInterrupt:  # before the first step, or after the last one: in between StopRequest takes it
        sys.exit("training.train: stopped. What was saved is whole: go on with --resume." if is_first() else 1)
    except (DataError, OSError, FloatingPointError, ValueError, SafetensorError) as error:
        sentence = told(error) if isinstance(error, OSError) else error
        sys.exit(f"training.train: {sentence}" if is_first() else 1)  # the others have the same to say


if __name__ == "__main__":
    main()
