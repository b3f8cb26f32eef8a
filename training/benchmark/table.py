"""The report of all parts as one table of text, ratios first."""

COLUMNS = ("ratio", "median ms", "95 % ms", "a second", "peak MB", "load ms", "file MB")
KEYS = ("ratio", "median_ms", "p95_ms", "per_second", "peak_mb", "load_ms", "file_mb")
FORMATS = ("{:.2f}", "{:.1f}", "{:.1f}", "{:.1f}", "{:.0f}", "{:.0f}", "{:.1f}")


def table(report: dict) -> str:
    """`report`: as `__main__.benchmark` returns it; parts that it lacks are left out."""
    sections = [*training(report.get("training")), *inference(report), *reading(report.get("reading"))]
    lines = [("", *COLUMNS)]
    for title, rows in sections:
        lines.append((title,))
        lines += [(f"  {row['what']}", *map(cell, FORMATS, (row.get(key) for key in KEYS))) for row in rows]
    widths = [max(len(line[k]) for line in lines if len(line) > max(k, 1)) for k in range(len(COLUMNS) + 1)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def cell(form: str, value: float | None) -> str:
    return "–" if value is None else form.format(value)


def training(report: dict | None) -> list[tuple[str, list[dict]]]:
    if not report:
        return []
    machine = report["hardware"].get("gpu", report["hardware"]["processor"])
    title = f"training, images a second; ratio: times the ordinary way ({machine}, {report['threads']} threads)"
    return [
        (
            title,
            [
                {"what": row["what"], "ratio": row["times_ordinary"], "per_second": row["images_per_second"]}
                for row in report["rows"]
            ],
        )
    ]


def inference(report: dict) -> list[tuple[str, list[dict]]]:
    rows = [row | {"ratio": row["to_int8"], "per_second": row["images_per_second"]} for row in report.get("rows", ())]
    machine = f"{report['hardware']['processor']}, {report['threads']} threads" if rows else ""
    sections = [
        (f"{batch} in a call; ratio: to our int8 ({machine})", [row for row in rows if row["batch"] == batch])
        for batch in dict.fromkeys(row["batch"] for row in rows)
    ]
    if rows:
        volume = report["volume"]
        what = f"{volume['slices']} slices of {volume['size']} px"
        together = {"what": what, "ratio": volume["to_one_by_one"], "median_ms": 1000 * volume["seconds"]}
        sections.append(("a volume; ratio: to its slices one by one", [together]))
    return sections


def reading(report: dict | None) -> list[tuple[str, list[dict]]]:
    if not report:
        return []
    largest = [
        {
            "what": row["what"],
            "ratio": row["seconds"] / report["limit_seconds"],
            "median_ms": 1000 * row["seconds"],
            "peak_mb": row["peak_mb"],
            "file_mb": row["file_mb"],
        }
        for row in report["largest"]
    ]
    ordinary = [
        {"what": row["what"], "ratio": row["isolated_ms"] / row["here_ms"], "median_ms": row["isolated_ms"]}
        for row in report["isolation"]
    ]
    return [
        (f"reading the largest files; ratio: of the {report['limit_seconds']} s that one may take", largest),
        ("reading ordinary files in a process of its own; ratio: to reading them here", ordinary),
    ]
