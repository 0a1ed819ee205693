"""The static choices of a deep learner, fixed when it is built."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fedjax_rl.envs.task import Task, is_discrete
from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.policies.distributions import Distribution, categorical, diagonal_gaussian
from fedjax_rl.policies.networks import Network, actor, bounded, critic


class Choices(NamedTuple):
    """Static settings, which shape the program; all others are traced.

    Attributes:
        envs: B, environments of each agent.
        rollout: T, steps of each environment in a local step.
        epochs: passes over a rollout.
        minibatches: into which a pass is dealt; divides T.
        hidden: widths of the hidden layers of every network.
        activation: of the hidden layers.
        duals: ``multiplicative``, ``pid``, ``gradient`` or ``crpo``.
        cost_surrogate: ``clipped`` or ``unclipped``.
        standardize: whether the Lagrangian's advantage is brought to deviation 1.
        kl_stop: whether an update stops at ``kl_limit``.
        adapts_pace: whether the policy's learning rate aims at ``kl_target``.
        share_critic: whether the reward critic is merged along with the actor.
        weigh_merge: whether agents count in the merge by what divided their objectives.
        common_preconditioner: whether all agents divide the actor's steps by the same numbers.
        scale_observations: ``small``, ``all`` or ``none``; by running moments, merged along with
            the actor.
        scale_returns: whether critics predict in units of the returns' size.
        common_step: whether natural steps are those of the whole Lagrangian, common to all agents.
        conjugate_steps: iterations of the conjugate gradient of a natural step.
        line_search_steps: halvings of a natural step at most.
    """

    envs: int
    rollout: int
    epochs: int
    minibatches: int
    hidden: tuple[int, ...]
    activation: str
    duals: str
    cost_surrogate: str
    standardize: bool
    kl_stop: bool
    adapts_pace: bool
    share_critic: bool
    weigh_merge: bool
    common_preconditioner: bool
    scale_observations: str
    scale_returns: bool
    common_step: bool
    conjugate_steps: int
    line_search_steps: int


DUAL_RULES = ("multiplicative", "pid", "gradient", "crpo")
COST_SURROGATES = ("clipped", "unclipped")
COUNTS = ("envs", "rollout", "epochs", "minibatches", "conjugate_steps", "line_search_steps")


class Design(NamedTuple):
    """A task with networks of the right sizes.

    Attributes:
        task: what is learned.
        choices: see `Choices`.
        distribution: of actions.
        actor: observation -> parameters of the distribution.
        critic: observation -> value of the reward [1].
        cost_critic: observation and time left -> value of each watched cost [K].
        features: D, numbers in an observation.
        slots: K, constraints an agent watches at most.
        low, high: bounds of a vector of actions.
    """

    task: Task
    choices: Choices
    distribution: Distribution
    actor: Network
    critic: Network
    cost_critic: Network
    features: int
    slots: int
    low: np.ndarray
    high: np.ndarray

    @property
    def cuts(self) -> int:
        """L, how often a time limit can cut an environment in T steps."""
        limit = self.task.time_limit
        return 0 if limit is None else -(-self.choices.rollout // limit)


def design_of(task: Task, slots: int, choices: Choices) -> Design:
    """Networks for a task.

    Args:
        task: what is learned.
        slots: K, constraints an agent watches at most.
        choices: sizes, and everything else that is static.

    Raises:
        InvalidInput: a count below one, minibatches that do not divide the rollout, an unknown
            rule, activation or surrogate, or a kind of actions that no policy here has.

    Examples:
        An actor with a hidden layer of 4 for one observed number and two actions: 2 · 4 + 5 · 2
        weights.

        >>> import jax
        >>> from fedjax_rl.cmdp import from_arrays
        >>> from fedjax_rl.envs.finite import finite_task
        >>> from fedjax_rl.families.networks.config import DeepConfig
        >>> from fedjax_rl.families.networks.traced import choices_of
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> small = choices_of(DeepConfig(hidden=(4,), envs=4, rollout=8))
        >>> design = design_of(finite_task(coin, "coin"), 1, small)
        >>> weights = jax.eval_shape(design.actor.init, jax.random.key(0))
        >>> sum(leaf.size for leaf in jax.tree.leaves(weights))
        18
    """
    for name in COUNTS:
        if getattr(choices, name) < 1:
            field = name if name == "line_search_steps" else flag(name)  # which has no option
            raise InvalidInput(field, getattr(choices, name), "at least 1")
    if choices.rollout % choices.minibatches:
        raise InvalidInput(
            "--minibatches", choices.minibatches, f"a divisor of --rollout {choices.rollout}"
        )
    for name, known in (("duals", DUAL_RULES), ("cost_surrogate", COST_SURROGATES)):
        if getattr(choices, name) not in known:
            value = repr(getattr(choices, name))
            raise InvalidInput(flag(name), value, f"one of {', '.join(known)}")
    if choices.duals == "crpo" and not slots:
        raise InvalidInput("--duals", "'crpo'", "another rule where no cost is watched")
    space = task.environment.action_space(task.params)
    observations = task.environment.observation_space(task.params)
    features = int(np.prod(observations.shape, dtype=int))
    low = high = np.zeros(0, np.float32)
    if is_discrete(task):
        distribution = categorical(int(space.n))
    else:
        if len(space.shape) != 1:
            raise InvalidInput("--problem", task.name, f"a box of actions [D], not {space.shape}")
        (dimension,) = space.shape
        distribution = diagonal_gaussian(dimension)
        low = np.broadcast_to(np.asarray(space.low, np.float32), (dimension,))
        high = np.broadcast_to(np.asarray(space.high, np.float32), (dimension,))
    hidden, activation = choices.hidden, choices.activation
    policy = actor(distribution, features, hidden, activation)
    return Design(
        task=task,
        choices=choices,
        distribution=distribution,
        actor=bounded(policy, low, high) if len(low) else policy,
        critic=critic(features, 1, hidden, activation),
        cost_critic=critic(features + 1, slots, hidden, activation),
        features=features,
        slots=slots,
        low=low,
        high=high,
    )


def flat(observation: object) -> jnp.ndarray:
    """An observation of any shape as float32 [D]."""
    return jnp.ravel(observation).astype(jnp.float32)  # type: ignore[arg-type]
