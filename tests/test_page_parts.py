"""What the page shows, on predictions made by hand: no browser, no network."""

import base64
import html
import io
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import app
from model import CLASSES, overlay
from model.artifact import make_config
from model.prediction import BLANK, NO_BRAIN, OUT_OF_DISTRIBUTION, UNUSUAL
from model.report import NO_ANSWER, Case
from model.scans import Scan
from model.serving import ModelMissing, Origin
from model.study import judge_study
from model.wording import duration
from page import batch, panels, pictures, slice_viewer, texts
from page.sessions import Answer
from tests.predictions import prediction

PIXELS = np.random.default_rng(0).integers(0, 256, (120, 100), dtype=np.uint8)
CLEAR, GLIOMA, PITUITARY = (0.02, 0.02, 0.01, 0.95), (0.9, 0.05, 0.03, 0.02), (0.05, 0.03, 0.9, 0.02)
NOW = datetime.now(UTC)
CONFIG = make_config("", 64, 0.06) | {"operating_point": {"threshold": 0.5, "sensitivity": 0.97, "specificity": 0.91}}
UNREADABLE = Case("<b>.png", "unreadable", "It is empty.", 0.0, NOW)


def case(name="a.png", status="accepted", probabilities=CLEAR, slices=(PIXELS,)):
    made = tuple(prediction(probabilities, status) for _ in slices)
    return Case(name, status, "", 0.1, NOW, Scan(list(slices), name), made)


def decoded(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


@pytest.mark.parametrize(
    ("probabilities", "tumor"),
    [
        (GLIOMA, "glioma"),
        (PITUITARY, "pituitary"),
        ((0.2, 0.3, 0.1, 0.4), "meningioma"),  # the most probable class is "notumor", and yet a tumor is detected
        ((0.2, 0.1, 0.1, 0.6), None),
    ],
)
def test_each_tumor_s_evidence_is_drawn_exactly_and_the_likeliest_one_s_is_shown(probabilities, tumor):
    made = prediction(probabilities)
    drawn = pictures.figures(PIXELS, made)
    np.testing.assert_array_equal(np.asarray(decoded(drawn["slice"])), overlay.picture(PIXELS))
    assert drawn["value"].count(pictures.SLICE) == 2 and drawn["slice"] not in drawn["value"]  # sent once, shown twice
    layers = dict(re.findall(r'<div class="layer ([ \w]+)"><img alt="[^"]*" src="([^"]*)"', drawn["value"]))
    assert [name.split()[0] for name in layers] == ["glioma", "meningioma", "pituitary"]
    assert [name.split()[0] for name in layers if "answer" in name] == ([tumor] if tumor else [])
    assert (texts.NO_TUMOR_DETECTED in drawn["value"]) == (tumor is None)
    for name, address in layers.items():
        share = made.evidence[CLASSES.index(name.split()[0])]
        expected = overlay.evidence_layer(PIXELS, share, made.window).convert("RGBA")
        np.testing.assert_array_equal(np.asarray(decoded(address).convert("RGBA")), np.asarray(expected))


def test_a_refused_slice_has_no_evidence_and_no_figures_but_the_reason():
    drawn = pictures.figures(PIXELS, prediction(CLEAR, "refused"))["value"]
    assert texts.NO_MAP in drawn and "layer" not in drawn
    assert pictures.figures(PIXELS)["value"].count("<figure") == 1  # before there is an answer
    refused = panels.html.panels(panels.of_slice(prediction(GLIOMA, "refused", BLANK), CONFIG))
    assert "<dl>" not in refused and "%" not in refused and "Choose a slice" in refused
    for reason in (BLANK, NO_BRAIN, OUT_OF_DISTRIBUTION):  # first what is wrong, then what to do
        assert f"{panels.finding(reason)} {panels.remedy(reason)}" == reason and panels.remedy(reason)
    assert panels.finding("It is empty.") == "It is empty." and panels.remedy("It is empty.") == ""


def test_each_doubt_stands_in_the_panel_that_it_belongs_to():
    def shown(*args):
        return panels.html.panels(panels.of_slice(prediction(*args), CONFIG, ["a <note>"])).split("Classification</h3>")

    sure, worth = shown(GLIOMA)
    assert "Accepted" in sure and "a &lt;note&gt;" in sure
    assert "sensitivity 97 %, specificity 91 %" in worth and "Glioma alone" in worth
    about_slice, about_answer = shown((0.45, 0.4, 0.1, 0.05), "doubtful", UNUSUAL, "Glioma or meningioma.")
    assert UNUSUAL in about_slice and "Doubtful" in about_slice
    assert "Glioma or meningioma: the model cannot tell" in about_answer and UNUSUAL not in about_answer
    about_slice, about_answer = shown((0.4, 0.2, 0.2, 0.2), "doubtful", "", "No class reaches 50 %.")
    assert "Accepted" in about_slice and "No class reaches 50 %" in about_answer


def test_a_study_says_how_many_slices_it_rests_on_and_how_many_differ_from_training():
    made = [prediction(GLIOMA)] * 6 + [prediction(GLIOMA, "doubtful", UNUSUAL)] * 2 + [prediction(CLEAR, "refused")]
    config = CONFIG | {"study": {"sharpness": 1, "slope": 1, "intercept": 0, "threshold": 0.5, "sensitivity": 0.9}}
    config["study"]["specificity"] = None
    study = judge_study(made, config)
    scan = Scan([PIXELS] * 9, "a", "axial", (1.0, 1.0))
    shown = panels.of_case(Case("a", study.status, study.reason, 0.1, NOW, scan, tuple(made), study), config)
    assert shown.status == "accepted" and [fact[:2] for fact in shown.input_facts] == [
        ("Slices", "8 of 9 slices judged (axial)"),
        ("Unlike", "2 of 8 slices"),
    ]
    (_, detected, worth), *_ = shown.facts
    assert detected.startswith("Detected") and worth.startswith("sensitivity 90 %, on studies")


def test_the_chart_stacks_the_tumors_of_each_slice_and_leaves_a_gap_where_one_was_refused():
    refused = prediction(GLIOMA, "refused")
    made = [prediction(GLIOMA), refused, refused, prediction((0.2, 0.1, 0.0, 0.7))]
    drawn = slice_viewer.chart(made, threshold=0.25)
    paths = re.findall(r'<path class="(\w+)" d="([^"]*)"', drawn)
    assert [name for name, _ in paths] == ["pituitary", "meningioma", "glioma"]  # each covers what is below it
    assert dict(paths)["glioma"] == "M0 100V10.0H1V100.0H2V100.0H3V80.0H4V100Z"
    assert dict(paths)["meningioma"] == "M0 100V5.0H1V100.0H2V100.0H3V70.0H4V100Z"
    assert re.findall(r'class="gap" style="left: ([\d.]+)%; width: ([\d.]+)%', drawn) == [("25.000", "50.000")]
    assert 'class="threshold" style="bottom: 25.0%"' in drawn


def test_a_batch_shows_the_most_suspicious_first_and_counts_each_kind():
    shown = [case("clear.png"), case("refused.png", "refused"), case("likely.png", probabilities=GLIOMA)]
    shown += [case("doubtful.png", "doubtful"), case("likelier.png", probabilities=(0.99, 0.0, 0.0, 0.01)), UNREADABLE]
    tiles, table = batch.overview(shown).split('<div class="rows">')
    most_suspicious_first = ["likelier.png", "likely.png", "doubtful.png", "clear.png", "refused.png"]
    assert re.findall(r"<b>([\w.]+\.png)</b>", tiles) == most_suspicious_first
    assert "<b>2</b> tumor detected" in tiles and "<b>1</b> unreadable" in tiles
    assert table.count("<tr") == 7 and "&lt;b&gt;.png" in table and "It is empty." in table
    assert set(re.findall(r'data-case="(\d)"', table)) == set("01234")  # what cannot be read cannot be opened


def broken(slices):
    raise RuntimeError("secret")


def missing():
    raise ModelMissing("no weights")


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (lambda: SimpleNamespace(predict=broken, version="", config=CONFIG), NO_ANSWER),
        (missing, html.escape(texts.MODEL_IS_MISSING, quote=False).replace("'", "&#39;")),
    ],
)
def test_without_a_model_or_with_a_broken_one_nobody_is_left_waiting(monkeypatch, wait, expected):
    monkeypatch.setattr(app, "served", SimpleNamespace(is_loaded=True, wait=wait))
    first, *_, last = app.answer([Scan([PIXELS], "a.png")], "session", Answer())
    assert "Classifying 1 slice" in first[app.parts["verdict"]].constructor_args["value"]
    shown = last[app.parts["verdict"]].constructor_args["value"]
    assert expected in shown and "secret" not in shown


def test_weights_that_were_replaced_still_show_what_they_answered(monkeypatch):
    old = SimpleNamespace(version="old", config=CONFIG)
    app.sessions.put("session", Answer([case(), case("b.png")], old))
    monkeypatch.setattr(app, "served", SimpleNamespace(wait=lambda: pytest.fail("others were asked")))
    changes = app.open_case(SimpleNamespace(case=1), SimpleNamespace(session_hash="session"))
    assert "weights old" in changes[app.parts["verdict"]].constructor_args["value"]


def test_the_page_names_the_weights_and_why_they_are_not_those_that_were_asked_for():
    shown = panels.html.weights(Origin("org/<b>", "0123456789" * 4, "2026-11-21"))
    assert "org/&lt;b&gt;</b> · 01234567 · trained 2026" in shown and "fallback" not in shown
    assert "The Hub &lt;is&gt; away." in panels.html.weights(Origin("a", note="The Hub <is> away."))
    assert "could not be loaded" in panels.html.weights(Origin(""))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "1 ms"), (0.0036, "4 ms"), (0.0994, "99 ms"), (0.371, "0.37 s"), (12.4, "12 s")]
)
def test_a_duration_has_the_unit_that_fits_it(seconds, text):
    assert duration(seconds) == text
