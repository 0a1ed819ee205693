"""Settings of networks: what is refused, presets, and the way through YAML."""

import dataclasses

import pytest
import yaml

from fedjax_rl.cli.run import base
from fedjax_rl.envs.cartpole import cartpole_pos2
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.assembly import prepare
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.networks.presets import PRESETS, preset
from fedjax_rl.families.networks.traced import choices_of, sized
from fedjax_rl.families.networks.training import fednatural, fedppo
from fedjax_rl.families.registry import family_of
from fedjax_rl.settings.files import read_settings, settings_to_yaml

COUNTS = """
    envs rollout local_steps rounds epochs minibatches conjugate_steps evaluate_every episodes
    window seeds log_every agents
"""
POSITIVE = "learning_rate clip gradient_norm multiplier_cap radius kl_limit"
NOT_NEGATIVE = """
    entropy dual_step_size tolerance damping proportional_gain integral_gain derivative_gain
    insistence
"""
SHARES = "budget_margin gae cost_gae learning_rate_decay dual_smoothing discount"
CHOICES = (
    "reference activation cost_surrogate share duals dual_units scale_observations preconditioner"
)
TEXTS = "problem merge access"

BAD = [
    *((name, value) for name in COUNTS.split() for value in (0, -1, 1.5, "4", True, 2**31)),
    *((name, value) for name in POSITIVE.split() for value in (0, -0.1, float("nan"), "x", True)),
    *((name, float("inf")) for name in POSITIVE.split()),
    *((name, value) for name in NOT_NEGATIVE.split() for value in (-1, float("nan"), "x", None)),
    *((name, value) for name in SHARES.split() for value in (-0.1, 1.1, float("nan"), "x")),
    *((name, value) for name in CHOICES.split() for value in ("nope", None, 1, ["pid"])),
    *(("confirm_episodes", value) for value in (0, 99, -1, 100.5, "400", "never", None, 2**31)),
    *((name, value) for name in TEXTS.split() for value in ("", 5, ["a"])),
    *(("seed", value) for value in (-1, 0.5, "1", 2**31)),
    *(("hidden", value) for value in ((), (0,), (8, -1), (8.0,), ("8",))),
    *((name, (value,)) for name in ("vary", "problem_args") for value in ("x", 3, "x=[1")),
]
"""Of settings from the command line, which have the right number of values."""
BAD_SHAPES = [
    *(("hidden", value) for value in (64, "88", None)),
    *((name, value) for name in ("vary", "problem_args") for value in (None, "a=1", 3)),
    *(("budgets", value) for value in (20, "20", ("x",), (True,))),
    *((name, value) for name in ("standardize", "scale_returns") for value in (3, "maybe", None)),
]
"""Of settings from a file, which may be anything."""


def named(pair):
    return f"{pair[0]}={pair[1]!r}"


@pytest.mark.parametrize("case", [*BAD, *BAD_SHAPES], ids=named)
def test_a_bad_value_is_named_in_one_line(case):
    field, value = case
    with pytest.raises(InvalidInput) as caught:
        DeepConfig(**{field: value})
    message = str(caught.value)
    assert message.startswith("--" + field.replace("_", "-") + ": got ") and "\n" not in message
    assert caught.value.allowed


def test_presets_are_whole_and_known_by_name():
    assert {"default", "paper"} <= set(PRESETS)
    assert preset("fedppo", "default") == {}
    paper = DeepConfig(**preset("fedppo", "paper"))
    assert (paper.learning_rate, paper.epochs, paper.kl_limit) == (1e-4, 20, 0.1)
    assert paper.envs * paper.rollout == 10_000 and paper.duals == "gradient"
    with pytest.raises(InvalidInput, match="--preset: got 'nope'; one of default, paper"):
        preset("fedppo", "nope")
    assert {*preset("fedppo", "paper")} - {*preset("fednatural", "paper")} == {
        "kl_target",
        "kl_limit",
    }


UNUSUAL = {
    "problem": "point-robot",
    "problem_args": ("kind=step",),
    "budgets": (1.0, 2.0, 3.0),
    "vary": ("top_speed=1,2", "goal_x=0,0.5"),
    "hidden": (8, 16, 4),
    "discount": 0.5,
    "kl_limit": 0.125,
    "agents": 2,
    "access": "who.yaml",
    "standardize": False,
    "learning_rate": 1e-5,
}


@pytest.mark.parametrize("settings", [{}, UNUSUAL, PRESETS["paper"]], ids=["plain", "odd", "paper"])
def test_yaml_gives_every_setting_back(tmp_path, settings):
    config, path = DeepConfig(**settings), tmp_path / "config.yaml"
    path.write_text(settings_to_yaml("fedppo", dataclasses.asdict(config), {"jax": "1"}))
    assert read_settings(path, "fedppo", DeepConfig) == (config, {"jax": "1"})
    document = yaml.safe_load(path.read_text())
    fields = {field.name for field in dataclasses.fields(DeepConfig)}
    assert set(document) == fields | {"algorithm", "made_with"}


def test_numbers_without_a_dot_are_numbers(tmp_path):
    (tmp_path / "config.yaml").write_text("learning_rate: 1e-4\n")
    assert read_settings(tmp_path / "config.yaml", "fedppo", DeepConfig)[0].learning_rate == 1e-4


BAD_FILES = {
    "- a list": "a YAML mapping of settings",
    "rounds: [": "valid YAML",
    "algorithm: fednpg": "a config.yaml of algorithm fedppo",
    "algorithm: fednatural": "a config.yaml of algorithm fedppo",
    "roundz: 5": "--config: got roundz; known settings: access, activation",
    "rounds: 0": "--rounds: got 0; a whole number of at least 1",
    "hidden: [8, x]": "--hidden: got x",
    "made_with: 3": "made_with: got 3; a mapping of versions",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_file_is_told_in_one_line(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_settings(path, "fedppo", DeepConfig)
    assert BAD_FILES[text] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("start", [fedppo, fednatural])
def test_wrong_settings_of_the_functions_are_named(start):
    with pytest.raises(InvalidInput, match="settings: got round; known: access"):
        start(round=10)
    with pytest.raises(InvalidInput, match="--rounds: got 0"):
        start(rounds=0)


GIVEN = {
    **{"vary": ("gain=1,2",), "access": "who.yaml", "merge_by": "equal"},
    **{"duals": "gradient", "dual_step_size": 0.3, "dual_units": "raw", "cost_gae": 0.5},
}
READ = {
    "fed": {*GIVEN},
    "omniscient": {*GIVEN} - {"vary", "access", "merge_by"},
    "no-communication": {*GIVEN} - {"merge_by"},
    "unconstrained": set(),
}


@pytest.mark.parametrize("reference", READ)
def test_a_reference_beside_a_run_has_the_settings_that_it_reads(reference):
    references = family_of("fedppo").references
    own = references.settings("fedppo", DeepConfig(**GIVEN, rounds=7), reference)
    assert own.rounds == 7 and own.reference == reference
    assert {name for name in GIVEN if getattr(own, name) != getattr(DeepConfig, name)} == {
        name for name in GIVEN if name in READ[reference]
    }


@pytest.mark.parametrize("name", GIVEN)
def test_what_a_reference_does_not_read_is_refused(name):
    company = {"duals": "gradient"} if name in ("dual_step_size", "dual_units") else {}
    for reference, read in READ.items():
        settings = {name: GIVEN[name], **company, "reference": reference}
        if name in read:
            DeepConfig(**settings)
            continue
        with pytest.raises(InvalidInput, match="only with --reference fed"):
            DeepConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"natural_step": "common", "local_steps": 2},
            "--natural-step: got common; auto or own with --local-steps 2",
        ),
        ({"merge_by": "equal"}, "--merge-by: got equal; only with --natural-step own"),
    ],
)
def test_what_common_natural_steps_exclude_is_refused(settings, message):
    with pytest.raises(InvalidInput, match=message):
        prepare("fednatural", DeepConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "common"),
    [
        ({}, True),
        ({"natural_step": "common"}, True),
        ({"natural_step": "own"}, False),
        ({"local_steps": 2}, False),
    ],
)
def test_natural_steps_are_common_where_agents_merge_after_every_one(settings, common):
    config = sized(DeepConfig(**settings), cartpole_pos2())
    assert choices_of(config).common_step == common


@pytest.mark.parametrize(
    ("flags", "gone"),
    [
        (["--duals", "pid"], {"dual_step_size"}),
        (
            ["--reference", "unconstrained"],
            {"duals", "dual_units", "dual_step_size", "multiplier_cap", "budget_margin"},
        ),
        (["--reference=no-communication"], {"merge_by"}),
        (["--reference=fed"], set()),
        (["--reference", "["], {*PRESETS["paper"]} & {"duals", "dual_units"}),
    ],
)
def test_a_preset_leaves_out_what_has_no_effect_beside_the_flags(flags, gone):
    """What is no value at all is refused where flags are read, and not here."""
    settings, _ = base(family_of("fedppo"), "fedppo", ["--preset", "paper", *flags])
    given = preset("fedppo", "paper")
    differs = {name for name in given if getattr(settings, name) != given[name]}
    assert gone <= differs and (gone or not differs)
