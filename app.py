"""The page: drop brain MRI, see what the model makes of it. Components, events and launch; what is shown is in page/.

    python app.py     http://127.0.0.1:7860; PORT and HOST are read from the environment

Which weights answer, the environment says too (WEIGHTS, MODEL_REPO: model/serving.py), and the page what came of it.

It is mounted on the service (service/), so that both answer on one port.

The port opens first, the model loads behind it, and the first prediction waits for the model.
"""

import asyncio
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from page import uploads

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: the only switch that stops all telemetry
os.environ["GRADIO_TEMP_DIR"] = str(uploads.open_folder())

import gradio as gr

from model import report, scans
from model.report import classify
from model.scans import isolated
from model.serving import ModelMissing, ServedModel
from model.wording import many
from page import cards, case_report, examples, navigator, pictures, texts, views
from page.about import about
from page.sittings import Look, Sitting, Sittings
from page.theme import THEME
from service.api import create_api
from service.shutdown import server_of

HERE = Path(__file__).parent
PAGE = HERE / "page"
MAX_KEPT_BYTES = 1 << 30  # of all visitors' scans together: what a small server can spare beside the model
SWEEP_SECONDS = 60
READING_SECONDS = 0.3  # between two looks at how far reading is
SWITCH_SECONDS = 1e-4  # a thread back from the graph waits so long for Python, not 5 ms: +18 % answers a second
QUEUE_SECONDS = 0.05  # between two looks at the queue, as on Windows: elsewhere Gradio looks 1,000 times a second
LOADING_SECONDS = 0.3  # between two looks whether the model is loaded
AT_ONCE = (os.cpu_count() or 1) + 1  # answers to uploads, and as many to what is read already: nobody blocks the others

served = ServedModel()
readers = ThreadPoolExecutor(isolated.PROCESSES)
sittings = Sittings(60 * texts.KEPT_MINUTES, MAX_KEPT_BYTES)


def on_page(changes: dict) -> dict:
    """Changes by a component's name -> by the component."""
    return {components[name]: change for name, change in changes.items()}


def script(*names: str) -> str:
    """The scripts of these names, one after the other."""
    return "".join((PAGE / f"{name}.js").read_text() for name in names)


def paths(files: Sequence[str]) -> list[Path]:
    """Uploads without Gradio's type of string, for which the process that reads would load all of Gradio."""
    return [Path(file) for file in files]


async def say_which_weights() -> tuple[str, str]:
    """What answers, as soon as it does: in a line, and the whole tab about it."""
    while not served.is_loaded:  # no thread waits: there may be as many visitors as there are threads
        await asyncio.sleep(LOADING_SECONDS)
    folder = served.wait().folder if served.origin.name else None
    return cards.weights(served.origin), about(folder, served.origin)


def while_shown(session: str, look: Look | None, steps: Iterable[dict], gone: dict | None = None) -> Iterator[dict]:
    """The changes of `steps`, made of what `look` is at; all that takes its time gets to the page through here.

    As soon as the session looks at something else, none of them appears any more. If that is of the same sitting, the
    steps are still taken, since what they make is kept; else they are broken off. `gone` is shown if nothing is left.

    A generator's last changes are sent again by Gradio as it ends: so the last are none once they are not looked at.
    """
    gone = on_page(views.gone()) if gone is None else gone
    if look is None:
        yield gone
        return
    is_shown = True
    for changes in steps:
        now = sittings.get(session)
        if now is look:
            yield changes
        elif now is None:
            yield gone
            return
        elif is_shown:
            is_shown = False
            yield gr.skip()
        if now.sitting is not look.sitting:
            return
    if is_shown and sittings.get(session) is not look:
        yield gr.skip()


def turn(session: str, look: Look, new: Look, show: Callable[[Look], dict]) -> Iterator[dict]:
    """`show` the session `new`, if it still looks at `look` once that is made."""
    changes = on_page(show(new))
    if sittings.replace(session, look, new):
        yield changes
    if sittings.get(session) is not new:
        yield gr.skip()  # last, as in `while_shown`


def of_open_case(request: gr.Request, steps: Callable[[Look], Iterable[dict]], gone: dict | None = None) -> dict:
    """The first change that `steps` makes of the open case, if there is one; see `while_shown`."""
    look = sittings.get(request.session_hash)
    if look and look.opened is None:  # all are looked at, or another answer is being made
        return gr.skip()
    return next(while_shown(request.session_hash, look, look and steps(look), gone), gr.skip())


def classify_upload(files: list[str] | None, request: gr.Request) -> Iterator[dict]:
    """Say beside the drop zone if the file is no scan, and leave the last answer as it is; else show the answer."""
    if not files:  # a second upload, taken away with the first one
        yield gr.skip()  # a generator without any changes would blank the page
        return
    session, asked = request.session_hash, Sitting()  # now: what is asked for while this is read has the last word
    doing, begun = f"Reading {many(len(files), 'file')} …", []
    reading = readers.submit(isolated.read_all, paths(files), begin=begun.append)
    while not wait([reading], READING_SECONDS).done:
        if sittings.has_later(session, asked):
            reading.cancel()
            yield {problem: "", upload: None}
            return
        done = sum(min(times, 2) for times in Counter(begun).values())  # each is looked at, then read: frame by frame
        yield {problem: cards.progress(doing, done, 2 * len(files))}
    if reading.exception():  # unforeseen: its text is for the log, but nobody must be left waiting
        yield {problem: cards.problem(many(len(files), "file"), texts.NO_READING), upload: None}
    found = reading.result()
    if len(found) == 1 and isinstance(found[0], scans.Unreadable):
        yield {problem: cards.problem(*found[0]), upload: None}
        return
    yield {upload: None, gallery: gr.Gallery(selected_index=None)}  # ready for the next, once: it may come at any time
    yield from answer(found, session, asked)


def classify_example(chosen: gr.Gallery, request: gr.Request) -> Iterator[dict]:
    """Answer for the example that is selected by now: `gr.SelectData` would repeat the click that began to wait."""
    if chosen.selected_index is None:  # an upload has come between
        yield gr.skip()
    else:
        asked = Sitting()
        yield from answer([examples.scan(chosen.selected_index)], request.session_hash, asked)


def answer(
    found: Sequence[scans.Scan | scans.Unreadable], session: str, asked: Sitting | None = None
) -> Iterator[dict]:
    """Show what was read, then how far the answer is, then the answer; unless something was `asked` for later."""
    asked = asked or Sitting()
    waiting = sittings.put(session, asked)
    if waiting is None:
        yield {problem: ""}
        return
    made = Sitting(number=asked.number)  # nobody looks at it before it is whole
    yield from while_shown(session, waiting, _classify(found, made))
    if len(made.cases) == len(found):  # else there is no model, or nobody waits any more
        new, show = (Look(made, 0), views.case) if len(found) == 1 else (Look(made), views.batch_of)
        yield from turn(session, waiting, new, show)


def _classify(found: Sequence[scans.Scan | scans.Unreadable], made: Sitting) -> Iterator[dict]:
    """Fill `made`."""
    total = sum(len(one.slices) for one in found if isinstance(one, scans.Scan))
    doing = f"Looking at {many(total, 'slice')} …"
    yield on_page(views.waiting(found, doing if served.is_loaded else "The model is loading …"))
    try:
        made.classifier = served.wait()
    except ModelMissing:
        yield on_page(views.no_model(found[0].name if len(found) == 1 else many(len(found), "scan")))
        return
    for answered, case in classify(made.classifier, found):
        if case:
            made.cases.append(case)
        elif total > 1:
            yield {verdict: cards.progress(doing, answered, total)}


def open_case(event: gr.EventData, request: gr.Request) -> dict:
    """One scan of many."""
    return _turn_to(request.session_hash, event.case, views.case)


def go_back(request: gr.Request) -> dict:
    """From one scan to all."""
    return _turn_to(request.session_hash, None, views.batch_again)


def _turn_to(session: str, index: int | None, show: Callable[[Look], dict]) -> dict:
    look = sittings.get(session)
    if look is None:
        return on_page(views.gone())
    if (index or 0) >= len(look.sitting.cases) or len(look.sitting.cases) == 1:  # asked of an answer that is replaced
        return gr.skip()
    return next(turn(session, look, Look(look.sitting, index), show), gr.skip())


def show_slice(number: int, cut: str | None, request: gr.Request) -> dict:
    """The slice that the way through the volume stands at."""

    def steps(look: Look) -> Iterator[dict]:
        view = look.view
        if cut in (None, look.plane) and number <= len(view.pictures):  # else of a volume that is being replaced
            yield on_page(views.slice_of(view, number - 1, look.sitting.classifier))

    return of_open_case(request, steps, {figures: cards.problem("No longer there", texts.GONE)})


def show_plane(cut: str, request: gr.Request) -> Iterator[dict]:
    """Another plane of the volume: classified once, then remembered."""
    session = request.session_hash
    look = sittings.get(session)
    if look and look.opened is None:  # as in `of_open_case`
        yield gr.skip()
        return
    yield from while_shown(session, look, look and _cut(look, cut))
    if look and look.sitting.view(look.opened, cut):
        yield from turn(session, look, Look(look.sitting, look.opened, cut), views.volume)


def _cut(look: Look, cut: str) -> Iterator[dict]:
    """Have the open case in a plane."""
    sitting, index = look.sitting, look.opened
    if sitting.view(index, cut):
        return
    scan = sitting.planes(index)[cut]
    for answered, case in classify(sitting.classifier, [scan]):
        if case is None:
            yield {details: cards.progress(f"Looking at the {cut} slices …", answered, len(scan.slices))}
        elif case.study:
            sitting.add_view(index, cut, case)
        else:
            yield {details: cards.verdict(case.status, cut, case.reason)}


def make_report(number: int, cut: str | None, request: gr.Request) -> dict:
    """The picture of the case that is opened, with the slice that is looked at."""

    def steps(look: Look) -> Iterator[dict]:
        case, classifier = look.case, look.sitting.classifier
        index = 0 if case.study is None else number - 1 if look.plane == case.scan.plane else None
        shown = None if index is None else look.view.pictures[index]
        origin = served.origin  # first: what is waited for may be newer, but then it is not what answered
        try:
            content = case_report.png(case, classifier, index, shown, origin if served.wait() is classifier else None)
        except Exception:  # unforeseen: its text is for the log, but nobody must be left waiting
            logging.getLogger(__name__).exception("A report could not be made.")
            yield {save: gr.HTML(**case_report.state(case_report.NOT_MADE))}
        else:
            yield {save: gr.HTML(**case_report.state(picture=content))}

    return of_open_case(request, steps, {save: gr.HTML(**case_report.state(texts.GONE))})


def forget(request: gr.Request) -> None:
    """The page was closed."""
    sittings.drop(request.session_hash)


def predict(files: list[str] | None) -> list[dict]:
    """Classify files: the entries that `python -m model FILES --json` prints."""
    if not files:
        raise gr.Error("Send one file or more.", print_exception=False)
    try:
        return report.entries(served.wait(), paths(files))
    except ModelMissing as error:
        raise gr.Error(str(error), print_exception=False) from error


# On a phone the answer lies below the examples; a problem with the file shows where the finger was.
SCROLL_TO_ANSWER = """() => {
    const answer = document.querySelector("#result");
    if (innerWidth < 640 && answer && !document.querySelector(".problem")) answer.scrollIntoView({behavior: "smooth"});
}"""

KEPT_SECONDS = 60 * texts.KEPT_MINUTES
with gr.Blocks(title=texts.TITLE, analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEPT_SECONDS)) as blocks:
    plain = {"apply_default_css": False}  # of headings and tables, which have their own
    gr.HTML(texts.HEADER)
    weights = gr.HTML(elem_id="weights", **plain)
    with gr.Tabs(elem_id="tabs"):
        with gr.Tab("Scan"), gr.Row(elem_id="columns"):
            with gr.Column(scale=3, min_width=300):
                upload = gr.File(label="Brain MRI", file_count="multiple", height=150, elem_id="upload")
                problem = gr.HTML(
                    elem_id="problem",
                    js_on_load=script("dropzone", "links"),
                    limit=scans.MAX_BYTES,
                    too_large=texts.TOO_LARGE,
                    names=examples.NAMES,
                    no_such_example=texts.NO_SUCH_EXAMPLE,
                )
                gr.HTML(texts.HINT, **plain)
                gr.HTML(texts.EXAMPLES_HEADING)
                gallery = gr.Gallery(
                    examples.pictures(),
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
                    elem_id="examples",
                )
            with gr.Column(scale=7, min_width=320):
                empty = gr.HTML(texts.EMPTY)
                with gr.Column(visible=False, elem_id="result") as result:
                    back = gr.Button(visible=False, size="sm", elem_id="back")
                    overview = gr.HTML(js_on_load=script("batch"), elem_id="batch", elem_classes=[views.AWAY], **plain)
                    verdict = gr.HTML(elem_id="verdict", **plain)
                    plane = gr.Radio(visible=False, label="Plane", show_label=False, container=False, elem_id="plane")
                    way = gr.HTML(
                        1,
                        html_template=navigator.TEMPLATE,
                        js_on_load=script("navigator"),
                        visible=False,
                        elem_id="way",
                        **navigator.NOWHERE,
                        **plain,
                    )
                    figures = gr.HTML(
                        html_template=pictures.TEMPLATE,
                        js_on_load=script("pictures"),
                        visible=False,
                        elem_id="pictures",
                        **pictures.NOTHING,
                        **plain,
                    )
                    details = gr.HTML(visible=False, elem_id="details", **plain)
                    with gr.Row(elem_id="save"):
                        save = gr.HTML(
                            html_template=case_report.TEMPLATE,
                            js_on_load=script("case_report"),
                            visible=False,
                            elem_id="report",
                            **case_report.state(),
                            **plain,
                        )
                        download = gr.HTML(visible=False)
        with gr.Tab("About the model"):
            about_model = gr.HTML(texts.LOADING, js_on_load=script("about"), elem_id="about", **plain)

    components = {
        **{"problem": problem, "empty": empty, "result": result, "back": back, "overview": overview},
        **{"verdict": verdict, "plane": plane, "way": way, "pictures": figures, "details": details},
        **{"report": save, "download": download},
    }
    shown = list(components.values())
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    by_readers, by_model = ({"concurrency_id": name, "concurrency_limit": AT_ONCE} for name in ("readers", "model"))
    last = quiet | {"trigger_mode": "always_last"}  # of what is asked during an answer, the last is answered next
    for asked in (
        upload.upload(classify_upload, upload, [upload, gallery, *shown], **by_readers, **last),
        gallery.select(classify_example, gallery, shown, **by_model, **last),
        overview.select(open_case, None, shown, queue=False, **quiet),
        back.click(go_back, None, shown, queue=False, **quiet),
    ):
        asked.then(js=SCROLL_TO_ANSWER, api_visibility="private")
    plane.input(show_plane, plane, shown, **by_model, **last)
    way.change(show_slice, [way, plane], [verdict, figures, details], queue=False, **last)
    save.select(make_report, [way, plane], save, **quiet)
    blocks.load(say_which_weights, None, [weights, about_model], queue=False, **quiet)
    blocks.unload(forget)
    # For gradio_client: the page itself has no such button.
    answers = gr.JSON(visible=False)
    gr.Button(visible=False).click(predict, upload, answers, api_name="predict", **by_readers)


def launch() -> None:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    uploads.sweep_forever(folder, KEPT_SECONDS, SWEEP_SECONDS)
    sittings.sweep_forever(SWEEP_SECONDS)
    api = create_api(served, folder)
    if os.environ.get("ADMIN_TOKEN") and (HERE / "training").is_dir():  # a Space comes without it
        from service.retraining import offer  # here: it locks files as Unix does, which serving need not

        offer(api, served, folder)
    gr.mount_gradio_app(
        api,
        blocks.queue(max_size=64),  # more waiting visitors are refused at once, with a sentence
        path="/",
        theme=THEME,
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
