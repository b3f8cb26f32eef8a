"""The comparison with the systems that this one grew from, as `training.evaluation.compare` measures it."""

from ..baselines import BASELINES
from ..markdown import NOT_MEASURED, NOTHING, figure, table

OURS, OURS_FULL = "ours", "ours_full"
NAMES = (*BASELINES, OURS, OURS_FULL)
TITLES = {"pool": "Honest split: the pool, by patient", "vendor": "Vendor split: leaks"}
BINARY = {  # figures of every system: tumor against none
    "auc_tumor": "tumor or none: AUC",
    "sensitivity_tumor": "tumors seen",
    "specificity_tumor": "normals left alone",
    "f2_tumor": "F2, tumor or none",
}
FOUR = {"accuracy": "accuracy, 4 classes", "macro_f1": "macro-F1", "f2_macro": "macro-F2"}
FROM_RANDOM = "EfficientNet-B0 began from random weights: ImageNet's could not be downloaded on this machine."
CLAIMS = FOUR | {"accuracy_tumor": "accuracy, tumor or none", "f1_tumor": "F1, tumor or none"}


def markdown(result: dict) -> str:
    """What `compare` returns as Markdown: a table for each split, one of the systems themselves, and the caveats."""
    rows = sorted(result["rows"], key=lambda row: NAMES.index(row["system"]))
    parts = [conditions(result)]
    for protocol, title in TITLES.items():
        if own := [row for row in rows if row["protocol"] == protocol]:
            parts.append(f"**{title}** ({own[0]['test']['n']:,} test images, {own[0]['test']['n_groups']:,} groups)")
            parts.append(results_table(own))
    parts.append(systems_table(rows, result["latency"]))
    return "\n\n".join([*parts, caveats(rows)])


def summary(result: dict) -> str:
    """One row for each system, for the README: both splits side by side, the other source, size and time."""
    rows = sorted(result["rows"], key=lambda row: NAMES.index(row["system"]))
    by_system = {}
    for row in rows:
        by_system.setdefault(row["system"], {})[row["protocol"]] = row
    lines = []
    for name, measured in by_system.items():
        any_row, honest = next(iter(measured.values())), measured.get("pool", {})
        claims = "; ".join(f"{CLAIMS[figure_name]} {value:g}" for figure_name, value in any_row["claimed"].items())
        tests = [measured.get(protocol, {}).get("test", {}) for protocol in ("vendor", "pool")]
        outside = honest.get("external", {})
        pairs = [
            *([test.get(key) for test in tests] for key in ("macro_f1", "auc_tumor")),
            [outside.get("auc_by_sequence", {}).get("T1C+"), outside.get("auc_tumor")],
        ]
        quick = result["latency"].get(OURS if name == OURS_FULL else name)
        cells = [any_row["title"], claims or NOTHING, *(" / ".join(map(value_of, pair)) for pair in pairs)]
        cells += [f"{any_row['size']['bytes'] / 1e6:.1f}", f"{quick:.1f}" if quick else NOT_MEASURED]
        lines.append(cells)
    head = ["", "claimed by its project", "macro-F1, leaking / honest split", "tumor or none: AUC, leaking / honest"]
    head += ["external AUC, trained on the honest split: T1C+ / all", "file, MB", "one image, ms"]
    note = "Intervals, budgets and what was assumed of each: model card."
    if any(row["trained"]["start"].startswith("random:") for row in rows):
        note += f" {FROM_RANDOM}"
    return "\n\n".join((f"The systems that this one grew from. {conditions(result)}", table(head, lines), note))


def conditions(result: dict) -> str:
    """One sentence: budget, machine, seed."""
    machine, steps = result["hardware"], result["budget"]["steps"]
    budget = f"{steps} steps" if steps else f"{result['budget']['minutes']:g} minutes of training"
    where = machine.get("gpu") or f"{machine['processor']}, {result['threads']} thread{'s' * (result['threads'] > 1)}"
    tried = " So few steps try the program; they compare nothing." if steps else ""
    return f"Each system had {budget} on {where}, one seed ({result['seed']}).{tried}"


def results_table(rows: list[dict]) -> str:
    """One split: the claim, the same figure here, and what all have in common."""
    outside = any("external" in row for row in rows)
    head = ["", "claimed by its project", "the same, measured", *BINARY.values(), *FOUR.values()]
    head += ["external AUC: T1C+", "external AUC: all"] * outside + ["trained"]
    lines = []
    for row in rows:
        test, claims = row["test"], row["claimed"]
        cells = [row["title"]]
        cells.append("; ".join(f"{CLAIMS[name]} {value:g}" for name, value in claims.items()) or NOTHING)
        cells.append("; ".join(value_of(test[name]) for name in claims) or NOTHING)
        cells += [figure(test["auc_tumor"])] + [value_of(test[name]) for name in list(BINARY)[1:]]
        cells += [figure(test[name]) if name in test else NOTHING for name in FOUR]
        if outside:
            external = row.get("external", {})
            cells += [figure(external.get("auc_by_sequence", {}).get("T1C+")), figure(external.get("auc_tumor"))]
        lines.append([*cells, training_of(row["trained"])])
    return table(head, lines)


def systems_table(rows: list[dict], milliseconds: dict[str, float]) -> str:
    """Each system once: what goes in, how large and how quick it is, and what was assumed of it."""
    once = {row["system"]: row for row in reversed(rows)}
    lines = []
    for name in sorted(once, key=NAMES.index):
        size, quick = once[name]["size"], milliseconds.get(OURS if name == OURS_FULL else name)
        cells = [once[name]["title"], size["input"], f"{size['parameters']:,}", f"{size['bytes'] / 1e6:.1f}"]
        cells += [f"{quick:.1f}" if quick else NOT_MEASURED, once[name].get("assumed", NOTHING)]
        lines.append(cells)
    head = ["", "input", "parameters", "file, MB", "one image, ms", "assumed, since its description leaves it open"]
    return table(head, lines)


def value_of(measured: dict | None) -> str:
    return NOTHING if not measured or measured["value"] is None else f"{measured['value']:.3f}"


def training_of(trained: dict) -> str:
    """ "2.0 min, 3.1 passes, from ImageNet" """
    time = [f"{trained['seconds'] / 60:.1f} min"] if trained["seconds"] is not None else []
    passes = [f"{trained['passes']:g} passes"] if trained["passes"] is not None else []
    start = [f"from {trained['start']}"] if trained["start"] else []
    early = ["stopped early"] if trained.get("stopped_early") else []
    return ", ".join(time + passes + start + early) or NOT_MEASURED


def caveats(rows: list[dict]) -> str:
    sentences = [
        "Claims are the projects' own, on splits and after training of their own; the networks here are rebuilt from "
        "one line of description each, in PyTorch, and the budget is far shorter than most of theirs.",
        "A tumor counts as seen from P(tumor) = 0.5 on, for all; two of them tell tumor from none only.",
        "Figures in brackets are 95 % intervals over groups; nothing here says how much a second seed would differ.",
        "Times of one image are medians, batch 1, of the network alone: theirs eager, ours in int8.",
    ]
    systems = {row["system"] for row in rows}
    if {OURS, OURS_FULL} & systems:
        sentences.append(
            "Ours has its whole recipe: on the pool it is told where tumors lie, sees drawn heads too and goes without "
            "images of doubtful label; the others do not. Its minutes include the looks at its validation part, "
            "theirs do not."
        )
    if OURS_FULL in systems:
        sentences.append("Finished weights of ours trained longer than the budget, for the time that is stated.")
    if any(row["protocol"] == "vendor" for row in rows):
        sentences.append(
            "The vendor split shares patients, and slices, between its two parts; on it the rebuilt systems choose "
            "their weights on a random tenth of its training part, as those projects did, ours on groups of its own."
        )
    if any("external" in row for row in rows):
        sentences.append(
            "External: another source, its T1C+ tumors or all of its tumors against all of its normals; "
            "for reporting only."
        )
    if any(row["trained"]["start"].startswith("random:") for row in rows):
        sentences.append(FROM_RANDOM)
    return " ".join(sentences)
