"""Two buttons that save a report of the case. It is made when it is asked for and travels inside the page."""

from . import inline

KINDS = {"pdf": "application/pdf", "png": "image/png"}
NOT_MADE = "The report could not be made. The server's log says why."

TEMPLATE = """<div class="report"><span>One-page report, without the file's name:</span>
<button type="button" data-kind="pdf">PDF</button><button type="button" data-kind="png">PNG</button>
<span role="status">${said}</span></div>"""


def state(said: str = "", document: bytes = b"", kind: str = "pdf") -> dict:
    """What the browser is to have: what to read beside the buttons, and the document of `KINDS` to save, if any."""
    value = inline.address(document, KINDS[kind]) if document else ""
    return {"value": value, "said": said, "waiting": "Making the report …"}
