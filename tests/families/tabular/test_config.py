"""Settings are validated once and survive a round trip."""

import dataclasses

import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.settings.files import read_settings, settings_to_yaml
from fedjax_rl.settings.values import named_values

pytestmark = pytest.mark.timeout(30)


def test_round_trip(tmp_path):
    config = FedNPGConfig(
        problem="random-mdp",
        problem_args=("states=7",),
        budgets=(1.0, 2.5),
        step_size=0.25,
        seed=3,
        reference="omniscient",
    )
    path = tmp_path / "config.yaml"
    path.write_text(settings_to_yaml("fednpg", dataclasses.asdict(config), {"jax": "0.10.1"}))
    assert read_settings(path, "fednpg", FedNPGConfig) == (config, {"jax": "0.10.1"})


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("rounds", 0, "--rounds: got 0; a whole number of at least 1"),
        ("rounds", 2.5, "--rounds: got 2.5; a whole number"),
        ("local_steps", -1, "--local-steps: got -1"),
        ("log_every", 0, "--log-every: got 0"),
        ("agents", 0, "--agents: got 0"),
        ("participants", 0, "--participants: got 0"),
        ("seed", -1, "--seed: got -1"),
        ("rollouts", 0, "--rollouts: got 0"),
        ("step_size", 0.0, "--step-size: got 0.0; auto or a positive number"),
        ("step_size", -1.0, "--step-size: got -1.0"),
        ("step_size", float("nan"), "--step-size: got nan"),
        ("dual_step_size", float("inf"), "--dual-step-size: got inf"),
        ("step_size", "fast", "--step-size: got fast; auto or a positive number"),
        ("multiplier_cap", 0.0, "--multiplier-cap: got 0.0; auto or a positive number"),
        ("evaluation", "guessed", "--evaluation: got 'guessed'; one of exact, sampled"),
        ("reference", "all-seeing", "--reference: got 'all-seeing'; one of fed, omniscient"),
        ("problem_args", ("states",), "--problem-args: got 'states'; NAME=VALUE"),
    ],
)
def test_each_setting_names_field_value_and_what_is_allowed(setting, value, message):
    with pytest.raises(InvalidInput) as caught:
        FedNPGConfig(**{setting: value})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rounds: [", "valid YAML"),
        ("- 1", "a YAML mapping"),
        ("roundz: 5", "config: got roundz; known settings"),
        ("rounds: many", "--rounds: got many"),
        ("algorithm: fedppo", "of algorithm fednpg"),
        ("problem: 3", "--problem: got 3; a name"),
        ("merge: null", "--merge: got None; a name"),
        ("learner: [1]", "--learner: got [1]; a name"),
        ("made_with: old", "made_with: got 'old'; a mapping"),
    ],
)
def test_a_config_file_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_settings(path, "fednpg", FedNPGConfig)
    assert message in str(caught.value)


def test_a_config_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInput, match="a readable YAML file"):
        read_settings(tmp_path / "nothing.yaml", "fednpg", FedNPGConfig)


def test_problem_arguments_are_read_as_yaml():
    entries = ("states=20", "budget-fraction=0.5", "infeasible=keep")
    assert named_values("--problem-args", entries) == {
        "states": 20,
        "budget_fraction": 0.5,
        "infeasible": "keep",
    }


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("step_size: 1e-3")
    assert read_settings(path, "fednpg", FedNPGConfig)[0].step_size == 0.001
