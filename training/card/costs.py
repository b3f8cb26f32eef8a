"""How large and how quick it is, and what int8 costs."""

from ..markdown import NOT_MEASURED, table

COLUMNS = (
    ("median, ms", "median_ms", "{:.1f}"),
    ("95th percentile, ms", "p95_ms", "{:.1f}"),
    ("times our int8", "to_int8", "{:.2f}"),
    ("peak memory of the process, MB", "peak_mb", "{:.0f}"),
    ("file to first answer, ms", "load_ms", "{:.0f}"),
    ("file, MB", "file_mb", "{:.1f}"),
)
EARLIER = " It was timed with earlier weights than these."
ALONE = (
    " Memory and loading are of a process for each, with the libraries that it needs; importing them is not loading."
)


def quantization(metrics: dict) -> str:
    """Quality before and after, and the size of the file."""
    costs = metrics.get("quantization")
    if not costs:
        return f"What int8 costs, and saves: {NOT_MEASURED}."
    difference = 100 * (costs["macro_f1_int8"] - costs["macro_f1_fp32"])
    return (
        f"In int8 the macro-F1 is {costs['macro_f1_int8']:.4f}, in fp32 {costs['macro_f1_fp32']:.4f} "
        f"({difference:+.2f} points, pool test). The file takes {costs['bytes_int8'] / 1e6:.1f} MB, "
        f"{costs['bytes_int8'] / costs['bytes_fp32']:.2f} of the fp32 one."
    )


def speed(metrics: dict) -> str:
    """The table of the benchmark's inference, batch 1, with its machine; reports from before others' costs have fewer
    columns."""
    speed = metrics.get("speed", {})
    if not speed.get("rows"):
        return f"Speed: {NOT_MEASURED}."
    rows = [row for row in speed["rows"] if row.get("batch", 1) == 1]
    columns = [(title, key, form) for title, key, form in COLUMNS if all(key in row for row in rows)]
    lines = [[row["what"], *(form.format(row[key]) for _, key, form in columns)] for row in rows]
    versions = ", ".join(f"{name} {version}" for name, version in speed["versions"].items())
    return (
        table([f"one image, {speed['threads']} threads", *(title for title, *_ in columns)], lines)
        + f"\n\nMedians of {speed['runs']} rounds that took turns in one run, on {speed['hardware']['processor']} "
        f"({speed['hardware']['cores']} cores; {versions}). Ratios travel to other machines, milliseconds do not."
        + ("" if speed.get("model", "").endswith(metrics.get("weights_sha256", "")[:8]) else EARLIER)
        + (ALONE if any(key == "peak_mb" for _, key, _ in columns) else "")
        + volume(speed.get("volume"), speed.get("load"))
    )


def volume(timed: dict | None, load: float | None) -> str:
    """How long a whole volume takes, and how busy the machine was; nothing where a report is from before that."""
    if not timed:
        return ""
    return (
        f" A volume of {timed['slices']} slices ({timed['size']} px) takes {timed['seconds']:.2f} s, "
        f"{timed['to_one_by_one']:.2f} of what its slices take one by one (medians of {timed['runs']} rounds); the "
        f"load of the machine before was {load}."
    )
