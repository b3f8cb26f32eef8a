"""A folder of images as its publisher laid it out -> records: path, label, and whatever else is known of each image.

Four layouts are told apart by what lies in the folder:

    manifest.csv                    path,label; group, source, split, sequence where known
    Training/ Testing/ Validation/  each with class folders: glioma, no_tumor ...; the publisher's split is kept
    glioma/ notumor/ ...            class folders, or yes/ and no/
    a CSV and images                an image column and a label column of 0/1 or class names

Beside any of them `groups.csv` (path,group: which images show the same person) and `boxes.csv`
(path,x_center,y_center,width,height of the tumor, fractions of the image) are honored.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from model import CLASSES

LABELS = (*CLASSES, "tumor")  # what trains; "tumor" is a partial label: a tumor is there, its type is not known
OTHER = "other_pathology"  # a disease that no class stands for: read and measured, never trained on

SPELLINGS = {  # how data sets name their classes; compared in lower case with "_" for spaces and hyphens
    "glioma": ("glioma", "gliomas", "glioma_tumor", "glioma_tumour"),
    "meningioma": ("meningioma", "meningiomas", "meningioma_tumor", "meningioma_tumour"),
    "pituitary": ("pituitary", "pituitary_tumor", "pituitary_tumour", "pituitary_adenoma"),
    "notumor": ("notumor", "no_tumor", "no_tumour", "notumour", "no", "normal", "healthy", "negative", "0", "0.0"),
    "tumor": ("tumor", "tumour", "yes", "positive", "1", "1.0"),
    OTHER: (OTHER,),
}
SPLIT_SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
IMAGE_COLUMNS = ("image", "file", "filename", "path", "image_path", "filepath", "name", "image_name", "image_id", "id")
LABEL_COLUMNS = ("label", "class", "target", "tumor", "tumour", "has_tumor", "diagnosis")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}

LABEL_OF = {spelling: label for label, spellings in SPELLINGS.items() for spelling in spellings}
SPLIT_OF = {spelling: split for split, spellings in SPLIT_SPELLINGS.items() for spelling in spellings}
KNOWN_CLASSES = f"Known ones are {', '.join(sorted(LABEL_OF))}."


class DataError(ValueError):
    """A data set that cannot be used as it is; the message names the place and the remedy."""


@dataclass(frozen=True)
class Record:
    """One image. `label`: of `LABELS`, or `OTHER`; `box`: x_center, y_center, width, height, fractions of the image."""

    path: Path
    id: str  # the path below the data set's root, with "/"
    label: str
    source: str = ""
    group: str = ""  # the person, or the cluster of near-duplicates; "" where not known
    split: str = ""  # "train", "val", "test"; "" where not given
    box: tuple[float, float, float, float] | None = None
    sequence: str = ""  # "T1", "T1C+", "T2", "FLAIR"; "" where not known


def read_records(root: Path) -> tuple[list[Record], list[str]]:
    """Every image below `root` with its label, in order of id, and a sentence for each one that had to be left out.

    Raises: DataError if the layout is none of the four, a class is unknown or empty, or a table is broken.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder. Give the folder that holds manifest.csv or the class folders.")
    problems: list[str] = []
    folders = _visible(path for path in root.iterdir() if path.is_dir())
    if (root / "manifest.csv").exists():
        records = _from_table(root, root / "manifest.csv", "path", "label", problems)
    elif any(_normal(folder.name) in SPLIT_OF for folder in folders):
        _report_loose_images(root, problems)
        splits = [(folder, split_named(folder.name, str(folder))) for folder in folders]
        records = [r for folder, split in splits for r in _from_class_folders(root, folder, split, problems)]
    elif any(_normal(folder.name) in LABEL_OF for folder in folders):
        records = _from_class_folders(root, root, "", problems)
    else:
        records = _from_table(root, *_label_table(root, folders), problems)
    if (root / "groups.csv").exists():
        groups = {row["path"]: {"group": row["group"]} for row in rows(root / "groups.csv", ("path", "group"))}
        records = _joined(records, root / "groups.csv", groups, problems)
    if (root / "boxes.csv").exists():
        records = _joined(records, root / "boxes.csv", _boxes(root / "boxes.csv", problems), problems)
    return sorted(records, key=lambda record: record.id), problems


def split_named(name: str, where: str = "split") -> str:
    """ "Testing" -> "test": the split that a folder, a column or an option names; raises DataError for other words."""
    if _normal(name) not in SPLIT_OF:
        raise DataError(f"{where}: {name!r} names no split. Use one of {', '.join(SPLIT_OF)}.")
    return SPLIT_OF[_normal(name)]


# ---- the layouts


def _from_table(root: Path, table: Path, image_column: str, label_column: str, problems: list[str]) -> list[Record]:
    """Images as a CSV names them: by the path below `root`; except in a manifest, also by a name that only one has."""
    there = () if table.name == "manifest.csv" else root.rglob("*")  # a manifest gives whole paths, and may choose
    images = [path for path in _visible(there) if path.suffix.lower() in IMAGE_SUFFIXES]
    named = defaultdict(set)  # by path without suffix, and by name with and without
    for path in images:
        for name in (path.relative_to(root).with_suffix("").as_posix(), path.name, path.stem):
            named[name].add(path)
    lines = rows(table, (image_column, label_column))
    given_split = any(row.get("split") for row in lines)
    records: dict[Path, Record] = {}
    for line, row in enumerate(lines, start=2):
        where, name = f"{table}, line {line}", row[image_column]
        label = _label_named(row[label_column], where)
        matches = [root / name] if (root / name).is_file() else sorted(named.get(name, ()))
        if len(matches) != 1:
            what = f"fits {_names(matches)}; say which" if matches else "does not exist"
            problems.append(f"{where}: {name} {what}; left out. Give its path below {root}.")
            continue
        (path,) = matches
        if path in records:
            raise DataError(f"{where}: {name} is listed a second time. Keep one of the rows.")
        if given_split and not row["split"]:
            raise DataError(f"{where}: the split is empty. Fill the column in every row, or remove it.")
        records[path] = Record(
            path,
            path.relative_to(root).as_posix(),
            label,
            source=row.get("source") or root.resolve().name,
            group=row.get("group", ""),
            split=split_named(row["split"], where) if given_split else "",
            sequence=row.get("sequence", ""),
        )
    if not records:
        raise DataError(f"{table} lists no image that exists below {root}. Its paths are relative to its own folder.")
    problems += [f"{path} has no row in {table}; left out." for path in images if path not in records]
    return list(records.values())


def _from_class_folders(root: Path, parent: Path, split: str, problems: list[str]) -> list[Record]:
    folders = _visible(path for path in parent.iterdir() if path.is_dir())
    if not folders:
        raise DataError(f"{parent} holds no class folder. {KNOWN_CLASSES}")
    _report_loose_images(parent, problems)
    records = []
    for folder in folders:
        label = _label_named(folder.name, str(folder))
        files = _visible(path for path in folder.rglob("*") if path.is_file())
        if not files:
            raise DataError(f"The class folder {folder} is empty. Put its images there, or remove the folder.")
        source = root.resolve().name
        records += [Record(file, file.relative_to(root).as_posix(), label, source, split=split) for file in files]
    return records


def _label_table(root: Path, folders: list[Path]) -> tuple[Path, str, str]:
    """The one CSV of `root` that names images and labels, and the columns with which it does."""
    tables = []
    for path in _visible(root.glob("*.csv")):
        header = next(iter(rows(path, ())), {})
        columns = [next((name for name in names if name in header), "") for names in (IMAGE_COLUMNS, LABEL_COLUMNS)]
        if path.name not in ("groups.csv", "boxes.csv") and all(columns):
            tables.append((path, *columns))
    if len(tables) == 1:
        return tables[0]
    found = f"it holds {_names(folders)}" if folders else "it holds no folder"
    several = f" and more than one table of labels, {_names(path for path, *_ in tables)}: keep one" if tables else ""
    raise DataError(
        f"No data set is recognized in {root}: {found}{several}. Needed is a manifest.csv (path,label), or folders "
        f"named after classes, or one CSV with a column {' or '.join(IMAGE_COLUMNS[:4])} and a column "
        f"{' or '.join(LABEL_COLUMNS[:4])}. {KNOWN_CLASSES}"
    )


# ---- what may lie beside a layout


def _boxes(table: Path, problems: list[str]) -> dict[str, dict]:
    boxes, columns = {}, ("x_center", "y_center", "width", "height")
    for line, row in enumerate(rows(table, ("path", *columns)), start=2):
        try:
            box = tuple(float(row[column]) for column in columns)
        except ValueError:
            box = (-1.0,)
        if all(0 <= value <= 1 for value in box) and min(box[2:]) > 0:
            boxes[row["path"]] = {"box": box}
        else:
            problems.append(f"{table}, line {line}: not four fractions between 0 and 1; the box is left out.")
    return boxes


def _joined(records: list[Record], table: Path, known: dict[str, dict], problems: list[str]) -> list[Record]:
    """The records with what `table` knows of them."""
    strangers = sorted(set(known) - {record.id for record in records})
    problems += [f"{table} names {path}, which is no image of this data set; not used." for path in strangers]
    return [replace(record, **known.get(record.id, {})) for record in records]


# ---- tables and names


def rows(table: Path, required: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a CSV: column in lower case -> text without outer blanks. Raises DataError, also for a lacking column."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if any(line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} is no CSV in UTF-8 ({error}). Check its name, or save it as one.") from error
    header = [_normal(column) for column in lines[0]] if lines else []
    missing = [column for column in required if column not in header]
    if missing:
        raise DataError(f"{table} lacks the column {', '.join(missing)}; it has {', '.join(header) or 'none'}.")
    return [dict(zip(header, map(str.strip, [*line, *[""] * len(header)]), strict=False)) for line in lines[1:]]


def _label_named(name: str, where: str) -> str:
    if _normal(name) not in LABEL_OF:
        raise DataError(f"{where}: the class {name!r} is unknown. Rename it, or take it out. {KNOWN_CLASSES}")
    return LABEL_OF[_normal(name)]


def _normal(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())


def _visible(paths: Iterable[Path]) -> list[Path]:
    """In order, without what file managers leave behind (.DS_Store, __MACOSX)."""
    return sorted(path for path in paths if not path.name.startswith(".") and path.name != "__MACOSX")


def _report_loose_images(folder: Path, problems: list[str]) -> None:
    loose = [path for path in _visible(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
    problems += [f"{path} lies in no class folder; left out. Move it into the folder of its class." for path in loose]


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)
