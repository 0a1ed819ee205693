"""Worker: PPO of rejax on gymnax's CartPole, without its evaluations. Runs in rejax's Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from peer_worker import serve
from rejax import PPO


def prepare(configuration: dict[str, Any]) -> Callable[[int], object]:
    """The loop of ``PPO.train`` between two evaluations, from a train state it keeps."""
    algorithm = PPO.create(
        env="CartPole-v1",
        agent_kwargs={"hidden_layer_sizes": (64, 64), "activation": "tanh"},
        num_envs=configuration["environments"],
        num_steps=configuration["steps"],
        num_epochs=configuration["epochs"],
        num_minibatches=configuration["minibatches"],
        learning_rate=3e-4,
        gamma=0.99,
        gae_lambda=0.95,
        clip_eps=0.2,
        vf_coef=0.5,
        ent_coef=0.01,
        max_grad_norm=0.5,
        normalize_observations=False,
        normalize_rewards=False,
    )

    @jax.jit
    def iterate(state: Any, iterations: int) -> Any:
        return jax.lax.fori_loop(
            0, iterations, lambda _, state: algorithm.train_iteration(state), state
        )

    state = jax.jit(algorithm.init_state)(jax.random.PRNGKey(0))

    def run(iterations: int) -> None:
        nonlocal state
        state = jax.block_until_ready(iterate(state, iterations))

    return run


if __name__ == "__main__":
    serve(prepare)
