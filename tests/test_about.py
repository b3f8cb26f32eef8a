"""The tab "About the model" says what metrics.json says, all of it, and nothing else."""

import copy
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from model import scans
from model.artifact import read_config, write_config
from model.serving import Origin
from page.about import SECTIONS, about
from page.about.data import NAMES
from page.texts import KEPT_MINUTES
from tests.browser import PHONE_WIDTH, needs_chromium
from tests.server import REPOSITORY
from training.evaluation.card import making
from training.evaluation.card.data import SOURCES
from training.evaluation.certainty import reliability

ORIGIN = Origin("tumornet-v2", "7c04dee8", "2026-11-21")
TYPED = {"80", "95"}  # the title's example of being 80 % sure, and the 95 % interval
BIN = {"from": 0.6, "to": 0.8, "confidence": 0.71}
RELIABILITY = [
    {
        "from": 0.4,
        "to": 0.6,
        "confidence": 0.52,
        "right": {"n": 7, "n_groups": 4, "value": 0.5, "low": 0.2, "high": 0.8},
    },
    BIN | {"right": {"n": 1234, "n_groups": 81, "value": 0.66, "low": 0.61, "high": 0.69}},
]


class Page(HTMLParser):
    """Rows of each table by its label, the text of each section by its anchor, and that every element is closed."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.sections, self.elements = {}, {}, []
        self.open, self.label, self.anchor = [], "", ""
        self.html = html
        self.feed(html)
        assert not self.open

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        self.open.append(tag)
        if tag == "div" and attributes.get("class") == "wide":
            self.label = attributes["aria-label"]
            self.tables[self.label] = []
        if tag == "section":
            self.anchor = attributes["aria-labelledby"]
            self.sections[self.anchor] = ""
        if tag == "tr":
            self.tables[self.label].append([])
        if tag in ("th", "td"):
            self.tables[self.label][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.anchor:
            self.sections[self.anchor] += data
        if {"th", "td"} & set(self.open):
            row = self.tables[self.label][-1]
            row[-1] = f"{row[-1]} {data.strip()}".strip()

    def rows(self, start):
        """The rows, heads left out, of the only table whose label begins like this: {first cell: other cells}."""
        (table,) = (rows for label, rows in self.tables.items() if label.startswith(start))
        return {first: rest for first, *rest in table[1:]}


@pytest.fixture(scope="module")
def shipped(weights):
    """config.json and metrics.json, with a reliability of its own."""
    config, metrics = read_config(weights), json.loads((weights / "metrics.json").read_text())
    for section in ("test", "external"):
        metrics[section]["reliability"] = RELIABILITY
    return config, metrics


@pytest.fixture
def render(shipped, tmp_path):
    """(metrics, config, origin) -> the parsed tab; what is not given is the shipped weights'."""

    def page_of(metrics=None, config=None, origin=ORIGIN):
        write_config(tmp_path, config or shipped[0])
        (tmp_path / "metrics.json").write_text(json.dumps(shipped[1] if metrics is None else metrics))
        return Page(about(tmp_path, origin))

    return page_of


@pytest.fixture
def metrics(shipped):
    return copy.deepcopy(shipped[1])


def shown(figure):
    """A figure as the tab is to show it, made here another way."""

    def rounded(value):
        tenth, whole = round(1000 * value) / 10, round(100 * value)
        if 0 < value < 1 and whole in (0, 100):
            return "under 0.1" if tenth == 0 else "over 99.9" if tenth == 100 else f"{tenth}"
        return str(whole)

    if figure["value"] is None:
        return "–"
    return f"{rounded(figure['value'])} % {rounded(figure['low'])} to {rounded(figure['high'])}".replace(" %", "\xa0%")


def test_the_headline_holds_each_figure_with_its_interval_here_and_elsewhere(render, metrics):
    rows = render().rows("How well the model does")
    for what, path in {
        "Tumors seen sensitivity": ("sensitivity_tumor",),
        "Tumor-free slices left alone specificity": ("specificity_tumor",),
        "Glioma named right": ("recall", "glioma"),
        "Meningioma named right": ("recall", "meningioma"),
        "Pituitary tumor named right": ("recall", "pituitary"),
        "The right answer is among those called possible": ("prediction_set", "coverage"),
    }.items():
        figures = [metrics["test"], metrics["external"]]
        for name in path:
            figures = [figure[name] for figure in figures]
        assert rows[what] == [shown(figure) for figure in figures]
    sizes = [f"{metrics[name]['n']:,} {metrics[name]['n_groups']:,} groups" for name in ("test", "external")]
    assert rows["Images"] == sizes


def test_the_vendor_figures_stand_beside_the_honest_ones_and_are_named_as_of_other_weights(render, metrics):
    page = render()
    rows = page.rows("Honest and vendor")
    for what, path in {
        "Named right, of all four answers": "accuracy",
        "Tumors seen sensitivity": "sensitivity_tumor",
    }.items():
        assert rows[what] == [shown(metrics["test"][path]), shown(metrics["vendor"][path])]
    score = metrics["vendor"]["macro_f1"]
    said = f"{score['value']:.2f} {score['low']:.2f} to {score['high']:.2f}"
    assert rows["Macro-F1 score from 0 to 1"][1] == said
    told = "not of the weights that answer here"
    assert told in page.sections["about-vendor"]
    metrics["vendor"]["model"] = metrics["test"]["model"]
    assert told not in render(metrics).sections["about-vendor"]


@pytest.mark.parametrize(
    ("section", "title"), [("test", "Patients like those of training"), ("external", "Another source")]
)
def test_the_confusion_matrix_holds_counts_and_shares_of_each_row(render, metrics, section, title):
    rows = render().rows(f"Truth and answer: {title}")
    for counts, (name, cells) in zip(metrics[section]["confusion"]["counts"], rows.items(), strict=True):
        assert name.endswith(f" {sum(counts):,}")
        for count, cell in zip(counts, cells, strict=True):
            if not sum(counts):
                assert cell == "–"
            else:
                said = re.fullmatch(r"([\d,]+) ([\d.]+|under 0\.1|over 99\.9)\xa0%", cell)
                assert int(said[1].replace(",", "")) == count
                assert float(said[2].split()[-1]) == pytest.approx(100 * count / sum(counts), abs=0.51)


def test_the_reliability_plot_has_a_point_an_interval_and_a_count_for_each_bin(render):
    page = render()
    circles = [attributes for tag, attributes in page.elements if tag == "circle"]
    assert [one["class"] for one in circles] == ["few", "many"] * 2
    heights = [float(one["cy"]) for one in circles[:2]]
    lines = [attributes for tag, attributes in page.elements if tag == "line"]
    zero, *_, most = [float(line["y1"]) for line in lines if line["class"] == "grid"][:6]
    assert [(zero - height) / (zero - most) for height in heights] == pytest.approx([0.5, 0.66], abs=0.001)
    (interval,) = [line for line in lines if line["class"] == "interval"][1:2]
    ends = [(zero - float(interval[end])) / (zero - most) for end in ("y1", "y2")]
    assert ends == pytest.approx([0.61, 0.69], abs=0.001)
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert all(one["role"] == "img" and "1234" in one["aria-label"] for one in drawings)
    rows = page.rows("Said and right: Patients")
    assert rows["60 to 80\xa0%"] == ["1,234", "71\xa0%", "66\xa0% 61 to 69"]


def test_where_reliability_was_not_measured_that_is_said(render, metrics):
    for section in ("test", "external"):
        del metrics[section]["reliability"]
    page = render(metrics)
    assert "Share of right answers by probability: not measured" in page.sections["about-certainty"]
    assert not any(tag == "svg" for tag, _ in page.elements)


def test_reliability_is_measured_as_the_share_of_right_answers_in_each_bin():
    import numpy as np

    probabilities = np.array([[0.9, 0.1, 0, 0], [0.92, 0.08, 0, 0], [0.4, 0.3, 0.2, 0.1], [0.97, 0.01, 0.01, 0.01]])
    bins = reliability(probabilities, np.array([0, 1, 0, 4]), ["a", "b", "c", "d"])  # the last one's type is unknown
    assert [(one["right"]["n"], one["right"]["value"]) for one in bins] == [(1, 1.0), (2, 0.5)]
    assert [one["confidence"] for one in bins] == pytest.approx([0.4, 0.91])
    assert all(one["from"] < one["confidence"] <= one["to"] for one in bins)


def test_external_results_are_told_by_sequence(render, metrics):
    tumors, normals = render().rows("Tumors of another source"), render().rows("Tumor-free slices of another source")
    cells = metrics["external"]["by_label_and_sequence"]
    assert tumors["Meningioma, T2"][1:] == [shown(cells["meningioma"]["T2"][key]) for key in ("seen", "named")]
    assert normals["No tumor, T1"][1:] == [shown(cells["notumor"]["T1"]["named"])]


def test_left_out_sources_are_told_and_another_recipe_is_named(render, metrics):
    page = render()
    (run,) = [one for one in metrics["leave_source_out"]["runs"] if one["left_out"] == ["sartaj"]]
    assert page.rows("Collections left out")["Sartaj"][1] == shown(run["tumors"]["sensitivity"])
    section = page.sections["about-elsewhere"]
    assert shown(run["own_normals"]["specificity"]).split("\xa0")[0] + "\xa0% (" in section
    differing, own = metrics["leave_source_out"]["settings"], metrics["training"]["settings"]
    differing |= {name: own[name] for name in own} | {"size": 96, "seed": 99, "dropout": 0.5}
    section = render(making.with_differences(metrics)).sections["about-elsewhere"]
    assert (
        f"images of 96 instead of {own['size']} pixels" in section
        and f"dropout 0.5 instead of {own['dropout']}" in section
    )
    assert "seed" not in section
    differing |= own | {"map_stride": own["size"] // metrics["test"]["evidence"]["cells"]}
    assert "Not quite the recipe" not in render(making.with_differences(metrics)).sections["about-elsewhere"]


def test_every_source_has_a_name():
    assert {name for source in SOURCES for name in source.names} <= set(NAMES)


def test_a_failure_is_named_only_where_the_figures_show_it(render, metrics):
    outside, bad = metrics["external"], {"value": 0.31, "low": 0.27, "high": 0.44}
    good = {"value": 0.97, "low": 0.95, "high": 0.99}
    outside["confusion"]["counts"] = [[31, 50, 0, 19], [2, 97, 0, 1], [0, 0, 0, 0], [1, 0, 0, 99]]
    outside["recall"] |= {"glioma": bad, "meningioma": good}
    labels = outside["by_label_and_sequence"]
    labels["glioma"]["T1"]["seen"] |= bad
    labels["glioma"]["T2"]["seen"] |= good
    labels["notumor"]["T1"]["seen"] |= {"value": 0.03, "low": 0.01, "high": 0.05}
    labels["notumor"]["T2"]["seen"] |= bad
    outside["prediction_set"]["coverage"] |= bad
    outside["ece"] = bad
    named = render(metrics).sections["about-failures"].replace("\xa0", " ")
    for said in (
        "Only 31 % (27 to 44) of gliomas are named right; 50 % get the answer meningioma and 19 % get the answer no",
        "of gliomas it sees only 31 % (27 to 44) on T1",
        "it sees a tumor in tumor-free slices, 31 % (27 to 44) on T2",
        "they are off by 31 points (27 to 44)",
        "they hold it in 31 % (27 to 44)",
    ):
        assert said in named
    assert "meningiomas are named right" not in named
    labels["glioma"]["T1"]["seen"] |= good
    labels["notumor"]["T2"]["seen"] |= {"value": 0.03, "low": 0.01, "high": 0.05}
    outside["prediction_set"]["coverage"] |= good
    outside["ece"] = {"value": 0.01, "low": 0.01, "high": 0.02}
    named = render(metrics).sections["about-failures"]
    for gone in ("of gliomas it sees", "False alarms", "mislead", "The right answer is missing"):
        assert gone not in named


def test_the_operating_point_and_the_promise_are_those_of_the_config(render, shipped):
    config = copy.deepcopy(shipped[0])
    config["operating_point"]["threshold"], config["prediction_set"]["coverage"] = 0.3712, 0.85
    section = render(config=config).sections["about-certainty"]
    assert "From 37\xa0% on" in section and "for 85\xa0% of the slices" in section


def test_images_are_counted_by_collection_and_part(render, metrics):
    rows = render().rows("Images by collection")
    counts = metrics["training"]["sources"]
    assert rows["Sartaj"] == [
        f"{counts['sartaj'][part]['images']} {counts['sartaj'][part]['groups']}" for part in ("train", "val", "test")
    ]
    assert rows["All"][2] == f"{metrics['test']['n']:,}"  # every image once


def test_no_share_on_the_tab_is_typed(render, shipped):
    """Every figure is set to the same value: no other share may be left but those that are counted or configured."""

    def flat(content):
        if isinstance(content, list):
            return [flat(one) for one in content]
        if not isinstance(content, dict):
            return content
        content = {name: flat(one) for name, one in content.items()}
        return content | ({"value": 0.4242, "low": 0.4141, "high": 0.4343} if "high" in content else {})

    config, metrics = copy.deepcopy(shipped[0]), flat(shipped[1])
    for section in ("test", "external"):
        metrics[section]["confusion"]["counts"] = [[50, 50, 0, 0]] * 4
        metrics[section]["reliability"] = [
            BIN | {"right": metrics["test"]["sensitivity_tumor"] | {"n": 9, "n_groups": 3}}
        ]
    for run in metrics["leave_source_out"]["runs"]:
        run["specificity"] = 0.42
    for part in ("test", "external"):
        metrics["probes"][part]["chance"] = dict.fromkeys(metrics["probes"][part]["chance"], 0.42)
    config["operating_point"]["threshold"] = config["prediction_set"]["coverage"] = 0.42
    text = re.sub("<[^>]*>", " ", render(metrics, config).html).replace("&nbsp;", "\xa0")
    assert set(re.findall(r"([\d.]+)\xa0%", text)) <= TYPED | {"42", "50", "0", "60", "71", "80"}


@pytest.mark.parametrize(
    "section", [None, "all", "test", "external", "vendor", "study", "training", "probes", "leave_source_out"]
)
def test_sections_that_were_not_measured_are_left_out_or_said_to_be_missing(render, metrics, section):
    page = render({} if section == "all" else {name: metrics[name] for name in metrics if name != section})
    assert all("another form" not in text for text in page.sections.values())
    if section in ("all", "vendor"):
        assert "about-vendor" not in page.sections
    if section == "all":
        assert "How well it does: not measured" in page.sections["about-figures"]
    assert {"about-uses", "about-files"} <= set(page.sections)


@pytest.mark.parametrize("nonsense", [[], "text", 7, {"n": "many"}, {"value": {}}, {"confusion": [[1]]}, None, True])
def test_nonsense_in_a_foreign_report_leaves_the_rest_of_the_tab_standing(render, metrics, nonsense):
    page = render(dict.fromkeys(metrics, nonsense))
    assert str(scans.READABLE) in page.sections["about-files"]
    page = render(
        {
            name: dict.fromkeys(report, nonsense) if isinstance(report, dict) else report
            for name, report in metrics.items()
        }
    )
    assert str(scans.READABLE) in page.sections["about-files"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000, "\udcff"])
def test_files_that_are_no_json_are_as_good_as_none(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content, errors="surrogateescape")
    assert "not measured" in about(tmp_path, ORIGIN)
    assert "not measured" in about(tmp_path / "nowhere", ORIGIN)


def test_nothing_in_a_foreign_artifact_becomes_markup(render, metrics, shipped):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'

    def poisoned(content):
        """Every string and many a name replaced, and every number that is shown as it is."""
        if isinstance(content, dict):
            return {name: poisoned(one) for name, one in content.items()} | {
                evil: poisoned(next(iter(content.values()), 0))
            }
        if isinstance(content, list):
            return [poisoned(one) for one in content]
        return evil if isinstance(content, str) else content

    for broken in (poisoned(metrics), json.loads(json.dumps(metrics).replace('"sartaj"', json.dumps(evil)))):
        page = render(broken, poisoned(shipped[0]), Origin(evil, evil, evil, evil))
        assert not {"script", "img"} & {tag for tag, _ in page.elements}
        assert not any("onerror" in attributes for _, attributes in page.elements)


def test_weights_of_the_hub_are_a_link_to_their_commit_and_a_note_is_shown(render):
    commit = "0123456789abcdef0123456789abcdef01234567"
    page = render(origin=Origin("org/name", commit, "2026-03-02", "The Hub did not answer."))
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert f"https://huggingface.co/org/name/tree/{commit}" in links
    assert not any(link.startswith("http") for link in [a["href"] for tag, a in render().elements if tag == "a"])


def test_the_head_names_version_revision_and_date(weights):
    head = about(weights, Origin("net", "7c04dee8", "2026-03-02", "Others were asked for.")).split("<nav")[0]
    assert all(said in head for said in ("<dd>net</dd>", "7c04dee8", "2 March 2026", "Others were asked for."))


def test_without_a_model_the_tab_says_so():
    assert "could not be loaded" in about(None, Origin(""))


def test_privacy_and_formats_are_those_of_the_program(render):
    told = render().sections["about-files"]
    assert scans.READABLE in told and f"within {KEPT_MINUTES + 1} minutes" in told
    assert f"{scans.MAX_BYTES // 2**20} MB" in told


def test_the_list_of_contents_leads_to_every_section(render):
    page = render()
    anchors = {attributes["href"][1:] for tag, attributes in page.elements if tag == "a"}
    assert anchors == set(page.sections) == {section.anchor for section in SECTIONS}
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and set(page.sections) <= set(ids)


def test_the_tab_and_the_report_import_neither_training_nor_what_a_page_need_not_load():
    heavy = ("training", "torch", "matplotlib", "sklearn", "pandas", "scipy")
    program = f"import sys, page.about, page.case_report; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture
def drawn(browser, shipped, tmp_path):
    """The tab on a phone, with the project's own styles and script, its address below one that must not be loaded."""
    write_config(tmp_path, shipped[0])
    (tmp_path / "metrics.json").write_text(json.dumps(shipped[1]))
    styles = "".join((REPOSITORY / name).read_text() for name in ("app.css", "page/volume.css", "page/about.css"))
    context = browser.new_context(viewport={"width": PHONE_WIDTH, "height": 844})
    page = context.new_page()
    page.set_content(
        f'<base href="http://127.0.0.1:9/"><style>{styles}</style><body class="gradio-container">'
        f'<div id="about">{about(tmp_path, ORIGIN)}</div>'
    )
    page.evaluate(f"(element => {{ {(REPOSITORY / 'page/about.js').read_text()} }})(document.querySelector('#about'))")
    yield page
    context.close()


@needs_chromium
def test_nothing_is_wider_than_a_phone(drawn):
    drawn.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    assert drawn.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
    wide = "[...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth)"
    assert drawn.evaluate(f"{wide}.every(one => one.tabIndex === 0 && getComputedStyle(one).overflowX === 'auto')")


@needs_chromium
def test_the_list_of_contents_scrolls_to_a_section_and_leaves_the_page_as_it_is(drawn):
    address = drawn.url
    drawn.get_by_role("link", name="Your files").click()
    heading = drawn.locator("#about-files")
    assert drawn.url == address and heading.evaluate("one => one === document.activeElement")
    assert 0 <= heading.bounding_box()["y"] < 844
