"""Independent restatements that the package is held against: plain NumPy, one agent at a time."""

from __future__ import annotations

import numpy as np

from fedjax_rl.cmdp.model import CMDP, from_arrays


def random_problem(seed: int, states: int = 5, actions: int = 4, constraints: int = 4) -> CMDP:
    """A dense random CMDP whose budgets bind for good policies; feasibility is not promised."""
    rng = np.random.default_rng(seed)
    transition = rng.random((states, actions, states)) * (
        rng.random((states, actions, states)) < 0.6
    )
    transition += 1e-3
    transition /= transition.sum(-1, keepdims=True)
    reward = rng.random((states, actions))
    costs = rng.random((constraints, states, actions)) * (
        rng.random((constraints, states, actions)) < 0.5
    )
    initial = rng.dirichlet(np.ones(states))
    problem = from_arrays(transition, reward, costs, np.ones(constraints), initial, 0.9)
    anchor = rng.dirichlet(np.ones(actions), size=states)
    budgets = [0.9 * float(initial @ value(problem, anchor, cost)) for cost in costs]
    return from_arrays(transition, reward, costs, budgets, initial, 0.9)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def value(problem: CMDP, policy: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """V [S] of a policy [S, A] and a signal [S, A], by one dense solve."""
    transition = np.einsum("sa,sat->st", policy, problem.transition)
    operator = np.eye(problem.num_states) - problem.discount * transition
    return np.linalg.solve(operator, (policy * signal).sum(1))


def advantage(problem: CMDP, policy: np.ndarray, signal: np.ndarray) -> np.ndarray:
    values = value(problem, policy, signal)
    return signal + problem.discount * problem.transition @ values - values[:, None]


def centralised_npg(
    problem: CMDP, step: float, dual_step: float, rounds: int, cap: float = 10.0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """NPG-PD with every constraint (arXiv 2206.02346): policies and multipliers 0 … rounds."""
    logits = np.zeros_like(problem.reward)
    multipliers = np.zeros(problem.num_constraints)
    policies, duals = [softmax(logits)], [multipliers]
    for _ in range(rounds):
        policy = softmax(logits)
        gradient = advantage(problem, policy, problem.reward)
        returns = np.zeros(problem.num_constraints)
        for index, cost in enumerate(problem.costs):
            gradient = gradient - multipliers[index] * advantage(problem, policy, cost)
            returns[index] = problem.initial @ value(problem, policy, cost)
        logits = logits + step / (1 - problem.discount) * gradient
        multipliers = np.clip(multipliers + dual_step * (returns - problem.budgets), 0, cap)
        policies.append(softmax(logits))
        duals.append(multipliers)
    return policies, duals


def federated_npg_loop(
    problem: CMDP,
    access: np.ndarray,
    step: float,
    dual_step: float,
    rounds: int,
    local_steps: int,
    merge: str,
    cap: float = 10.0,
) -> tuple[np.ndarray, np.ndarray]:
    """FedNPG written as nested Python loops: the final policy and multipliers [N, M]."""
    num_agents = len(access)
    weights = access / access.sum(0)
    logits = np.zeros_like(problem.reward)
    multipliers = np.zeros(access.shape)
    for _ in range(rounds):
        messages = []
        for agent in range(num_agents):
            own = logits.copy()
            for _ in range(local_steps):
                policy = softmax(own)
                gradient = advantage(problem, policy, problem.reward) / num_agents
                update = multipliers[agent].copy()
                for index in np.flatnonzero(access[agent]):
                    share = weights[agent, index] * multipliers[agent, index]
                    gradient = gradient - share * advantage(problem, policy, problem.costs[index])
                    cost = problem.initial @ value(problem, policy, problem.costs[index])
                    update[index] += dual_step * (cost - problem.budgets[index])
                own = own + step / (1 - problem.discount) * gradient
                multipliers[agent] = np.where(access[agent], np.clip(update, 0, cap), 0)
            messages.append(own)
        if merge == "logits":
            logits = np.mean(messages, axis=0)
        else:
            logits = np.log(np.mean([softmax(message) for message in messages], axis=0))
    return softmax(logits), multipliers


def project(point: np.ndarray) -> np.ndarray:
    """Rows onto the simplex, by bisection on the threshold."""
    low, high = point.min(-1, keepdims=True) - 1.0, point.max(-1, keepdims=True)
    for _ in range(200):
        middle = (low + high) / 2
        above = np.maximum(point - middle, 0).sum(-1, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.maximum(point - high, 0.0)


def returns(problem: CMDP, policy: np.ndarray) -> np.ndarray:
    """V_cj(ρ), [M]."""
    return np.array([problem.initial @ value(problem, policy, cost) for cost in problem.costs])


def centralised_optimistic(
    problem: CMDP, step: float, dual_step: float, rounds: int, cap: float = 10.0
) -> tuple[np.ndarray, np.ndarray]:
    """OPG-PD (arXiv 2306.11700) with Q-values: the final π_t and λ_t."""
    anchor = policy = np.full_like(problem.reward, 1 / problem.num_actions)
    dual_anchor = dual = np.zeros(problem.num_constraints)
    for _ in range(rounds):
        signal = problem.reward - np.einsum("m,msa->sa", dual, problem.costs)
        action_values = advantage(problem, policy, signal) + value(problem, policy, signal)[:, None]
        violation = returns(problem, policy) - problem.budgets
        anchor = project(anchor + step * action_values)
        policy = project(anchor + step * action_values)
        dual_anchor = np.clip(dual_anchor + dual_step * violation, 0, cap)
        dual = np.clip(dual_anchor + dual_step * violation, 0, cap)
    return policy, dual


def centralised_regularized(
    problem: CMDP, step: float, dual_step: float, rounds: int, weight: float, cap: float = 10.0
) -> tuple[np.ndarray, np.ndarray]:
    """Entropy-regularised NPG in its soft-Q form, θ ← (1 − ητ/(1−γ)) θ + η/(1−γ) Q_τ."""
    logits, dual = np.zeros_like(problem.reward), np.zeros(problem.num_constraints)
    scaled = step / (1 - problem.discount)
    for _ in range(rounds):
        policy = softmax(logits)
        signal = problem.reward - np.einsum("m,msa->sa", dual, problem.costs)
        soft_values = value(problem, policy, signal - weight * np.log(policy))
        soft_q = signal + problem.discount * problem.transition @ soft_values
        violation = returns(problem, policy) - problem.budgets
        logits = (1 - scaled * weight) * np.log(policy) + scaled * soft_q
        dual = np.clip((1 - dual_step * weight) * dual + dual_step * violation, 0, cap)
    return softmax(logits), dual


def centralised_crpo(
    problem: CMDP, step: float, rounds: int, tolerance: float = 0.0
) -> tuple[np.ndarray, int]:
    """CRPO (arXiv 2011.05869), down the mean of the violated costs: policy, reward steps."""
    logits, reward_steps = np.zeros_like(problem.reward), 0
    for _ in range(rounds):
        policy = softmax(logits)
        violated = np.flatnonzero(returns(problem, policy) > problem.budgets + tolerance)
        if len(violated) == 0:
            direction = advantage(problem, policy, problem.reward)
            reward_steps += 1
        else:
            costs = [advantage(problem, policy, problem.costs[index]) for index in violated]
            direction = -np.mean(costs, axis=0)
        logits = logits + step / (1 - problem.discount) * direction
    return softmax(logits), reward_steps
