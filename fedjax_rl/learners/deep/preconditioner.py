"""What divides the actor's steps where all agents have it in common, so that steps add up.

Adam divides every agent's gradient by the size of that agent's own. Where all divide by the same
numbers, steps are linear in gradients, and their mean is the step on the mean gradient (common
second moments: arXiv 2510.27486).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree

MEMORY = 0.9
"""Share of the old second moment that a round keeps, about ten rounds. Adam's 0.999 is for noisy
minibatches, of which a run has thousands; it has about a hundred rounds, and each gradient is a
mean over whole rollouts of all agents."""
FLOOR = 0.1
"""Of the root mean square over all parameters, added to each one's own."""


def divisors(second_moment: Pytree) -> Pytree:
    """√v + 0.1 √mean(v), like the actor; 1 before the first merge, whose steps are plain ones.

    Unlike Adam's, v does not know the gradient that is divided by it. A parameter that had none
    for long would leap as soon as it has one, but for the second term.

    Args:
        second_moment: v, like the actor; 0 before the first merge.
    """
    mean = _mean(second_moment)
    return jax.tree.map(
        lambda v: jnp.where(mean > 0.0, jnp.sqrt(v) + FLOOR * jnp.sqrt(mean), 1.0), second_moment
    )


def after_merge(
    second_moment: Pytree, travelled: jax.Array, actor: Pytree, merged: Pytree
) -> Pytree:
    """The second moment that the next round has, by what the merged step says of the gradient.

        ḡ = (θ − θ̄) · (√v + 0.1 √mean(v)) / travelled,   v ← 0.9 v + 0.1 ḡ²

    What an agent travelled is its own steps at its own pace, so that agents that stopped early
    or were slow make ḡ no smaller; else v would shrink, and undo their pace. As steps are weighed
    alike, ḡ is the mean of the agents' gradients weighed by what divided their objectives and by
    their numbers of steps. The first ḡ is one sample and says too little of any single
    parameter: v begins with its mean square for all of them, and there is no bias to correct.

    Args:
        second_moment: v of this round, like the actor.
        travelled: merged, scalar; where it is 0, nobody moved, and v stays.
        actor: θ before the round.
        merged: θ̄ after it, with the length that the merge gave to the step.
    """
    moved = travelled > 0.0
    rate = jnp.where(moved, travelled, 1.0)
    by = divisors(second_moment)
    square = jax.tree.map(lambda old, new, d: ((old - new) * d / rate) ** 2, actor, merged, by)
    known, mean = _mean(second_moment) > 0.0, _mean(square)

    def updated(old: jax.Array, new: jax.Array) -> jax.Array:
        later = jnp.where(known, MEMORY * old + (1.0 - MEMORY) * new, mean)
        return jnp.where(moved, later, old)

    return jax.tree.map(updated, second_moment, square)


def _mean(tree: Pytree) -> jax.Array:
    leaves = jax.tree.leaves(tree)
    total: jax.Array = sum(leaf.sum() for leaf in leaves) / sum(leaf.size for leaf in leaves)
    return total
