"""The administrator's tab, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from model.artifact import read_config
from model.serving import ServedModel
from service.retraining.jobs import Jobs
from tests.browser import needs_chromium, photograph
from tests.retraining_jobs import PNG, candidate, zipped
from tests.server import running_app

pytestmark = needs_chromium
TOKEN = "an-administrator-s-token"


@pytest.fixture
def state(state, weights, tmp_path, monkeypatch):
    """The state folder of a server that an earlier one left a candidate to."""
    monkeypatch.setenv("WEIGHTS", str(weights))
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    served = ServedModel()
    served.load()
    row = {"title": "tumors seen <b>", "start": 0.9, "candidate": 0.95, "groups": 12, "verdict": "held"}
    row["difference"] = {"value": 0.05, "low": -0.01, "high": 0.12}
    sets = {"own held-out images": {"sensitivity_tumor": row}}
    candidate(Jobs(state / "retraining", served), tmp_path, sets=sets)
    return state


def test_the_administrator_sees_the_candidate_and_promotes_it(visit, weights, state, tmp_path):
    with running_app(tmp_path / "log", weights) as url:
        page = visit(f"{url}retraining")
        problem, token = page.locator(".problem"), page.get_by_label("Administrator token")
        assert "candidate" not in page.locator("body").inner_text()
        token.fill("a wrong token, and longer than sixteen")
        token.press("Enter")
        expect(problem).to_contain_text("not the administrator's token")
        expect(page.locator("#job .verdict")).to_have_count(0)

        token.fill(TOKEN)
        token.press("Enter")
        expect(page.locator("#job")).to_contain_text("There is a candidate")
        expect(page.locator("#job table")).to_contain_text("tumors seen <b>")
        expect(page.locator("#job table")).to_contain_text("+0.050 (-0.010 to +0.120)")
        photograph(page, "desktop-retraining")

        (tmp_path / "bad.zip").write_bytes(zipped({"../yes/a.png": PNG}))
        page.locator("#images input[type=file]").set_input_files(tmp_path / "bad.zip")
        page.get_by_text("bad.zip").wait_for()
        page.get_by_role("button", name="Retrain", exact=True).click()
        expect(problem).to_contain_text("path cannot be used")

        page.get_by_role("button", name="Promote").click()
        expect(page.locator("#job")).to_contain_text(re.compile("these weights answer now"))
        assert read_config(state / "promoted")["temperature"] == 2.0

        page.get_by_role("button", name="Withdraw").click()
        expect(page.locator("#job")).to_contain_text("There is a candidate")
        page.close()  # before the server goes
    assert TOKEN not in (tmp_path / "log").read_text() and not (state / "promoted").exists()


def test_without_a_token_there_is_no_tab(visit, app_server):
    page = visit(app_server)
    expect(page.get_by_text("Retraining")).to_have_count(0)
