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
LOADING = '<p class="hint" role="status">The model is loading …</p>'
NO_SUCH_EXAMPLE = "There is no example of this name. Choose one below."

NOTICE = "Research demo, not a medical device"
DISCLAIMER = (
    "Nobody should be treated, or left untreated, because of what this page says. Sensitivity and specificity were "
    "measured on patients like those of training; on scans from elsewhere they can be far lower. The model knows "
    "glioma, meningioma, pituitary tumor, and none of them: another disease gets one of these names all the same."
)
HEADER = f"""<header><h1>{TITLE}</h1><span class="notice">{NOTICE}</span>
<p>Drop a brain MRI: see whether the model finds a tumor in it, which one, how sure it is, and where it looked.</p>
</header>"""
HINT = f"""<p class="hint">{scans.READABLE}; up to {scans.MAX_BYTES // 2**20} MB each. Many files at once, a whole
series, a ZIP or a folder, too; or paste a picture (Ctrl V). Deleted from the server within {KEPT_MINUTES + 1} minutes
and used for nothing else.</p>"""
EXAMPLES_HEADING = '<h2 class="heading">Examples <small>drawn by a program: no patient</small></h2>'

BRAIN, CLASSIFICATION, WHERE = "Is this a brain MRI?", "Classification", "Where the evidence lies"  # the panels
LIKE_TRAINING = "It looks like the brain MRI that the model has learned from."
SLICES_LIKE_TRAINING = "Its slices look like the brain MRI that the model has learned from."
NO_CLASSIFICATION = "None: of what was refused, probabilities would mean nothing."
NO_MAP = "No evidence: it was refused."
NO_TUMOR_SEEN = "No tumor is seen in this slice."
EMPTY = f"""<div class="empty"><h2>The answer appears here</h2><ol>
<li><b>{BRAIN}</b> Anything else is refused, with the reason.</li>
<li><b>{CLASSIFICATION}</b> Four calibrated probabilities, and which answers cannot be excluded.</li>
<li><b>{WHERE}</b> The evidence laid over the slice; of a volume, the most suspicious slices first.</li></ol></div>"""

NUMBERS = """<details class="numbers"><summary>What the numbers mean</summary>
<p><b>Probabilities</b> of the four answers add up to 100 %. They were calibrated on patients that training had not
seen, from the same collections; on scans from elsewhere they are less reliable. Another disease gets one of these names
too.</p>
<p><b>Tumor</b> is the sum of the three types. It counts as seen from a low threshold on, because a missed tumor is
worse than a false alarm. Sensitivity: tumors seen. Specificity: tumor-free slices left alone.</p>
<p><b>Possible</b> lists the answers that cannot be excluded. With more than one, the model cannot tell.</p>
<p><b>Doubtful</b>: read with care. <b>Refused</b>: no brain MRI, or too unlike those of training.</p>
<p><b>Colors</b> show where a type's score comes from, relative to its strongest point: where the model looks, not where
a tumor ends.</p>
<p>Of a volume, each slice is judged alone; the verdict combines them all.</p></details>"""
