"""What FedNPG is timed against: plain NumPy, and a bare jitted scan of the same arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fedjax_rl.cmdp.dynamics import model_of
from fedjax_rl.cmdp.model import CMDP


def numpy_rounds(problem: CMDP, step: float, dual_step: float, rounds: int) -> np.ndarray:
    """E = 1, one constraint per agent, as one would write it in NumPy: [rounds, 1 + M]."""
    num_agents, discount = problem.num_constraints, float(problem.discount)
    logits, multipliers = np.zeros_like(problem.reward), np.zeros(num_agents)
    record = []

    def softmax(logits: np.ndarray) -> np.ndarray:
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)

    def value(policy: np.ndarray, signal: np.ndarray) -> np.ndarray:
        transition = np.einsum("sa,sat->st", policy, problem.transition)
        operator = np.eye(problem.num_states) - discount * transition
        return np.linalg.solve(operator, (policy * signal).sum(1))

    def advantage(values: np.ndarray, signal: np.ndarray) -> np.ndarray:
        return signal + discount * problem.transition @ values - values[:, None]

    for _ in range(rounds):
        policy = softmax(logits)
        messages = []
        for agent, cost in enumerate(problem.costs):
            reward_values, cost_values = value(policy, problem.reward), value(policy, cost)
            ascent = advantage(reward_values, problem.reward) / num_agents
            ascent -= multipliers[agent] * advantage(cost_values, cost)
            messages.append(logits + step / (1 - discount) * ascent)
            excess = problem.initial @ cost_values - problem.budgets[agent]
            multipliers[agent] = np.clip(multipliers[agent] + dual_step * excess, 0, 10)
        logits = np.mean(messages, axis=0)
        merged = softmax(logits)
        signals = [problem.reward, *problem.costs]
        record.append([problem.initial @ value(merged, signal) for signal in signals])
    return np.array(record)


def bare_rounds(problem: CMDP, step: float, dual_step: float, rounds: int) -> Callable[[], object]:
    """The same arithmetic as a single compiled scan: one factorisation a round, nothing kept.

    The policy of a round is factorised once, for the merged evaluation and for the agents of
    the next round; for sepsis the successors are gathered. No guard, no spans, no averages,
    no keys, no host.
    """
    with jax.enable_x64(True):
        arguments = jax.tree.map(
            jnp.asarray, (model_of(problem), problem.costs, problem.budgets, step, dual_step)
        )
        compiled = _bare.lower(*arguments, rounds=rounds).compile()

    def work() -> object:
        with jax.enable_x64(True):
            return jax.block_until_ready(compiled(*arguments))

    return work


@partial(jax.jit, static_argnames="rounds")
def _bare(model, costs, budgets, step, dual_step, *, rounds):  # type: ignore[no-untyped-def]
    num_agents, num_states = costs.shape[:2]
    solve = partial(lax.linalg.triangular_solve, left_side=True)

    def evaluate(policy):  # type: ignore[no-untyped-def]
        transition = model.dynamics.under(policy)
        lower_upper = lax.linalg.lu(jnp.eye(num_states) - model.discount * transition.T)[0]
        half = solve(lower_upper, model.initial[:, None], lower=True, unit_diagonal=True)
        return lower_upper, solve(lower_upper, half, lower=False) * policy

    def one_round(carry, _):  # type: ignore[no-untyped-def]
        logits, multipliers, lower_upper, visits = carry
        policy = jax.nn.softmax(logits)

        def agent(multiplier, cost, budget):  # type: ignore[no-untyped-def]
            signal = model.reward / num_agents - multiplier * cost
            per_state = jnp.sum(policy * signal, axis=1, keepdims=True)
            half = solve(lower_upper, per_state, lower=False, transpose_a=True)
            value = solve(lower_upper, half, lower=True, transpose_a=True, unit_diagonal=True)
            expected = model.discount * model.dynamics.expect(value[:, 0])
            message = logits + step / (1 - model.discount) * (signal + expected - value)
            excess = jnp.vdot(visits, cost) - budget
            return message, jnp.clip(multiplier + dual_step * excess, 0.0, 10.0)

        messages, multipliers = jax.vmap(agent)(multipliers, costs, budgets)
        logits = messages.mean(0)
        lower_upper, visits = evaluate(jax.nn.softmax(logits))
        record = jnp.vdot(visits, model.reward), jnp.einsum("sa,msa->m", visits, costs)
        return (logits, multipliers, lower_upper, visits), record

    logits = jnp.zeros_like(model.reward)
    start = logits, jnp.zeros(num_agents), *evaluate(jax.nn.softmax(logits))
    return lax.scan(one_round, start, None, length=rounds)
