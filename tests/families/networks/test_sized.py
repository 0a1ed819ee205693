"""How many environments and steps a local step has, unless given."""

from types import SimpleNamespace

import pytest

from fedjax_rl.envs.cartpole import cartpole_pos2
from fedjax_rl.envs.pendulum import pendulum
from fedjax_rl.families.networks.assembly import prepare
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.networks.traced import settings_of, sized


@pytest.mark.parametrize(
    ("limit", "rollout", "envs"),
    [
        (None, 200, 32),
        (1, 200, 32),
        (7, 196, 32),  # 28 episodes
        (15, 196, 32),  # 13 episodes of 15 are 195: up to a multiple of 4 minibatches
        (200, 200, 32),
        (201, 204, 32),
        (500, 500, 16),
        (999, 1000, 8),
        (100_000, 1000, 8),
    ],
)
def test_a_rollout_is_of_whole_episodes(limit, rollout, envs):
    found = sized(DeepConfig(), SimpleNamespace(time_limit=limit))
    assert (found.rollout, found.envs) == (rollout, envs)
    assert found.rollout % found.minibatches == 0


def test_what_is_given_stays():
    task = SimpleNamespace(time_limit=500)
    assert sized(DeepConfig(envs=3, rollout=12), task) == DeepConfig(envs=3, rollout=12)
    assert sized(DeepConfig(rollout=40), task).envs == 32, "and no hundreds of short ones"
    assert sized(DeepConfig(envs=5), task).rollout == 500
    assert sized(DeepConfig(minibatches=7), task).rollout == 504


def test_a_prepared_run_has_numbers():
    config = prepare("fedppo", DeepConfig(problem="cartpole-pos2", hidden=(4,))).config
    assert (config.envs, config.rollout) == (32, 200)


@pytest.mark.parametrize(("task", "entropy"), [(cartpole_pos2, 0.01), (pendulum, 0.0)])
def test_the_bonus_of_entropy_is_for_discrete_actions(task, entropy):
    settings = settings_of(DeepConfig(envs=4, rollout=8), task())
    assert float(settings.entropy_weight) == pytest.approx(entropy)
    given = settings_of(DeepConfig(envs=4, rollout=8, entropy=0.5), task())
    assert float(given.entropy_weight) == 0.5
