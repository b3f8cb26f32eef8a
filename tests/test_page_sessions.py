"""What is shown is of the case that is open in the session, in whatever order its visitor's events come and end."""

import base64
import io
import re
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import count
from types import SimpleNamespace
from unittest.mock import patch

import gradio as gr
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from PIL import Image

import app
from model import overlay
from model.artifact import make_config
from model.scans import Scan, Unreadable
from page import case_report, navigator, views
from page.sittings import Sitting, Sittings
from tests.predictions import prediction

SIDE = 64  # of the smallest volume that can be cut
SECONDS = 600
CONFIG = make_config("", 64, 0.06)
DARKEST, GRAYS = 20, 200  # a case's gray tells it from the others
PLANES = ("axial", "coronal", "sagittal")
SLOW = ("case", "batch_of", "batch_again", "volume", "slice_of")  # of `views`: where something may come in between
COMPONENTS = {component: name for name, component in app.components.items()}
MEANWHILE = st.sampled_from(
    (*5 * (None,), *2 * ("back", 0, 1, 2), "close", "expire")
)  # done while a handler works; a number opens


def scan_of(gray: int, slices: int) -> Scan:
    return Scan([np.full((SIDE, SIDE), gray, np.uint8)] * slices, f"case-{gray}", "axial", (1.0, 1.0))


def predictions_of(gray: int, slices: int) -> list:
    tumor = 0.5 + gray / 500
    made = prediction((tumor, 0.0, 0.0, 1 - tumor), "doubtful", about_answer=f"This is case-{gray}.")
    return [made] * slices


def predict(slices: list[np.ndarray]) -> list:
    return predictions_of(int(slices[0][0, 0]), len(slices))


CLASSIFIER = SimpleNamespace(predict=predict, config=CONFIG, version="v", threshold=0.5)


class Page:
    """What a browser shows: Gradio's components with what they were last told."""

    def __init__(self, session: str):
        self.request = SimpleNamespace(session_hash=session)
        self.parts: dict[str, dict] = {}
        self.runs: dict[str, SimpleNamespace] = {}  # by event: of each one at a time
        self.saved = None  # the case of a report

    def apply(self, changes: dict) -> None:
        if changes == gr.skip():
            return
        for component, change in changes.items():
            if component in COMPONENTS:
                told = change.constructor_args if isinstance(change, gr.blocks.Block) else {"value": change}
                self.parts.setdefault(COMPONENTS[component], {}).update(told)
        if report := changes.get(app.save):
            content = report.constructor_args.get("value")
            self.saved = base64.b64decode(content.partition(",")[2]).decode() if content else None

    def part(self, name: str) -> dict:
        """Of what can be seen."""
        told = self.parts.get(name, {})
        return told if told.get("visible") else {}

    def shown(self) -> set[str]:
        """The cases whose name, slice, way or answer can be seen."""
        found = set(re.findall(r'class="file">(case-\d+)<', self.part("verdict").get("value", "")))
        found |= set(re.findall(r"case-\d+", self.part("details").get("value", "")))
        if address := self.part("pictures").get("slice"):
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))
            found.add(f"case-{int(np.median(pixels))}")
        if way := self.part("way"):
            found |= {
                f"case-{gray}" for gray in range(DARKEST, DARKEST + GRAYS) if way["chart"] == chart(gray, way["count"])
            }
        return found

    def listed(self) -> set[str]:
        overview = self.parts.get("overview", {})
        return set(re.findall(r"case-\d+", overview["value"])) if overview.get("elem_classes") == [] else set()


_charts: dict[tuple[int, int], str] = {}


def chart(gray: int, slices: int) -> str:
    if (gray, slices) not in _charts:
        _charts[gray, slices] = navigator.chart(predictions_of(gray, slices), CLASSIFIER.threshold)
    return _charts[gray, slices]


class Visitors(RuleBasedStateMachine):
    """Two visitors, each with the events of a page at any time; generators go on step by step."""

    def __init__(self):
        super().__init__()
        self.now, self.names, self.grays = 0.0, count(), count()
        self.pages = [self.new_page() for _ in range(2)]
        self.meanwhile = (None, None)
        self.patches = ExitStack()
        volume = SIDE**3
        for target, name, new in (
            (app, "sittings", Sittings(SECONDS, 12 * volume)),
            (app, "served", SimpleNamespace(is_loaded=True, wait=lambda: CLASSIFIER, origin=None)),
            (app, "readers", SimpleNamespace(submit=lambda *_, **__: self.reading)),
            (app, "READING_SECONDS", 0),
            (app.examples, "scan", lambda number: self.new_scan(SIDE if number else 1)),
            (overlay, "SHORTEST", SIDE),
            (case_report, "png", self.interrupted(lambda case, *_: case.name.encode())),
            *((views, name, self.interrupted(getattr(views, name))) for name in SLOW),
        ):
            self.patches.enter_context(patch.object(target, name, new))
        self.patches.enter_context(patch("page.sittings.monotonic", lambda: self.now))

    def teardown(self):
        self.patches.close()

    def new_page(self) -> Page:
        return Page(f"session {next(self.names)}")

    def new_scan(self, slices: int = SIDE) -> Scan:
        return scan_of(DARKEST + next(self.grays) % GRAYS, slices)

    def interrupted(self, work):
        """`work`, in the middle of which comes what is to be done meanwhile."""

        def slow(*values):
            done, (page, what), self.meanwhile = work(*values), self.meanwhile, (None, None)
            if what is not None:
                if what == "expire":
                    self.expire()
                elif what == "close":
                    self.close(self.pages.index(page))
                elif what == "back":
                    page.apply(app.go_back(page.request))
                else:
                    page.apply(app.open_case(SimpleNamespace(case=what), page.request))
            return done

        return slow

    def begin(self, page: Page, event: str, handler, *values, reading: Future | None = None):
        if event not in page.runs:
            self.reading = reading
            run = SimpleNamespace(steps=handler(*values, page.request), last=None, reading=reading)
            page.runs[event] = run
            self.go_on(page, event)

    def go_on(self, page: Page, event: str):
        run = page.runs[event]
        self.reading = run.reading
        changes = next(run.steps, None)
        if changes is None:
            del page.runs[event]
            page.apply(run.last)  # as Gradio does
        else:
            run.last = changes
            page.apply(changes)

    visitors, numbers = st.integers(0, 1), st.integers(0, 2)

    @rule(visitor=visitors)
    def upload(self, visitor):
        self.begin(self.pages[visitor], "upload", app.classify_upload, ["a file"], reading=Future())

    @rule(visitor=visitors, kind=st.sampled_from(("volume", "slice", "two", "three", "unreadable")))
    def read(self, visitor, kind):
        run = self.pages[visitor].runs.get("upload")
        if run and not run.reading.done():
            found = [self.new_scan(1 if kind == "slice" else SIDE) for _ in range({"two": 2, "three": 3}.get(kind, 1))]
            run.reading.set_result([Unreadable("bad", "It is empty.")] if kind == "unreadable" else found)

    @initialize()
    def begin_with_a_batch(self):
        for visitor in range(2):
            self.answered(visitor, "two")

    @rule(visitor=visitors, kind=st.sampled_from(("volume", "two", "three")))
    def answered(self, visitor, kind):
        page = self.pages[visitor]
        self.upload(visitor)
        self.read(visitor, kind)
        while "upload" in page.runs:
            self.go_on(page, "upload")

    @rule(visitor=visitors, number=st.integers(0, 1))
    def example(self, visitor, number):
        chosen = SimpleNamespace(selected_index=number)
        self.begin(self.pages[visitor], "example", app.classify_example, chosen)

    @rule(visitor=visitors, plane=st.sampled_from(PLANES))
    def plane(self, visitor, plane):
        if self.pages[visitor].part("plane"):
            self.begin(self.pages[visitor], "plane", app.show_plane, plane)

    @rule(
        visitor=visitors,
        event=st.sampled_from(("upload", "example", "plane", "plane")),
        steps=st.integers(1, 8),
        meanwhile=MEANWHILE,
    )
    def step(self, visitor, event, steps, meanwhile):
        page = self.pages[visitor]
        self.meanwhile = (page, meanwhile)
        for _ in range(steps):
            if event in page.runs:
                self.go_on(page, event)

    @rule(visitor=visitors, number=numbers, meanwhile=MEANWHILE)
    def open(self, visitor, number, meanwhile):
        page = self.pages[visitor]
        self.meanwhile = (page, meanwhile)
        changes = app.open_case(SimpleNamespace(case=number), page.request)
        page.apply(changes)
        look = app.sittings.get(page.request.session_hash)
        assert changes == gr.skip() or look is None or page.shown() == {look.case.name}

    @rule(visitor=visitors, meanwhile=MEANWHILE)
    def back(self, visitor, meanwhile):
        page = self.pages[visitor]
        self.meanwhile = (page, meanwhile)
        page.apply(app.go_back(page.request))

    @rule(visitor=visitors, number=st.integers(1, SIDE), cut=st.sampled_from((None, *PLANES)), meanwhile=MEANWHILE)
    def slice(self, visitor, number, cut, meanwhile):
        page = self.pages[visitor]
        self.meanwhile = (page, meanwhile)
        page.apply(app.show_slice(number, cut, page.request))

    @rule(visitor=visitors, number=st.integers(1, SIDE), meanwhile=MEANWHILE)
    def report(self, visitor, number, meanwhile):
        page = self.pages[visitor]
        self.meanwhile = (page, meanwhile)
        page.saved = None
        page.apply(app.make_report(number, None, page.request))
        look = app.sittings.get(page.request.session_hash)
        assert page.saved is None or page.saved == look.case.name

    @rule(visitor=visitors, what=st.sampled_from(("close", "expire", *10 * ("wait",))))
    def leave(self, visitor, what):
        if what == "close":
            self.close(visitor)
        if what == "expire":
            self.expire()

    def close(self, visitor):
        app.forget(self.pages[visitor].request)
        self.pages[visitor] = self.new_page()

    def expire(self):
        self.now += SECONDS + 1

    @invariant()
    def no_case_stands_on_another_one_s_page(self):
        for page in self.pages:
            shown = page.shown()
            assert len(shown) <= 1
            look = app.sittings.get(page.request.session_hash)
            if look and look.sitting.cases:
                expected = {case.name for case in look.sitting.cases}
                assert not page.listed() or page.listed() == expected
                assert not shown or shown == {look.case.name}

    @invariant()
    def nothing_is_kept_under_another_case(self):
        for page in self.pages:
            look = app.sittings.get(page.request.session_hash)
            for (index, _), view in look.sitting.views.items() if look else ():
                assert {f"case-{pixels[0, 0]}" for pixels in view.pictures} == {look.sitting.cases[index].name}
            for index, cuts in look.sitting.cuts.items() if look else ():
                assert {f"case-{cut.slices[0][0, 0]}" for cut in cuts.values()} == {look.sitting.cases[index].name}


def test_an_event_that_has_come_to_nothing_blanks_nothing():
    """Gradio takes a generator without any changes for one that empties every component."""
    assert list(app.classify_upload(None, None)) == [gr.skip()]
    assert list(app.classify_example(SimpleNamespace(selected_index=None), None)) == [gr.skip()]


def test_what_was_asked_later_is_not_replaced_by_what_took_longer():
    sittings, earlier, later = Sittings(SECONDS, 0), Sitting(), Sitting()
    assert sittings.put("session", later)
    assert sittings.put("session", earlier) is None and sittings.has_later("session", earlier)
    assert sittings.get("session").sitting is later


TestVisitors = Visitors.TestCase
TestVisitors.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
