"""The page: what it shows, draws and remembers. A part is a .py with its .html, .css and .js; no decoding, no model."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR
from model.wording import many, percent

from . import texts

TUMORS = tuple(name for index, name in enumerate(CLASSES) if index != NO_TUMOR)

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals |= {"texts": texts, "names": DISPLAY_NAMES, "tumors": TUMORS, "many": many, "percent": percent}


def macros(name: str):
    """The macros of NAME.html in this folder: functions to HTML, which escape whatever they are given."""
    return _templates.get_template(f"{name}.html").module
