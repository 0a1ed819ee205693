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
# # 6. Why communicate, how much one must see, and what a message gives away
#
# **Claim** (the premise of Jin, Zhang, Zhang, arXiv 2405.03236). An agent that sees only its own
# constraint breaks those of others, however well it optimises; federated, agents keep them all;
# and they exchange nothing but policies.
#
# Agent $i$ can measure the costs in its access set $\Gamma_i$. Four questions, in this order:
#
# 1. What does the *exact* optimum of one agent's own problem,
#    $\max V_r$ s.t. $V_{c_j} \le d_j$ for $j \in \Gamma_i$, do to the other budgets? No learning
#    is involved, so no better learner can help.
# 2. Where do FedNPG, the same agents without communication, and an omniscient agent end? With
#    $E = 1$ FedNPG and the omniscient agent at step $\eta/N$ are the same iteration (notebook 2).
# 3. If agents see more than one constraint each, with shares $w_{ij}$ that add up to one, how much
#    less do they drift? With full access all agents move alike, and any $E$ is $E$ steps of the
#    centralised method.
# 4. With $E = 1$ the message of agent $i$ is
#    $\theta_i = \bar\theta + \tfrac{\eta}{1-\gamma}(A_r/N - \lambda_i A_{c_i})$.
#    Whoever knows the dynamics and the reward subtracts $A_r$: what remains is proportional to
#    $A_{c_i}$. Is that less so for $E > 1$?

# %%
import dataclasses

import numpy as np

from bench.leakage import BUDGET_FRACTION, STEP, drawn, of_messages, watch
from fedjax_rl.cmdp.problems import windy_cliff
from fedjax_rl.cmdp.solve import evaluate_policy
from fedjax_rl.cmdp.solve.linear_program import solve_linear_program
from fedjax_rl.runs import Problem, fednpg
from fedjax_rl.statistics import median_interval
from notebooks.style import look, medians, panels, problems, save, sized, written

NAMED = problems(sized(6, 20))
ROUNDS = sized(1000, 10_000)


# %% [markdown]
# ## 1. Each agent's own optimum


# %%
def own_optima(cmdp):
    """V_ck / d_k at the optimum of agent i's own problem, [N, M]; constraint i is agent i's."""
    shares = []
    for index, name in enumerate(cmdp.constraint_names):
        own = dataclasses.replace(
            cmdp,
            costs=cmdp.costs[[index]],
            budgets=cmdp.budgets[[index]],
            constraint_names=(name,),
        )
        costs = evaluate_policy(cmdp, solve_linear_program(own).policy)[1]
        shares.append(costs / cmdp.budgets)
    return np.array(shares)


cliff = own_optima(windy_cliff())
shares = np.array([own_optima(named.cmdp) for named in NAMED])  # [problems, N, M]
others = np.where(np.eye(4, dtype=bool), -np.inf, shares).max(2)  # worst budget of somebody else
breaking = others > 1 + 1e-6
every = breaking.all(1)
overshoot = median_interval(others.max(1) - 1, seed=0)
print(f"{breaking.sum()} of {breaking.size} agents break a budget that they do not see")
print(f"by up to {written(overshoot)} of it (median over problems of the worst agent)")

# %% [markdown]
# ## 2. Federated, alone, omniscient

# %%
variants = {
    "omniscient": {"reference": "omniscient"},
    "FedNPG, E = 1": {},
    "FedNPG, E = 5": {"local_steps": 5},
    "no communication": {"reference": "no-communication"},
}
violation, gap = np.zeros((2, len(NAMED), len(variants)))
twins = np.zeros(len(NAMED))
for row, named in enumerate(NAMED):
    values = {}
    for column, (name, changes) in enumerate(variants.items()):
        history = fednpg(named.cmdp, rounds=ROUNDS, **changes).history
        violation[row, column] = history["average_violation"][-1]
        gap[row, column] = history["average_gap"][-1] / named.certificate.optimal_value
        values[name] = history["value"]
    twins[row] = np.abs(values["omniscient"] - values["FedNPG, E = 1"]).max()
for column, name in enumerate(variants):
    middle = median_interval(violation[:, column], seed=0)
    relative = median_interval(gap[:, column], seed=0)
    print(f"{name:17s} averaged violation {written(middle)}, gap / V* {written(relative)}")
print(f"omniscient and FedNPG with E = 1: values apart by at most {twins.max():.0e}")

# %% [markdown]
# ## 3. Partial access
#
# Agent $i$ sees the $k$ constraints $i, \dots, i + k - 1$ (modulo 4); each constraint is shared
# equally among its $k$ owners. $E = 5$ and $\eta E = 1$, where drift is plain to see.

# %%
BREADTHS = sized((1, 2, 4), (1, 2, 3, 4))
settings = {"step_size": 0.2, "dual_step_size": 0.02}
drift = np.zeros((len(NAMED), len(BREADTHS)))
alike = np.zeros(len(NAMED))
for row, named in enumerate(NAMED):
    for column, breadth in enumerate(BREADTHS):
        access = np.zeros((4, 4), bool)
        for offset in range(breadth):
            access[np.arange(4), (np.arange(4) + offset) % 4] = True
        shared = Problem("shared", named.cmdp, access)
        history = fednpg(shared, rounds=ROUNDS, local_steps=5, **settings).history
        drift[row, column] = history["average_violation"][-1]
    steps = 5 * min(ROUNDS, 200)
    central = fednpg(named.cmdp, rounds=steps, reference="omniscient", **settings).history
    alike[row] = np.abs(history["value"][: steps // 5 + 1] - central["value"][::5]).max()
for breadth, column in zip(BREADTHS, drift.T, strict=True):
    print(f"k = {breadth}: averaged violation {written(median_interval(column, seed=0))}")
print(f"full access, E = 5, and every fifth centralised step: apart by at most {alike.max():.0e}")

# %% [markdown]
# ## 4. What a message reveals
#
# Cosine between what is left of a message and the true $A_{c_i}$, both without each state's mean;
# medians over rounds and agents with $\lambda_i > 0$. The control is the advantage of a cost of
# the same law that nobody watches. ([What leaks](../docs/leakage.md) says more.)

# %%
LOCAL = sized((1, 10), (1, 2, 5, 10, 20))
watched = drawn(4, sized(6, 20), BUDGET_FRACTION)
seen = [
    of_messages(watched, watch(watched, STEP, steps, sized(60, 200)), STEP, steps)
    for steps in LOCAL
]
cosines = [cell["by_problem"] for cell in seen]
for steps, cell in zip(LOCAL, seen, strict=True):
    print(f"E = {steps:2d}: cosine {cell['cosine']:.4f}, with a stranger's {cell['stranger']:.3f}")

# %% [markdown]
# ## Figure

# %%
figure, axes = panels(2, rows=2)
picture = axes[0].imshow(cliff, cmap="cividis", vmin=0, aspect="auto")
for (agent, constraint), share in np.ndenumerate(cliff):
    shade = "white" if share < 0.6 * cliff.max() else "black"
    axes[0].text(constraint, agent, f"{share:.2f}", ha="center", va="center", color=shade)
axes[0].set(xlabel="constraint", ylabel="agent that optimises alone", xticks=range(4))
axes[0].set_yticks(range(4))
axes[0].set_title("windy-cliff: cost / budget at each agent's own optimum")
axes[0].grid(visible=False)
figure.colorbar(picture, ax=axes[0])
places = np.arange(len(variants))
jitter = np.linspace(-0.18, 0.18, len(NAMED))
for index, values in enumerate(violation.T):
    middle, low, high = median_interval(values, seed=0)
    axes[1].plot(index + jitter, values, ".", color=look(index)["color"], alpha=0.35)
    error = [[middle - low], [high - middle]]
    axes[1].errorbar(index, middle, error, capsize=4, ms=6, ls="none", **look(index))
axes[1].set_xticks(places, [name.replace(", ", ",\n").replace(" c", "\nc") for name in variants])
axes[1].axhline(0, color="black", lw=0.8)
axes[1].set(ylabel="averaged violation", title=f"after {ROUNDS} rounds")
medians(axes[2], BREADTHS, drift, 0, "median and 95 % interval")
axes[2].set(xlabel="constraints that each agent sees", ylabel="averaged violation")
axes[2].set_xticks(BREADTHS)
axes[2].set_title("drift against access, E = 5, η·E = 1")
axes[2].legend()
spread = np.array([median_interval(each, seed=0) for each in cosines])
error = np.abs(spread[:, 1:].T - spread[:, 0])
axes[3].errorbar(LOCAL, spread[:, 0], error, capsize=3, label="agent's own cost", **look(0))
axes[3].plot(LOCAL, [cell["stranger"] for cell in seen], label="a stranger's cost", **look(1))
axes[3].set(xlabel="local steps E", ylabel="cosine with $A_c$", ylim=(-0.15, 1.08))
axes[3].set_title("what one message reveals, η = 0.1")
axes[3].legend(loc="center right")
save(figure, "06_why_communicate")

# %% [markdown]
# ## What the data say

# %%
lone = violation[:, 3] > violation[:, 1]
less = median_interval(violation[:, 3] / violation[:, 1], seed=0)
narrower = median_interval(drift[:, 0] / drift[:, BREADTHS.index(2)], seed=0)
print(
    f"At the exact optima of their own problems {breaking.sum()} of {breaking.size} agents break "
    f"a budget that they do not see (on {every.sum()} of {len(NAMED)} problems all four do), the "
    f"worst by {written(overshoot)} of it; after {ROUNDS} rounds agents without communication "
    f"violate more than FedNPG on {lone.sum()} of {len(NAMED)}, {written(less)} times as much, and "
    f"FedNPG with E = 1 is the omniscient agent to {twins.max():.0e}; seeing two constraints "
    f"instead of one divides what drift costs by {written(narrower)}, and full access is the "
    f"centralised method to {alike.max():.0e}; one message gives away its agent's cost with "
    f"cosine {seen[0]['cosine']:.4f} at E = 1 and {seen[-1]['cosine']:.4f} at E = {LOCAL[-1]}."
)
assert breaking.mean() > 0.5
assert lone.all()
assert less.low > 2
assert twins.max() < 1e-8
assert narrower.low > 1
assert alike.max() < 1e-8
assert seen[0]["largest_gap_to_one"] < 1e-6
assert seen[-1]["cosine"] > 0.9 > 0.3 > abs(seen[-1]["stranger"])
