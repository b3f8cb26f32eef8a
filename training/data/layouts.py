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

_LABEL_OF = {spelling: label for label, spellings in SPELLINGS.items() for spelling in spellings}
_SPLIT_OF = {spelling: split for split, spellings in SPLIT_SPELLINGS.items() for spelling in spellings}


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
        records = _from_manifest(root, problems)
    elif any(_normal(folder.name) in _SPLIT_OF for folder in folders):
        records = _from_split_folders(root, folders, problems)
    elif any(_normal(folder.name) in _LABEL_OF for folder in folders):
        records = _from_class_folders(root, root, "", problems)
    else:
        records = _from_label_table(root, folders, problems)
    records = _with_groups(root, records, problems)
    records = _with_boxes(root, records, problems)
    return sorted(records, key=lambda record: record.id), problems


def split_named(name: str) -> str:
    """ "Testing" -> "test": the split that a folder, a column or an option names; raises DataError for other words."""
    if _normal(name) not in _SPLIT_OF:
        raise DataError(f"{name!r} names no split. The splits are {_listing(_SPLIT_OF)}.")
    return _SPLIT_OF[_normal(name)]


# ---- the four layouts


def _from_manifest(root: Path, problems: list[str]) -> list[Record]:
    table = root / "manifest.csv"
    images = rows(table, ("path", "label"))
    given_split = any(row.get("split") for row in images)
    records, seen = [], set()
    for line, row in enumerate(images, start=2):
        where = f"{table}, line {line}"
        if row["path"] in seen:
            raise DataError(f"{where}: {row['path']} is listed a second time. Keep one of the rows.")
        seen.add(row["path"])
        label = _label_named(row["label"], where)
        if not (root / row["path"]).is_file():
            problems.append(f"{where}: {root / row['path']} does not exist; left out. Restore it or delete the row.")
            continue
        if given_split and not row["split"]:
            raise DataError(f"{where}: the split is empty. Fill the column in every row, or remove it.")
        records.append(
            Record(
                path=root / row["path"],
                id=row["path"],
                label=label,
                source=row.get("source") or root.resolve().name,
                group=row.get("group", ""),
                split=split_named(row["split"]) if given_split else "",
                sequence=row.get("sequence", ""),
            )
        )
    if not records:
        raise DataError(f"{table} lists no image that exists below {root}. Its paths are relative to its own folder.")
    return records


def _from_split_folders(root: Path, folders: list[Path], problems: list[str]) -> list[Record]:
    unknown = [folder for folder in folders if _normal(folder.name) not in _SPLIT_OF]
    if unknown:
        raise DataError(
            f"{root} holds {_names(folders)}; {_names(unknown)} names no split. "
            f"Rename it to one of {_listing(_SPLIT_OF)}, or move it elsewhere."
        )
    _report_loose_images(root, problems)
    return [r for folder in folders for r in _from_class_folders(root, folder, split_named(folder.name), problems)]


def _from_class_folders(root: Path, parent: Path, split: str, problems: list[str]) -> list[Record]:
    folders = _visible(path for path in parent.iterdir() if path.is_dir())
    if not folders:
        raise DataError(f"{parent} holds no class folder. Known ones are {_listing(_LABEL_OF)}.")
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


def _from_label_table(root: Path, folders: list[Path], problems: list[str]) -> list[Record]:
    tables = {}
    for path in _visible(root.glob("*.csv")):
        header = _header(path)
        image_column = next((name for name in IMAGE_COLUMNS if name in header), None)
        label_column = next((name for name in LABEL_COLUMNS if name in header), None)
        if path.name not in ("groups.csv", "boxes.csv") and image_column and label_column:
            tables[path] = (image_column, label_column)
    if len(tables) != 1:
        found = f"it holds {_names(folders)}" if folders else "it holds no folder"
        several = f" and more than one table of labels, {_names(tables)}: keep one" if tables else ""
        raise DataError(
            f"No data set is recognized in {root}: {found}{several}. Needed is a manifest.csv (path,label), or folders "
            f"named after classes ({_listing(_LABEL_OF)}), or one CSV with a column {' or '.join(IMAGE_COLUMNS[:4])} "
            f"and a column {' or '.join(LABEL_COLUMNS[:4])}."
        )
    [(table, (image_column, label_column))] = tables.items()
    images = [path for path in _visible(root.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    named = defaultdict(set)  # by path or by name, each with and without the suffix
    for path in images:
        relative = path.relative_to(root)
        for key in (relative.as_posix(), relative.with_suffix("").as_posix(), path.name, path.stem):
            named[key].add(path)
    records: dict[Path, Record] = {}
    for line, row in enumerate(rows(table, ()), start=2):
        where, name = f"{table}, line {line}", row[image_column]
        label = _label_named(row[label_column], where)
        matches = sorted(named.get(name, ()))
        if len(matches) != 1:
            what = f"fits {_names(matches)}; say which" if matches else "is not there"
            problems.append(f"{where}: image {name!r} {what}; left out. Give its path below {root}.")
        elif matches[0] in records:
            raise DataError(f"{where}: {name} is listed a second time. Keep one of the rows.")
        else:
            path = matches[0]
            records[path] = Record(path, path.relative_to(root).as_posix(), label, root.resolve().name)
    if not records:
        raise DataError(f"{table} names no image that exists below {root} in its column {image_column!r}.")
    problems += [f"{path} has no row in {table}; left out." for path in images if path not in records]
    return list(records.values())


# ---- what may lie beside a layout


def _with_groups(root: Path, records: list[Record], problems: list[str]) -> list[Record]:
    if not (root / "groups.csv").exists():
        return records
    groups = {row["path"]: row["group"] for row in rows(root / "groups.csv", ("path", "group"))}
    _report_strangers(root / "groups.csv", groups, records, problems)
    return [replace(record, group=groups.get(record.id, record.group)) for record in records]


def _with_boxes(root: Path, records: list[Record], problems: list[str]) -> list[Record]:
    table = root / "boxes.csv"
    if not table.exists():
        return records
    boxes = {}
    for line, row in enumerate(rows(table, ("path", "x_center", "y_center", "width", "height")), start=2):
        try:
            x_center, y_center, width, height = (float(row[k]) for k in ("x_center", "y_center", "width", "height"))
            if not (0 <= x_center <= 1 and 0 <= y_center <= 1 and 0 < width <= 1 and 0 < height <= 1):
                raise ValueError
        except ValueError:
            problems.append(f"{table}, line {line}: not four fractions between 0 and 1; the box is left out.")
        else:
            boxes[row["path"]] = (x_center, y_center, width, height)
    _report_strangers(table, boxes, records, problems)
    return [replace(record, box=boxes.get(record.id)) for record in records]


# ---- tables, names and sentences


def rows(table: Path, required: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a CSV: column in lower case -> text without outer blanks."""
    header = _header(table)
    missing = [column for column in required if column not in header]
    if missing:
        raise DataError(f"{table} lacks the column {', '.join(missing)}; it has {', '.join(header) or 'none'}.")
    with table.open(encoding="utf-8-sig", newline="") as file:
        lines = [line for line in csv.reader(file) if any(line)]
    return [dict(zip(header, map(str.strip, [*line, *[""] * len(header)]), strict=False)) for line in lines[1:]]


def _header(table: Path) -> list[str]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in csv.reader(file) if any(line)), [])
            file.read()  # the rest must be text, too
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} is no CSV in UTF-8 ({error}). Save it as one.") from error
    return [_normal(column) for column in first]


def _label_named(name: str, where: str) -> str:
    if _normal(name) not in _LABEL_OF:
        raise DataError(
            f"{where}: the class {name!r} is unknown. Rename it to one of {_listing(_LABEL_OF)}, or take it out."
        )
    return _LABEL_OF[_normal(name)]


def _normal(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())


def _visible(paths: Iterable[Path]) -> list[Path]:
    """In order, without what file managers leave behind (.DS_Store, __MACOSX)."""
    return sorted(path for path in paths if not path.name.startswith(".") and path.name != "__MACOSX")


def _report_loose_images(folder: Path, problems: list[str]) -> None:
    for path in _visible(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            problems.append(f"{path} lies in no class folder; left out. Move it into the folder of its class.")


def _report_strangers(table: Path, named: Iterable[str], records: list[Record], problems: list[str]) -> None:
    strangers = sorted(set(named) - {record.id for record in records})
    problems += [f"{table} names {path}, which is no image of this data set; not used." for path in strangers]


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _listing(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
