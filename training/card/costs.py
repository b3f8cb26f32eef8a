"""How large and how quick it is, and what int8 costs."""

from ..markdown import NOT_MEASURED, table


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
    """The table of the benchmark, with its machine."""
    speed = metrics.get("speed")
    if not speed:
        return f"Speed: {NOT_MEASURED}."
    rows = [
        [row["what"], f"{row['median_ms']:.1f}", f"{row['p95_ms']:.1f}", f"{row['to_int8']:.2f}"]
        for row in speed["rows"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in speed["versions"].items())
    return (
        table([f"one image, {speed['threads']} threads", "median, ms", "95th percentile, ms", "times our int8"], rows)
        + f"\n\nMedians of {speed['runs']} rounds that took turns in one run, on {speed['hardware']['processor']} "
        f"({speed['hardware']['cores']} cores; {versions}). Ratios travel to other machines, milliseconds do not."
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
