"""What the page says, draws and remembers, on predictions made by hand: no browser, no network."""

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
from model.cases import NO_ANSWER, Case
from model.quantization import make_config
from model.scans import Scan
from model.serving import ModelMissing, Origin
from page import batch, cards, navigator, pictures, texts
from page.sittings import Sitting, Sittings
from tests.predictions import prediction

PIXELS = np.random.default_rng(0).integers(0, 256, (120, 100), dtype=np.uint8)
CLEAR, GLIOMA, PITUITARY = (0.02, 0.02, 0.01, 0.95), (0.9, 0.05, 0.03, 0.02), (0.05, 0.03, 0.9, 0.02)
NOW = datetime.now(UTC)


def case(name="a.png", status="accepted", probabilities=CLEAR, slices=(PIXELS,)):
    made = tuple(prediction(probabilities, status) for _ in slices)
    return Case(name, status, "", 0.1, NOW, Scan(list(slices), name), made)


@pytest.mark.parametrize(
    ("probabilities", "tumor"),
    [
        (GLIOMA, "glioma"),
        (PITUITARY, "pituitary"),
        ((0.2, 0.3, 0.1, 0.4), "meningioma"),  # the most probable class is "notumor", and yet a tumor is seen
        ((0.2, 0.1, 0.1, 0.6), None),
    ],
)
def test_the_evidence_of_the_likeliest_tumor_is_drawn_exactly_if_one_is_seen(probabilities, tumor):
    made = prediction(probabilities)
    drawn = pictures.figures(PIXELS, "a.png", made)
    sent = [decoded(address) for address in re.findall(r'src="data:image/png;base64,([^"]*)"', drawn)]
    np.testing.assert_array_equal(sent[0], overlay.picture(PIXELS))
    assert ("legend" in drawn) == (len(sent) == 2) == (tumor is not None)
    if tumor:
        expected = overlay.evidence_picture(PIXELS, made.evidence[CLASSES.index(tumor)], made.window)
        np.testing.assert_array_equal(sent[1], expected)
        assert f"Evidence of {tumor}" in drawn


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_in_a_volume_the_second_figure_keeps_its_place():
    for made in (prediction(GLIOMA), prediction(CLEAR), prediction(CLEAR, "refused")):
        assert pictures.figures(PIXELS, "a.png", made, in_volume=True).count("<figure") == 2


def test_the_card_shows_what_the_answer_is_worth_and_leaves_it_out_where_there_is_none():
    rows = [("Tumor", "Seen: 90 %", "sensitivity <97 %>")]
    card = cards.verdict("accepted", "<a>.png", "The model sees evidence of a glioma (90 %).", facts=rows)
    assert "<dt>Tumor</dt>" in card and "sensitivity &lt;97 %&gt;" in card and "&lt;a&gt;.png" in card
    assert "<dl>" not in cards.verdict("refused", "a.png", "This is blank.")


@pytest.mark.parametrize("reason", ["", "Read it with care."])
def test_the_card_has_a_caveat_only_if_there_is_one(reason):
    card = cards.verdict("accepted", "a.png", "The model sees evidence of a glioma (90 %).", reason)
    assert ("<p>" in card) == bool(reason)


def test_bars_keep_their_order_whatever_is_likeliest():
    def order(probabilities):
        return re.findall(r'<div class="(\w+)">', cards.probabilities(prediction(probabilities)))

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
    monkeypatch.setattr("time.monotonic", lambda: now)
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


def test_what_a_sitting_takes_counts_every_array_once():
    sitting = Sitting([case(), Case("b", "unreadable", "It is empty.", 0.0, NOW)], None)
    assert sitting.nbytes == PIXELS.nbytes
    sitting.view("")  # 8-bit slices are their own pictures
    sitting.planes()
    assert sitting.nbytes == PIXELS.nbytes
    deep = Sitting([case(slices=[PIXELS.astype(np.uint16)])], None)
    deep.view("")
    assert deep.nbytes == 3 * PIXELS.nbytes


def test_a_file_that_cannot_be_read_has_no_way_to_be_opened():
    drawn = batch.overview([Case("a.png", "unreadable", "It is empty.", 0.0, NOW), case("b.png")])
    assert set(re.findall(r'data-case="(\d)"', drawn)) == {"1"}
