"""The page: drop a slice of a brain MRI, see what the model makes of it. Components, events and launch; no decoding.

    python app.py     http://127.0.0.1:7860; PORT, HOST and WEIGHTS (a weights folder) are read from the environment

The port opens first, the model loads behind it, and the first prediction waits for the model.
"""

import html
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: the only switch that stops all telemetry

import gradio as gr

from model import CLASSES, DISPLAY_NAMES, overlay, report, scans

if TYPE_CHECKING:
    import numpy as np

    from model.classifier import Prediction, TumorClassifier

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE / "examples").glob("*.png"))
KEPT_SECONDS = 600  # an upload outlives its request by at most this, plus the minute between two sweeps
TITLE = "Brain tumor on MRI"
MODEL_IS_MISSING = "The model could not be loaded, so nothing can be classified. The server's log says why."
NO_ANSWER = "Something went wrong while the model looked at this slice. The server's log says what."
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

A file can be {scans.READABLE}, of 8 or 16 bit, up to {scans.MAX_BYTES // 2**20} MB and
{scans.MAX_PIXELS // 10**6} million pixels a slice. It is deleted from the server within
{KEPT_SECONDS // 60 + 1} minutes and used for nothing else."""

model: "Future[TumorClassifier]" = Future()  # loaded once, by `load_model`


def load_model() -> None:
    try:
        from model.classifier import TumorClassifier  # here, since importing torch takes longer than opening the port

        folder = os.environ.get("WEIGHTS")
        model.set_result(TumorClassifier.from_folder(folder) if folder else TumorClassifier.default())
    except Exception as error:  # whatever it is, each visitor is told; a thread would die of it unseen
        model.set_exception(error)
        raise


def model_is_missing() -> bool:
    """Wait for the model; whether loading it failed."""
    return model.exception() is not None


def classify_upload(path: str | None) -> Iterator[dict]:
    """Say beside the drop zone if the file is no image, and leave the last answer as it is; else show the answer."""
    if path is None:  # a second upload, taken away with the first one
        return
    try:
        scan = scans.read(path)
    except scans.UnreadableScan as error:
        yield {problem: problem_html(Path(path).name, str(error)), upload: None}
        return
    yield {upload: None, examples: gr.Gallery(selected_index=None)}  # ready for the next, once: it may come at any time
    yield from classify(scan)


def classify_example(gallery: gr.Gallery) -> Iterator[dict]:
    """Answer for the example that is selected by now: `gr.SelectData` would repeat the click that began to wait."""
    if gallery.selected_index is not None:  # an upload has come between
        yield from classify(scans.read(EXAMPLES[gallery.selected_index]))


def classify(scan: scans.Scan) -> Iterator[dict]:
    """Show the slice at once, then the answer. Of several slices the middle one is taken."""
    middle = len(scan.slices) // 2
    pixels = scan.slices[middle]
    waiting = "Looking at the slice …" if model.done() else "The model is loading …"
    yield {
        problem: "",
        empty: gr.HTML(visible=False),
        result: gr.Column(visible=True),
        verdict: verdict_html("reading", scan.name, waiting),
        slice_image: gr.Image(overlay.picture(pixels), alt_text=f"The slice {scan.name}"),
        evidence_image: gr.Image(visible=False),
        legend: gr.HTML(visible=False),
        probabilities: gr.Label(visible=False),
    }
    if model_is_missing():
        yield {verdict: verdict_html("no model", scan.name, MODEL_IS_MISSING)}
        return
    classifier = model.result()
    start = time.perf_counter()
    try:
        (prediction,) = classifier.predict([pixels])
    except Exception:  # unforeseen: its text is for the log, but nobody must be left waiting
        yield {verdict: verdict_html("no answer", scan.name, NO_ANSWER)}
        raise
    origin = f"{time.perf_counter() - start:.2f} s · weights {classifier.version}"
    if len(scan.slices) > 1:
        origin += f" · slice {middle + 1} of {len(scan.slices)}, the middle one"
    refused, sentence = prediction.status == "refused", report.sentence(prediction)
    certainty = [] if refused else report.certainty(prediction, classifier.config)
    card = {verdict: verdict_html(prediction.status, scan.name, sentence, prediction.reason, origin, certainty)}
    yield card | ({} if refused else findings(pixels, scan.name, prediction))


def findings(pixels: "np.ndarray", name: str, prediction: "Prediction") -> dict:
    """The probabilities, and the evidence of the likeliest tumor if one is seen: absence is nowhere in particular."""
    by_name = {DISPLAY_NAMES[label]: probability for label, probability in prediction.probabilities.items()}
    changes = {probabilities: gr.Label(by_name, visible=True)}
    if prediction.sees_tumor:
        tumor = prediction.likeliest_tumor
        evidence = prediction.evidence[CLASSES.index(tumor)]
        picture = overlay.evidence_picture(pixels, evidence, prediction.window)
        title = f"Evidence of {DISPLAY_NAMES[tumor]}"
        changes[evidence_image] = gr.Image(picture, visible=True, label=title, alt_text=f"{title} on {name}")
        changes[legend] = gr.HTML(visible=True)
    return changes


def predict(file: str | None) -> list[dict]:
    """Classify every slice of one file: the entries that `python -m model FILE --json` prints."""
    if file is None:
        raise gr.Error("Send one file.", print_exception=False)
    if model_is_missing():
        raise gr.Error(MODEL_IS_MISSING, print_exception=False)
    return report.entries(model.result(), file, Path(file).name)


def problem_html(name: str, sentence: str) -> str:
    return f'<div class="problem" role="alert"><b>{html.escape(name)}</b> {html.escape(sentence)}</div>'


def verdict_html(
    status: str,
    name: str,
    sentence: str,
    reason: str = "",
    origin: str = "",
    certainty: Sequence[tuple[str, str, str]] = (),
) -> str:
    """The card with the answer; `certainty` as `report.certainty` gives it."""
    badge = "brain MRI" if status == "accepted" else status
    caveat = f"<p>{html.escape(reason)}</p>" if reason not in ("", sentence) else ""
    rows = "".join(
        f"<dt>{html.escape(what)}</dt><dd>{html.escape(answer)} <small>{html.escape(worth)}</small></dd>"
        for what, answer, worth in certainty
    )
    facts = f"<dl>{rows}</dl>" if rows else ""
    return (
        f'<div class="verdict {status}" role="status"><div class="about"><span class="badge">{badge}</span>'
        f'<span class="file">{html.escape(name)}</span><span class="origin">{html.escape(origin)}</span></div>'
        f"<h2>{html.escape(sentence)}</h2>{caveat}{facts}</div>"
    )


def caption(example: Path) -> str:
    """glioma_axial_t1c.png -> Glioma axial T1C+"""
    spelled = {"brain": "brain:", "flair": "FLAIR", "t1": "T1", "t1c": "T1C+", "t2": "T2", "mri": "MRI"}
    words = " ".join(spelled.get(word, word) for word in example.stem.split("_"))
    return words[0].upper() + words[1:]


HEADER = f"""<header><span class="notice">Research demo, not a medical device</span>
<h1>{TITLE}</h1>
<p>Drop one slice of a brain MRI: see which tumor it looks like, how likely that is, and where the evidence lies.</p>
</header>"""
EXAMPLES_HEADING = '<h3 class="heading">Examples <small>drawn by a program: no patient</small></h3>'
EMPTY = """<div class="empty"><h2>The answer appears here</h2><ol>
<li><b>Is this a brain MRI?</b> Anything else is refused, with the reason.</li>
<li><b>Which tumor?</b> Four calibrated probabilities, and which answers cannot be excluded.</li>
<li><b>Where?</b> The slice with the evidence drawn on it.</li></ol></div>"""
LEGEND = f"""<div class="legend"><span>less</span>
<i style="background: linear-gradient(90deg, {", ".join(overlay.COLORS)})"></i>
<span>more evidence</span><span class="contour">half of the maximum</span></div>"""
# On a phone the answer lies below the examples; a problem with the file shows where the finger was.
SCROLL_TO_ANSWER = """() => {
    const answer = document.querySelector("#result");
    if (innerWidth < 640 && answer && !document.querySelector(".problem")) answer.scrollIntoView({behavior: "smooth"});
}"""

with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(60, KEPT_SECONDS)) as page:
    gr.HTML(HEADER)
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=2, min_width=300):
            upload = gr.File(label="Slice of a brain MRI", height=150, elem_id="upload")
            problem = gr.HTML(elem_id="problem")
            gr.HTML(EXAMPLES_HEADING, visible=bool(EXAMPLES))
            examples = gr.Gallery(
                [(str(path), caption(path)) for path in EXAMPLES],
                label="Examples",
                show_label=False,
                type="filepath",
                format="png",
                columns=3,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                visible=bool(EXAMPLES),
                elem_id="examples",
            )
        with gr.Column(scale=3, min_width=320):
            empty = gr.HTML(EMPTY)
            with gr.Column(visible=False, elem_id="result") as result:
                verdict = gr.HTML(elem_id="verdict")
                with gr.Row(elem_id="pictures"):
                    options = {"format": "png", "height": 300, "buttons": ["fullscreen"], "interactive": False}
                    slice_image = gr.Image(label="Slice", elem_id="slice", **options)
                    evidence_image = gr.Image(elem_id="evidence", **options)
                legend = gr.HTML(LEGEND)
                probabilities = gr.Label(label="Calibrated probabilities", show_heading=False, elem_id="probabilities")
    with gr.Accordion("What the numbers mean", open=False):
        gr.Markdown(NUMBERS)

    shown = [problem, empty, result, verdict, slice_image, evidence_image, legend, probabilities]
    quiet = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "concurrency_id": "model",
        "trigger_mode": "always_last",  # of what is asked during an answer, the last is answered next
    }
    for asked in (
        upload.upload(classify_upload, upload, [upload, examples, *shown], **quiet),
        examples.select(classify_example, examples, shown, **quiet),
    ):
        asked.then(js=SCROLL_TO_ANSWER, api_visibility="private")
    # For gradio_client: the page itself has no such button.
    answer = gr.JSON(visible=False)
    gr.Button(visible=False).click(predict, upload, answer, api_name="predict", concurrency_id="model")


def launch() -> None:
    everywhere = "SPACE_ID" in os.environ  # on Hugging Face Spaces a proxy stands in front
    page.queue(max_size=64).launch(  # more waiting visitors are refused at once, with a sentence
        server_name=os.environ.get("HOST", "0.0.0.0" if everywhere else None),
        server_port=int(os.environ["PORT"]) if "PORT" in os.environ else None,
        prevent_thread_lock=True,
        theme=gr.themes.Soft(
            primary_hue="teal",
            neutral_hue="slate",
            radius_size="lg",
            font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"],
        ).set(
            body_background_fill="*neutral_50",
            block_label_background_fill="transparent",
            block_label_background_fill_dark="transparent",
            block_label_text_color="*body_text_color",
            block_label_text_color_dark="*body_text_color",
            block_label_border_width="0px",
            block_label_shadow="none",
        ),
        css_paths=HERE / "app.css",
        max_file_size=scans.MAX_BYTES,
        show_error=False,  # of unforeseen exceptions, whose text is not for visitors; what `gr.Error` says is shown
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        footer_links=["api"],
    )
    threading.Thread(target=load_model, name="load model").start()
    page.block_thread()


if __name__ == "__main__":
    launch()
