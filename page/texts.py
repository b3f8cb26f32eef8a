"""What the page says before and beside an answer."""

from model import scans

TITLE = "Brain tumor on MRI"
KEPT_MINUTES = 10  # an upload, and what was made of it, outlives its last use by at most this, plus one between sweeps

MODEL_IS_MISSING = "The model could not be loaded, so nothing can be classified. The server's log says why."
NO_READING = "Something went wrong while this was read. The server's log says what."
GONE = (
    f"This answer is no longer on the server: whatever has not been looked at for {KEPT_MINUTES} minutes is deleted. "
    "Upload the file again."
)
TOO_LARGE = f"A file may have up to {scans.MAX_BYTES // 2**20} MB. Export fewer slices at once, or zip them."

HEADER = f"""<header><span class="notice">Research demo, not a medical device</span>
<h1>{TITLE}</h1>
<p>Drop a slice, a volume or many scans: see which tumor they look like, how likely that is, and where the evidence
lies.</p>
</header>"""
HINT = f"""<p class="hint">{scans.READABLE}; up to {scans.MAX_BYTES // 2**20} MB each. Many files at once, a whole
series, a ZIP or a folder, too.</p>"""
EXAMPLES_HEADING = '<h3 class="heading">Examples <small>drawn by a program: no patient</small></h3>'
EMPTY = """<div class="empty"><h2>The answer appears here</h2><ol>
<li><b>Is this a brain MRI?</b> Anything else is refused, with the reason.</li>
<li><b>Which tumor?</b> Four calibrated probabilities, and which answers cannot be excluded.</li>
<li><b>Where?</b> The evidence drawn on the slice; of a volume, the most suspicious slices first.</li></ol></div>"""

NUMBERS = f"""The four probabilities add up to 100 %. They were calibrated on patients who took no part in training but
come from the same collections. On scans from elsewhere they are less reliable: the model card says by how much, as far
as it could be measured. The model knows glioma, meningioma, pituitary tumor, and none of them; another disease gets one
of these four names all the same.

**Tumor** adds the three tumors up. From a threshold on it counts as seen, and that threshold is set so that a missed
tumor weighs more than a false alarm: a tumor can be seen while no tumor is the most probable single answer. Sensitivity
is the share of tumors seen, specificity the share of tumor-free slices in which none is seen. Both hold for patients
like those of training; on scans from elsewhere they can be far lower.

**Possible** are the answers that cannot be excluded. The list is made to hold the right one for the share of slices
that stands beside it, if they are like those of training. Where it names more than one, the answer is called doubtful.

A slice is refused if it does not look like a brain MRI, or lies too far from everything that the model has learned
from; its probabilities would mean nothing.

If a tumor counts as seen, the colors show where in the slice the score of the likeliest one comes from, relative to its
strongest point: the white line encloses all that reaches half of it. It is where the model looks, not where a tumor
ends.

Of a volume every slice is answered for itself; the study's verdict is made of all that were not refused. Each column of
the plot is a slice: the tumors' probabilities are stacked, what is left above them is no tumor, and a gap is a slice
that was refused. The other planes are cut from the same volume; the study's verdict stays that of the plane it was
taken in.

A file can be {scans.READABLE}, up to {scans.MAX_BYTES // 2**20} MB and {scans.MAX_PIXELS // 10**6} million pixels a
slice. It is deleted from the server within {KEPT_MINUTES + 1} minutes and used for nothing else; what was made of it is
kept in memory while you look at it, and deleted when you close the page or within {KEPT_MINUTES + 1} minutes after you
last looked."""
