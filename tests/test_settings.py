"""Every setting says what it changes, and whoever compares runs goes by that: each field of Settings is tried."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from model.artifact import EMBEDDED
from training import train
from training.checkpoint import load_checkpoint, write_facts
from training.data.frames import DataError
from training.data.phantoms import write_phantom_dataset
from training.evaluation import cross_validate
from training.evaluation.card import with_differences
from training.evaluation.seeds import collect
from training.retrain import parse
from training.settings import Changes, Settings, parse_settings

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
PLAIN = Settings(data="pool", out="run", folds=4)
RECIPE = {Changes.DATA, Changes.AUGMENT, Changes.NETWORK, Changes.FIT}
TRIED = {"str": ("keep", "always", "another"), "int": (1, 2, 3, 5, 64, 96), "float": (0.5, 0.25)}


def changed(name: str) -> Settings:
    """PLAIN with another value of this setting that is allowed."""
    for value in TRIED[type(getattr(PLAIN, name)).__name__]:
        try:
            other = dataclasses.replace(PLAIN, **{name: value})
        except ValueError:
            continue
        if other != PLAIN:
            return other
    raise AssertionError(f"no other value of {name} is allowed")


def images(fingerprint: str = "the same") -> SimpleNamespace:
    return SimpleNamespace(fingerprint=lambda: fingerprint)


@pytest.fixture(params=FIELDS)
def name(request) -> str:
    return request.param


def test_a_setting_says_what_it_changes(name):
    facts = FIELDS[name].metadata
    assert isinstance(facts["changes"], Changes)
    assert not facts["by_content"] or facts["path"]


@pytest.mark.parametrize(
    "option",
    ["epochz 3", "epochs many", "size 100", "copies some", "batch 0", "compile no", "unfreeze_at 2", "save_minutes -1"]
    + ["log_every 0", "folds 2", "fold 1", "schedule plateau", "decay l2", "class_weights balanced"],
)
def test_unknown_or_impossible_settings_are_refused(option):
    with pytest.raises((SystemExit, ValueError)):
        parse_settings(["--data=d", "--out=o", *f"--{option}".split()], "")


def test_runs_and_commands_of_an_earlier_version_go_on_unless_training_differs_by_now(tmp_path):
    command = (
        "--data=d --out=o --schedule=cosine --decay=decoupled --plateau_patience=3 --plateau_factor=0.3 --shards=1"
    )
    assert parse_settings(command.split(), "") == (Settings(data="d", out="o"), False)
    published = json.loads((EMBEDDED / "metrics.json").read_text())["training"]["settings"]
    settings = Settings.recorded(published | {"out": str(tmp_path)})
    assert settings.epochs == published["epochs"] == 20
    write_facts(settings, images(), torch.device("cpu"), None)
    file = tmp_path / "settings.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts | {"settings": published | {"out": str(tmp_path)}}))
    write_facts(settings, images(), torch.device("cpu"), 1)
    file.write_text(json.dumps(facts | {"settings": published | {"schedule": "plateau"}}))
    with pytest.raises(DataError, match="begun with --schedule plateau"):
        write_facts(settings, images(), torch.device("cpu"), 1)


def test_seeds_of_one_recipe_differ_in_draws_places_and_speed_alone(name, tmp_path):
    for seed, settings in enumerate((PLAIN, changed(name))):
        recorded = dataclasses.asdict(settings) | {"seed": seed}
        weights = tmp_path / str(seed) / "weights"
        weights.mkdir(parents=True)
        (weights / "metrics.json").write_text(
            json.dumps({"training": {"settings": recorded}, "weights_sha256": f"of seed {seed}"})
        )
    runs = [tmp_path / "0", tmp_path / "1"]
    if FIELDS[name].metadata["changes"] in (Changes.DRAW, Changes.RECORD, Changes.PLACE):
        assert len(collect(runs)["runs"]) == 2
    else:
        with pytest.raises(ValueError, match=f"another recipe.*: {name}\\."):
            collect(runs)


def test_a_resumed_run_keeps_what_trains_it_and_notes_what_changed(name, tmp_path):
    begun, other = (dataclasses.replace(one, out=str(tmp_path)) for one in (PLAIN, changed(name)))
    write_facts(begun, images(), torch.device("cpu"), None)
    facts, now = FIELDS[name].metadata, getattr(other, name)
    free = facts["changes"] in (Changes.REFUSAL, Changes.RECORD, Changes.PLACE) or facts["by_content"]
    if not free and not facts["steers"]:
        with pytest.raises(DataError, match=f"was begun with --{name} "):
            write_facts(other, images(), torch.device("cpu"), 1)
        return
    write_facts(other, images(), torch.device("cpu"), 1)
    written = json.loads((tmp_path / "settings.json").read_text())
    assert written["settings"][name] == now, "the export reads it"
    assert written["starts"][-1].get(name) == (now if facts["steers"] else None)
    with pytest.raises(DataError, match="other images"):
        write_facts(other, images("another"), torch.device("cpu"), 1)


def test_answers_are_used_again_only_of_the_same_network_and_images(name, tmp_path, monkeypatch):
    split = images()
    answers = cross_validate.Predictions(*[[] for _ in cross_validate.Predictions._fields])
    monkeypatch.setattr("training.data.training_set.read_split", lambda settings: split)
    monkeypatch.setattr(cross_validate, "_trained_and_asked", lambda settings: answers)
    begun, other = (dataclasses.replace(one, out=str(tmp_path)) for one in (PLAIN, changed(name)))
    cross_validate.predictions_of(begun)
    facts = FIELDS[name].metadata
    if facts["changes"] in (Changes.RECORD, Changes.PLACE) or facts["by_content"]:
        cross_validate.predictions_of(other)
        split.fingerprint = lambda: "another"
        with pytest.raises(DataError, match="other images in --data"):
            cross_validate.predictions_of(other)
    else:
        with pytest.raises(DataError, match=f"was made with --{name} "):
            cross_validate.predictions_of(other)


def test_the_card_names_another_recipe(name):
    own, other = (dataclasses.asdict(settings) for settings in (PLAIN, changed(name)))
    metrics = with_differences({"training": {"settings": own}, "folds": {"settings": other}})
    differs = metrics["folds"]["differs"]
    expected = [{"name": name, "own": own[name], "value": other[name]}]
    assert differs == (expected if FIELDS[name].metadata["changes"] in RECIPE else [])
    del other[name]
    assert bool(with_differences(metrics | {"folds": {"settings": other}})["folds"]["differs"]) == bool(differs)


def test_a_program_does_not_ask_for_what_it_sets(name, capsys):
    arguments = ["--data=images", "--out=run", f"--{name}={getattr(PLAIN, name)}"]
    if "training.retrain" in FIELDS[name].metadata["set_by"]:
        with pytest.raises(SystemExit):
            parse(arguments)
    else:
        assert getattr(parse(arguments)[0], name) == getattr(PLAIN, name)


def test_what_is_said_to_change_no_weight_changes_none(tmp_path):
    """But for `compile` and `threads`, which change the order of sums, and so the last digits."""
    data = write_phantom_dataset(tmp_path / "data", per_class=7, seed=5, size=64)
    tiny = {"size": 32, "smallest_size": 32, "epochs": 1, "batch": 8, "phantoms": 0, "init": "scratch", "threads": 1}
    values = {"not_brain": str(data), "log_every": 1, "save_minutes": 0.0, "out": str(tmp_path / "b")}
    values["cache"] = str(tmp_path / "another cache")
    free = {n for n, f in FIELDS.items() if f.metadata["changes"] in (Changes.REFUSAL, Changes.RECORD, Changes.PLACE)}
    assert free == {*values, "compile", "threads"}
    first = Settings(data=str(data), **tiny | {"out": str(tmp_path / "a"), "cache": str(tmp_path / "cache")})
    ours, theirs = (
        load_checkpoint(train.fit(settings) / "best.pt") for settings in (first, dataclasses.replace(first, **values))
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    losses = [json.loads((Path(out) / "history.jsonl").read_text())["train_loss"] for out in (first.out, values["out"])]
    assert losses[0] == losses[1] and math.isfinite(losses[0])
