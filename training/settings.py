"""The settings of a run: one visible block, each an option of `python -m training.train` with the same name."""

import argparse
import dataclasses
import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SIZE_STEP = 32  # image sizes are multiples of it: the network halves them five times
RETRAIN, CROSS_VALIDATE = ("training.retrain",), ("training.evaluation.cross_validate",)  # they set some themselves
# Settings of earlier versions that are still in run folders, reports and commands: the only value left, None for any.
FORMER = {"schedule": "cosine", "decay": "decoupled", "class_weights": ""}
FORMER |= {"plateau_patience": None, "plateau_factor": None, "shards": None}


class Changes(enum.StrEnum):
    """What a setting changes, from which follows which runs may differ in it. Called, it makes the dataclass field."""

    SPLIT = "which images train, and which are held out"
    DATA = "what else is learned from"
    AUGMENT = "how images are varied"
    NETWORK = "the network, and what it starts from"
    FIT = "how it is fitted"
    DRAW = "the random draws, and so every digit, but not the recipe"
    REFUSAL = "what is fitted once training has ended, to refuse what is no brain MRI"
    RECORD = "how quickly it goes, and how much of it is kept: no figure but by rounding"
    PLACE = "where things lie"

    def __call__(
        self,
        default: Any,
        *,
        path: bool = False,  # names a file or folder: reports keep no more of it than its name
        needed: bool = False,  # the command line does without it nowhere
        by_content: bool = False,  # a resumed run must find the same in it, wherever it lies by then
        steers: bool = False,  # may change on resuming, for a run that broke down; each start notes it
        set_by: tuple[str, ...] = (),  # programs that set it themselves, and do not ask for it
    ) -> Any:
        """The field of a setting with this default."""
        facts = {"path": path, "needed": needed, "by_content": by_content, "steers": steers, "set_by": set_by}
        return dataclasses.field(default=default, metadata={"changes": self} | facts)


SPLIT, DATA, AUGMENT, NETWORK, FIT, DRAW, REFUSAL, RECORD, PLACE = Changes


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is started with. Raises: ValueError with a remedy for a value that makes no sense."""

    # folder with a manifest.csv, class folders, yes/no folders, or images with a CSV of labels; several with commas
    data: str = SPLIT("", path=True, needed=True, by_content=True)
    out: str = PLACE("", path=True, needed=True)  # the run folder
    not_brain: str = REFUSAL("", path=True)  # folder of images that are no brain MRI: half of them fit the refusal
    copies: str = DATA("drop", set_by=RETRAIN)  # drop | keep images that look like a held-out one; vendors keep
    set_aside: str = DATA("", path=True, set_by=RETRAIN)  # CSV: its images (path) contradict their label
    sources: str = SPLIT("", set_by=RETRAIN)  # use only these sources of the data, with commas between; "" for all
    typed: str = DATA("")  # sequences whose tumor types train: of others a tumor is only known to be one; "" for all
    leave_out: str = SPLIT("", set_by=RETRAIN + CROSS_VALIDATE)  # sources that join the test split whole
    folds: int = SPLIT(0, set_by=RETRAIN)  # split by group into so many parts; 0 for the data's own split
    fold: int = SPLIT(0, set_by=RETRAIN + CROSS_VALIDATE)  # is tested, from 0; the next validates
    init: str = NETWORK("imagenet")  # scratch | imagenet | file of MobileNetV2's weights | weights folder or Hub id
    frozen: int = FIT(4)  # first parts of the body that keep what they start with, none from scratch: half the time
    unfreeze_at: float = FIT(0.0)  # of the run: until here the whole body keeps its weights, and only the head trains
    size: int = NETWORK(160, set_by=RETRAIN)  # pixels of the input
    smallest_size: int = FIT(128, set_by=RETRAIN)  # grows to `size` at half of the run: saves a quarter of the time
    epochs: int = FIT(20, set_by=RETRAIN)
    patience: int = FIT(20, set_by=RETRAIN)  # epochs without a better validation score before the run stops early
    batch: int = FIT(64)  # of all processes together
    learning_rate: float = FIT(1e-3, steers=True)  # after the warm-up; then half a cosine down to zero
    warmup_epochs: float = FIT(1.0, set_by=RETRAIN)
    weight_decay: float = FIT(0.05)
    label_smoothing: float = FIT(0.05)
    position_weight: float = FIT(0.5)  # of the loss on positions that the tumor's box speaks about
    even_types: float = FIT(0.1)  # of the loss that asks for even types where there is no tumor
    dropout: float = NETWORK(0.1)  # of whole channels before the position scores
    ema_decay: float = FIT(0.99)  # of the averaged weights that are validated and kept
    phantoms: int = DATA(1200)  # drawn heads that join the training images, as domain randomization; 0 for none
    phantom_share: float = DATA(0.10)  # of each batch
    volumes: str = DATA("", path=True)  # folder of healthy heads: tumor-free slices in every plane
    volume_share: float = DATA(0.08)  # of each batch, where there are volumes
    transplants_from: float = AUGMENT(0.0)  # of the run: from here on lesions are moved between heads; 1 for never
    blanked: float = AUGMENT(0.04)  # of each batch: heads whose inside is painted over, which say nothing of a tumor
    mild_from: float = AUGMENT(0.6)  # of the run: from here on milder augmentation, and fewer lesions covered
    clip_norm: float = FIT(2.0, steers=True)
    seed: int = DRAW(0)
    compile: str = RECORD("cuda")  # cuda | always: on a CPU it saves a quarter of the time, and needs a C++ compiler
    threads: int = RECORD(0)  # CPU threads; 0: as many as there are cores
    log_every: int = RECORD(20)  # steps between two looks at the loss: each waits for the device
    save_minutes: float = RECORD(2.0)  # between checkpoints within an epoch: what a crash costs at most
    cache: str = PLACE("runs/cache", path=True)  # decoded frames and phantoms, shared by runs

    def __post_init__(self):
        for name, (is_possible, remedy) in POSSIBLE.items():
            if not is_possible(getattr(self, name)):
                raise ValueError(f"--{name} {getattr(self, name)} is not possible. Use {remedy}.")
        if not 0 <= self.fold < max(self.folds, 1):
            raise ValueError(f"--fold {self.fold} does not exist. Folds count from 0, and --folds says how many.")

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> "Settings":
        """The settings in settings.json or metrics.json; those of an earlier version that are no more are ignored."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in known})


POSSIBLE = {  # values of a setting, and what to use instead of any other
    **dict.fromkeys(("size", "smallest_size"), (lambda n: n > 0 and n % SIZE_STEP == 0, f"a multiple of {SIZE_STEP}")),
    **dict.fromkeys(("epochs", "batch", "patience", "log_every"), (lambda n: n >= 1, "1 or more")),
    "save_minutes": (lambda minutes: minutes >= 0, "0 or more"),
    "unfreeze_at": (lambda share: 0 <= share <= 1, "a share of the run, 0 to 1"),
    "folds": (lambda n: n == 0 or n >= 3, "3 or more, so that one tests, one validates and the others train"),
    "copies": (lambda choice: choice in ("drop", "keep"), "drop or keep"),
    "compile": (lambda choice: choice in ("cuda", "always"), "cuda or always"),
}


def _names(chosen: Callable[[Mapping], bool]) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(Settings) if chosen(field.metadata))


FOLDERS = _names(lambda fact: fact["path"])
STEERING = _names(lambda fact: fact["steers"])
# What may differ: when a run goes on, between the seeds of a recipe, and between weights of one recipe.
FREE_ON_RESUMING = _names(lambda fact: fact["changes"] in (REFUSAL, RECORD, PLACE) or fact["by_content"])
FREE_BETWEEN_SEEDS = _names(lambda fact: fact["changes"] in (DRAW, RECORD, PLACE)) | {"shards"}
NO_RECIPE = _names(lambda fact: fact["changes"] not in (DATA, AUGMENT, NETWORK, FIT)) | {"shards"}


def set_by(program: str) -> frozenset[str]:
    """The settings that `program`, "training.retrain" for one, sets itself."""
    return _names(lambda fact: program in fact["set_by"])


def parse_settings(arguments: list[str], description: str) -> tuple[Settings, bool]:
    """Command line -> settings, and whether to resume. Unknown options end the program; raises ValueError."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=description, allow_abbrev=False)
    add_options(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    options = vars(parser.parse_args(arguments))
    resume = options.pop("resume")
    return Settings(**options), resume


class _Former(argparse.Action):
    """Takes an option of an earlier version, so that commands in model cards still work, and sets nothing."""

    def __call__(self, *_):
        pass


def add_options(parser: argparse.ArgumentParser) -> None:
    """An option for each setting, but those that the program, `parser.prog` without "python -m ", sets itself."""
    own = set_by(parser.prog.removeprefix("python -m "))
    for field in dataclasses.fields(Settings):
        if field.name not in own:
            needed = field.metadata["needed"]
            parser.add_argument(f"--{field.name}", type=field.type, default=field.default, required=needed)
    for name, value in FORMER.items():
        hidden = {"dest": argparse.SUPPRESS, "help": argparse.SUPPRESS}
        parser.add_argument(f"--{name}", action=_Former, choices=None if value is None else (value,), **hidden)


def folders_in(listing: str) -> list[Path]:
    """The folders of a setting that takes several: what stands between the commas, or one that has some in its name."""
    apart = [Path(name) for name in listed(listing)]
    return apart if len(apart) > 1 and not Path(listing).exists() else [Path(listing)]


def without_places(listing: str) -> str:
    """The names of files or folders, with commas between, without where they lie: that is nobody's business."""
    return ",".join(path.name for path in folders_in(listing))


def listed(names: str) -> list[str]:
    """What stands between the commas."""
    return [name.strip() for name in names.split(",") if name.strip()]
