"""Fixed texts of the page, and of the tab about the model."""

from model import scans

TITLE = "Brain tumor on MRI"
KEPT_MINUTES = 10  # uploads and answers live this long after their last use, and a minute more between two sweeps

MODEL_IS_MISSING = "The model could not be loaded, so nothing can be classified. The server's log says why."
NO_READING = "Something went wrong while this file was read. The server's log says why."
NO_REPORT = "The picture could not be made. The server's log says why."
GONE = f"This answer was deleted, as any answer that was not used for {KEPT_MINUTES} minutes. Upload the file again."
TOO_LARGE = f"The limit is {scans.MAX_BYTES // 2**20} MB per file. Export fewer slices at once, or zip them."
LOADING = '<p class="hint" role="status">The model is loading …</p>'
NO_SUCH_EXAMPLE = "There is no example of this name. Choose one below."

NOTICE = "Research demo, not a medical device"
DISCLAIMER = (
    "Do not base any treatment, or any decision against one, on this page. Sensitivity and specificity were measured "
    "on patients like those of training; on scans from elsewhere they can be far lower. The model knows glioma, "
    "meningioma, pituitary tumor and no tumor: any other disease is given one of these names."
)
HEADER = f"""<header><h1>{TITLE}</h1><span class="notice">{NOTICE}</span>
<p>Drop a brain MRI: does the model detect a tumor, which one, how sure is it, and where is the evidence?</p>
</header>"""
HINT = f"""<p class="hint">{scans.READABLE}; up to {scans.MAX_BYTES // 2**20} MB each. Also many files at once, a whole
series, a ZIP or a folder, or a pasted picture (Ctrl V). Files are deleted from the server within {KEPT_MINUTES + 1}
minutes and used for nothing else.</p>"""
EXAMPLES_HEADING = '<h2 class="heading">Examples <small>drawn by a program: no patient</small></h2>'

BRAIN, CLASSIFICATION, WHERE = "Is this a brain MRI?", "Classification", "Where the evidence lies"  # the panels
LIKE_TRAINING = "It looks like the brain MRI that the model was trained on."
SLICES_LIKE_TRAINING = "Its slices look like the brain MRI that the model was trained on."
NO_CLASSIFICATION = "Not classified: the image was refused."
NO_MAP = "No evidence map: the image was refused."
NO_TUMOR_DETECTED = "No tumor is detected in this slice."
EMPTY = f"""<div class="empty"><h2>The answer appears here</h2><ol>
<li><b>{BRAIN}</b> Anything else is refused, with the reason.</li>
<li><b>{CLASSIFICATION}</b> Four calibrated probabilities, and which answers cannot be excluded.</li>
<li><b>{WHERE}</b> The evidence laid over the slice; for a volume, the most suspicious slices first.</li></ol></div>"""

NUMBERS = """<details class="numbers"><summary>What the numbers mean</summary>
<p><b>Probabilities</b> of the four answers add up to 100 %. They were calibrated on patients who were not used for
training, from the same collections; on scans from elsewhere they are less reliable. Other diseases also get one of
these names.</p>
<p><b>Tumor</b> is the sum of the three types. The threshold for detection is low, because a missed tumor is worse than
a false alarm. Sensitivity: share of tumors detected. Specificity: share of true negatives among tumor-free slices.</p>
<p><b>Possible</b> lists the answers that cannot be excluded. With more than one, the model cannot tell.</p>
<p><b>Doubtful</b>: read with care. <b>Refused</b>: not a brain MRI, or too different from those of training.</p>
<p><b>Colors</b> show where a type's score comes from, relative to its strongest point. They do not outline the
tumor.</p>
<p>In a volume, each slice is judged alone; the verdict combines them all.</p></details>"""
