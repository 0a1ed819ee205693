"""What holds of both poles on a cart under a continuous force."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.envs.task import Task


def check_a_balanced_episode_is_cut_after_500_steps(task: Task, gains: list[float]) -> None:
    """A linear feedback keeps the pole up and the cart near the middle."""
    key = jax.random.key(0)

    def one_step(state: Any, key: Any) -> Any:
        observation = task.environment.observe(key, state, None, task.params)
        _, after, reward, terminated, truncated, _ = task.environment.step(
            key, state, (jnp.array(gains) @ observation)[None], task.params
        )
        return after, (reward, terminated, truncated, state.time)

    _, state = task.environment.reset(key, task.params)
    last, (rewards, terminated, truncated, times) = jax.lax.scan(
        one_step, state, jax.random.split(key, 500)
    )
    assert rewards.sum() == 500
    assert not terminated.any()
    assert truncated.tolist() == [False] * 499 + [True]
    assert times.tolist() == list(range(500))
    assert last.time == 0


def check_starts_are_uniform(task: Task, most: float) -> None:
    """Within ± ``most`` in all four coordinates."""
    observations, _ = jax.vmap(task.environment.reset, (0, None))(
        jax.random.split(jax.random.key(0), 2000), task.params
    )
    assert observations.shape == (2000, 4)
    assert np.abs(observations).max() <= most
    np.testing.assert_allclose(observations.std(0), most / np.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(observations.mean(0), 0, atol=0.08 * most)
