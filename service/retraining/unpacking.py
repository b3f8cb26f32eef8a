"""A ZIP of labeled images -> a folder, within the limits of model/scans, and never a file outside of it."""

from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from model.scans import UnreadableScan, limits
from model.scans.kinds import ENOUGH, Unrecognized, kind_of
from model.scans.sources import shown_name, source_of, zip_files

from .refused import Refused

REMEDY = (
    f"Zip the images anew: up to {limits.MAX_BYTES // 2**20} MB, and {limits.MAX_EXPANDED_BYTES // 2**20} MB and "
    f"{limits.MAX_ZIP_ENTRIES:,} files unpacked."
)
NO_ZIP = "This is no ZIP. Zip the folder that holds the class folders, or the images and their CSV, and send that."


def unpack(zipped: Path, folder: Path) -> None:
    """Write the files in `zipped` below `folder`, which exists and is empty.

    Raises: Refused with a sentence if it is no ZIP, is damaged or protected, unpacks to more than the limits allow, or
    holds a path that leads out of it, a path twice, or nothing; OSError if the disk gives no room.
    """
    try:
        source = source_of(zipped)
        if not _is_zip(source.start(ENOUGH)):
            raise Refused(NO_ZIP)
        with ExitStack() as opened:
            for path, size, content in zip_files(source, opened):
                file = folder / _inside(path)
                try:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with file.open("xb") as written:
                        written.write(content() if size else b"")
                except (FileExistsError, NotADirectoryError):
                    raise Refused(f"The ZIP holds {_shown(path)} twice. Zip the folder anew.") from None
                except UnreadableScan as error:
                    raise Refused(f"{_shown(path)} in the ZIP: {error}") from error
    except UnreadableScan as error:
        what = str(error).partition(". ")[0]  # what to do about it would be meant for a scan
        raise Refused(f"{what}. {REMEDY}") from error
    if not any(folder.iterdir()):
        raise Refused("The ZIP holds no files. Zip the folder that holds the class folders.")


def root_of(folder: Path) -> Path:
    """The folder that the images are labeled in: `folder`, or what alone lies in it, as when a folder itself is zipped.

    A folder that holds nothing but images is the folder of a class, however alone.
    """
    while True:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(found) != 1 or not found[0].is_dir():
            return folder
        if not any(path.is_dir() or path.suffix.lower() == ".csv" for path in found[0].iterdir()):
            return folder
        (folder,) = found


def _is_zip(start: bytes) -> bool:
    try:
        return kind_of(start) == "ZIP"
    except Unrecognized:
        return False


def _inside(path: PurePosixPath) -> PurePosixPath:
    """`path`, which stays below the folder that it is put in. Raises: Refused."""
    outside = path.is_absolute() or ".." in path.parts or ":" in path.parts[0]  # C:
    if outside or any(not part.isprintable() or len(part.encode()) > 255 for part in path.parts):
        raise Refused(f"The ZIP holds a file whose path cannot be used ({_shown(path)}). Zip the folder anew.")
    return path


def _shown(path: PurePosixPath) -> str:
    return shown_name(path.name)
