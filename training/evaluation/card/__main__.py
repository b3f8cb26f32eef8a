"""The command line: see `training.evaluation.card`."""

import argparse
import json
import sys
from pathlib import Path

from . import __doc__ as described
from .document import card_of, readme_numbers
from .making import with_differences

BEGIN, END = "<!-- metrics:begin -->", "<!-- metrics:end -->"
ADDED = (  # sections that come from other commands than training itself
    *("external", "vendor", "speed", "phantoms", "seeds", "leave_source_out", "folds", "figshare", "probes"),
    "comparison",
)
OF_THESE_WEIGHTS = ("external", "phantoms", "probes")  # of these, reports that name the weights they are of


def add_section(metrics_file: Path, section: str, report: Path) -> None:
    """Put another command's report into metrics.json. Raises: OSError, ValueError."""
    if section not in ADDED:
        raise ValueError(f"metrics.json has no section {section!r} to add. Choose one of {', '.join(ADDED)}.")
    metrics, added = json.loads(metrics_file.read_text()), json.loads(report.read_text())
    own = metrics.get("weights_sha256", "")[:8]
    if section in OF_THESE_WEIGHTS and own and not added.get("model", own).endswith(own):
        raise ValueError(f"{report} is of {added['model']}, not of the weights {own}. Measure these, then add it.")
    metrics_file.write_text(json.dumps(metrics | {section: added}, indent=2) + "\n")


def filled(readme: str, numbers: str) -> str:
    """README with `numbers` between its marks. Raises: ValueError if the marks are not there, once each, in order."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"The README needs the lines {BEGIN} and {END}, once each, where the numbers belong.")
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    return f"{before}{BEGIN}\n{numbers}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.card", description=described.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument(
        "--weights", type=Path, default=Path("model/weights"), help="folder of the weights and metrics.json"
    )
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="file with the marks for the numbers")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file disagrees with metrics.json"
    )
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="SECTION=FILE",
        help=f"first put a report into metrics.json as one of its sections: {', '.join(ADDED)}",
    )
    options = parser.parse_args(arguments)
    try:
        for section, _, file in (addition.partition("=") for addition in options.add):
            add_section(options.weights / "metrics.json", section, Path(file))
        metrics = with_differences(json.loads((options.weights / "metrics.json").read_text()))
        wanted = {
            options.weights / "metrics.json": json.dumps(metrics, indent=2) + "\n",
            options.weights / "README.md": card_of(options.weights),
            options.readme: filled(options.readme.read_text(), readme_numbers(metrics)),
        }
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    stale = [file for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    for file in stale:
        if options.check:
            print(f"{file} disagrees with metrics.json. Run: python -m training.evaluation.card", file=sys.stderr)
        else:
            file.write_text(wanted[file])
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
