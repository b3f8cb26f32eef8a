"""What shortcuts are worth, as `training.evaluation.probes` measures it."""

from ..markdown import NOTHING, figure, sizes, table
from ..probes import DEPTH

ROWS = {  # of the network's table
    "whole": "whole image",
    "blanked": "inside of the head blanked",
    "silhouette": "silhouette of the head",
    "outline": "outline of the head",
}


def markdown(result: dict) -> str:
    """The report as Markdown: for each set of images a table of the trees, one of the network, and what is covered."""
    names = {"test": "Pool test split", "external": "External images"}
    return "\n\n".join(f"**{names[name]}**\n\n{_part_markdown(result[name])}" for name in names if result.get(name))


def _part_markdown(part: dict) -> str:
    head = ["a tree that knows only", "balanced accuracy", "accuracy", "AUC, tumor against none"]
    kinds = {"size": "width, height, aspect", "border": "borders", "brightness": "brightness", "all": "all of these"}
    looks = {"raw": "of the image as it is", "framed": "of the frame that the network sees"}
    rows = [
        [
            f"{kinds[kind]} {looks[look]}",
            *(figure(figures[name]) for name in ("balanced_accuracy", "accuracy", "auc_tumor")),
        ]
        for look, by_kind in part["tree"].items()
        for kind, figures in by_kind.items()
    ]
    chances = {name: NOTHING if value is None else f"{value:.3f}" for name, value in part["chance"].items()}
    rows.append(["one answer for all", *(chances[name] for name in ("balanced_accuracy", "accuracy", "auc_tumor"))])
    trees = (
        f"What the label's shortcut is worth, {sizes(part)} images (groups): a decision tree of depth {DEPTH}, fitted "
        f"on the pool's training split.\n\n{table(head, rows)}"
    )
    head = ["the network is shown", "types told apart: balanced accuracy", "given to the right type"]
    head += ["AUC, tumor against none", "tumors called tumor", "normals called tumor"]
    rows = []
    for name, row in part["network"].items():
        types = row["types"] or {}
        told = (types.get("balanced_accuracy"), types.get("probability"))
        rows.append([ROWS[name], *map(figure, (*told, row["auc_tumor"], row["tumors_seen"], row["normals_seen"]))])
    by_type = chances["types_balanced_accuracy"]
    rows.append(["one answer for all", by_type, by_type, chances["auc_tumor"], "", ""])
    network = (
        "What the network tells without a brain: types among tumors of known type, by the most probable type and by "
        f"the probability that the right one gets, called tumor at P(tumor) of 0.5.\n\n{table(head, rows)}"
    )
    return f"{trees}\n\n{network}" + (f"\n\n{_covered_markdown(part['covered'])}" if part["covered"] else "")


def _covered_markdown(report: dict) -> str:
    titles = {
        "whole": "nothing",
        "covered": "the tumor, by a smooth continuation of its surroundings",
        "mirrored": "the tumor, by tissue of the other half",
        "other_side": "the same place of the other half, smoothly",
    }
    kinds = {"all": "all", "one_side": "on one side"}
    rows = [
        [kinds[kind], titles[name], sizes(row["mean"]), figure(row["mean"]), figure(row["seen"])]
        for kind, part in report.items()
        if part
        for name, row in part.items()
    ]
    head = ["tumors with a known box", "covered is", "images (groups)", "mean P(tumor)", "called tumor"]
    return (
        f"What the network tells when the tumor is covered.\n\n{table(head, rows)}\n\nA cover leaves swelling and "
        "displaced tissue to be seen, and a smooth one may itself look like a mass. Where lesions are moved between "
        "heads in training, the network has been taught that tissue of the other half heals."
    )
