"""Score an archive on Ray Data: every file in a folder or an object store, a row for each slice, as Parquet.

    python -m model.batch /archive --out /scores
    RAY_ADDRESS=head:6379 python -m model.batch s3://bucket/archive --out s3://bucket/scores

Each core of this machine, or of the cluster at RAY_ADDRESS, has an actor with one session of the model. Code and
weights are sent along; a machine of the cluster needs requirements-batch.txt and access to the archive. Rows are those
of the CSV. Work of a worker that died is repeated by another; stopped or killed, the same command goes on with what is
not in --out yet.

Exit code: 0 if every file was read, 1 if one was not, 2 if nothing could be done.
"""

import argparse
import os
import pickle
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from .artifact import CONFIG, FILES
from .classifier import TumorClassifier, cores
from .files import Series, files_below, grouped, series_of, write_whole
from .report import ANSWERED, COLUMNS, ROUNDED, WHOLE, each_entry, rows
from .scans import MAX_BYTES
from .scans.sources import Source
from .wording import many

try:
    import pyarrow as pa
    import pyarrow.compute as compute
    import pyarrow.dataset as arrow_dataset
    import pyarrow.fs as arrow_fs
    import pyarrow.parquet as parquet
    import ray.data
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    print(f"Bulk scoring needs {error.name}. Install it with: pip install -r requirements-batch.txt", file=sys.stderr)
    sys.exit(2)

UNITS_OF_SHARD = 64  # scans of a task, and of a Parquet file: what a crash costs at most
TYPES = dict.fromkeys(("files", "slices", "slice"), pa.int32()) | dict.fromkeys((*ROUNDED, "seconds"), pa.float32())
TYPES |= {"prediction_set": pa.list_(pa.string()), "sees_tumor": pa.bool_()}
# path: of the scan's first file; files: how many it was read from; slice: null where the row is of a whole scan
NAMES = ("path", "files", "slices", *COLUMNS, "kind", "plane", "sequence")
SCHEMA = pa.schema([(name, TYPES.get(name, pa.string())) for name in NAMES])


class CannotScore(Exception):
    """Nothing can be done. The message is a sentence."""


class Archive:
    """The files below a folder of this machine, or of an object store by a URI of pyarrow's (s3://, gs://, hdfs://)."""

    def __init__(self, name: str):
        self.is_local = "://" not in name
        self.files, self.root = arrow_fs.FileSystem.from_uri(str(Path(name).absolute()) if self.is_local else name)

    def paths(self) -> list[str]:
        """Every file. Raises: OSError for a folder that cannot be listed."""
        if self.is_local:  # where a name may be any bytes
            return [str(path) for path in files_below(Path(self.root))]
        below = self.files.get_file_info(arrow_fs.FileSelector(self.root, recursive=True))
        return [info.path for info in below if info.is_file]

    def series(self, paths: list[str]) -> list[tuple[str, Series | None]]:
        """Of each file, of which no more than the header is fetched."""
        sources = map(Path if self.is_local else self._source, paths)
        return list(zip(paths, map(series_of, sources), strict=True))

    def _source(self, path: str) -> Source:
        return Source(path, lambda: self.files.open_input_file(path))

    def content(self, path: str) -> Path | bytes:
        """What `each_entry` reads: from an object store no more bytes than just too many."""
        return Path(path) if self.is_local else self.files.open_input_stream(path).read(MAX_BYTES + 1)


class Scorer:
    """An actor. `weights` in Ray's object store: name -> content of the files that it loads its model from."""

    def __init__(self, archive: Archive, weights: ray.ObjectRef):
        self.archive = archive
        with TemporaryDirectory() as folder:
            for name, content in ray.get(weights).items():
                write_whole(Path(folder, name), content)
            self.classifier = TumorClassifier(Path(folder), threads=1)

    def __call__(self, batch: dict) -> pa.Table:
        """One pickled shard, lists of paths that are read together -> rows of `SCHEMA`."""
        units = pickle.loads(batch["shard"][0])
        return pa.Table.from_pylist([row for paths in units for row in self._rows(paths)], SCHEMA)

    def _rows(self, paths: list[str]) -> Iterator[dict]:
        contents = [self.archive.content(path) for path in paths]
        for entry in each_entry(self.classifier, contents, [os.path.basename(path) for path in paths]):
            facts = {"path": paths[0], "files": len(paths), "slices": len(entry["slices"])}
            for row in rows(entry):
                number = None if row["slice"] in ("", WHOLE) else row["slice"]
                yield {name: encodable(value) for name, value in (row | facts | {"slice": number}).items()}


def encodable(value: object) -> object:
    """Text that UTF-8 can hold: a file's name may be any bytes."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def score(source: str, out: str, weights: str | None) -> Counter:
    """Score what is below `source` into `out`; returns how many scans have which status, those of earlier runs, too.

    Raises: CannotScore, OSError.
    """
    archive, results = Archive(source), Archive(out)
    paths = [path for path in archive.paths() if not path.startswith(f"{results.root}/")]
    if not paths:
        raise CannotScore(f"There is no file below {source}. Name the folder that holds the archive.")
    try:
        classifier = TumorClassifier.from_pretrained(weights)
    except ValueError as error:
        raise CannotScore(f"No model could be loaded: {error}") from error
    results.files.create_dir(results.root)
    before = rows_in(results, ["path", "files", "model"])
    if others := set(before["model"].to_pylist()) - {classifier.version}:
        raise CannotScore(f"{out} holds answers of {others.pop()}. Go on with those weights, or choose another --out.")
    connect()
    headers = sharded(paths).map(lambda row: {"found": pickle.dumps(archive.series(pickle.loads(row["shard"])))})
    found = sorted((one for row in headers.take_all() for one in pickle.loads(row["found"])), key=itemgetter(0))
    done = dict(zip(before["path"].to_pylist(), before["files"].to_pylist(), strict=True))
    units = grouped(found)
    if grown := [unit[0] for unit in units if done.get(encodable(unit[0]), len(unit)) != len(unit)]:
        raise CannotScore(
            f"{encodable(grown[0])} had another number of files when {out} was made. Choose another --out."
        )
    units = [unit for unit in units if encodable(unit[0]) not in done]
    content = ray.put({name: (classifier.folder / name).read_bytes() for name in (CONFIG, FILES["int8"])})
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=int(ray.cluster_resources()["CPU"]))
    actors = {"fn_constructor_args": (archive, content), "num_cpus": 1, "compute": pool}
    tables = sharded(units).map_batches(Scorer, batch_size=1, **actors)
    for table in tables.iter_batches(batch_size=None, batch_format="pyarrow") if units else ():
        name = f"{uuid.uuid4().hex}.parquet"
        parquet.write_table(table, f"{results.root}/.{name}", filesystem=results.files)  # the dot: nobody reads it yet
        results.files.move(f"{results.root}/.{name}", f"{results.root}/{name}")
    written = rows_in(results, ["status", "slice", "slices"])
    of_scans = written.filter((compute.field("slices") == 1) | compute.field("slice").is_null())
    return Counter(of_scans["status"].to_pylist())


def connect() -> None:
    """Start Ray on this machine, or join the cluster at RAY_ADDRESS. Raises: CannotScore if there is none."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        return
    if not address:
        ray.init("local", num_cpus=cores(), include_dashboard=False, logging_level="warning")
        return
    try:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), 10).close()  # Ray itself would try for minutes
        ray.init(address, runtime_env={"py_modules": [str(Path(__file__).parent)]}, logging_level="warning")
    except (OSError, ValueError, RuntimeError) as error:
        raise CannotScore(
            f"No Ray cluster answers at RAY_ADDRESS={address} ({error}). Set it to HOST:PORT of one, or unset it."
        ) from error


def sharded(units: list) -> ray.data.Dataset:
    """`UNITS_OF_SHARD` to a row; pickled, since no path need be UTF-8."""
    shards = [units[first : first + UNITS_OF_SHARD] for first in range(0, len(units), UNITS_OF_SHARD)]
    rows_of_shards = [{"shard": pickle.dumps(shard)} for shard in shards]
    return ray.data.from_items(rows_of_shards, override_num_blocks=len(shards) or None)


def rows_in(results: Archive, columns: list[str]) -> pa.Table:
    """What is written already."""
    return arrow_dataset.dataset(results.root, SCHEMA, "parquet", results.files).to_table(columns)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.batch", description=__doc__.partition("\n")[0])
    parser.add_argument("source", metavar="SRC", help="a folder, or a URI such as s3://bucket/folder")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder, or URI, for the Parquet files")
    parser.add_argument("--weights", help="a weights folder, or ORG/NAME on the Hub (default: those shipped)")
    options = parser.parse_args(arguments)
    try:
        statuses = score(options.source, options.out, options.weights)
    except CannotScore as problem:
        print(problem, file=sys.stderr)
        return 2
    except (OSError, ray.exceptions.RayError, KeyboardInterrupt) as problem:
        print(f"{str(problem) or 'Stopped.'} What is finished is kept: run this again to go on.", file=sys.stderr)
        return 2
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    print(f"{options.out} holds {many(statuses.total(), 'scan')}: {counts}")
    return 0 if set(statuses) <= set(ANSWERED) else 1


if __name__ == "__main__":
    from model.batch import main as under_its_name  # by which the workers know what they are sent

    sys.exit(under_its_name())
