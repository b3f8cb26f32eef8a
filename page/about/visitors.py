"""What visitors ask next: what happens to their files, and which can be read."""

from model import scans

from ..texts import KEPT_MINUTES
from .markup import bullets


def visitors(metrics: dict, config: dict) -> str:
    return bullets(
        (
            f"<b>Formats</b>: {scans.READABLE}; up to {scans.MAX_BYTES // 2**20} MB a file and "
            f"{scans.MAX_PIXELS // 10**6} million pixels a slice. A series, a ZIP or many files at once, too.",
            f"<b>Uploads</b> are deleted from this server within {KEPT_MINUTES + 1} minutes and used for nothing else.",
            "<b>Answers</b> are kept in memory only, while you look at them. They are deleted when you close the page, "
            f"or within {KEPT_MINUTES + 1} minutes after you last looked.",
            "<b>Nothing leaves this server</b>: the page asks no other one, and counts no visitors.",
            "<b>A picture can show whose it is</b>: names burned into it, or a face. Remove them before you upload.",
        )
    )
