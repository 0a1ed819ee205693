"""From settings to what the program of networks is built from, and what is traced."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from fedjax_rl.envs.task import Task, is_discrete
from fedjax_rl.families.networks.config import DeepConfig, aggregator_of, takes_common_steps
from fedjax_rl.learners.deep.agent import DeepSettings
from fedjax_rl.learners.deep.design import Choices
from fedjax_rl.ops.duals import DualSettings
from fedjax_rl.settings.own import own_values

LINE_SEARCH_STEPS = 10
"""Halvings of a natural step at most."""
AUTO_CAP = 10.0
"""Of multipliers, in returns per budget, and the least in reward per cost (`ops.duals.caps`)."""


STEPS, STEPS_AT_MOST = 200, 1000
"""Of an environment in a rollout, unless given."""
SAMPLES, ENVS = 6400, (8, 32)
"""In a rollout, and the number of environments for it, unless given."""
ENTROPY = {True: 0.01, False: 0.0}
"""Weight of the bonus for discrete actions, and for others, whose entropy has no bound."""


def merge_settings(config: DeepConfig) -> Any:
    """The aggregator's own settings, traced."""
    return own_values(config, aggregator_of(config.merge).settings, np.float32)


def sized(config: DeepConfig, task: Task) -> DeepConfig:
    """The settings with numbers of environments and steps that fit the task.

    A rollout is of whole episodes where they are not too long, so that every round sees some end;
    minibatches deal it evenly.

    Args:
        config: settings in which either may be ``auto``.
        task: for its time limit.
    """
    steps, envs = config.rollout, config.envs
    if steps == "auto":
        limit = task.time_limit
        whole = STEPS if limit is None else limit * max(1, STEPS // limit)
        steps = -(-min(whole, STEPS_AT_MOST) // config.minibatches) * config.minibatches
    if envs == "auto":
        envs = int(np.clip(-(-SAMPLES // (4 * steps)) * 4, *ENVS))
    return dataclasses.replace(config, envs=envs, rollout=steps)


def choices_of(config: DeepConfig) -> Choices:
    """The static part of the settings, whose sizes are numbers (`sized`)."""
    assert config.envs != "auto" and config.rollout != "auto"
    return Choices(
        envs=config.envs,
        rollout=config.rollout,
        epochs=config.epochs,
        minibatches=config.minibatches,
        hidden=tuple(config.hidden),
        activation=config.activation,
        duals=config.duals,
        cost_surrogate=config.cost_surrogate,
        standardize=config.standardize,
        kl_stop=config.kl_limit != "none",
        adapts_pace=config.kl_target != "none",
        share_critic=config.share == "actor-and-critic",
        weigh_merge=config.merge_by == "lagrangian",
        common_preconditioner=config.preconditioner == "common",
        scale_observations=config.scale_observations,
        scale_returns=config.scale_returns,
        common_step=takes_common_steps(config.natural_step, config.local_steps),
        conjugate_steps=config.conjugate_steps,
        line_search_steps=LINE_SEARCH_STEPS,
    )


def settings_of(config: DeepConfig, task: Task) -> DeepSettings:
    """The traced part, strongly typed so that no value is compiled in."""
    automatic = config.multiplier_cap == "auto"
    settings: Any = DeepSettings(
        learning_rate=config.learning_rate,
        learning_rate_decay=config.learning_rate_decay,
        total_updates=config.rounds * config.local_steps,
        clip=config.clip,
        discount=task.discount if config.discount is None else config.discount,
        gae_decay=config.gae,
        cost_gae_decay=config.cost_gae,
        entropy_weight=(ENTROPY[is_discrete(task)] if config.entropy == "auto" else config.entropy),
        kl_target=np.inf if config.kl_target == "none" else config.kl_target,
        kl_limit=np.inf if config.kl_limit == "none" else config.kl_limit,
        gradient_norm=config.gradient_norm,
        duals=DualSettings(
            step_size=config.dual_step_size,
            proportional=config.proportional_gain,
            integral=config.integral_gain,
            derivative=config.derivative_gain,
            smoothing=config.dual_smoothing,
            cap=AUTO_CAP if automatic else config.multiplier_cap,
            cap_in_returns=AUTO_CAP if automatic else 0.0,
            floor=config.multiplier_floor,
            penalty_share=config.penalty_share,
            insistence=config.insistence,
        ),
        margin=config.budget_margin,
        tolerance=config.tolerance,
        radius=config.radius,
        damping=config.damping,
    )
    typed: DeepSettings = jax.tree.map(np.float32, settings)
    return typed
