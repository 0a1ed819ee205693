"""The best evaluated policies of a run: which they are, in which order, and what they cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import Algorithm, Report
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.execution.train import all_finite, start, train
from fedjax_rl.federation.candidates import (
    LIKELY,
    MOST_ERRORS,
    NONE,
    WITHIN,
    Candidates,
    inserted,
    no_candidates,
    standing_of,
    with_candidates,
)
from fedjax_rl.federation.evaluated import Row
from fedjax_rl.learners.deep.evaluation import Evaluation
from fedjax_rl.learners.deep.state import DeepShared

BUDGETS = np.array([10.0, 1.0], np.float32)
MARGIN = 2.0


def evaluation(reward=50.0, costs=(5.0, 0.5), errors=(1.0, 0.1), unfinished=0.0):
    numbers = [reward, costs, reward, costs, unfinished, unfinished, errors]
    return Evaluation(*(np.asarray(number, np.float32) for number in numbers))


STANDINGS = {
    "well within": (evaluation(), LIKELY, 50.0),
    "just at the margin": (evaluation(costs=(8.0, 0.5)), LIKELY, 50.0),
    "within": (evaluation(costs=(8.5, 0.5)), WITHIN, 1.5),
    "at a budget": (evaluation(costs=(5.0, 1.0)), WITHIN, 0.0),
    "over one budget": (evaluation(costs=(10.1, 0.5)), NONE, 0.0),
    "episodes given up": (evaluation(unfinished=0.01), NONE, 0.0),
    "no reward": (evaluation(reward=np.nan), NONE, 0.0),
    "no cost": (evaluation(costs=(np.nan, 0.5)), NONE, 0.0),
    "no error, at the budget": (evaluation(costs=(10.0, 0.5), errors=(0, 0.1)), LIKELY, 50.0),
}


@pytest.mark.parametrize("case", STANDINGS)
def test_how_a_policy_stands(case):
    seen, standing, score = STANDINGS[case]
    found = standing_of(seen, BUDGETS, MARGIN)
    assert (int(found[0]), float(found[1])) == (standing, pytest.approx(score, abs=1e-5))


def test_scores_are_finite_without_constraints_and_without_errors():
    none = np.zeros(0, np.float32)
    assert [float(x) for x in standing_of(evaluation(3.0, none, none), none, 2.0)] == [LIKELY, 3.0]
    exact = evaluation(costs=(5.0, 1.0), errors=(0.0, 0.1))
    assert 0 <= float(standing_of(exact, BUDGETS, MARGIN)[1]) <= MOST_ERRORS


def policy(number):
    return DeepShared({"w": jnp.full(2, number, jnp.float32)}, None, None, None, None)


def held(*entries, count=2):
    """What is held after (round, standing, score) came in turn: rounds, and their policies."""
    candidates = no_candidates(policy(0), count)
    for round, standing, score in entries:
        one = Candidates(policy(round), jnp.int32(round), jnp.int32(standing), jnp.float32(score))
        candidates = inserted(candidates, one)
    rounds = candidates.round.tolist()
    weights = candidates.policy.actor["w"][:, 0].tolist()
    assert all(weight == round for weight, round in zip(weights, rounds, strict=True) if round > 0)
    return rounds


def test_the_best_are_held_with_their_policies():
    assert held() == [-1, -1]
    assert held((1, LIKELY, 5.0), (2, LIKELY, 7.0), (3, LIKELY, 6.0)) == [2, 3]
    # What is likely to be confirmed comes before what is not, whatever their scores.
    assert held((1, WITHIN, 9.0), (2, LIKELY, -7.0), (3, WITHIN, 11.0)) == [2, 3]
    # What breaks a budget is never held, even where there is room.
    assert held((1, NONE, 0.0), (2, WITHIN, 0.0)) == [2, -1]


def test_of_equals_the_earlier_is_before_the_later():
    assert held((1, LIKELY, 5.0), (2, LIKELY, 5.0), (3, LIKELY, 5.0)) == [1, 2]


def walking(key, rewards):
    """An evaluated federation whose policy in round t is t, with a reward from a table."""

    def row(round, due):
        seen = evaluation()._replace(reward=rewards[round])
        blank = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), seen)
        seen = jax.tree.map(lambda x, y: jnp.where(due, x, y), seen, blank)
        return Row(seen, due, *[jnp.zeros(())] * (len(Row._fields) - 2))

    def step(key, round, state, hparams):
        state = state + hparams
        return state, row(jnp.asarray(round, jnp.int32), jnp.asarray(round % 2 == 0))

    def report(state):
        return Report(policy(state), ())

    def init(key, hparams):
        return jnp.zeros(())

    def observe(state, hparams):
        return row(jnp.int32(0), jnp.array(True))

    return Algorithm(init, step, observe, lambda state: None, report)


REWARDS = jnp.array([99.0, 0, 4.0, 50.0, 2.0, 50.0, 3.0, 50.0])
"""By round; evaluated are the even ones."""


def trained(algorithm, key, hparams, rounds=7):
    state, _ = start(algorithm, key, hparams)
    (*_, last) = train(algorithm, key, state, hparams, rounds=rounds, span_rounds=3)
    return jax.device_get(last.state), last


def test_a_run_holds_the_best_of_its_evaluations_but_the_first():
    plain = walking(None, REWARDS)
    algorithm = with_candidates(plain, 2, tuple(BUDGETS), MARGIN)
    state, _ = trained(algorithm, jax.random.key(0), jnp.float32(1))
    assert state.candidates.round.tolist() == [2, 6]
    assert state.candidates.policy.actor["w"][:, 0].tolist() == [2, 6]
    assert state.inner == 7 and algorithm.report(state).policy.actor["w"][0] == 7
    axes = algorithm.agent_axes(state)
    assert jax.tree.leaves(axes) == []


def test_members_hold_their_own_and_a_state_is_finite_throughout():
    algorithm = with_candidates(walking(None, REWARDS), 3, tuple(BUDGETS), MARGIN)
    both = sweep(algorithm, 0, 2)
    keys, hparams = jax.random.split(jax.random.key(0)), jnp.array([1.0, 10.0])
    for rounds in (1, 7):
        state, last = trained(both, keys, hparams, rounds)
        assert all_finite(state, 2).tolist() == [True, True] and last.failed.tolist() == [-1, -1]
    weights = state.candidates.policy.actor["w"][..., 0]
    np.testing.assert_array_equal(weights, [[2, 6, 4], [20, 60, 40]])
