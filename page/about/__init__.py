"""The tab "About the model" as HTML, rendered from config.json and metrics.json of the weights that answer.

No number on it is typed. What was not measured is said to be so: weights that were trained elsewhere, or on a
hospital's own images, come with fewer sections. What each section holds: training/evaluation/card/__init__.py.
"""

import html
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from model.artifact import CONFIG, OURS

from .. import texts
from . import certainty, data, elsewhere, failures, headline, mixed_up, shortcuts, volumes
from .identity import identity, uses
from .markup import paragraph
from .visitors import visitors

if TYPE_CHECKING:
    from model.serving import Origin

METRICS = "metrics.json"
NOT_LIKE_OURS = "What was measured of these weights has another form than this page knows, so it is not shown."

log = logging.getLogger(__name__)


class Section(NamedTuple):
    anchor: str
    short: str  # in the list of contents
    title: str
    render: Callable[[dict, dict], str]  # (metrics, config) -> HTML; empty if there is nothing to say


SECTIONS = (  # what matters most first
    Section("about-figures", "How well", "How well it does", headline.headline),
    Section("about-failures", "Failures", "What it gets wrong", failures.failures),
    Section("about-uses", "Uses", "What it is for", uses),
    Section("about-vendor", "Vendor numbers", "Why other projects quote higher numbers", headline.beside_vendor),
    Section("about-mixed-up", "Mix-ups", "Which answers are mixed up", mixed_up.mixed_up),
    Section("about-elsewhere", "Elsewhere", "On scans from elsewhere", elsewhere.elsewhere),
    Section("about-certainty", "How sure", "How sure it is, and whether to believe that", certainty.certainty),
    Section("about-refusal", "Refusals", "What it refuses", certainty.refusal),
    Section("about-evidence", "Evidence", "Where it looks, and what it must not look at", shortcuts.shortcuts),
    Section("about-volumes", "Volumes", "Whole volumes", volumes.volumes),
    Section("about-data", "Data", "What it has learned from", data.data),
    Section("about-files", "Your files", "Your files", visitors),
)


def about(folder: Path | None, origin: "Origin") -> str:
    """The whole tab.

    Args: `folder` of the weights that answer (`TumorClassifier.folder`), None if none do; `origin`, which they are
        (`ServedModel.origin`).
    Returns: one element, to be shown with page/about.css.
    """
    if folder is None or not origin.name:
        return _whole(paragraph(texts.MODEL_IS_MISSING))
    config, metrics = _read(folder / CONFIG, OURS), _read(folder / METRICS)
    told = [(section, _rendered(section, metrics, config)) for section in SECTIONS]
    links = "".join(f'<li><a href="#{one.anchor}">{one.short}</a></li>' for one, content in told if content)
    contents = f'<nav aria-label="On this page"><ul>{links}</ul></nav>'
    return _whole(identity(origin, config) + contents + "".join(_sections(told)))


def _whole(content: str) -> str:
    return f'<article class="about-model">{content}</article>'


def _sections(told: list[tuple[Section, str]]) -> Iterator[str]:
    for one, content in told:
        if content:
            heading = f'<h3 id="{one.anchor}" tabindex="-1">{one.title}</h3>'
            yield f'<section aria-labelledby="{one.anchor}">{heading}{content}</section>'


def _rendered(section: Section, metrics: dict, config: dict) -> str:
    """A section; its content comes from whoever made the weights, so that anything may be wrong with it."""
    try:
        return section.render(metrics, config)
    except (LookupError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        log.exception("The section %r of the weights' metrics.json could not be shown.", section.title)
        return paragraph(NOT_LIKE_OURS)


def _read(file: Path, part: str = "") -> dict:
    """A JSON file, or its `part`, its strings safe to be shown as they are; empty if it is not there, or none."""
    try:
        content = _escaped(json.loads(file.read_text()))
        content = content[part] if part else content
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return {}
    return content if isinstance(content, dict) else {}


def _escaped(content: object) -> object:
    """What was read with every string in it escaped: here, once, so that no part of the tab can forget it."""
    if isinstance(content, str):
        return html.escape(content)
    if isinstance(content, list):
        return [_escaped(one) for one in content]
    if isinstance(content, dict):
        return {html.escape(name): _escaped(one) for name, one in content.items()}
    return content
