"""Dual steps of an agent of networks, and the weights of its Lagrangian."""

from __future__ import annotations

from functools import partial

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Exchange, Time
from fedjax_rl.learners.deep.advantages import CostEstimate
from fedjax_rl.learners.deep.agent import DeepAgent, DeepSettings
from fedjax_rl.learners.deep.reward_range import worth_of
from fedjax_rl.learners.deep.state import DeepLocal, DeepShared, Experience
from fedjax_rl.ops.duals import DualState, pid, projected_gradient
from fedjax_rl.ops.multiplicative import Worth, multiplicative, penalty, raised

IN_COSTS = {"gradient": projected_gradient, "pid": pid}
"""Rules that count violations in costs or budgets; `ops.multiplicative` is scale-free."""


def dual_step(
    rule: str,
    duals: DualState | None,
    cost_estimate: CostEstimate,
    caps: jax.Array,
    worth: Worth,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> DualState | None:
    """The step of λ [K] by the rule, where costs are known; None for ``crpo``.

    A budget per episode waits until an episode ends, and padding stays 0.

    Args:
        rule: static.
        duals: before the step; None where there are none.
        cost_estimate: J_c [K], from the rollout.
        caps: λ_max [K].
        worth: units of the multiplicative rule.
        agent: budgets [K] and the scale of each.
        hparams: gains.
    """
    chex.assert_rank(caps, 1)
    chex.assert_equal_shape([cost_estimate.value, caps, agent.budgets])
    if duals is None:
        return None
    settings = hparams.duals._replace(cap=caps)
    value, budgets = cost_estimate.value, aims(agent, hparams)
    if rule == "multiplicative":
        proposed = multiplicative(duals, value, budgets, worth, settings)
    else:
        proposed = IN_COSTS[rule](duals, value, budgets, agent.dual_scale, settings)
    stepped: DualState = jax.tree.map(partial(jnp.where, cost_estimate.known), proposed, duals)
    return stepped


def aims(agent: DeepAgent, hparams: DeepSettings) -> jax.Array:
    """What multipliers aim at, d − m |d| [K].

    Args:
        agent: budgets d [K].
        hparams: the margin m.
    """
    return agent.budgets - hparams.margin * jnp.abs(agent.budgets)


def multipliers_of(slots: int, duals: DualState | None) -> jax.Array:
    """λ [K], zeros where there are none.

    Args:
        slots: K.
        duals: of the agent; None under CRPO.
    """
    return jnp.zeros(slots) if duals is None else duals.multipliers


def lagrangian_weights(
    duals: DualState | None,
    cost_estimate: CostEstimate,
    all_satisfied: jax.Array | None,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> jax.Array:
    """[1 + K], weights of A_r and of −A_c; they are divided by their sum (arXiv 2405.03236).

    CRPO (arXiv 2011.05869) puts all weight on the reward while everybody is satisfied, else on
    the worst violated cost of the agent's own.

    Args:
        duals: after the dual step; None for CRPO.
        cost_estimate: J_c [K], from the rollout.
        all_satisfied: scalar, whether every agent was satisfied; None but for CRPO.
        agent: its weight of the reward and w_ij [K].
        hparams: the tolerance of CRPO.
    """
    chex.assert_rank(cost_estimate.value, 1)
    chex.assert_equal_shape([cost_estimate.value, agent.weights])
    if duals is None:
        assert all_satisfied is not None, "CRPO's exchange has said so"
        beyond = beyond_tolerance(cost_estimate, agent, hparams)
        worst = jax.nn.one_hot(jnp.argmax(beyond), len(beyond)) * (beyond.max() > 0)
        return jnp.append(all_satisfied, (~all_satisfied) * worst).astype(jnp.float32)
    return jnp.append(agent.reward_weight, agent.weights * duals.multipliers)


def beyond_tolerance(
    cost_estimate: CostEstimate, agent: DeepAgent, hparams: DeepSettings
) -> jax.Array:
    """[K], by how much each known violation J_c − d is above the tolerance; else −∞.

    Args:
        cost_estimate: J_c [K], in the unit of each budget.
        agent: budgets [K] and the scale of each.
        hparams: the tolerance, in scaled units.
    """
    chex.assert_rank(cost_estimate.value, 1)
    chex.assert_equal_shape([cost_estimate.value, agent.budgets])
    violation = agent.dual_scale * (cost_estimate.value - agent.budgets)
    return jnp.where(cost_estimate.known, violation - hparams.tolerance, -jnp.inf)


def satisfied_after(
    before: jax.Array | None, cost_estimate: CostEstimate, agent: DeepAgent, hparams: DeepSettings
) -> jax.Array | None:
    """A scalar, whether the agent's own costs are within budget; None but for CRPO.

    Args:
        before: the same after the last step, which stays where no cost is known.
        cost_estimate: J_c [K].
        agent: budgets [K].
        hparams: the tolerance.
    """
    if before is None:
        return None
    satisfied = ~jnp.any(beyond_tolerance(cost_estimate, agent, hparams) > 0)
    return jnp.where(cost_estimate.known.any(), satisfied, before)


def _send_violation(
    key: jax.Array,
    time: Time,
    shared: DeepShared,
    local: DeepLocal,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> tuple[jax.Array, tuple[()]]:
    assert local.satisfied is not None, "only CRPO has this exchange"
    return 1.0 - local.satisfied, ()


def _receive_violations(local: DeepLocal, retained: tuple[()], violated: jax.Array) -> DeepLocal:
    return local._replace(all_satisfied=violated == 0)


VIOLATION = Exchange(_send_violation, _receive_violations)
"""CRPO's bit: each agent says whether it is violated, and all learn the share that is."""


def _send_penalty(
    key: jax.Array,
    time: Time,
    shared: DeepShared,
    local: DeepLocal,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> tuple[jax.Array, jax.Array]:
    own = own_penalty(local, agent)
    # What is merged is a mean over agents: N times of what each one has, since 1/N is its weight
    # of the reward.
    return own / agent.reward_weight, own


def _receive_penalties(local: DeepLocal, own: jax.Array, total: jax.Array) -> DeepLocal:
    return local._replace(others=jnp.maximum(total - own, 0.0))


def own_penalty(local: DeepLocal, agent: DeepAgent) -> jax.Array:
    """Σ_j w_ij λ_ij |J_cj| / G, a scalar: the share of the reward's range that costs take.

    Args:
        local: the agent's own: λ and smoothed costs [K], and the rewards seen.
        agent: w_ij [K], and the kind of each cost.
    """
    assert local.duals is not None, "only the multiplicative rule has this exchange"
    worth = worth_of(local.rewards, agent, jnp.zeros(()))
    return penalty(local.duals.multipliers, local.duals.smoothed, worth)


def raised_penalty(
    local: DeepLocal, experience: Experience, agent: DeepAgent, hparams: DeepSettings
) -> jax.Array:
    """`own_penalty` of the multipliers that a rollout's costs ask for, a scalar.

    Args:
        local: multipliers before.
        experience: J_c [K], and the rewards seen.
        agent: budgets [K], w_ij, and the kind of each cost.
        hparams: gains.
    """
    assert local.duals is not None, "only the multiplicative rule has this exchange"
    worth = worth_of(experience.rewards, agent, jnp.zeros(()))
    costs = experience.cost_estimate.value
    risen = raised(local.duals, costs, aims(agent, hparams), worth, hparams.duals)
    return penalty(risen.multipliers, risen.smoothed, worth)


PENALTY = Exchange(_send_penalty, _receive_penalties)
"""The multiplicative rule's scalar: each agent says what its costs take of the reward's
range, and all learn the sum; a secure sum is enough. Multipliers, costs and budgets stay."""
