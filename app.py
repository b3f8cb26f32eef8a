"""The page: drop a brain MRI, see what the model makes of it. Components, events and launch; the rest is in page/.

    python app.py     http://127.0.0.1:7860; PORT and HOST are read from the environment

The environment also says which weights answer (WEIGHTS, MODEL_REPO: model/serving.py), and the page shows which do. It
is mounted on the service (service/): one port for both, which opens first; the model loads behind it.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from page.sessions import Answer, Selection, Sessions, Uploads, keep_sweeping, upload_folder

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: the only switch that stops all telemetry
os.environ["GRADIO_TEMP_DIR"] = str(upload_folder())

import gradio as gr

from model import report, scans
from model.report import classify
from model.scans import isolated
from model.serving import ModelMissing, ServedModel
from model.wording import many
from page import case_report, examples, panels, pictures, slice_viewer, texts, views
from page.about import about
from service.api import create_api
from service.shutdown import server_of

HERE = Path(__file__).parent
PAGE = HERE / "page"
MAX_KEPT_BYTES = 1 << 30  # of all visitors' scans together: what a small server can spare beside the model
KEPT_SECONDS = 60 * texts.KEPT_MINUTES
SWEEP_SECONDS = 60
READING_SECONDS = 0.3  # between two reports on how far reading is
SWITCH_SECONDS = 1e-4  # a thread back from the graph waits so long for Python, not 5 ms: +18 % answers a second
QUEUE_SECONDS = 0.05  # between two looks at the queue, as on Windows: elsewhere Gradio looks 1,000 times a second
LOADING_SECONDS = 0.3  # between two looks whether the model is loaded
AT_ONCE = (os.cpu_count() or 1) + 1  # answers to uploads, and as many to what is read already: nobody blocks the others

served = ServedModel()
readers = ThreadPoolExecutor(isolated.PROCESSES)
sessions = Sessions(KEPT_SECONDS, MAX_KEPT_BYTES)


def on_page(changes: dict) -> dict:
    """Changes by a component's name -> by the component."""
    return {parts[name]: change for name, change in changes.items()}


async def show_weights() -> tuple[str, str]:
    """Which weights answer, as soon as they do: in a line, and the whole tab about the model."""
    while not served.is_loaded:  # no thread waits: there may be as many visitors as there are threads
        await asyncio.sleep(LOADING_SECONDS)
    folder = served.wait().folder if served.origin.name else None
    return panels.html.weights(served.origin), about(folder, served.origin)


def while_shown(session: str, shown: Selection | None, steps: Iterable[dict]) -> Iterator[dict]:
    """The changes of `steps`, made of the selection `shown`: all that takes time gets to the page through here.

    It ends as soon as the session shows another selection, or none any more. Gradio sends a generator's last changes
    again as it ends: so the last are none once they are not to be shown.
    """
    if shown is None:
        yield on_page(views.gone())
        return
    for changes in steps:
        now = sessions.get(session)
        if now is not shown:
            yield on_page(views.gone()) if now is None else gr.skip()
            return
        yield changes
    if sessions.get(session) is not shown:
        yield gr.skip()


def turn(session: str, shown: Selection, new: Selection, show: Callable[[Selection], dict]) -> Iterator[dict]:
    """`show` the session `new`, if it still shows `shown` once that is made."""
    changes = on_page(show(new))
    if sessions.replace(session, shown, new):
        yield changes
    if sessions.get(session) is not new:
        yield gr.skip()  # last, as in `while_shown`


def of_open_case(session: str, make: Callable[[Selection], dict | None], gone: dict) -> dict:
    """The changes that `make` makes of the open case, if it is still shown then; `gone` if nothing is any more."""
    shown = sessions.get(session)
    if shown and shown.opened is None:  # all cases are shown, or another answer is being made
        return gr.skip()
    changes = shown and make(shown)
    now = sessions.get(session)
    if now is None:
        return on_page(gone)
    return on_page(changes) if changes and now is shown else gr.skip()


def classify_upload(files: list[str] | None, request: gr.Request) -> Iterator[dict]:
    """Show the answer; but beside the drop zone that the file is no scan, and then the last answer stays."""
    if not files:  # a second upload, taken away with the first one
        yield gr.skip()  # a generator without any changes would blank the page
        return
    session, asked = request.session_hash, Answer()  # now: what is asked for while this is read has the last word
    count, begun = many(len(files), "file"), []
    reading = readers.submit(isolated.read_all, [Path(file) for file in files], begin=begun.append)
    while not wait([reading], READING_SECONDS).done:
        if sessions.has_later(session, asked):
            reading.cancel()
            yield {**on_page({"problem": ""}), upload: None}
            return
        done = sum(min(times, 2) for times in Counter(begun).values())  # each is looked at, then read: frame by frame
        yield on_page({"problem": panels.html.progress(f"Reading {count} …", done, 2 * len(files))})
    if reading.exception():  # unforeseen: its text is for the log, but nobody must be left waiting
        yield {**on_page({"problem": panels.html.problem(count, texts.NO_READING)}), upload: None}
    found = reading.result()
    if len(found) == 1 and isinstance(found[0], scans.Unreadable):
        yield {**on_page({"problem": panels.html.problem(*found[0])}), upload: None}
        return
    yield {upload: None, gallery: gr.Gallery(selected_index=None)}  # ready for the next, once: it may come at any time
    yield from answer(found, session, asked)


def classify_example(chosen: gr.Gallery, request: gr.Request) -> Iterator[dict]:
    """Answer for the example that is selected by now: `gr.SelectData` would repeat the click that began to wait."""
    if chosen.selected_index is None:  # an upload has come between
        yield gr.skip()
    else:
        asked = Answer()
        yield from answer([examples.scan(chosen.selected_index)], request.session_hash, asked)


def answer(found: Sequence[scans.Scan | scans.Unreadable], session: str, asked: Answer) -> Iterator[dict]:
    """Show what was read, then how far the answer is, then the answer; unless something was `asked` for later."""
    waiting = sessions.put(session, asked)
    if waiting is None:
        yield on_page({"problem": ""})
        return
    made = Answer(number=asked.number)  # shown only when it is complete
    yield from while_shown(session, waiting, _classify(found, made))
    if len(made.cases) == len(found):  # else there is no model, or nobody waits any more
        is_one = len(found) == 1
        new = made.open(0) if is_one else Selection(made)
        yield from turn(session, waiting, new, views.case if is_one else views.all_cases)


def _classify(found: Sequence[scans.Scan | scans.Unreadable], made: Answer) -> Iterator[dict]:
    """Fill `made`."""
    total = sum(len(one.slices) for one in found if isinstance(one, scans.Scan))
    doing = f"Classifying {many(total, 'slice')} …"
    yield on_page(views.waiting(found, doing if served.is_loaded else "The model is loading …"))
    try:
        made.classifier = served.wait()
    except ModelMissing:
        name = found[0].name if len(found) == 1 else many(len(found), "scan")
        yield on_page(views.nothing() | views.message("no model", name, texts.MODEL_IS_MISSING))
        return
    for answered, case in classify(made.classifier, found):
        if case:
            made.cases.append(case)
        elif total > 1:
            yield on_page({"verdict": panels.html.progress(doing, answered, total)})


def open_case(event: gr.EventData, request: gr.Request) -> dict:
    """One scan of many."""
    return _turn_to(request.session_hash, event.case)


def go_back(request: gr.Request) -> dict:
    """From one scan to all."""
    return _turn_to(request.session_hash, None)


def _turn_to(session: str, index: int | None) -> dict:
    shown = sessions.get(session)
    if shown is None:
        return on_page(views.gone())
    if len(shown.answer.cases) <= max(1, index or 0):  # asked of an answer that was replaced
        return gr.skip()
    if index is None:
        return next(turn(session, shown, Selection(shown.answer), views.all_cases_again), gr.skip())
    return next(turn(session, shown, shown.answer.open(index), views.case), gr.skip())


def show_slice(number: int, plane: str | None, request: gr.Request) -> dict:
    """The slice at the position of the slice viewer."""

    def make(shown: Selection) -> dict | None:
        view = shown.view
        if plane in (None, shown.plane) and number <= len(view.pictures):  # else of a volume that is being replaced
            return views.slice_of(view, number - 1, shown.answer.classifier)
        return None

    return of_open_case(request.session_hash, make, {"pictures": panels.html.problem("Deleted", texts.GONE)})


def show_plane(plane: str, request: gr.Request) -> Iterator[dict]:
    """Another plane of the volume: classified once, then kept while the case is open."""
    session = request.session_hash
    shown = sessions.get(session)
    if shown and shown.opened is None:  # as in `of_open_case`
        yield gr.skip()
        return
    yield from while_shown(session, shown, shown and _classify_plane(shown, plane))
    if shown and plane in shown.opened.views:
        yield from turn(session, shown, replace(shown, plane=plane), views.volume)


def _classify_plane(shown: Selection, plane: str) -> Iterator[dict]:
    if plane in shown.opened.views:
        return
    scan = shown.opened.planes()[plane]
    for answered, case in classify(shown.answer.classifier, [scan]):
        if case is None:
            progress = panels.html.progress(f"Classifying the {plane} slices …", answered, len(scan.slices))
            yield on_page({"details": progress})
        elif case.study:
            shown.opened.add_view(plane, case)
        else:
            yield on_page({"details": panels.html.card(case.status, plane, case.reason)})


def make_report(number: int, plane: str | None, request: gr.Request) -> dict:
    """The picture of the open case, with the slice that is shown."""

    def make(shown: Selection) -> dict:
        case, classifier = shown.case, shown.answer.classifier
        index = 0 if case.study is None else number - 1 if shown.plane == case.scan.plane else None
        pixels = None if index is None else shown.view.pictures[index]
        origin = served.origin  # first: what is waited for may be newer, but then it is not what answered
        try:
            content = case_report.png(case, classifier, index, pixels, origin if served.wait() is classifier else None)
        except Exception:  # unforeseen: its text is for the log, but nobody must be left waiting
            logging.getLogger(__name__).exception("A report could not be made.")
            return {"report": gr.HTML(**case_report.state(texts.NO_REPORT))}
        return {"report": gr.HTML(**case_report.state(picture=content))}

    return of_open_case(request.session_hash, make, {"report": gr.HTML(**case_report.state(texts.GONE))})


def forget(request: gr.Request) -> None:
    """The page was closed."""
    sessions.drop(request.session_hash)


def predict(files: list[str] | None) -> list[dict]:
    """Classify files: the entries that `python -m model FILES --json` prints."""
    if not files:
        raise gr.Error("Send at least one file.", print_exception=False)
    try:
        return report.entries(served.wait(), [Path(file) for file in files])
    except ModelMissing as error:
        raise gr.Error(str(error), print_exception=False) from error


def html(name: str, *scripts: str, **options) -> gr.HTML:
    """A component of our own HTML, CSS and scripts (page/NAME.js each)."""
    if scripts:
        options["js_on_load"] = "".join((PAGE / f"{script}.js").read_text() for script in scripts)
    return gr.HTML(elem_id=name, apply_default_css=False, **options)


GALLERY = {"show_label": False, "type": "filepath", "format": "png", "columns": 3, "height": "auto", "buttons": []}
GALLERY |= {"object_fit": "cover", "allow_preview": False, "interactive": False}
DROP_ZONE = {"limit": scans.MAX_BYTES, "too_large": texts.TOO_LARGE}
DROP_ZONE |= {"names": examples.NAMES, "no_such_example": texts.NO_SUCH_EXAMPLE}
parts: dict[str, gr.blocks.Block] = {}  # of an answer, by the names that views.py uses

with gr.Blocks(title=texts.TITLE, analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEPT_SECONDS)) as blocks:
    gr.HTML(texts.HEADER)
    weights = html("weights")
    with gr.Tabs(elem_id="tabs"):
        with gr.Tab("Scan"), gr.Row(elem_id="columns"):
            with gr.Column(scale=3, min_width=300):
                upload = gr.File(label="Brain MRI", file_count="multiple", height=150, elem_id="upload")
                parts["problem"] = html("problem", "dropzone", "links", **DROP_ZONE)
                gr.HTML(texts.HINT, apply_default_css=False)
                gr.HTML(texts.EXAMPLES_HEADING)
                gallery = gr.Gallery(examples.pictures(), label="Examples", elem_id="examples", **GALLERY)
            with gr.Column(scale=7, min_width=320):
                parts["empty"] = gr.HTML(texts.EMPTY)
                with gr.Column(visible=False, elem_id="result") as parts["result"]:
                    parts["back"] = gr.Button(visible=False, size="sm", elem_id="back")
                    parts["batch"] = html("batch", "batch", elem_classes=[views.AWAY])
                    parts["verdict"] = html("verdict")
                    parts["plane"] = gr.Radio(visible=False, show_label=False, container=False, elem_id="plane")
                    parts["viewer"] = html("viewer", "slice_viewer", visible=False, **slice_viewer.EMPTY)
                    parts["pictures"] = html("pictures", "pictures", visible=False, **pictures.EMPTY)
                    parts["details"] = html("details", visible=False)
                    with gr.Row(elem_id="save"):
                        saved = {"html_template": case_report.TEMPLATE, "visible": False}
                        parts["report"] = html("report", "case_report", **case_report.state(), **saved)
                        parts["download"] = gr.HTML(visible=False)
        with gr.Tab("About the model"):
            about_model = html("about", "about", value=texts.LOADING)

    whole = list(parts.values())
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    by_readers, by_model = ({"concurrency_id": name, "concurrency_limit": AT_ONCE} for name in ("readers", "model"))
    last = quiet | {"trigger_mode": "always_last"}  # of what is asked during an answer, the last is answered next
    for asked in (
        upload.upload(classify_upload, upload, [upload, gallery, *whole], **by_readers, **last),
        gallery.select(classify_example, gallery, whole, **by_model, **last),
        parts["batch"].select(open_case, None, whole, queue=False, **quiet),
        parts["back"].click(go_back, None, whole, queue=False, **quiet),
    ):
        asked.then(js=(PAGE / "scroll.js").read_text(), api_visibility="private")
    position = [parts["viewer"], parts["plane"]]
    parts["plane"].input(show_plane, parts["plane"], whole, **by_model, **last)
    parts["viewer"].change(show_slice, position, [parts["pictures"], parts["details"]], queue=False, **last)
    parts["report"].select(make_report, position, parts["report"], **quiet)
    blocks.load(show_weights, None, [weights, about_model], queue=False, **quiet)
    blocks.unload(forget)
    # For gradio_client: the page itself has no such button.
    answers = gr.JSON(visible=False)
    gr.Button(visible=False).click(predict, upload, answers, api_name="predict", **by_readers)


def launch() -> None:
    """Serve the page and the service on one port until the process is stopped."""
    uploads = Uploads(Path(os.environ["GRADIO_TEMP_DIR"]))
    signal.signal(signal.SIGTERM, uploads.stop)
    keep_sweeping(SWEEP_SECONDS, sessions.sweep, lambda: uploads.sweep(KEPT_SECONDS - SWEEP_SECONDS))
    api = create_api(served, uploads.folder)
    if os.environ.get("ADMIN_TOKEN") and (HERE / "training").is_dir():  # a Space comes without it
        from service.retraining import offer  # here: it locks files as Unix does, which serving need not

        offer(api, served, uploads.folder)
    gr.mount_gradio_app(
        api,
        blocks.queue(max_size=64),  # more waiting visitors are refused at once, with a sentence
        path="/",
        theme=views.THEME,
        css_paths=[HERE / "app.css", *sorted(PAGE.glob("*.css"))],
        head_paths=PAGE / "print.html",  # as a style sheet, it would be kept to what is inside of <main>
        max_file_size=scans.MAX_BYTES,
        show_error=False,  # of unforeseen exceptions, whose text is not for visitors; what `gr.Error` says is shown
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        footer_links=["api"],
    )
    blocks._queue.sleep_when_free = blocks._queue.progress_update_sleep_when_free = QUEUE_SECONDS
    blocks.has_launched = True  # as launch() says; until then Gradio takes any file of the server for an upload
    everywhere = "SPACE_ID" in os.environ  # on Hugging Face Spaces a proxy stands in front
    host = os.environ.get("HOST", "0.0.0.0" if everywhere else "127.0.0.1")
    port = int(os.environ.get("PORT", 7860))
    sys.setswitchinterval(SWITCH_SECONDS)
    load = threading.Thread(target=served.load, name="load model", daemon=True)
    server_of(api, api.state.traffic, host, port, started=load.start).run()


if __name__ == "__main__":
    launch()
