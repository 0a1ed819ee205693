"""One reader of config.yaml, for every type of settings."""

import dataclasses

import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.tabular.assembly import load_configured
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.hetero.losses.contract import LossChoices
from fedjax_rl.learners.deep.design import Choices
from fedjax_rl.records.saving import CheckpointSettings, sink_names
from fedjax_rl.settings.files import read_run_file, read_settings, settings_from, settings_to_yaml

pytestmark = pytest.mark.timeout(30)


def saved(folder, text):
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_parts_of_a_run_file(tmp_path):
    text = (
        "algorithm: fednpg\nrounds: 5\nmade_with: {jax: '1'}\ncompare: true\n"
        "checkpoints: {checkpoint_seconds: 3e1}\nsinks: [jsonl]\n"
    )
    file = read_run_file(saved(tmp_path, text))
    assert (file.algorithm, file.settings) == ("fednpg", {"rounds": 5})
    assert (file.made_with, file.compare) == ({"jax": "1"}, True)
    checkpoints = settings_from(CheckpointSettings, file.checkpoints, "checkpoints")
    assert checkpoints == CheckpointSettings(checkpoint_seconds=30.0)
    assert sink_names(file.sinks) == ("jsonl",)


@pytest.mark.parametrize(
    ("kind", "text", "changes"),
    [
        (FedNPGConfig, "budgets: [1e0]", {"budgets": (1.0,)}),
        (FedNPGConfig, "merge_weights: [1e0, 2]", {"merge_weights": (1.0, 2.0)}),
        (FedNPGConfig, "step_size: 1e-3\nrounds: 010", {"step_size": 1e-3, "rounds": 10}),
        (FedNPGConfig, "problem: no", {"problem": "no"}),
        (
            DeepConfig,
            "learning_rate: 1e-4\nhidden: [0x10]",
            {"learning_rate": 1e-4, "hidden": (16,)},
        ),
        (HeteroConfig, "sampler_seconds: [28e0]", {"sampler_seconds": (28.0,)}),
        (HeteroConfig, "top_p: 9e-1\nlearning_rate: null", {"top_p": 0.9}),
    ],
)
def test_numbers_are_what_they_look_like(tmp_path, kind, text, changes):
    assert read_settings(saved(tmp_path, text), "any", kind) == (kind(**changes), {})


@pytest.mark.parametrize("kind", [FedNPGConfig, DeepConfig, HeteroConfig])
def test_every_default_comes_back(tmp_path, kind):
    text = settings_to_yaml("any", dataclasses.asdict(kind()), {"jax": "0.10"})
    assert read_settings(saved(tmp_path, text), "any", kind) == (kind(), {"jax": "0.10"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rounds: 5\nseed: 1\nrounds: 6\n",
            "'rounds' is given twice, in line 1 and again in line 3)",
        ),
        ("- 1", "a YAML mapping of settings"),
        ("roundz: 5", "--config: got roundz; known settings: access"),
        ("1: 5", "--config: got 1; known settings: access"),
        ("algorithm: fedppo", "a config.yaml of algorithm fednpg"),
        ("made_with: old", "made_with: got 'old'; a mapping"),
        ("checkpoints: 3", "checkpoints: got 3; a mapping"),
        ("rounds: '5'", "--rounds: got 5; a whole number of at least 1"),
        ("rounds: 1_000", "--rounds: got 1_000; a whole number of at least 1"),
        ("budgets: 5", "--budgets: got 5; a list of values"),
        ("problem_args: [a=1, a=2]", "--problem-args: got 'a=2'; a once"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, text, message):
    with pytest.raises(InvalidInput) as caught:
        read_settings(saved(tmp_path, text), "fednpg", FedNPGConfig)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_checkpoint_settings_and_sinks_are_named():
    with pytest.raises(InvalidInput, match="checkpoints: got often; known settings: checkpoint_e"):
        settings_from(CheckpointSettings, {"often": 1}, "checkpoints")
    with pytest.raises(InvalidInput, match="sinks: got 'paper'; a list of jsonl"):
        sink_names(["paper"])


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (FedNPGConfig(problem="random-mdp", problem_args=("discount=9e-1",)), "discount", 0.9),
        (FedNPGConfig(problem="random-mdp", problem_args=("budget_fraction=7e-1",)), "notes", None),
    ],
)
def test_arguments_of_problems_are_numbers(config, name, value):
    cmdp = load_configured(config).cmdp
    assert value is None or getattr(cmdp, name) == value


def test_there_is_one_set_of_defaults():
    defaults = HeteroConfig()
    assert LossChoices() == LossChoices(*(getattr(defaults, n) for n in LossChoices._fields))
    assert not Choices._field_defaults
