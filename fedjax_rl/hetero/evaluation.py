"""How often a policy is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.hetero.rollout import Sampling, generator
from fedjax_rl.hetero.tasks.task import TokenTask
from fedjax_rl.policies.tokens import TokenPolicy


def accuracy(
    task: TokenTask, policy: TokenPolicy, top_k: int = 0
) -> Callable[[Any, Pytree, Any, Sampling], jax.Array]:
    """The function (key, parameters, prompts [N, ·], sampling) -> share of right answers.

    One response is sampled to each prompt. Rewards are exact here, whatever noise the training
    sees; hand it prompts of `tasks.split.split(task).held_out`. The error of the share is
    √(a(1 − a)/N).

    Raises:
        InvalidInput: a negative ``top_k``.
    """
    generate = generator(policy, task.end_token, top_k)

    def right(key: Array, parameters: Pytree, prompt: Array, sampling: Sampling) -> jax.Array:
        response = generate(key, parameters, prompt, sampling)
        reward: jax.Array = task.reward(prompt, response.tokens, response.mask)
        return reward

    def share(key: Array, parameters: Pytree, prompts: Array, sampling: Sampling) -> jax.Array:
        keys = jax.random.split(key, len(prompts))
        return jnp.mean(jax.vmap(right, (0, None, 0, None))(keys, parameters, prompts, sampling))

    return share
