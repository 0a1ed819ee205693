"""Many members of one algorithm as one vmapped program."""

from __future__ import annotations

from typing import Any

import jax

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.placement import Map


def sweep(
    algorithm: Algorithm, axes: Pytree, members: int, member_map: Map = jax.vmap
) -> Algorithm:
    """Vmaps an algorithm over members: seeds, real-valued settings, problems of one shape.

    Args:
        algorithm: what every member runs.
        axes: like the hparams (or a prefix of them), 0 where a leaf has a leading axis of
            members, None where all members share it.
        members: B, static.
        member_map: maps a function of one member over members, like `jax.vmap`.

    Returns:
        An algorithm whose key is an array of B keys and whose state and info have a leading
        axis B. A member computes what it would alone with its key and hparams.

    Examples:
        >>> import jax
        >>> from fedjax_rl.algorithm import Algorithm
        >>> def begin(key, factor):
        ...     return jax.numpy.ones(())
        >>> def step(key, round, state, factor):
        ...     return factor * state, ()
        >>> both = sweep(Algorithm(begin, step), axes=0, members=2)
        >>> keys, factors = jax.random.split(jax.random.key(0)), jax.numpy.array([0.5, 0.25])
        >>> state, _ = both.step(keys, 1, both.init(keys, factors), factors)
        >>> state.tolist()
        [0.5, 0.25]
    """

    def init(keys: jax.Array, hparams: Pytree) -> Pytree:
        return member_map(algorithm.init, (0, axes))(keys, hparams)

    def step(keys: jax.Array, round: jax.Array, state: Pytree, hparams: Pytree) -> Any:
        # The round is not mapped over: a condition on it stays a branch, a place that depends on it
        # one write.
        return member_map(algorithm.step, (0, None, 0, axes))(keys, round, state, hparams)

    def observe(state: Pytree, hparams: Pytree) -> Pytree:
        return member_map(algorithm.observe, (0, axes))(state, hparams)

    return algorithm._replace(
        init=init,
        step=step,
        observe=observe,
        agent_axes=None,
        report=jax.vmap(algorithm.report),
        members=members,
    )
