"""A world small enough to work out by hand, and federations of tiny networks in it."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams, EnvState

from fedjax_rl.algorithm import Time
from fedjax_rl.envs.task import Constraint, constrained, vary
from fedjax_rl.execution.train import start, train
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.learners.deep.agent import DeepSettings, deep_agents
from fedjax_rl.learners.deep.design import Choices, design_of
from fedjax_rl.learners.deep.natural import natural
from fedjax_rl.learners.deep.ppo import ppo
from fedjax_rl.ops.duals import DualSettings
from fedjax_rl.policies.networks import Network

LEARNERS = {"ppo": ppo, "natural": natural}
TIME = Time(1, 0)


@struct.dataclass
class RunOutput(EnvState):
    position: Any


@struct.dataclass
class StripParams(EnvParams):
    max_steps_in_episode: int = 4
    stride: float = 1.0
    goal: float = 3.0
    spread: float = 0.0


class Strip(Environment):
    """A walker on a line: action 1 is a stride ahead, action 0 a rest; it ends at the goal.

    The reward is 1 + the place it comes to. Nothing is random but the start, and only if spread.
    """

    @property
    def default_params(self):
        return StripParams()

    def reset_env(self, key, params):
        state = RunOutput(time=0, position=params.spread * jax.random.uniform(key))
        return self.seen(state), state

    def step_env(self, key, state, action, params):
        moved = state.position + params.stride * action
        state = RunOutput(time=state.time + 1, position=moved)
        return self.seen(state), state, 1.0 + moved, self.is_terminated(state, params), {}

    def seen(self, state):
        return jnp.stack([jnp.asarray(state.position, float), jnp.asarray(state.time, float)])

    def is_terminated(self, state, params):
        return state.position >= params.goal

    def action_space(self, params):
        return spaces.Discrete(2)

    def observation_space(self, params):
        return spaces.Box(0.0, np.inf, (2,))


class Slope(Strip):
    """The same walker with strides of any length between −1 and 1."""

    def step_env(self, key, state, action, params):
        return super().step_env(key, state, action[0], params)

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))


def position(state, action, after):
    """1 + the place before the step."""
    return 1.0 + state.position


def effort(state, action, after):
    """How far the step went."""
    return after.position - state.position


def strip(*kinds, budgets=None, environment=Strip, **params):
    """The walker's task; costs are position and effort in turn."""
    budgets = (2.0,) * len(kinds) if budgets is None else budgets
    constraints = [
        Constraint(f"cost-{index}", (position, effort)[index % 2], budget, kind)
        for index, (kind, budget) in enumerate(zip(kinds, budgets, strict=True))
    ]
    return constrained(
        "strip",
        environment(),
        constraints,
        params=StripParams(**params),
        discount=0.9,
        cost_discount=0.5,
    )


TINY = Choices(
    envs=4,
    rollout=16,
    epochs=2,
    minibatches=2,
    hidden=(8,),
    activation="tanh",
    duals="gradient",
    cost_surrogate="unclipped",
    standardize=True,
    kl_stop=False,
    adapts_pace=False,
    share_critic=True,
    weigh_merge=False,
    common_preconditioner=False,
    scale_observations="none",
    scale_returns=True,
    common_step=False,
    conjugate_steps=10,
    line_search_steps=10,
)
SETTINGS = DeepSettings(
    learning_rate=1e-2,
    learning_rate_decay=0.5,
    total_updates=20.0,
    clip=0.1,
    discount=0.9,
    gae_decay=0.8,
    cost_gae_decay=0.7,
    entropy_weight=0.01,
    kl_target=0.01,
    kl_limit=0.02,
    gradient_norm=0.5,
    duals=DualSettings(0.5, 0.2, 0.3, 0.4, 0.5, 10.0, 0.0, 0.05, 0.4, 0.1),
    margin=0.1,
    tolerance=0.0,
    radius=0.01,
    damping=0.1,
)


def settings(duals=None, **changes):
    """Settings as single-precision numbers, some of them changed."""
    changed = SETTINGS._replace(duals=SETTINGS.duals._replace(**(duals or {})), **changes)
    return jax.tree.map(np.float32, changed)


def designed(task, slots, **choices):
    return design_of(task, slots, TINY._replace(**choices))


def agents_of(task, access, varied=None, **options):
    """The agents of an access matrix, some dynamics their own."""
    access = np.array(access, bool)
    return deep_agents(task, access, vary(task, varied or {}, len(access)), **options)


def agent_at(agents, index):
    """One agent without the axis N."""
    return jax.tree.map(lambda leaf: leaf[index], agents)


def scripted(design, logits):
    """The design with a policy of its own: observations [..., D] -> logits [..., A]."""
    return design._replace(actor=Network(lambda key: {}, lambda parameters, seen: logits(seen)))


def always(action):
    """Logits of a policy that knows only one of two actions."""
    sure = jnp.array([-50.0, 50.0]) * (1 if action else -1)
    return lambda seen: jnp.broadcast_to(sure, (*seen.shape[:-1], 2))


WORLDS = {
    "two": strip("episode", "step", budgets=(4.0, 0.2), max_steps_in_episode=5, spread=0.9),
    "three": strip(
        *("episode", "step", "discounted"),
        budgets=(4.0, 0.2, 2.0),
        max_steps_in_episode=5,
        spread=0.9,
    ),
    "endless": strip(
        *("episode", "step", "discounted"),
        budgets=(400.0, 0.2, 1.5),
        max_steps_in_episode=50,
        goal=np.inf,
    ),
    "slope": strip(
        *("episode", "step", "discounted"),
        budgets=(4.0, 0.1, 2.0),
        max_steps_in_episode=5,
        spread=0.9,
        environment=Slope,
        goal=1.5,
    ),
}


@functools.cache
def federation(world, learner, slots, num_agents, local_steps=1, **choices):
    """Federated agents of one of the worlds, built once for each of its arguments.

    Whatever runs it later, with other rounds or settings, may not trace it again.
    """
    design = designed(WORLDS[world], slots, **choices)
    made = LEARNERS[learner](design)
    algorithm = federate(made, parameter_mean(), num_agents=num_agents, local_steps=local_steps)
    return design, made, algorithm._replace(step=traced_once(algorithm.step))


def traced_once(function):
    """The function, which fails where it is traced again; running it without a trace is free.

    As `chex.assert_max_traces`, which counts functions of one name together.
    """
    traces = []

    @functools.wraps(function)
    def counted(*arguments):
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments)):
            traces.append(function)
        assert len(traces) <= 1, "traced again"
        return function(*arguments)

    return counted


@functools.cache
def single_step(learner, local_steps=1, **choices):
    """The compiled local step of one agent of a federation of two in world "two"."""
    _, made, _ = federation("two", learner, 2, 2, local_steps, **choices)
    return jax.jit(made.step)


def run(algorithm, agents, rounds, seed=0, **changes):
    """The state after so many rounds and the info of all of them."""
    key = jax.random.key(seed)
    hparams = FederationSettings(agents, settings(**changes))
    state, _ = start(algorithm, key, hparams)
    first, infos = state, []
    for span in train(algorithm, key, state, hparams, rounds=rounds, span_rounds=4):
        infos.append(span.info)
        assert span.failed_round is None
    info = jax.tree.map(lambda *parts: np.concatenate(parts), *infos)
    return first, span.state, info


def step_key(seed, round, agent, local_step=0, local_steps=1):
    """The key of one local step, as a run derives it from its seed."""
    _, _, key_agents = jax.random.split(jax.random.fold_in(jax.random.key(seed), round), 3)
    return jax.random.split(jax.random.fold_in(key_agents, agent), local_steps)[local_step]


MIXED = [[1, 1], [0, 1]]
"""Of the costs of world "two", agent 0 watches both and agent 1 one, so it has a padded slot."""
STRIDES = {"stride": [1.0, 0.7]}


def mixed_agents(**options):
    return agents_of(WORLDS["two"], MIXED, STRIDES, **options)


def close(left, right, rtol=1e-5, atol=2e-6):
    """Asserts that two pytrees hold the same numbers."""
    left, right = jax.device_get(left), jax.device_get(right)
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


def moved(before, after):
    """The largest change of any number, to see that a comparison was not between standstills."""
    changes = jax.tree.map(
        lambda old, new: np.abs(np.asarray(new) - np.asarray(old)).max(),
        jax.device_get(before),
        jax.device_get(after),
    )
    return max(jax.tree.leaves(changes))
