"""The tab "About the model": the card of the weights that answer, as HTML.

The card is README.md beside them (training.evaluation.card). It may come from anyone on the Hub: of HTML in it only
folded parts are kept, the rest is shown as text; of pictures only PNG files beside it, which travel within the page.
"""

import html
import re
from datetime import date
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from model import scans

from . import texts
from .pictures import data_uri

if TYPE_CHECKING:
    from model.serving import Origin

CARD = "README.md"
MAX_CARD_BYTES, MAX_PLOT_BYTES = 1 << 19, 1 << 20
COMMIT_DIGITS, SHOWN_DIGITS = 40, 12  # of a commit on the Hub, and of what is shown of a revision
FOLDED = re.compile(r"<details>\s*<summary>[^<>&]*</summary>\s*|</details>\s*")
NO_CARD = f"These weights come without a card: how well they do was not measured.\n\n{texts.DISCLAIMER}"
FILES = f"""
## Your files
- **Formats**: {scans.READABLE}; up to {scans.MAX_BYTES // 2**20} MB a file and {scans.MAX_PIXELS // 10**6} million
  pixels a slice. A series, a ZIP or many files at once, too.
- **Uploads** are deleted from this server within {texts.KEPT_MINUTES + 1} minutes and used for nothing else.
- **Answers** are kept in memory only, while you look at them. They are deleted when you close the page, or within
  {texts.KEPT_MINUTES + 1} minutes after you last looked.
- **Nothing leaves this server**: the page asks no other one, and counts no visitors.
- **A picture can show whose it is**: names burned into it, or a face. Remove them before you upload.
"""


def about(folder: Path | None, origin: "Origin") -> str:
    """The whole tab.

    Args: `folder` of the weights that answer (`TumorClassifier.folder`), None if none do; `origin`, which they are
        (`ServedModel.origin`).
    Returns: one element, to be shown with page/about.css.
    """
    if folder is None or not origin.name:
        return f'<article class="about-model"><p>{texts.MODEL_IS_MISSING}</p></article>'
    return _rendered(folder, origin)


@lru_cache(4)  # of the same weights the same, for every visitor
def _rendered(folder: Path, origin: "Origin") -> str:
    try:
        card = (folder / CARD).read_bytes()[:MAX_CARD_BYTES].decode(errors="replace").replace("\r\n", "\n")
    except OSError:
        card = NO_CARD
    body = re.sub(r"\A---\n.*?\n---\n", "", card, count=1, flags=re.S)
    lead, *sections = re.split(r"^## ", body + FILES, flags=re.M)
    lead = re.sub(r"\A\s*# .*", "", lead)  # the name of the weights
    links, shown = "", ""
    for k, (title, _, content) in enumerate(section.partition("\n") for section in sections):
        anchor, title = f"about-{k}", html.escape(title)
        links += f'<li><a href="#{anchor}">{title}</a></li>'
        heading = f'<h3 id="{anchor}" tabindex="-1">{title}</h3>'
        shown += f'<section aria-labelledby="{anchor}">{heading}{_html(content, folder, title)}</section>'
    contents = f'<nav aria-label="On this page"><ul>{links}</ul></nav>'
    head = f"<h2>About the model</h2>{_html(lead, folder, 'About the model')}{_identity(origin)}"
    return f'<article class="about-model">{head}{contents}{shown}</article>'


def _identity(origin: "Origin") -> str:
    """Name, revision and day of the weights; a repository on the Hub is a link to its card, at the very commit."""
    name, revision, note = (html.escape(fact or "") for fact in (origin.name, origin.revision, origin.note))
    if name.count("/") == 1 and len(revision) == COMMIT_DIGITS:
        name = f'<a href="https://huggingface.co/{name}/tree/{revision}" rel="noopener">{name}</a>'
    try:
        day = f"{date.fromisoformat(origin.date or ''):%-d %B %Y}"
    except (TypeError, ValueError):
        day = "date not recorded"
    facts = {"Weights": name, "Revision": revision and f"<code>{revision[:SHOWN_DIGITS]}</code>", "Trained": day}
    listed = "".join(f"<div><dt>{what}</dt><dd>{fact}</dd></div>" for what, fact in facts.items() if fact)
    return f"<dl>{listed}</dl>" + (f'<p class="note">{note}</p>' if note else "")


def _html(markdown: str, folder: Path, title: str) -> str:
    """A part of the card as HTML, headings a level lower, what may be wide in a place where it scrolls by itself."""

    def image(_, tokens, index, *rest) -> str:
        alt, file = html.escape(tokens[index].content), folder / Path(tokens[index].attrGet("src")).name
        if file.suffix != ".png" or not file.is_file() or file.stat().st_size > MAX_PLOT_BYTES:
            return alt
        return f'<img src="{data_uri(file.read_bytes(), "image/png")}" alt="{alt}" />'

    def foreign(_, tokens, index, *rest) -> str:
        content = tokens[index].content
        return content if FOLDED.fullmatch(content) else html.escape(content)

    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    for name, rule in {"image": image, "html_block": foreign, "html_inline": foreign}.items():
        parser.add_render_rule(name, rule)
    content = re.sub(r"(</?h)([1-5])>", lambda found: f"{found[1]}{int(found[2]) + 1}>", parser.render(markdown))
    content = (
        re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", content)
        .replace("<pre>", '<pre tabindex="0">')
        .replace("<a href", '<a rel="noopener" href')
    )
    return re.sub(r"<table>.*?</table>", partial(_table, title), content, flags=re.S)


def _table(title: str, found: re.Match) -> str:
    """A table: what ends a cell in brackets in small print, shares of counts as the cell's tint, rows with heads."""
    content = re.sub(r" \(([^()<]*)\)(?=</t[dh]>)", r"<small>\1</small>", found[0])
    content, tinted = re.subn(
        r"<td[^>]*>(<strong>)?([\d,]+)(?:</strong>)?<small>([\d.]+)\s%</small></td>",
        lambda cell: (
            f'<td><span class="cell{" right" * bool(cell[1])}" style="--share: {float(cell[3]) / 100:.3f}">'
            f"{cell[2]}<small>{cell[3]}\N{NO-BREAK SPACE}%</small></span></td>"
        ),
        content,
    )
    content = re.sub(r"<td>([^<]+)(?=<small>[\d.]+ to )", r"<td><b>\1</b>", content)
    content = re.sub(r"<tr>\n<td>(.*?)</td>", r'<tr>\n<th scope="row">\1</th>', content).replace(
        "<th>", '<th scope="col">'
    )
    label = f"{title}: " + re.sub("<.*?>", " ", re.search(r"<th.*?>(.*?)</th>", content)[1])
    kind = "wide matrix" if tinted else "wide"
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{label}">{content}</div>'
