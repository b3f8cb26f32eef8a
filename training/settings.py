"""The settings of a run: one visible block, each an option of `python -m training.train` with the same name."""

import argparse
import dataclasses
import math

from model import CLASSES

FOLDERS = ("data", "out", "not_brain", "set_aside", "volumes", "cache")  # settings that say where things lie
STEP = 32  # image sizes are multiples of it: the network halves them five times


@dataclasses.dataclass(frozen=True)
class Settings:
    data: str = ""  # folder with a manifest.csv, class folders, yes/no folders, or images with a CSV of labels
    out: str = ""  # the run folder
    not_brain: str = ""  # folder of images that are no brain MRI: the refusal is fitted on half of them
    copies: str = "drop"  # drop | keep training images that look like a held-out one; vendors' splits keep them
    set_aside: str = ""  # CSV of images (path) that neither train nor validate, since they contradict their label
    sources: str = ""  # use only these sources of the data, with commas between; "" for all
    leave_out: str = ""  # sources held out whole, with commas between: all their images join the test split
    folds: int = 0  # split by group into so many parts instead of as the data says; 0 for the data's own split
    fold: int = 0  # the part that is tested, from 0; the next one validates, the others train
    init: str = "imagenet"  # scratch | imagenet | a file of MobileNetV2 weights | a weights folder or Hub id of ours
    frozen: int = 4  # first parts of the body that keep what they start with, none from scratch: half the time
    unfreeze_at: float = 0.0  # of the run: until here the whole body keeps its weights, and only the head trains
    size: int = 160  # pixels of the input
    smallest_size: int = 128  # training starts here and grows to `size` at half of the run: saves a quarter of the time
    epochs: int = 20
    patience: int = 20  # epochs without a better validation score before the run stops early
    batch: int = 64
    shards: int = 0  # parts of a batch that draw apart, for the processes to share; 0: one for each at the beginning
    learning_rate: float = 1e-3
    schedule: str = "cosine"  # cosine | constant | plateau: after the warm-up
    plateau_patience: int = 3  # epochs without a better validation score before the rate falls at a plateau
    plateau_factor: float = 0.3  # by which it falls
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    decay: str = (
        "decoupled"  # decoupled | l2: beside the gradient (AdamW), or a penalty in it, as older recipes have it
    )
    class_weights: str = (
        ""  # of the classes in the loss: "" for even ones | balanced | four numbers with commas between
    )
    label_smoothing: float = 0.05
    position_weight: float = 0.5  # of the loss on positions that the tumor's box speaks about
    even_types: float = 0.1  # of the loss that asks for even types where there is no tumor
    dropout: float = 0.1  # of whole channels before the position scores
    ema_decay: float = 0.99  # of the averaged weights that are validated and kept
    phantoms: int = 1200  # drawn heads that join the training images, as domain randomization; 0 for none
    phantom_share: float = 0.10  # of each batch
    volumes: str = ""  # folder of healthy heads, a file or folder each: tumor-free slices in every plane
    volume_share: float = 0.08  # of each batch, where there are volumes
    transplants_from: float = 0.0  # of the run: from here on lesions are moved between heads; 1 for never
    blanked: float = 0.04  # of each batch: heads whose inside is painted over, which say nothing of a tumor or its type
    mild_from: float = 0.6  # of the run: from here on milder augmentation, and fewer lesions covered
    clip_norm: float = 2.0
    seed: int = 0
    compile: str = "cuda"  # cuda | always: on a CPU it saves a quarter of the time, and needs a C++ compiler
    threads: int = 0  # CPU threads; 0: as many as there are cores
    log_every: int = 20  # steps between two looks at the loss: each waits for the device
    save_minutes: float = 2.0  # between checkpoints within an epoch: what a crash costs at most
    cache: str = "runs/cache"  # decoded frames and phantoms, shared by runs

    def __post_init__(self):
        for name in ("size", "smallest_size"):
            if getattr(self, name) <= 0 or getattr(self, name) % STEP:
                raise ValueError(f"--{name} {getattr(self, name)} does not fit the network. Use a multiple of {STEP}.")
        if self.copies not in ("drop", "keep"):
            raise ValueError(f"--copies {self.copies} is unknown. Use drop or keep.")
        if self.compile not in ("cuda", "always"):
            raise ValueError(f"--compile {self.compile} is unknown. Use cuda or always.")
        if self.schedule not in ("cosine", "constant", "plateau"):
            raise ValueError(f"--schedule {self.schedule} is unknown. Use cosine, constant or plateau.")
        if self.decay not in ("decoupled", "l2"):
            raise ValueError(f"--decay {self.decay} is unknown. Use decoupled or l2.")
        if self.class_weights not in ("", "balanced") and not is_weights(self.class_weights):
            raise ValueError(
                f"--class_weights {self.class_weights} makes no sense. Use balanced, or {len(CLASSES)} numbers, none "
                f"below 0, with commas between: for {', '.join(CLASSES)}."
            )
        if not 0 < self.plateau_factor < 1:
            raise ValueError(f"--plateau_factor {self.plateau_factor} lowers no rate. Use a number between 0 and 1.")
        if self.plateau_patience < 0 or self.save_minutes < 0:
            raise ValueError("--plateau_patience and --save_minutes cannot be below 0. Use 0 or more.")
        if self.shards < 0 or (self.shards and self.batch % self.shards):
            raise ValueError(f"--batch {self.batch} has no {self.shards} equal parts. Change it, or --shards.")
        if self.folds and self.folds < 3:
            raise ValueError(f"--folds {self.folds} leaves nothing to train on. Use 3 or more.")
        if not 0 <= self.fold < max(self.folds, 1):
            raise ValueError(f"--fold {self.fold} does not exist. Folds count from 0, and --folds says how many.")
        if not 0 <= self.unfreeze_at <= 1:
            raise ValueError(f"--unfreeze_at {self.unfreeze_at} is no share of the run. Use 0 to 1.")
        for name in ("epochs", "batch", "patience", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)} leaves nothing to do. Use 1 or more.")


def parse_settings(arguments: list[str], description: str) -> tuple[Settings, bool, bool]:
    """Command line -> settings, whether to resume, and to plot. Unknown options end the program; raises ValueError."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=description, allow_abbrev=False)
    add_options(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    parser.add_argument("--plot", action="store_true", help="write the curves to the run folder after each epoch")
    options = vars(parser.parse_args(arguments))
    resume, plot = options.pop("resume"), options.pop("plot")
    return Settings(**options), resume, plot


def add_options(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """An option for each setting, those named in `without` excepted."""
    for field in dataclasses.fields(Settings):
        if field.name not in without:
            needed = field.name in ("data", "out")
            parser.add_argument(f"--{field.name}", type=field.type, default=field.default, required=needed)


def numbers(listing: str) -> list[float]:
    """The numbers between the commas. Raises ValueError."""
    return [float(number) for number in listed(listing)]


def is_weights(listing: str) -> bool:
    """Whether these are weights for every class, one of them above 0."""
    try:
        weights = numbers(listing)
    except ValueError:
        return False
    usable = all(math.isfinite(weight) and weight >= 0 for weight in weights)
    return len(weights) == len(CLASSES) and usable and sum(weights) > 0


def listed(names: str) -> list[str]:
    """What stands between the commas."""
    return [name.strip() for name in names.split(",") if name.strip()]
