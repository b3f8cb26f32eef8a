"""The command of training/benchmark/__init__.py: runs the parts, prints the table."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch

from . import __doc__ as about
from .contestants import INSTALL, has_onnx
from .table import table

PARTS = ("training", "inference", "reading")
NO_ONNX = f"ONNX Runtime is not installed, and its rows are left out: {INSTALL}"


def benchmark(options: argparse.Namespace) -> dict:
    """The report: that of inference, with those of the other parts under their names. JSON-ready.

    Raises: OSError, ValueError.
    """
    report = {}
    if "inference" in options.only:  # first: it needs the quietest process
        from . import inference

        report |= inference.benchmark(options.weights, options.threads, options.quick)
    if "training" in options.only:
        from . import training_step

        torch.set_num_threads(options.threads)
        report["training"] = training_step.measure(options.data, options.batch, options.compile, options.quick)
    if "reading" in options.only:
        from . import reading

        with tempfile.TemporaryDirectory() as folder:
            report["reading"] = reading.benchmark(Path(folder), options.quick)
    return report


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if "inference" in options.only and not has_onnx():
        print(NO_ONNX, file=sys.stderr)
    try:
        report = benchmark(options)
        if options.json:
            options.json.write_text(json.dumps(report, indent=2) + "\n")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(report))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmark",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given twice (default: all)")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it runs, not to quote")
    parser.add_argument("--weights", type=Path, default=Path("model/weights"), help="weights folder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE, too")
    parser.add_argument("--data", type=Path, help="labeled images to train on (default: drawn heads)")
    parser.add_argument("--batch", type=int, default=64, help="images of a training step")
    parser.add_argument("--compile", default="cuda", choices=("cuda", "always"), help="as of training.train")
    options = parser.parse_args(arguments)
    options.only = options.only or list(PARTS)
    return options


if __name__ == "__main__":
    sys.exit(main())
