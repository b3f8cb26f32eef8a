"""Whatever is shown is of the case that is open in the session, in whatever order its visitor's events come and end."""

import base64
import io
import re
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace
from unittest.mock import patch

import gradio as gr
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from PIL import Image

import app
from model import overlay
from model.artifact import make_config
from model.report import Case
from model.scans import Scan, Unreadable
from page import case_report, texts, views
from page.sessions import Answer, Selection, Sessions
from tests.predictions import prediction

SIDE = 64  # of the smallest volume that can be cut
SECONDS = 600
DARKEST, GRAYS = 20, 200  # a case's gray tells it from the others
PLANES = ("axial", "coronal", "sagittal")
SLOW = ("case", "all_cases", "all_cases_again", "volume", "slice_of")  # of `views`: an event may come in between
NAMES = {component: name for name, component in app.parts.items()}
MEANWHILE = st.sampled_from((*5 * (None,), *2 * ("back", 0, 1, 2), "close", "expire"))  # a number opens that case


def predict(slices):
    gray = int(slices[0][0, 0])
    tumor = 0.5 + gray / 500
    made = prediction((tumor, 0.0, 0.0, 1 - tumor), "doubtful", about_answer=f"This is case-{gray}.")
    return [made] * len(slices)


CLASSIFIER = SimpleNamespace(predict=predict, config=make_config("", 64, 0.06), version="v", threshold=0.5)


class Page:
    """What a browser shows: Gradio's components with the changes that were sent to them."""

    def __init__(self, session):
        self.request = SimpleNamespace(session_hash=session)
        self.parts, self.runs = {}, {}  # by component; by event, of each one at a time
        self.saved = None  # the case of a report

    def apply(self, changes):
        if changes == gr.skip():
            return
        for component, change in changes.items():
            if component in NAMES:
                sent = change.constructor_args if isinstance(change, gr.blocks.Block) else {"value": change}
                self.parts.setdefault(NAMES[component], {}).update(sent)
        if report := changes.get(app.parts["report"]):
            content = report.constructor_args.get("value")
            self.saved = base64.b64decode(content.partition(",")[2]).decode() if content else None

    def part(self, name):
        """The component, if it is visible."""
        part = self.parts.get(name, {})
        return part if part.get("visible") else {}

    def shown(self):
        """The cases whose name, slice, chart or answer is visible."""
        found = set(re.findall(r'class="file">(case-\d+)<', self.part("verdict").get("value", "")))
        found |= set(re.findall(r"case-\d+", self.part("details").get("value", "")))
        if address := self.part("pictures").get("slice"):
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))
            found.add(f"case-{int(np.median(pixels))}")
        if viewer := self.part("viewer"):
            (top,) = re.findall(r'"glioma" d="M0 100V([\d.]+)', viewer["chart"])
            found.add(f"case-{round((50 - float(top)) * 5)}")
        return found

    def listed(self):
        overview = self.parts.get("batch", {})
        return set(re.findall(r"case-\d+", overview["value"])) if overview.get("elem_classes") == [] else set()


class Visitors(RuleBasedStateMachine):
    """Two visitors, each with the events of a page at any time; generators go on step by step."""

    visitors = st.integers(0, 1)

    def __init__(self):
        super().__init__()
        self.now, self.names, self.grays = 0.0, count(), count()
        self.pages = [Page(f"session {next(self.names)}") for _ in range(2)]
        self.meanwhile = (None, None)
        self.patches = ExitStack()
        for target, name, new in (
            (app, "sessions", Sessions(SECONDS, 12 * SIDE**3)),
            (app, "served", SimpleNamespace(is_loaded=True, wait=lambda: CLASSIFIER, origin=None)),
            (app, "readers", SimpleNamespace(submit=lambda *_, **__: self.reading)),
            (app, "READING_SECONDS", 0),
            (app.examples, "scan", lambda number: self.new_scan(SIDE if number else 1)),
            (overlay, "SHORTEST", SIDE),
            (case_report, "png", self.interrupted(lambda case, *_: case.name.encode())),
            *((views, name, self.interrupted(getattr(views, name))) for name in SLOW),
        ):
            self.patches.enter_context(patch.object(target, name, new))
        self.patches.enter_context(patch("page.sessions.monotonic", lambda: self.now))

    def teardown(self):
        self.patches.close()

    def new_scan(self, slices=SIDE):
        gray = DARKEST + next(self.grays) % GRAYS
        return Scan([np.full((SIDE, SIDE), gray, np.uint8)] * slices, f"case-{gray}", "axial", (1.0, 1.0))

    def interrupted(self, work):
        """`work`, in the middle of which comes what is to be done meanwhile."""

        def slow(*values):
            done, (page, what), self.meanwhile = work(*values), self.meanwhile, (None, None)
            if what == "expire":
                self.now += SECONDS + 1
            elif what == "close":
                self.close(self.pages.index(page))
            elif what == "back":
                page.apply(app.go_back(page.request))
            elif what is not None:
                page.apply(app.open_case(SimpleNamespace(case=what), page.request))
            return done

        return slow

    def busy(self, visitor, meanwhile):
        page = self.pages[visitor]
        self.meanwhile = (page, meanwhile)
        return page

    def begin(self, page, event, handler, *values, reading=None):
        if event not in page.runs:
            self.reading = reading
            page.runs[event] = SimpleNamespace(steps=handler(*values, page.request), last=None, reading=reading)
            self.go_on(page, event)

    def go_on(self, page, event):
        run = page.runs[event]
        self.reading = run.reading
        changes = next(run.steps, None)
        if changes is None:
            del page.runs[event]
        run.last = run.last if changes is None else changes  # Gradio sends the last ones again as it ends
        page.apply(run.last)

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
        self.upload(visitor)
        self.read(visitor, kind)
        while "upload" in self.pages[visitor].runs:
            self.go_on(self.pages[visitor], "upload")

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
        page = self.busy(visitor, meanwhile)
        for _ in range(steps):
            if event in page.runs:
                self.go_on(page, event)

    @rule(visitor=visitors, number=st.integers(0, 2), meanwhile=MEANWHILE)
    def open(self, visitor, number, meanwhile):
        page = self.busy(visitor, meanwhile)
        changes = app.open_case(SimpleNamespace(case=number), page.request)
        page.apply(changes)
        selection = app.sessions.get(page.request.session_hash)
        assert changes == gr.skip() or selection is None or page.shown() == {selection.case.name}

    @rule(visitor=visitors, meanwhile=MEANWHILE)
    def back(self, visitor, meanwhile):
        page = self.busy(visitor, meanwhile)
        page.apply(app.go_back(page.request))

    @rule(visitor=visitors, number=st.integers(1, SIDE), plane=st.sampled_from((None, *PLANES)), meanwhile=MEANWHILE)
    def slice(self, visitor, number, plane, meanwhile):
        page = self.busy(visitor, meanwhile)
        page.apply(app.show_slice(number, plane, page.request))

    @rule(visitor=visitors, number=st.integers(1, SIDE), meanwhile=MEANWHILE)
    def report(self, visitor, number, meanwhile):
        page = self.busy(visitor, meanwhile)
        page.saved = None
        page.apply(app.make_report(number, None, page.request))
        selection = app.sessions.get(page.request.session_hash)
        assert page.saved is None or page.saved == selection.case.name

    @rule(visitor=visitors, what=st.sampled_from(("close", "expire", *10 * ("wait",))))
    def leave(self, visitor, what):
        if what == "close":
            self.close(visitor)
        if what == "expire":
            self.now += SECONDS + 1

    def close(self, visitor):
        app.forget(self.pages[visitor].request)
        self.pages[visitor] = Page(f"session {next(self.names)}")

    @invariant()
    def no_case_stands_on_another_one_s_page(self):
        for page in self.pages:
            shown, listed = page.shown(), page.listed()
            assert len(shown) <= 1
            selection = app.sessions.get(page.request.session_hash)
            if selection and selection.answer.cases:
                assert not listed or listed == {case.name for case in selection.answer.cases}
                assert not shown or shown == {selection.case.name}
            if selection and selection.opened:
                kept = [view.pictures for view in selection.opened.views.values()]
                kept += [scan.slices for scan in selection.opened.cuts.values()]
                assert {f"case-{slices[0][0, 0]}" for slices in kept} <= {selection.case.name}


TestVisitors = Visitors.TestCase
TestVisitors.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def test_an_event_that_has_come_to_nothing_blanks_nothing():
    """Gradio takes a generator without any changes for one that empties every component."""
    assert list(app.classify_upload(None, None)) == [gr.skip()]
    assert list(app.classify_example(SimpleNamespace(selected_index=None), None)) == [gr.skip()]


def test_changes_made_of_what_is_not_shown_any_more_never_reach_the_page(monkeypatch):
    def later(*_):
        app.sessions.put("session", Answer([case_of(64), case_of(64)], CLASSIFIER))
        return {"problem": ""}

    monkeypatch.setattr(app, "sessions", Sessions(SECONDS, 10**9))
    request = SimpleNamespace(session_hash="session")
    for steps in ([{"problem": 1}, {"problem": 2}], [{"problem": 1}]):  # the last one Gradio would send again
        later()
        steps = app.while_shown("session", app.sessions.get("session"), steps)
        assert next(steps) == {"problem": 1} and later() and list(steps) == [gr.skip()]
    app.open_case(SimpleNamespace(case=1), request)
    assert app.show_slice(1, "axial", request) != gr.skip() == app.show_slice(1, "coronal", request)
    app.sessions.drop("session")
    assert texts.GONE in str(app.show_slice(1, "axial", request)[app.parts["pictures"]])
    gone = [app.go_back(request), app.open_case(SimpleNamespace(case=0), request), *app.show_plane("", request)]
    assert len(gone) == 3
    assert all(texts.GONE in changes[app.parts["verdict"]].constructor_args["value"] for changes in gone)


def test_what_was_asked_later_is_not_replaced_by_what_took_longer():
    sessions, earlier, later = Sessions(SECONDS, 0), Answer(), Answer()
    assert sessions.put("session", later)
    assert sessions.put("session", earlier) is None and sessions.has_later("session", earlier)
    assert sessions.get("session").answer is later


def case_of(slices):
    """A case whose pixels no other one shares."""
    pixels = [np.zeros((64, 64), np.uint8) for _ in range(slices)]
    scan = Scan(pixels, "", "axial", (1.0, 1.0))
    return Case("", "accepted", "", 0.0, datetime.now(UTC), scan, (prediction((0, 0, 0, 1)),) * slices)


def test_what_is_not_used_is_dropped_and_what_is_used_stays(monkeypatch):
    now = 0.0
    monkeypatch.setattr("page.sessions.monotonic", lambda: now)
    sessions = Sessions(SECONDS, max_bytes=10**9)
    for session in ("used", "unused"):
        sessions.put(session, Answer([case_of(1)]))
    now = 400.0
    assert sessions.get("used")
    now = 700.0
    sessions.sweep()
    assert sessions.get("unused") is None and sessions.get("used")
    sessions.drop("used")
    assert sessions.get("used") is None


@settings(max_examples=30)
@given(st.data(), st.integers(0, 6))
def test_over_the_bound_the_longest_unused_go_but_never_the_newest(data, most):
    sessions, used = Sessions(SECONDS, max_bytes=most * 64**3), []
    for number in data.draw(st.lists(st.integers(0, 2), max_size=12)):
        shown = sessions.get(number)
        if shown is None:
            sessions.put(number, Answer([case_of(64), case_of(64)]))
        elif shown.opened is None or data.draw(st.booleans()):
            sessions.replace(number, shown, shown.answer.open(data.draw(st.integers(0, 1))))
        else:
            plane = data.draw(st.sampled_from(PLANES))
            shown.opened.add_view(plane, replace(shown.case, scan=shown.opened.planes()[plane]))
            sessions.replace(number, shown, replace(shown, plane=plane))
        used = [session for session in used if session != number] + [number]
        held = list(sessions._held)
        assert held == used[len(used) - len(held) :] and held
        taken = sum(selection.nbytes for _, selection in sessions._held.values())
        assert taken <= sessions.max_bytes or held == [number]


def test_what_a_selection_takes_counts_every_array_once():
    case = case_of(1)
    unreadable = Case("b", "unreadable", "It is empty.", 0.0, datetime.now(UTC))
    selection = Answer([case, unreadable]).open(0)
    selection.opened.planes()
    assert selection.view.pictures and selection.nbytes == 64 * 64  # 8-bit slices are their own pictures
    deep = replace(case, scan=replace(case.scan, slices=[case.scan.slices[0].astype(np.uint16)]))
    selection = Answer([deep]).open(0)
    assert selection.view.pictures and selection.nbytes == 3 * 64 * 64
    assert Selection(Answer([deep])).nbytes == 2 * 64 * 64
