"""The best policies that a federation was evaluated with, held in its state until the run ends."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Algorithm, Array, Pytree
from fedjax_rl.learners.deep.evaluation import Evaluation
from fedjax_rl.learners.deep.state import DeepShared

NONE, WITHIN, LIKELY = 0, 1, 2
"""Standings: over a budget, or no policy at all; within all of them; within them by the margin."""
MOST_ERRORS = 1e6
"""How many standard errors a cost counts as below its budget at most, so that scores are finite."""


class Candidates(NamedTuple):
    """C policies, the best first; where there are fewer, the rest are of no round.

    Every number is finite, since a state that is not ends a run.

    Attributes:
        policy: `DeepShared` with what acting needs, leading axis C.
        round: [C] int32, after which it was evaluated; −1 for none.
        standing: [C] int32, `NONE`, `WITHIN` or `LIKELY`.
        score: [C], orders those of one standing.
    """

    policy: DeepShared
    round: Array
    standing: Array
    score: Array


class CandidateState(NamedTuple):
    """An algorithm's state beside the candidates of its run so far.

    Attributes:
        inner: of the algorithm.
        candidates: of the run; the algorithm sees nothing of them.
    """

    inner: Pytree
    candidates: Candidates


def acting(policy: DeepShared) -> DeepShared:
    """The parameters that acting needs; critics are left out."""
    return policy._replace(
        critic=None, origin=None, lengths=None, second_moment=None, travelled=None
    )


def no_candidates(policy: DeepShared, count: int) -> Candidates:
    """Room for so many candidates like a policy (`acting`)."""

    def room(leaf: Array) -> jax.Array:
        return jnp.broadcast_to(leaf, (count, *jnp.shape(leaf)))

    return Candidates(
        policy=jax.tree.map(room, policy),
        round=jnp.full(count, -1, jnp.int32),
        standing=jnp.full(count, NONE, jnp.int32),
        score=jnp.zeros(count, jnp.float32),
    )


def standing_of(
    evaluation: Evaluation, budgets: Array, margin: float
) -> tuple[jax.Array, jax.Array]:
    """How a policy stands as a candidate: its standing and its score, scalars.

    It is `LIKELY` to be confirmed if every mean cost is ``margin`` standard errors or more below
    its budget; among these the reward decides. If every mean cost keeps its budget, but not by the
    margin, the least distance in standard errors decides, for then it is the confirmation that is
    in doubt. A policy some of whose episodes were given up keeps no budget.

    Args:
        evaluation: of the policy as it acts; costs [M].
        budgets: [M], d.
        margin: in standard errors of the mean costs, at least 0.
    """
    chex.assert_rank([evaluation.reward, evaluation.costs, evaluation.cost_errors], [0, 1, 1])
    slack = budgets - evaluation.costs
    within = jnp.all(slack >= 0) & (evaluation.unfinished == 0) & jnp.isfinite(evaluation.reward)
    likely = within & jnp.all(slack >= margin * evaluation.cost_errors)
    # Costs that are all alike have no error: they are as far below as can be told.
    errors = jnp.maximum(evaluation.cost_errors, 1e-30)
    distance = jnp.min(jnp.minimum(slack / errors, MOST_ERRORS), initial=MOST_ERRORS)
    standing = jnp.where(likely, LIKELY, jnp.where(within, WITHIN, NONE))
    score = jnp.where(likely, evaluation.reward, jnp.where(within, distance, 0.0))
    return standing.astype(jnp.int32), score.astype(jnp.float32)


def inserted(candidates: Candidates, one: Candidates) -> Candidates:
    """The best C of C candidates and one more, whose leaves have no axis of candidates.

    By standing, then by score, then the earlier round first.
    """
    chex.assert_rank([one.round, one.standing, one.score], 0)
    together: Candidates = jax.tree.map(
        lambda several, single: jnp.concatenate([several, single[None]]), candidates, one
    )
    # What is over a budget stands as nothing does, and comes behind it.
    order = jnp.lexsort((together.round, -together.score, -together.standing))
    best: Candidates = jax.tree.map(lambda leaf: leaf[order[:-1]], together)
    return best


def with_candidates(
    algorithm: Algorithm, count: int, budgets: tuple[float, ...], margin: float
) -> Algorithm:
    """An evaluated federation that holds the best policies it was evaluated with.

    Neither its rounds nor its rows are others than without. The policy of round 0 is no candidate.

    Args:
        algorithm: of `federation.evaluated.evaluated`, of one member.
        count: C, how many are held; static.
        budgets: M, in the units of the evaluation's costs.
        margin: of `standing_of`.

    Returns:
        An algorithm whose state is a `CandidateState`.
    """
    limits = jnp.array(budgets, jnp.float32)

    def init(key: jax.Array, hparams: Pytree) -> CandidateState:
        inner = algorithm.init(key, hparams)
        return CandidateState(inner, no_candidates(acting(algorithm.report(inner).policy), count))

    def observe(state: CandidateState, hparams: Pytree) -> Pytree:
        return algorithm.observe(state.inner, hparams)

    def step(
        key: jax.Array, round: jax.Array, state: CandidateState, hparams: Pytree
    ) -> tuple[CandidateState, Pytree]:
        inner, row = algorithm.step(key, round, state.inner, hparams)

        def with_this() -> Candidates:
            policy = acting(algorithm.report(inner).policy)
            standing, score = standing_of(row.evaluation, limits, margin)
            now = jnp.asarray(round, jnp.int32)
            return inserted(state.candidates, Candidates(policy, now, standing, score))

        # Nothing is sorted or copied in the many rounds without an evaluation.
        candidates = jax.lax.cond(row.evaluated, with_this, lambda: state.candidates)
        return CandidateState(inner, candidates), row

    def agent_axes(state: CandidateState) -> CandidateState:
        assert algorithm.agent_axes is not None
        nowhere = jax.tree.map(lambda _: None, state.candidates)
        return CandidateState(algorithm.agent_axes(state.inner), nowhere)

    def report(state: CandidateState) -> Pytree:
        return algorithm.report(state.inner)

    return Algorithm(init, step, observe, agent_axes, report, float64=algorithm.float64)
