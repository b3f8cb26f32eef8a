"""How large and how quick it is, and what int8 costs."""

from ..markdown import NOT_MEASURED, table

EARLIER = " It was timed with earlier weights than these."


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
    """What `training.benchmark` measured: networks alone, then what is around them, each ratio before its figures."""
    report = metrics.get("speed", {})
    parts = [part(report) for part, key in ((networks, "networks"), (pairs, "pairs")) if report.get(key)]
    if not parts:
        return f"Speed: {NOT_MEASURED}."
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    parts.append(
        f"Medians of {report['rounds']} rounds, fewer of what takes seconds, that took turns in one run, on "
        f"{report['hardware']['processor']} ({report['hardware']['cores']} cores, load before {report['load']:.1f}; "
        f"{versions}). Ratios travel to other machines, milliseconds do not."
        + ("" if report["model"].endswith(metrics.get("weights_sha256", "")[:8]) else EARLIER)
    )
    return "\n\n".join(parts)


def networks(report: dict) -> str:
    threads = [f"{count} {'thread' if count == 1 else 'threads'}" for count in report["threads"]]
    head = ["network alone, one image", *(f"our int8 / it, {words}" for words in threads)]
    head += [*(f"ms, {words}" for words in threads), "process start to first answer, s", "its peak, MB", "file, MB"]
    figures = [
        [*row["ratio"], *row["ms"], row["start_s"], row["peak_mb"], row["file_mb"]] for row in report["networks"]
    ]
    lines = [[row["what"], *map(digits, of)] for row, of in zip(report["networks"], figures, strict=True)]
    return table(head, lines) + "\n\nIn ONNX Runtime, float32 and eager PyTorch where nothing else is said."


def pairs(report: dict) -> str:
    head = ("what", "ours / theirs", "ours", "theirs", "of what")
    return table(
        head,
        [
            [
                row["what"],
                digits(row["ratio"]),
                *(f"{digits(row[of])} {row['unit']}" for of in head[2:4]),
                row["against"],
            ]
            for row in report["pairs"]
        ],
    )


def digits(figure: float) -> str:
    """Three of them, or all before the point."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"
