"""The tab for the administrator: retrain on own images, watch, cancel, promote, withdraw. Only with ADMIN_TOKEN."""

import html
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gradio as gr
from fastapi import FastAPI

from model.serving import ModelMissing, ServedModel
from model.state import state_folder
from service.password import secret
from service.problems import Problem
from service.rates import client_of
from service.retraining.access import Administrator
from service.retraining.jobs import Jobs, missing_packages
from service.retraining.refused import Refused
from service.retraining.routes import router
from service.retraining.schemas import JobReport, report

from . import cards

REFRESH_SECONDS = 2
FOLLOW_SECONDS = 5  # between two looks at what other replicas have promoted
INTRODUCTION = """<header><h1>Retraining</h1><p>Fine-tune the weights that answer now on labeled images of your own, and
see whether they got better. Nothing changes until you promote them.</p></header>"""
WHAT_TO_SEND = """<p class="hint">A ZIP with a folder for each class (glioma, meningioma, pituitary, notumor; or yes,
no), or with images and a CSV that labels them. groups.csv (path,group) says which images are of one person. At least
ten people with a tumor and ten without. The images are deleted from the server as soon as the job has ended.</p>"""
NOTHING_YET = "No job yet."
WRONG_TOKEN = "This is not the administrator's token. Copy it from where the server's ADMIN_TOKEN is set."
STATES = {  # state -> how its card looks, what it says first
    "running": ("reading", "Retraining"),
    "stopped": ("doubtful", "Stopped; it goes on when the server starts again"),
    "candidate": ("accepted", "There is a candidate"),
    "promoted": ("accepted", "Promoted: these weights answer now"),
    "failed": ("failed", "Not retrained"),
    "canceled": ("gone", "Canceled"),
}


def offer_retraining(api: FastAPI, blocks: gr.Blocks, served: ServedModel) -> None:
    """Add the routes to `api` and the tab to `blocks`, and go on with the job that the last server left, if any.

    Reads from the environment: ADMIN_TOKEN; ORIGINAL_DATA, the data that the weights were first trained on, if it is at
    hand; STATE_FOLDER.
    """
    administrator = Administrator(secret("ADMIN_TOKEN"), api.state.guesses)
    original = os.environ.get("ORIGINAL_DATA")
    jobs = Jobs(state_folder() / "retraining", served, Path(original) if original else None)
    api.include_router(router(jobs, administrator, Path(os.environ["GRADIO_TEMP_DIR"])))
    with blocks.route("Retraining", "retraining"):
        build_tab(jobs, administrator)
    jobs.go_on()
    threading.Thread(target=follow_forever, args=[served], name="follow promotions", daemon=True).start()


def follow_forever(served: ServedModel) -> None:
    """Have what another replica promotes answer here, too: they share the state folder."""
    while True:
        time.sleep(FOLLOW_SECONDS)
        with suppress(ModelMissing):
            served.follow()


def build_tab(jobs: Jobs, administrator: Administrator) -> None:
    """Put the tab's components where the caller stands, in a page of its own (`gr.Blocks.route`)."""
    plain = {"apply_default_css": False}
    gr.HTML(INTRODUCTION, **plain)
    if sentence := missing_packages():
        gr.HTML(cards.problem("Not on this server.", sentence), **plain)
        return
    token = gr.Textbox(label="Administrator token", type="password", elem_id="token")
    upload = gr.File(label="ZIP of labeled images", height=150, elem_id="images")
    gr.HTML(WHAT_TO_SEND, **plain)
    with gr.Row():
        start = gr.Button("Retrain", variant="primary")
        cancel = gr.Button("Cancel", interactive=False)
        promote = gr.Button("Promote", interactive=False)
        withdraw = gr.Button("Withdraw the promotion", interactive=False)
    problem = gr.HTML(elem_id="problem", **plain)
    job = gr.HTML(elem_id="job", **plain)
    clock = gr.Timer(REFRESH_SECONDS, active=False)
    shown = [problem, job, cancel, promote, withdraw, clock]

    def show() -> dict:
        newest = next(iter(jobs.all()), None)
        found = report(jobs, newest) if newest else None
        state = found.state if found else ""
        return {
            problem: "",
            job: card(found) if found else NOTHING_YET,
            cancel: gr.Button(interactive=state in ("running", "stopped")),
            promote: gr.Button(interactive=state == "candidate" and found.comparison["promotable"]),
            withdraw: gr.Button(interactive=bool(jobs.promoted()) and state not in ("running", "stopped")),
            clock: gr.Timer(active=state in ("running", "stopped")),
        }

    def as_administrator(work: Callable[..., object] = lambda: None) -> Callable[..., dict]:
        """An event's handler: `work`, and then what is shown; or what is wrong."""

        def handle(request: gr.Request, given: str, *values: object) -> dict:
            try:
                if not administrator.is_named_by(given, client_of(request.request.scope)):
                    return {problem: cards.problem("", WRONG_TOKEN), clock: gr.Timer(active=False)}
            except Problem as locked:
                return {problem: cards.problem("", locked.detail), clock: gr.Timer(active=False)}
            try:
                work(*values)
            except (Refused, ModelMissing) as refusal:
                return show() | {problem: cards.problem("", str(refusal))}
            return show()

        return handle

    def begin(file: str | None) -> None:
        if not file:
            raise Refused("Choose a ZIP of labeled images first.")
        jobs.begin(Path(file))

    def newest_of(work: Callable) -> Callable[[], None]:
        def do() -> None:
            if newest := next(iter(jobs.all()), None):
                work(newest)

        return do

    def take_back() -> None:
        if promoted := jobs.promoted():
            jobs.withdraw(promoted)

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    token.submit(as_administrator(), token, shown, **quiet)
    token.blur(as_administrator(), token, shown, **quiet)
    clock.tick(as_administrator(), token, shown, **quiet)
    start.click(as_administrator(begin), [token, upload], shown, **quiet)
    cancel.click(as_administrator(newest_of(jobs.cancel)), token, shown, **quiet)
    promote.click(as_administrator(newest_of(jobs.promote)), token, shown, **quiet)
    withdraw.click(as_administrator(take_back), token, shown, **quiet)


def card(job: JobReport) -> str:
    """A job as HTML: how far it is, or how it ended, and the new weights beside those that they started from."""
    tone, title = STATES[job.state]
    if job.state == "running":
        training = job.stage == "training" and job.progress is not None
        return cards.progress(f"{title}: {job.stage} …", *((round(100 * job.progress), 100) if training else ()))
    sentences = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in job.sentences)
    left_out = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in job.left_out)
    if job.more_left_out:
        left_out += f"<li>and {job.more_left_out:,} more</li>"
    listed = f"<details><summary>Left out</summary><ul>{left_out}</ul></details>" if left_out else ""
    tables = "".join(_table(name, rows) for name, rows in (job.comparison or {"sets": {}})["sets"].items())
    return (
        f'<div class="verdict {tone}" role="status"><div class="about"><span class="badge">{job.state}</span>'
        f'<span class="file">{html.escape(job.id)}</span></div><h2>{title}</h2>{sentences}{listed}</div>{tables}'
    )


def _table(name: str, rows: dict[str, dict]) -> str:
    """The guarded metrics of one set of images."""
    cells = "".join(
        f"<tr><td>{html.escape(row['title'])}</td><td>{row['start']:.3f}</td><td>{row['candidate']:.3f}</td>"
        f"<td>{row['difference']['value']:+.3f} ({row['difference']['low']:+.3f} to {row['difference']['high']:+.3f})"
        f"</td><td>{row['groups']:,}</td><td>{row['verdict']}</td></tr>"
        for row in rows.values()
    )
    titles = ("guarded metric", "before", "now", "change", "groups", "verdict")
    head = "".join(f'<th style="padding: 9px 10px">{title}</th>' for title in titles)
    heading = f'<h3 class="heading" style="margin: 16px 2px 0">{html.escape(name.capitalize())}</h3>'
    return f'{heading}<div class="rows"><table><tr>{head}</tr>{cells}</table></div>'
