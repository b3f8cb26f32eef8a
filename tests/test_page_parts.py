"""What the page says, draws and remembers, on predictions made by hand: no browser, no network."""

import base64
import html
import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import app
from model import CLASSES, overlay
from model.artifact import make_config
from model.prediction import BLANK, NO_BRAIN, STRANGE, TOO_STRANGE
from model.report import NO_ANSWER, Case
from model.scans import Scan
from model.serving import ModelMissing, Origin
from model.wording import duration
from page import batch, cards, navigator, panels, pictures, texts
from page.sittings import Look, Sitting, Sittings
from tests.predictions import prediction

PIXELS = np.random.default_rng(0).integers(0, 256, (120, 100), dtype=np.uint8)
CLEAR, GLIOMA, PITUITARY = (0.02, 0.02, 0.01, 0.95), (0.9, 0.05, 0.03, 0.02), (0.05, 0.03, 0.9, 0.02)
NOW = datetime.now(UTC)


def case(name="a.png", status="accepted", probabilities=CLEAR, slices=(PIXELS,)):
    made = tuple(prediction(probabilities, status) for _ in slices)
    return Case(name, status, "", 0.1, NOW, Scan(list(slices), name), made)


CONFIG = make_config("", 64, 0.06)


@pytest.mark.parametrize(
    ("probabilities", "tumor"),
    [
        (GLIOMA, "glioma"),
        (PITUITARY, "pituitary"),
        ((0.2, 0.3, 0.1, 0.4), "meningioma"),  # the most probable class is "notumor", and yet a tumor is seen
        ((0.2, 0.1, 0.1, 0.6), None),
    ],
)
def test_each_tumor_s_evidence_is_drawn_exactly_and_the_likeliest_one_s_is_shown_if_one_is_seen(probabilities, tumor):
    made = prediction(probabilities)
    drawn = pictures.figures(PIXELS, made)
    np.testing.assert_array_equal(np.asarray(decoded(drawn["slice"])), overlay.picture(PIXELS))
    layers = dict(re.findall(r'<div class="layer ([ \w]+)"><img alt="[^"]*" src="([^"]*)"', drawn["value"]))
    assert [name.split()[0] for name in layers] == ["glioma", "meningioma", "pituitary"]
    assert [name.split()[0] for name in layers if "answer" in name] == ([tumor] if tumor else [])
    assert (texts.NO_TUMOR_SEEN in drawn["value"]) == (tumor is None)
    for name, address in layers.items():
        share = made.evidence[CLASSES.index(name.split()[0])]
        expected = overlay.evidence_layer(PIXELS, share, made.window).convert("RGBA")
        np.testing.assert_array_equal(np.asarray(decoded(address).convert("RGBA")), np.asarray(expected))


def decoded(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_the_slice_is_sent_once_and_shown_twice():
    drawn = pictures.figures(PIXELS, prediction(GLIOMA))
    assert drawn["value"].count(pictures.SLICE) == 2
    assert "base64" in drawn["slice"] and drawn["slice"] not in drawn["value"]


def test_a_reader_of_the_screen_is_told_where_the_evidence_is_strongest():
    made = prediction(GLIOMA)  # glioma's in cell (1, 1) of 10 x 10, 12 pixels each, the first 10 left of the slice
    assert pictures.peak(made, "glioma", PIXELS.shape) == pytest.approx(((18 - 10) / 100, 18 / 120))
    told = "Evidence of glioma on slice 2 of 24, strongest 8 % from the left, 15 % from the top"
    assert told in pictures.figures(PIXELS, made, "Slice 2 of 24")["value"]


def test_beside_what_was_refused_stands_why_there_is_no_evidence():
    drawn = pictures.figures(PIXELS, prediction(CLEAR, "refused"))["value"]
    assert texts.NO_MAP in drawn and "layer" not in drawn
    assert pictures.figures(PIXELS)["value"].count("<figure") == 1  # before there is an answer


def test_the_panels_show_what_the_answer_is_worth_and_leave_it_out_where_there_is_none():
    drawn = panels.of_slice(prediction(GLIOMA), certain(CONFIG), ["a <note>"])
    assert "sensitivity 97 %, specificity 91 %" in drawn and "Glioma alone" in drawn and "a &lt;note&gt;" in drawn
    refused = panels.of_slice(prediction(GLIOMA, "refused", BLANK), certain(CONFIG))
    assert "<dl>" not in refused and "%" not in refused and "Choose a slice" in refused


def certain(config):
    return config | {"operating_point": {"threshold": 0.5, "sensitivity": 0.97, "specificity": 0.91}}


def test_a_doubt_about_the_slice_and_one_about_the_answer_stand_in_the_panels_that_they_belong_to():
    open_answer = "Glioma or meningioma: the model cannot tell which."
    both = prediction((0.45, 0.4, 0.1, 0.05), "doubtful", STRANGE, open_answer)
    assert both.reason == f"{STRANGE} {open_answer}"
    about_slice, about_answer = panels.of_slice(both, certain(CONFIG)).split("<h3>Classification</h3>")
    assert STRANGE in about_slice and "Doubtful" in about_slice
    assert "Glioma or meningioma: the model cannot tell" in about_answer and STRANGE not in about_answer
    sure = prediction(
        (0.4, 0.2, 0.2, 0.2), "doubtful", "", "No class reaches 50 %: the model cannot tell which one it is."
    )
    about_slice, about_answer = panels.of_slice(sure, certain(CONFIG)).split("<h3>Classification</h3>")
    assert "Accepted" in about_slice and "No class reaches 50 %" in about_answer


def test_what_the_numbers_mean_takes_150_words_at_most():
    said = re.sub("<[^>]+>", " ", texts.NUMBERS.partition("</summary>")[2])
    assert 100 < len(said.split()) <= 150


def test_a_refusal_says_first_what_is_wrong_and_then_what_to_do():
    for reason in (BLANK, NO_BRAIN, TOO_STRANGE):
        assert f"{cards.finding(reason)} {cards.remedy(reason)}" == reason and cards.remedy(reason)
    assert cards.finding("It is empty.") == "It is empty." and cards.remedy("It is empty.") == ""


def test_bars_keep_their_order_whatever_is_likeliest():
    def order(probabilities):
        return re.findall(r'<div class="(\w+)">', panels.bars(prediction(probabilities).probabilities))

    assert order(GLIOMA) == order(CLEAR) == list(CLASSES)


def test_the_chart_stacks_the_tumors_of_each_slice_and_leaves_a_gap_where_one_was_refused():
    refused = prediction(GLIOMA, "refused")
    drawn = navigator.chart([prediction(GLIOMA), refused, refused, prediction((0.2, 0.1, 0.0, 0.7))], threshold=0.25)
    paths = dict(re.findall(r'<path class="(\w+)" d="([^"]*)"', drawn))
    glioma = "M0 100.0V10.0H1V100.0H0Z" + "M3 100.0V80.0H4V100.0H3Z"
    assert paths["glioma"] == glioma
    assert paths["meningioma"] == "M0 10.0V5.0H1V10.0H0Z" + "M3 80.0V70.0H4V80.0H3Z"
    assert re.findall(r'class="gap" style="left: ([\d.]+)%; width: ([\d.]+)%', drawn) == [("25.000", "50.000")]
    assert 'class="threshold" style="bottom: 25.0%"' in drawn


def test_a_batch_shows_the_most_suspicious_first_and_counts_each_kind():
    shown = [case("clear.png"), case("refused.png", "refused"), case("likely.png", probabilities=GLIOMA)]
    shown += [case("doubtful.png", "doubtful"), case("likelier.png", probabilities=(0.99, 0.0, 0.0, 0.01))]
    shown.append(Case("<b>.png", "unreadable", "It is empty.", 0.0, NOW))
    drawn = batch.overview(shown)
    tiles, table = drawn.split('<div class="rows">')
    assert re.findall(r"<b>([\w.]+\.png)</b>", tiles) == [
        "likelier.png",
        "likely.png",
        "doubtful.png",
        "clear.png",
        "refused.png",
    ]
    assert "<b>2</b> tumor seen" in drawn and "<b>1</b> unreadable" in drawn
    assert table.count("<tr") == 7 and "&lt;b&gt;.png" in table and "It is empty." in table


def test_an_unforeseen_exception_ends_the_waiting_and_keeps_its_text_to_itself(monkeypatch):
    def predict(slices):
        raise RuntimeError("secret")

    broken = SimpleNamespace(predict=predict, version="", config=make_config("", 64, 0.06))
    monkeypatch.setattr(app, "served", SimpleNamespace(is_loaded=True, wait=lambda: broken))
    first, *_, last = app.answer([Scan([PIXELS], "a.png")], "session")
    assert "Looking at 1 slice" in first[app.verdict].constructor_args["value"]
    told = last[app.verdict].constructor_args["value"]
    assert NO_ANSWER in told and "secret" not in told


def test_what_is_not_looked_at_is_forgotten_and_what_is_stays(monkeypatch):
    now = 0.0
    monkeypatch.setattr("page.sittings.monotonic", lambda: now)
    sittings = Sittings(seconds=600, max_bytes=10**9)
    for session in ("looked at", "left alone"):
        sittings.put(session, Sitting([case()], None))
    now = 400.0
    assert sittings.get("looked at")
    now = 700.0
    sittings.sweep()
    assert sittings.get("left alone") is None
    assert sittings.get("looked at")
    sittings.drop("looked at")
    assert sittings.get("looked at") is None


def test_who_steps_on_after_the_answer_was_deleted_is_told_so():
    visitor = SimpleNamespace(session_hash="nobody")
    assert texts.GONE in app.show_slice(1, "axial", visitor)[app.figures]
    told = [app.go_back(visitor), app.open_case(SimpleNamespace(case=0), visitor), *app.show_plane("axial", visitor)]
    assert len(told) == 3
    assert all(texts.GONE in changes[app.verdict].constructor_args["value"] for changes in told)


def test_weights_that_were_replaced_still_show_what_they_answered(monkeypatch):
    old = SimpleNamespace(version="old", config=make_config("old", 64, 0.06))
    app.sittings.put("session", Sitting([case(), case("b.png")], old))
    monkeypatch.setattr(app, "served", SimpleNamespace(wait=lambda: pytest.fail("others were asked")))
    told = app.open_case(SimpleNamespace(case=1), SimpleNamespace(session_hash="session"))
    assert "weights old" in told[app.verdict].constructor_args["value"]


def test_the_page_names_the_weights_and_why_they_are_not_those_that_were_asked_for():
    commit = "0123456789" * 4
    told = cards.weights(Origin("org/<b>", commit, "2026-11-21"))
    assert "org/&lt;b&gt;" in told and " 01234567 · trained" in told
    assert "fallback" not in told
    assert "The Hub &lt;is&gt; away." in cards.weights(Origin("a", note="The Hub <is> away."))
    assert texts.MODEL_IS_MISSING in cards.weights(Origin(""))


def test_without_a_model_whoever_asks_is_told(monkeypatch):
    def wait():
        raise ModelMissing("no weights")

    monkeypatch.setattr(app, "served", SimpleNamespace(is_loaded=True, wait=wait))
    *_, last = app.answer([Scan([PIXELS], "a.png")], "session")
    assert html.escape(texts.MODEL_IS_MISSING) in last[app.verdict].constructor_args["value"]


def test_over_the_bound_the_longest_unseen_goes_but_never_the_newest():
    sittings = Sittings(seconds=600, max_bytes=2 * PIXELS.nbytes)
    for session in ("first", "second", "third"):
        sittings.put(session, Sitting([case(slices=[PIXELS.copy()])], None))
        assert sittings.get("first")  # the longest unseen is then the second
    assert sittings.get("second") is None and sittings.get("third")
    sittings.put("large", Sitting([case(slices=[PIXELS.copy() for _ in range(9)])], None))
    assert sittings.get("large") and sittings.get("first") is None


@settings(deadline=None, derandomize=True)
@given(st.data(), st.integers(0, 6))
def test_whatever_is_added_the_bound_holds_and_what_is_open_stays(data, most):
    volume = np.zeros((64, 64, 64), np.uint8)
    sittings = Sittings(seconds=600, max_bytes=most * volume.nbytes)
    for number in data.draw(st.lists(st.integers(0, 2), max_size=12)):
        session, grown = f"session {number}", sittings.get(f"session {number}")
        if grown is None:
            cases = [replace(case(), scan=Scan(list(volume.copy()), "", "axial", (1.0, 1.0))) for _ in range(2)]
            sittings.put(session, Sitting(cases, None))
        elif grown.opened is None or data.draw(st.booleans()):
            sittings.replace(session, grown, Look(grown.sitting, data.draw(st.integers(0, 1))))
        else:
            cuts = grown.sitting.planes(grown.opened)
            plane = data.draw(st.sampled_from(sorted(cuts)))
            grown.sitting.add_view(grown.opened, plane, replace(grown.case, scan=cuts[plane]))
            assert grown.sitting.planes(grown.opened) is cuts and grown.sitting.view(grown.opened, plane)
        look = sittings.get(session)
        others = [other for other in map("session {}".format, range(3)) if other != session and sittings.get(other)]
        kept = {index for index, *_ in look.sitting.views} | set(look.sitting.cuts)
        assert sittings.nbytes <= sittings.max_bytes or (not others and kept <= {look.opened})


def test_what_a_sitting_takes_counts_every_array_once():
    sitting = Sitting([case(), Case("b", "unreadable", "It is empty.", 0.0, NOW)], None)
    assert sitting.nbytes == PIXELS.nbytes
    sitting.view(0, "")  # 8-bit slices are their own pictures
    sitting.planes(0)
    assert sitting.nbytes == PIXELS.nbytes
    deep = Sitting([case(slices=[PIXELS.astype(np.uint16)])], None)
    deep.view(0, "")
    assert deep.nbytes == 3 * PIXELS.nbytes


def test_a_file_that_cannot_be_read_has_no_way_to_be_opened():
    drawn = batch.overview([Case("a.png", "unreadable", "It is empty.", 0.0, NOW), case("b.png")])
    assert set(re.findall(r'data-case="(\d)"', drawn)) == {"1"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "1 ms"), (0.0036, "4 ms"), (0.0994, "99 ms"), (0.371, "0.37 s"), (12.4, "12 s")]
)
def test_a_time_is_told_in_the_unit_that_fits_it(seconds, text):
    assert duration(seconds) == text
