"""The reference that merges once, at the end: agents that learn alone until then."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax
import numpy as np

from fedjax_rl.families.networks.assembly import DeepPrepared
from fedjax_rl.families.networks.history import Evaluations
from fedjax_rl.learners.deep.evaluation import evaluate
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.ops.moments import Moments, pooled
from fedjax_rl.precision import precision


@precision(False)
def merged_at_the_end(policy: DeepShared) -> DeepShared:
    """The mean of every seed's policies: leading axes [K, P] become [K, 1]."""
    mean: DeepShared = jax.tree.map(lambda leaf: leaf.mean(1, keepdims=True), policy)
    if policy.observations is None:
        return mean
    agents = policy.observations.mean.shape[1]
    each = [jax.tree.map(lambda leaf, i=i: leaf[:, i], policy.observations) for i in range(agents)]

    def both(left: Moments, right: Moments) -> Moments:
        moments: Moments = jax.vmap(pooled)(left, right)
        return moments

    together = reduce(both, each)
    return mean._replace(observations=jax.tree.map(lambda leaf: leaf[:, None], together))


@precision(False)
def evaluated_at_the_end(
    policy: DeepShared, last: Evaluations, prepared: DeepPrepared
) -> Evaluations:
    """One evaluation [1, K, 1] of the merged policies, at the last round's counts.

    Args:
        policy: leading axes [K, 1].
        last: evaluations of the agents alone.
        prepared: the run.
    """
    config = prepared.config
    seeds = config.seed + np.arange(config.seeds)
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), config.rounds))(seeds)
    episodes = -(-config.episodes // prepared.num_agents) * prepared.num_agents
    play: Any = jax.jit(
        jax.vmap(
            lambda key, shared, params: evaluate(key, shared, params, prepared.design, episodes),
            (0, 0, None),
        )
    )
    first = jax.tree.map(lambda leaf: leaf[:, 0], policy)
    seen = play(keys, first, prepared.agents.params)
    parts = [np.asarray(leaf, np.float64)[None, :, None] for leaf in seen]
    return Evaluations(last.round[-1:], last.environment_steps[-1:], *parts)
