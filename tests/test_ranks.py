"""Functions written for one element refuse arrays of another rank, shape or type on entry."""

from __future__ import annotations

import ast
import importlib
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import fedjax_rl
from fedjax_rl.cmdp.evaluate import Estimate, TabularPolicy
from fedjax_rl.federation import candidates
from fedjax_rl.hetero.losses import weights as log_weights
from fedjax_rl.hetero.losses.advantages import beta_normalised, centred, standardised
from fedjax_rl.hetero.losses.contract import DEFAULT_CHOICES, Batch
from fedjax_rl.hetero.losses.weights import ClipSettings
from fedjax_rl.learners.deep import (
    advantages,
    batch,
    merging,
    multipliers,
    reward_range,
    rollout,
)
from fedjax_rl.learners.deep.evaluation import Evaluation
from fedjax_rl.learners.tabular.agent import Agent
from fedjax_rl.learners.tabular.npg import dual_step, natural_step
from fedjax_rl.ops import means, minibatches, moments, returns, select, surrogate
from fedjax_rl.ops.conjugate_gradient import conjugate_gradient
from fedjax_rl.ops.duals import (
    DualSettings,
    caps,
    no_multipliers,
    pid,
    projected_gradient,
)
from fedjax_rl.ops.multiplicative import Worth, multiplicative, raised
from fedjax_rl.ops.projection import onto_simplex
from tests.learners.deep.harness import WORLDS, agent_at, agents_of, designed, settings

pytestmark = pytest.mark.timeout(60)


def ones(*shape: int) -> jax.Array:
    return jnp.ones(shape)


def yes(*shape: int) -> jax.Array:
    return jnp.ones(shape, bool)


GAINS = DualSettings(*[jnp.float32(1.0)] * len(DualSettings._fields))
WORTH = Worth(ones(2), ones(2), ones(2), ones(2), ones())
THREE = moments.no_moments(3)
DESIGN = designed(WORLDS["two"], 2, envs=2, rollout=4)
AGENT = agent_at(agents_of(WORLDS["two"], [[1, 1]]), 0)
WIDE = AGENT._replace(budgets=jnp.ones((1, 2)), weights=jnp.ones((1, 2)))
STILL = rollout.begin(jax.random.key(0), WORLDS["two"].params, DESIGN)
SEEN = rollout.Rollout(
    *(ones(4, 2, 2), ones(4, 2, 2), jnp.zeros((4, 2), int), ones(4, 2, 3)),
    *(~yes(4, 2), ~yes(4, 2), ones(5, 2), ones(2, 2), ones(1, 2, 2), jnp.int32(0), ones(3)),
)
VALUES = advantages.Values(ones(4, 2, 3), ones(2, 3), ones(1, 2, 3))
ESTIMATES = advantages.Estimates(ones(4, 2, 3), ones(4, 2, 3))
COSTS = advantages.CostEstimate(ones(2), yes(2))
GROUPS = Batch(ones(2, 3, 4), ones(2, 3, 4), yes(2, 3, 4), ones(2, 3))
TABULAR = Agent(*[ones(2)] * len(Agent._fields))
POLICY = TabularPolicy(ones(3, 2), ones(3, 3), ones(3))
HELD = candidates.no_candidates(batch.DeepShared({}, None, None, None, None), 2)
ONE = HELD._replace(round=ones(), standing=ones(), score=ones())
PLAYED = Evaluation(ones(), ones(2), ones(), ones(2), ones(), ones(), ones(2))
FLAT = Estimate(ones(3), *[ones()] * 3)
"""An advantage [S] that has lost its axis of actions."""


class Case(NamedTuple):
    """A function, and one argument that is wrong among others that are right."""

    function: Any
    right: tuple[Any, ...]
    argument: int
    wrong: Any


def act(observations: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.zeros((2, 2)), jnp.zeros(2, int)


PARAMS = WORLDS["two"].params
CASES = [
    Case(
        candidates.standing_of,
        (PLAYED, ones(2), 2.0),
        *(0, PLAYED._replace(cost_errors=ones(1, 2))),
    ),
    Case(candidates.inserted, (HELD, ONE), 1, HELD),
    Case(conjugate_gradient, (lambda v: v, ones(3), 1), 1, ones(3, 1)),
    Case(caps, (GAINS, ones(2), ones(2)), 1, ones()),
    Case(caps, (GAINS, ones(2), ones(2)), 2, ones(2, 2)),
    Case(multiplicative, (no_multipliers(2), ones(2), ones(2), WORTH, GAINS), 1, ones(3)),
    Case(raised, (no_multipliers(2), ones(2), ones(2), WORTH, GAINS), 1, ones(3)),
    Case(reward_range.updated, (reward_range.no_rewards(), SEEN, ones(4, 2), ones()), 2, ones(4)),
    Case(reward_range.updated, (reward_range.no_rewards(), SEEN, ones(4, 2), ones()), 3, ones(1)),
    Case(merging.step_lengths, (ESTIMATES, ones(3), ones(), AGENT), 2, ones(2)),
    Case(projected_gradient, (no_multipliers(2), ones(2), ones(2), ones(2), GAINS), 1, ones(2, 2)),
    Case(projected_gradient, (no_multipliers(2), ones(2), ones(2), ones(2), GAINS), 2, ones()),
    Case(pid, (no_multipliers(2), ones(2), ones(2), ones(2), GAINS), 1, ones()),
    Case(pid, (no_multipliers(2), ones(2), ones(2), ones(2), GAINS), 3, ones(1)),
    Case(means.weighted_sum, (ones(3, 2), ones(3)), 1, ones(3, 1)),
    Case(means.mean_of_sum, (ones(2), ones()), 1, ones(2)),
    Case(minibatches.stratified_minibatches, (jax.random.key(0), ones(4, 2, 3), 2), 1, ones(4, 2)),
    Case(minibatches.mean_over_blocks, (jnp.mean, ones(4, 2)), 1, ones(4)),
    Case(moments.updated, (THREE, ones(4, 3)), 1, ones(4, 2)),
    Case(moments.pooled, (THREE, THREE), 1, moments.no_moments(1)),
    Case(moments.normalized, (THREE, ones(4, 3)), 1, ones(4, 1)),
    Case(moments.enlarged, (THREE, ones(4, 3)), 1, ones(4, 1)),
    Case(moments.about, (ones(3), THREE), 0, ones()),
    Case(moments.from_sums, (ones(3), THREE), 0, ones(1)),
    Case(onto_simplex, (ones(3),), 0, ones(2, 3)),
    Case(
        returns.generalized_advantages,
        (*[ones(4, 2, 3)] * 3, yes(4, 2), ones(3), ones(3)),
        *(2, ones(4, 2, 1)),
    ),
    Case(
        returns.generalized_advantages,
        (*[ones(4, 2, 3)] * 3, yes(4, 2), ones(3), ones(3)),
        *(3, ones(4, 2)),
    ),
    Case(
        returns.following_values,
        (ones(4, 2, 3), ones(2, 3), ones(1, 2, 3), yes(4, 2), yes(4, 2), yes(3)),
        *(1, ones(3)),
    ),
    Case(
        returns.following_values,
        (ones(4, 2, 3), ones(2, 3), ones(1, 2, 3), yes(4, 2), yes(4, 2), yes(3)),
        *(5, ones(3)),
    ),
    Case(select.where, (yes(2), ones(2, 3), ones(2, 3)), 0, yes(2, 3)),
    Case(select.where, (yes(2), ones(2, 3), ones(2, 3)), 0, ones(2)),
    Case(surrogate.clipped, (ones(4), ones(4), ones()), 1, ones(4, 1)),
    Case(surrogate.lagrangian, (ones(4), ones(4), ones(4), ones()), 2, ones(1)),
    Case(surrogate.lagrangian, (ones(4), ones(4), ones(4), ones()), 3, ones(4)),
    Case(natural_step, (POLICY, Estimate(ones(3, 2), *[ones()] * 3), None), 1, FLAT),
    Case(dual_step, (ones(2), ones(2), TABULAR, None), 1, ones(1)),
    Case(advantages.estimate, (SEEN, VALUES, AGENT, settings()), 2, WIDE),
    Case(
        advantages.estimate,
        (SEEN, VALUES, AGENT, settings()),
        *(1, VALUES._replace(last=ones(3))),
    ),
    Case(advantages.costs_of, (SEEN, AGENT), 0, SEEN._replace(signals=ones(4, 3))),
    Case(advantages.estimate_costs, (SEEN, VALUES, AGENT, DESIGN), 2, WIDE),
    Case(
        multipliers.dual_step,
        ("gradient", no_multipliers(2), COSTS, ones(2), None, AGENT, settings()),
        *(3, ones()),
    ),
    Case(
        multipliers.lagrangian_weights,
        (no_multipliers(2), COSTS, None, AGENT, settings()),
        *(3, WIDE),
    ),
    Case(multipliers.beyond_tolerance, (COSTS, AGENT, settings()), 1, WIDE),
    Case(batch.rescaled, (None, ones(4, 2, 3)), 1, ones(8, 3)),
    Case(
        batch.batch_of,
        (DESIGN, batch.DeepShared({}, {}, None, None, None), SEEN, ESTIMATES, ones(3), ones(3)),
        *(4, ones(2)),
    ),
    Case(
        rollout.collect,
        (jax.random.key(0), act, STILL, PARAMS, DESIGN),
        *(2, STILL._replace(observation=ones(2))),
    ),
    *(Case(f, (ones(2, 3),), 0, ones(2, 3, 1)) for f in (centred, standardised, beta_normalised)),
    Case(log_weights.lengths, (yes(2, 3, 4),), 0, ones(2, 3, 4)),
    Case(log_weights.lengths, (yes(2, 3, 4),), 0, yes(3, 4)),
    Case(log_weights.token_log_p, (GROUPS,), 0, GROUPS._replace(mask=yes(2, 3, 1))),
    Case(log_weights.token_log_ratios, (GROUPS,), 0, GROUPS._replace(log_q=ones(2, 3, 1))),
    Case(log_weights.group_log_mean, (ones(2, 3), ones(2, 3), DEFAULT_CHOICES), 1, ones(2, 1)),
    Case(
        log_weights.clipped_objective,
        (ones(2, 3, 4), ones(2, 3, 1), ClipSettings()),
        *(1, ones(2, 3)),
    ),
    Case(log_weights.mean_over_tokens, (ones(2, 3, 4), yes(2, 3, 4)), 0, ones(2, 3)),
    Case(log_weights.mean_over_responses, (ones(2, 3, 4), yes(2, 3, 4)), 1, yes(3, 4)),
]


def refused(function: Any, arguments: tuple[Any, ...]) -> str:
    """What chex says of these arguments while tracing, or nothing; other errors are none of its."""
    try:
        jax.eval_shape(lambda: function(*arguments))
    except AssertionError as error:
        return str(error)
    except Exception:  # an argument of the tests stands for what is behind the assertions
        return ""
    return ""


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.function.__name__}-{case.argument}"
)
def test_a_wrong_rank_or_type_is_refused(case):
    assert refused(case.function, case.right) == ""
    wrong = list(case.right)
    wrong[case.argument] = case.wrong
    assert "[Chex]" in refused(case.function, tuple(wrong))


def test_every_function_that_asserts_is_in_the_table():
    package = pathlib.Path(fedjax_rl.__file__).parent
    asserting = set()
    for path in package.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "import chex" not in source:
            continue
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        module = importlib.import_module(name)
        asserting |= {
            getattr(module, node.name)
            for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef) and "chex." in ast.unparse(node)
        }
    assert asserting == {case.function for case in CASES}
    assert len(asserting) > 30
