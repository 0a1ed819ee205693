"""Settings of runs on stale data, good and bad."""

import dataclasses

import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.hetero.latency import QuantileSettings
from fedjax_rl.settings.files import read_settings, settings_to_yaml
from fedjax_rl.settings.own import extended
from tests.sweeps.axes import EVERY_LOSS

COUNTS = """
    samplers prompts steps layers width heads evaluate_every held_out on_policy seeds log_every
    pacing
"""
POSITIVE = """
    learner_seconds latency_low latency_high temperature gradient_norm tis_cap cispo_cap gmpo_clip
    trace_rho trace_c learning_rate top_p
"""
NOT_NEGATIVE = """
    latency_offset travel_seconds jitter clip_low clip_high length_exponent kl_threshold kl_weight
"""
BAD = [
    *((name, value) for name in COUNTS.split() for value in (0, -1, 1.5, "4", True, 2**31)),
    *((name, value) for name in POSITIVE.split() for value in (0, -0.1, float("nan"), "x", True)),
    *((name, value) for name in NOT_NEGATIVE.split() for value in (-1, float("nan"), "x", None)),
    *((n, value) for n in ("label_noise", "defensive", "baseline") for value in (-0.1, 1.1, "x")),
    *((name, value) for name in ("packet_loss", "warm_start") for value in (-0.1, 1.0, "x")),
    *(("group_size", value) for value in (1, 0, -8, 2.0)),
    *((name, value) for name in ("window", "top_k", "seed") for value in (-1, 0.5, "1", 2**31)),
    *(("top_p", value) for value in (1.01, float("inf"))),
    *(("sampler_seconds", value) for value in ((), (0.0,), (-1.0,), (1.0, 2.0), ("x",), 3.0)),
    *(("task_args", value) for value in ("length=3", ("length",), (3,), None)),
    *((name, value) for name in ("task", "latency") for value in ("", 5, None)),
    *((n, "nope") for n in ("policy", "dtype", "discard", "sequence_weight", "denominator", "kl")),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case[0]}={case[1]!r}")
def test_a_bad_value_is_named_in_one_line(case):
    field, value = case
    with pytest.raises(InvalidInput) as caught:
        extended(HeteroConfig, EVERY_LOSS, QuantileSettings)(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"--{field.replace('_', '-')}: got ")
    assert "\n" not in message


def test_a_config_file_is_complete(tmp_path):
    config = HeteroConfig(
        window=3,
        samplers=2,
        sampler_seconds=(1.0, 2.5),
        learning_rate=1e-3,
        task_args=("length=4",),
    )
    path = tmp_path / "config.yaml"
    path.write_text(settings_to_yaml("gepo", dataclasses.asdict(config), {"jax": "0"}))
    assert read_settings(path, "gepo", HeteroConfig) == (config, {"jax": "0"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("algorithm: gspo", "a config.yaml of algorithm gepo"),
        ("windows: 3", "--config: got windows; known settings: "),
        ("[1, 2]", "a YAML mapping"),
        ("a: [", "valid YAML"),
        ("made_with: 3", "made_with: got 3"),
        ("window: -3", "--window: got -3"),
        ("steps: many", "--steps: got many"),
    ],
)
def test_a_config_file_that_does_not_fit_is_refused(text, message, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_settings(path, "gepo", HeteroConfig)
    assert message in str(caught.value)
