# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Ground truth
#
# **Claim.** A finite constrained problem has an exact optimum that can be trusted: two solvers
# that share no code agree on it, its dual has the same value, and its multipliers obey Slater's
# bound. The optimal policy is in general stochastic, and $\lambda^*$ need not be unique.
#
# With the occupancy $q(s,a) = (1-\gamma)\sum_t \gamma^t P(s_t = s, a_t = a)$ the problem is a
# linear program (Altman, *Constrained Markov Decision Processes*, 1999, ch. 3),
#
# $$\max_{q \ge 0}\ \tfrac{1}{1-\gamma}\langle q, r\rangle \quad\text{s.t.}\quad
# \textstyle\sum_a q(s',a) - \gamma \sum_{s,a} P(s'|s,a)\,q(s,a) = (1-\gamma)\rho(s'),\qquad
# \tfrac{1}{1-\gamma}\langle q, c_j\rangle \le d_j ,$$
#
# and its multipliers minimise the dual function
# $g(\lambda) = \max_\pi V_r - \sum_j \lambda_j (V_{c_j} - d_j)$. Three consequences are checked:
#
# 1. **Strong duality:** $g(\lambda^*) = V^*$ (Paternain et al., arXiv 1910.13393).
# 2. **Slater's bound:** if some policy $\bar\pi$ keeps every budget with room
#    $V_{c_j} \le d_j - \xi$, then $\sum_j \lambda_j^* \le (V^* - V_r^{\bar\pi})/\xi$
#    (used by Ding et al., arXiv 2206.02346).
# 3. **Few randomisations:** a vertex of the program has at most $S + m$ positive occupancies,
#    $m$ being the number of active constraints; so the policy chooses between actions at most
#    $m$ times: $\sum_s (|\mathrm{supp}\,\pi^*(\cdot|s)| - 1) \le m$ (Altman, 1999, ch. 3).

# %%
import itertools

import numpy as np

from bench.named_problems import Named, dual_value
from fedjax_rl.cmdp import from_arrays, with_settings
from fedjax_rl.cmdp.problems import random_mdp
from fedjax_rl.cmdp.solve import evaluate_policy, solve
from fedjax_rl.cmdp.solve.linear_program import solve_linear_program
from notebooks.style import look, panels, save, sized

COUNT = sized(50, 200)
ACTIVE = 1e-6

# %% [markdown]
# ## The problems
#
# The random problems of arXiv 2405.03236: 3 states, 5 actions, 4 constraints. They are small
# enough to try all $5^3 = 125$ deterministic policies as well. Each solver is run by itself: the
# linear program by HiGHS, and a Dantzig–Wolfe decomposition whose columns are unconstrained
# problems solved by policy iteration.

# %%
cmdps = [random_mdp(agents=4, states=3, actions=5, seed=seed) for seed in range(COUNT)]
programs = [solve_linear_program(cmdp) for cmdp in cmdps]
decompositions = [solve(cmdp, "decomposition") for cmdp in cmdps]

optima = np.array([found.value for found in programs])
disagreement = np.abs(optima - [found.optimal_value for found in decompositions]) / optima
duals = [
    dual_value(Named(seed, cmdp, certificate), found.multipliers)
    for seed, (cmdp, certificate, found) in enumerate(
        zip(cmdps, decompositions, programs, strict=True)
    )
]
duality_gap = np.abs(np.array(duals) - optima) / optima
print(
    f"largest relative disagreement {disagreement.max():.1e}, duality gap {duality_gap.max():.1e}"
)

# %% [markdown]
# ## Slater's bound
#
# The multipliers are those of the linear program; the policy with the most room, and its room
# $\xi$, are those of the decomposition.

# %%
totals = np.array([found.multipliers.sum() for found in programs])
bounds = np.array([found.multiplier_bound for found in decompositions])
within = totals <= bounds * (1 + 1e-9)
shares = totals[totals > ACTIVE] / bounds[totals > ACTIVE]
print(f"the bound holds on {within.sum()} of {COUNT}; used up to {shares.max():.0%}")

# %% [markdown]
# ## Stochastic policies
#
# Where $\lambda^* \ne 0$ the budgets cost something. Is any deterministic policy as good?


# %%
def best_deterministic(cmdp):
    """The largest value of a deterministic policy within the budgets; −∞ if there is none."""
    best = -np.inf
    for actions in itertools.product(range(cmdp.num_actions), repeat=cmdp.num_states):
        value, costs, _ = evaluate_policy(cmdp, np.eye(cmdp.num_actions)[list(actions)])
        if (costs <= cmdp.budgets + 1e-9).all():
            best = max(best, value)
    return best


active = np.array([(found.multipliers > ACTIVE).sum() for found in programs])
randomisations = np.array([(found.policy > 1e-9).sum() - len(found.policy) for found in programs])
deterministic = np.array([best_deterministic(cmdp) for cmdp in cmdps])
loss = 1 - deterministic / optima  # ∞ where no deterministic policy keeps the budgets
binding = active > 0
worse = binding & (loss > 1e-9)
none = np.isinf(loss)
print(f"{binding.sum()} have an active constraint; on {worse.sum()} of these every deterministic")
print(f"policy is worse, and on {none.sum()} there is no deterministic policy within the budgets")

# %% [markdown]
# ## When $\lambda^*$ is not unique
#
# Two problems whose answer is known by hand. In both there is one state, and the second of two
# actions earns 1 and costs 1.
#
# - **A budget that just suffices.** With $d = 1/(1-\gamma)$ the best policy exactly exhausts the
#   budget: $g(\lambda) = \max(1, \lambda)/(1-\gamma)$ is flat on $[0, 1]$.
# - **The same constraint twice.** With $d = \tfrac12/(1-\gamma)$ only $\lambda_1 + \lambda_2 = 1$
#   is determined.
#
# Among random problems it is the exception.

# %%
single = from_arrays(np.ones((1, 2, 1)), [[0.0, 1.0]], [[[0.0, 1.0]]], [10.0], [1.0], 0.9)
twice = from_arrays(np.ones((1, 2, 1)), [[0.0, 1.0]], [[[0.0, 1.0]]] * 2, [5.0, 5.0], [1.0], 0.9)
faces = {"just enough": solve(single), "twice": solve(twice)}
for name, found in faces.items():
    print(name, "unique:", found.multipliers_unique, found.multiplier_intervals.round(6).tolist())
by_hand = all(
    found.multipliers_unique is False
    and np.allclose(found.multiplier_intervals, [[0.0, 1.0]] * len(found.multipliers), atol=1e-6)
    for found in faces.values()
)
halved = solve(with_settings(single, budgets=[5.0]))
assert halved.multipliers_unique and np.isclose(halved.multipliers[0], 1.0)
unique = sum(found.multipliers_unique is True for found in decompositions)

# %% [markdown]
# ## Figure

# %%
figure, axes = panels(3)
floor = 1e-17
for index, (values, label) in enumerate(
    ((disagreement, "two solvers"), (duality_gap, "primal and dual"))
):
    ordered = np.sort(np.maximum(values, floor))
    style = {"color": look(index)["color"], "ls": "-" if index == 0 else "--"}
    axes[0].step(ordered, np.arange(1, COUNT + 1) / COUNT, label=label, **style)
axes[0].set(xscale="log", xlabel="relative difference (0 drawn at $10^{-17}$)")
axes[0].set_ylabel("share of problems")
axes[0].set_title("one optimum, found twice")
axes[0].legend(loc="lower right")

axes[1].loglog(bounds[binding], totals[binding], ls="", **look(0), alpha=0.7)
limits = np.array([totals[binding].min() / 2, bounds[binding].max() * 2])
axes[1].loglog(limits, limits, "k--", lw=1, label="bound")
axes[1].set(xlabel=r"$(V^* - V_r^{\bar\pi})\,/\,\xi$", ylabel=r"$\Sigma_j\,\lambda_j^*$")
axes[1].set_title("Slater's bound")
axes[1].legend()

grid = np.linspace(0.0, 1.6, 200)
axes[2].plot(grid, 10 * np.maximum(1, grid), color=look(0)["color"], label="d just enough")
axes[2].plot(
    grid, 10 * np.maximum(0, 1 - grid) + 5 * grid, "--", color=look(1)["color"], label="d halved"
)
axes[2].axvspan(0, 1, color=look(0)["color"], alpha=0.12, lw=0)
axes[2].set(xlabel=r"$\lambda$", ylabel=r"dual value $g(\lambda)$")
axes[2].set_title(r"a flat dual: every $\lambda \in [0, 1]$ is optimal")
axes[2].legend()
save(figure, "01_ground_truth")

# %% [markdown]
# ## What the data say

# %%
agree = (disagreement < 1e-8) & (duality_gap < 1e-8)
print(
    f"On {agree.sum()} of {COUNT} problems both solvers and the dual agree to "
    f"{max(disagreement.max(), duality_gap.max()):.0e}; the multipliers keep Slater's bound on "
    f"{within.sum()} and use at most {shares.max():.0%} of it; the optimal policy randomises at "
    f"most once per active constraint on {(randomisations <= active).sum()}; where a constraint "
    f"is active, every deterministic policy is worse on {worse.sum()} of {binding.sum()}; "
    f"λ* is certified unique on {unique}, and on both problems made to have a flat dual the "
    f"optimal multipliers found are the segment known by hand."
)
assert agree.all()
assert within.all()
assert (randomisations <= active).all()
assert worse.sum() > 0.9 * binding.sum() > 0
assert by_hand
