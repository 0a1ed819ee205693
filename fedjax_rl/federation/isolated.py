"""The reference without communication: agents that learn alone, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.federation.round import AgentMap, FederationSettings

AGENT_AXES: Any = FederationSettings(0, None, None, None)
"""Where the settings of a federation have an axis of agents."""


def as_federation_of_one(settings: FederationSettings) -> FederationSettings:
    """Settings whose ``agents`` is a single agent, with the axis N = 1 put back."""
    return settings._replace(agents=jax.tree.map(lambda leaf: leaf[None], settings.agents))


def isolated(
    alone: Algorithm,
    num_agents: int,
    axes: Pytree,
    own: Callable[[Any], Any],
    *,
    common_start: bool = False,
    agent_map: AgentMap = jax.vmap,
) -> Algorithm:
    """N copies of an algorithm of one agent, each with its own agent of the settings.

    Args:
        alone: a federation of one agent, observed or not.
        num_agents: N, the leading axis of the agents in its settings.
        axes: like the settings (or a prefix of them), 0 where a leaf has the axis of agents.
        own: settings without that axis -> settings of a federation of one.
        common_start: whether all agents are initialised with the same key, as the members of a
            federation are: networks that start apart have no meaningful mean.
        agent_map: maps a function of one agent over agents, like `jax.vmap`.

    Returns:
        An algorithm whose state and info have a leading axis N.
    """

    def keys(key: jax.Array) -> jax.Array:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_agents))

    def init(key: jax.Array, hparams: Any) -> Pytree:
        each = agent_map(lambda key, hparams: alone.init(key, own(hparams)), (0, axes))
        together = jnp.broadcast_to(key, num_agents) if common_start else keys(key)
        return each(together, hparams)

    def observe(state: Pytree, hparams: Any) -> Pytree:
        each = agent_map(lambda state, hparams: alone.observe(state, own(hparams)), (0, axes))
        return each(state, hparams)

    def step(
        key: jax.Array, round: jax.Array, state: Pytree, hparams: Any
    ) -> tuple[Pytree, Pytree]:
        def one(key: jax.Array, round: jax.Array, state: Pytree, hparams: Any) -> Any:
            return alone.step(key, round, state, own(hparams))

        return agent_map(one, (0, None, 0, axes))(keys(key), round, state, hparams)

    def agent_axes(state: Pytree) -> Pytree:
        return jax.tree.map(lambda _: 0, state)

    report = jax.vmap(alone.report)
    return Algorithm(init, step, observe, agent_axes, report, float64=alone.float64)
