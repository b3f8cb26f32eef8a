"""The tab "About the model" shows the card of the weights that answer, all of it, and nothing that it must not."""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import scans
from model.artifact import EMBEDDED
from model.serving import Origin
from page.about import NO_CARD, _html, about
from page.texts import KEPT_MINUTES
from tests.browser import PHONE_WIDTH, needs_chromium
from tests.server import REPOSITORY

ORIGIN = Origin("tumornet-v2", "7c04dee8", "2026-11-21")
CARD = (EMBEDDED / "README.md").read_text()
METRICS = json.loads((EMBEDDED / "metrics.json").read_text())
MARKUP = {  # all that a card may become
    *("article", "section", "nav", "details", "summary", "div", "dl", "dt", "dd", "ul", "ol", "li", "p", "pre", "code"),
    *("h2", "h3", "h4", "h5", "h6", "b", "strong", "em", "small", "span", "a", "img", "hr", "br", "blockquote"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {
    "class",
    "style",
    "scope",
    "role",
    "tabindex",
    "aria-label",
    "href",
    "rel",
    "src",
    "alt",
    "title",
    "start",
}


class Page:
    """The tab, which must be well-formed: rows of each table by its label, the text of each section by its title."""

    def __init__(self, html):
        self.root = ElementTree.fromstring(html)
        self.sections = {one.find("h3").text: " ".join(one.itertext()) for one in self.root.iter("section")}
        regions = {one.get("aria-label").partition(": ")[2]: one for one in self.root.iter("div") if one.get("role")}
        self.tables = {
            label: [[" ".join(cell.itertext()) for cell in row] for row in region.iter("tr")]
            for label, region in regions.items()
        }

    def attributes(self, tag, name):
        return [element.get(name, "") for element in self.root.iter(tag)]


@pytest.fixture(scope="module")
def shipped():
    return Page(about(EMBEDDED, ORIGIN))


@pytest.fixture
def render(tmp_path):
    """(card) -> the parsed tab of weights with that card."""

    def page_of(card, origin=ORIGIN):
        (tmp_path / "README.md").write_text(card, errors="surrogateescape")
        about.__globals__["_rendered"].cache_clear()
        return Page(about(tmp_path, origin))

    return page_of


def test_every_section_of_the_card_is_shown_and_listed_in_its_order(shipped):
    titles = [*re.findall(r"^## (.*)", CARD, flags=re.M), "Your files"]
    assert list(shipped.sections) == titles and len(titles) > 12
    headings = shipped.attributes("h3", "id")
    assert [link[1:] for link in shipped.attributes("a", "href") if link.startswith("#")] == headings
    assert len(set(headings)) == len(titles)
    privacy = shipped.sections["Your files"]
    assert scans.READABLE in privacy and f"within {KEPT_MINUTES + 1} minutes" in privacy
    assert "license: mit" not in " ".join(shipped.sections.values()), "front matter is for the Hub"


def test_tables_show_the_figures_of_the_metrics_with_their_interval_in_small_print(shipped):
    rows = {first: rest for first, *rest in shipped.tables["Measured"]}
    figures = [METRICS[part]["sensitivity_tumor"] for part in ("test", "external")]
    value, low, high = ([f"{100 * figure[key]:.1f}" for figure in figures] for key in ("value", "low", "high"))
    wanted = [f"{value[k]}\N{NO-BREAK SPACE}% {low[k]} to {high[k]}" for k in range(2)]
    assert rows["Tumors detected sensitivity"] == wanted
    assert all(shipped.attributes("th", "scope"))


def test_a_confusion_matrix_is_tinted_by_the_share_of_each_row(shipped):
    cells = list(shipped.root.iter("span"))[:16]
    counts = METRICS["test"]["confusion"]["counts"]
    shares = [count / sum(row) for row in counts for count in row]
    tints = [float(one.get("style").removeprefix("--share: ")) for one in cells]
    assert tints == pytest.approx(shares, abs=0.001)
    assert [k for k, one in enumerate(cells) if one.get("class") == "cell right"] == [0, 5, 10, 15]


def test_plots_travel_within_the_page_with_their_alt_texts(shipped):
    images = shipped.root.iter("img")
    shown = [(one.get("alt"), base64.b64decode(one.get("src").partition("base64,")[2])) for one in images]
    files = re.findall(r"!\[(.*?)\]\((.*?)\)", CARD)
    assert shown == [(alt, (EMBEDDED / file).read_bytes()) for alt, file in files] and len(shown) >= 4


def test_a_plot_that_is_not_there_or_lies_elsewhere_is_its_alt_text(render, tmp_path):
    (tmp_path / "secret.txt").write_text("a secret")
    (tmp_path.parent / "outside.png").write_bytes(b"\x89PNG")
    sources = ("gone.png", "secret.txt", "../outside.png", "https://example.org/x.png", "/etc/passwd", "//h/x.png")
    page = render("## Plots\n" + "\n".join(f"![plot{k}]({source})" for k, source in enumerate(sources)))
    assert not page.attributes("img", "src") and page.sections["Plots"].split()[1:] == [f"plot{k}" for k in range(6)]


EVIL = (
    r"""<script>alert(1)</script>~<img src=x onerror=alert(1)>~"><svg onload=alert(1)>~<details open ontoggle=a>~
[x](javascript:alert(1))~![x](https://example.org/x.png)~<details>\n<summary>a<b></summary>~</article>~&lt;script&gt;~
![" onerror="alert(1)](roc.png)~<https://example.org/"onclick=a>~| a | b |\n| --- | --- |\n| <i> (1 %) | x |~## ~# ~```~
    ~- ~> ~<!-- ~-->~<style>~<a href="x" onclick=a>""".replace("\n", "")
    .replace(r"\n", "\n")
    .split("~")
)


@given(st.lists(st.sampled_from(EVIL) | st.text(max_size=8), max_size=12).map("\n".join))
def test_nothing_in_a_foreign_card_becomes_markup_of_its_own(card):
    found, parser = [], HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(_html(card, EMBEDDED, "Title"))
    for tag, attributes in found:
        assert tag in MARKUP and not [name for name in attributes if name.startswith("on")]
        assert set(attributes) <= ATTRIBUTES
        assert re.match(r"data:image/png;base64,", attributes.get("src", "data:image/png;base64,"))
        assert not re.match(r"\s*(javascript|vbscript|data|file):", attributes.get("href") or "", re.I)


@pytest.mark.parametrize(
    "card", ["", "---\nlicense: mit\n", "# Only a name", "\udcff", "## \n## \n", "| a |\n| --- |\n"]
)
def test_a_card_with_little_in_it_leaves_the_page_standing(render, card):
    assert str(scans.READABLE) in render(card).sections["Your files"]


def test_the_head_names_version_revision_and_day_and_links_to_the_very_commit_on_the_hub():
    text = about(EMBEDDED, Origin("net", "7c04dee8", "2026-03-02", "Others were <asked> for."))
    assert all(said in text for said in ("<dd>net</dd>", "7c04dee8", "2 March 2026", "Others were &lt;asked&gt; for."))
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert f'"https://huggingface.co/org/name/tree/{commit}"' in about(EMBEDDED, Origin("org/name", commit))
    assert "date not recorded" in about(EMBEDDED, Origin("org/name", commit))
    assert "could not be loaded" in about(None, Origin(""))
    without = about(EMBEDDED / "nowhere", ORIGIN)
    assert NO_CARD.split("\n")[0] in without and "Nobody should be treated" in without and "Your files" in without


def test_the_tab_and_the_report_import_neither_training_nor_what_a_page_need_not_load():
    heavy = ("training", "torch", "matplotlib", "sklearn", "pandas", "scipy")
    program = f"import sys, page.about, page.case_report; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture
def drawn(browser):
    """The tab on a phone, with the project's own styles and script, its address below one that must not be loaded."""
    styles = "".join((REPOSITORY / name).read_text() for name in ("app.css", "page/slice_viewer.css", "page/about.css"))
    context = browser.new_context(viewport={"width": PHONE_WIDTH, "height": 844})
    page = context.new_page()
    page.set_content(
        f'<base href="http://127.0.0.1:9/"><style>{styles}</style><body class="gradio-container">'
        f'<div id="about">{about(EMBEDDED, ORIGIN)}</div>'
    )
    page.evaluate(f"(element => {{ {(REPOSITORY / 'page/about.js').read_text()} }})(document.querySelector('#about'))")
    yield page
    context.close()


@needs_chromium
def test_nothing_is_wider_than_a_phone_and_the_contents_scroll_to_a_section(drawn):
    drawn.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    assert drawn.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
    wide = "[...document.querySelectorAll('.wide, pre')].filter(one => one.scrollWidth > one.clientWidth)"
    assert drawn.evaluate(f"{wide}.every(one => one.tabIndex === 0 && getComputedStyle(one).overflowX === 'auto')")
    address = drawn.url
    drawn.get_by_role("link", name="Your files").click()
    heading = drawn.get_by_role("heading", name="Your files")
    assert drawn.url == address and heading.evaluate("one => one === document.activeElement")
    assert 0 <= heading.bounding_box()["y"] < 844
