"""Worker: PPO of stable-baselines3 on gymnasium's CartPole, on the CPU. Runs in its own Python.

Without the ``Monitor`` around every environment, which would only make it slower. Torch's
threads wait for one another by spinning: beside another busy process all its cores are several
times slower than one, so ``threads`` may be set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import torch
from peer_worker import serve
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv


def prepare(configuration: dict[str, Any]) -> Callable[[int], object]:
    """Rollouts and updates of one learner, continued by every call."""
    if "threads" in configuration:
        torch.set_num_threads(configuration["threads"])
    environments, steps = configuration["environments"], configuration["steps"]
    learner = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * environments),
        n_steps=steps,
        batch_size=steps * environments // configuration["minibatches"],
        n_epochs=configuration["epochs"],
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}},
        learning_rate=3e-4,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        vf_coef=0.5,
        ent_coef=0.01,
        max_grad_norm=0.5,
        seed=0,
        device="cpu",
    )

    def run(iterations: int) -> None:
        learner.learn(iterations * steps * environments, reset_num_timesteps=False)

    return run


if __name__ == "__main__":
    serve(prepare)
