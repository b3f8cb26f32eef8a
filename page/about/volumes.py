"""Verdicts on whole volumes."""

from .markup import in_words, missing, paragraph


def volumes(metrics: dict, config: dict) -> str:
    """How a volume's slices become a verdict, and how often that is right."""
    report = metrics.get("study")
    if not report:
        return missing("Verdicts on volumes")
    return (
        paragraph(
            "Every slice of a volume is answered for itself; the verdict is pooled from all that were not refused. On "
            f"volumes put together from slices of {report['tumor_groups']:,} groups with a tumor and "
            f"{report['no_tumor_groups']:,} without, a tumor was seen in {in_words(report['sensitivity'])} of those "
            f"that had one, and {in_words(report['specificity'])} of the others were left alone."
        )
        + paragraph(
            f"If one suspicious slice were enough, only {in_words(report['any_slice_specificity'])} of the tumor-free "
            "volumes would be left alone: many slices are many chances of a false alarm."
        )
        + paragraph(
            "<b>No labeled volume was at hand.</b> Expect more false alarms in neck, skull base and at the top of the "
            "head, which few images of training show."
        )
    )
