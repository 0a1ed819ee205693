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
# # 9. FedPPO
#
# **Claim** (Jin, Zhang, Zhang, arXiv 2405.03236). Agents that each see one constraint, ascend
# their own clipped surrogate and merge networks now and then find one policy that keeps to the
# budgets of all, and earns about what an agent earns that sees everything. With $\hat A_r$ and
# $\hat A_{c_j}$ the advantages of reward and costs, agent $i$ ascends that of its own Lagrangian,
#
# $$\hat A_i = \frac{\tfrac1N \hat A_r - \sum_{j \in \Gamma_i} w_{ij} \lambda_{ij} \hat A_{c_j}}
# {\tfrac1N + \sum_{j \in \Gamma_i} w_{ij} \lambda_{ij}} , \qquad
# \lambda_{ij} \leftarrow \lambda_{ij} \, e^{K e_{ij}}, \quad
# e_{ij} = \frac{\hat J_{c_j} - d_j}{\max(\hat J_{c_j}, d_j)} ,$$
#
# where $w_{ij}$ shares a constraint among those who see it. The denominator keeps steps of equal
# length whatever the multipliers are. It has a price: merged as equals (`--merge-by equal`), one
# agent's constraint never outweighs the others' rewards. Merging by what divided the objectives,
# which is the default, takes that back.
#
# Nothing about networks is proved. What can be had are intervals: every figure below is an
# interquartile mean over seeds with a 95 % stratified bootstrap interval (Agarwal et al., arXiv
# 2108.13264), every policy is judged in episodes of its own.

# %%
import numpy as np

from fedjax_rl.runs import fedppo
from fedjax_rl.statistics import interquartile_mean, stratified_bootstrap
from notebooks.style import look, panels, save, sized, written

SEEDS = sized(2, 5)
WINDOW = sized(1, 3)
"""Evaluations at the end, whose mean is judged."""
TASKS = {
    "cartpole-pos2": {"rounds": 100},
    "acrobot-theta1-2": {"rounds": 150},
    "mountain-car-continuous": {"rounds": 80},
}
TINY = {"envs": 2, "rollout": 8, "rounds": 2, "hidden": (4,), "epochs": 1, "minibatches": 2}
TASKS = sized({"cartpole-pos2": TASKS["cartpole-pos2"]}, TASKS)
REFERENCES = {
    "federated": {},
    "federated, as equals": {"merge_by": "equal"},
    "omniscient": {"reference": "omniscient"},
    "no communication": {"reference": "no-communication"},
}

# %% [markdown]
# ## Runs
#
# Seeds are one compiled program. Each agent of every reference takes as many steps.

# %%
runs = {}
for task, settings in TASKS.items():
    for who, reference in REFERENCES.items():
        own = settings | sized(TINY, {}) | reference
        evaluate_every = max(1, own["rounds"] // 15)
        run = fedppo(task, seeds=SEEDS, evaluate_every=evaluate_every, episodes=100, **own)
        runs[task, who] = run
        assert (run.failed_seeds < 0).all()
        print(f"{task}, {who}: {run.summary['environment_steps_per_agent']:,} steps per agent")


# %% [markdown]
# ## Reward and the worst cost
#
# Of agents that never communicate, the reward is the mean over their policies, and the cost that
# of the worst: nobody knows which of them to trust.


# %%
def output(run):
    """Reward, and the largest cost / budget, [evaluations, seeds] each."""
    budgets = run.prepared.task.budgets
    return run.evaluations.reward.mean(2), (run.evaluations.costs / budgets).max((2, 3))


def interval(values):
    """Interquartile mean over seeds, with its interval."""
    return stratified_bootstrap(values, interquartile_mean, seed=0)


rewards, costs, within = {}, {}, {}
for key, run in runs.items():
    reward, cost = (values[-WINDOW:].mean(0) for values in output(run))
    rewards[key], costs[key] = interval(reward), interval(cost)
    within[key] = (cost <= 1.05).mean()
    print(
        f"{key[0]:23s} {key[1]:19s} reward {written(rewards[key]):20s} "
        f"worst cost / budget {written(costs[key]):20s} within 1.05 d: {within[key]:.0%} of seeds"
    )

# %% [markdown]
# Where no agent knows a budget, nothing keeps it. So the silent agents' worst cost, over the
# federation's, is what communication is worth.

# %%
worth, shares = {}, {}
for task in TASKS:
    silent = output(runs[task, "no communication"])[1][-WINDOW:].mean(0)
    for who in ("federated", "federated, as equals"):
        own = output(runs[task, who])[1][-WINDOW:].mean(0)
        worth[task, who] = interval(silent / np.maximum(own, 1e-3))
    first = np.mean(output(runs[task, "omniscient"])[0][0])
    best = rewards[task, "omniscient"].estimate
    for who in REFERENCES:
        shares[task, who] = (rewards[task, who].estimate - first) / (best - first)

# %% [markdown]
# ## Figure

# %%
figure, axes = panels(3, rows=2)
for column, task in enumerate(TASKS):
    for index, who in enumerate(REFERENCES):
        run = runs[task, who]
        steps = run.evaluations.environment_steps / run.prepared.num_agents / 1e6
        for row, values in enumerate(output(run)):
            middle, low, high = np.array([interval(of_seeds) for of_seeds in values]).T
            axis, line = axes[3 * row + column], look(index)
            axis.fill_between(steps, low, high, color=line["color"], alpha=0.15, lw=0)
            axis.plot(steps, middle, label=who, markevery=3, **line)
    axes[column].set(title=task, ylabel="reward" * (column == 0))
    below = axes[3 + column]
    below.axhline(1, color="black", lw=0.9, ls=":")
    below.set(yscale="log", xlabel="million steps per agent")
    below.set_ylabel("worst cost / budget" * (column == 0))
axes[0].legend()
save(figure, "09_fedppo")

# %% [markdown]
# ## What the data say

# %%
sentences = []
for task in TASKS:
    both = " and ".join(
        f"{written(costs[task, who])} d at {shares[task, who]:.2f} of the omniscient agent's "
        f"reward ({label})"
        for who, label in (("federated", "weighed"), ("federated, as equals", "as equals"))
    )
    sentences.append(
        f"{task}: {both}, against {written(costs[task, 'omniscient'])} d of the omniscient agent "
        f"and {written(costs[task, 'no communication'])} d of silent ones"
    )
print(
    f"Largest cost over its budget d, interquartile means over {SEEDS} seeds: "
    f"{'; '.join(sentences)}; the weighed federation keeps it "
    f"{', '.join(written(worth[task, 'federated']) for task in TASKS)} times as low as "
    f"agents that never communicate."
)
for task in TASKS:
    assert np.isfinite([*costs[task, "federated"], *rewards[task, "federated"]]).all()
    assert sized(True, worth[task, "federated"].low > 1)
    assert sized(True, costs[task, "no communication"].low > 1)
assert sized(True, costs["cartpole-pos2", "federated"].high < 1.3)
assert sized(True, shares["cartpole-pos2", "federated"] > 0.9)
