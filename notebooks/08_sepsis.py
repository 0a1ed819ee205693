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
# # 8. Sepsis: what each constraint costs in survival
#
# **This is a simulation, not clinical evidence.** The model was estimated from records of
# intensive care (ICU-Sepsis, Choudhary, Gupta, Thomas, arXiv 2406.05646); what is best in it need
# not be good for anybody.
#
# **Claim.** The best survival within budgets, $V^*(d)$, is a concave function of the budgets, and
# the multipliers are its slope, as duality has it:
#
# $$V^*(d') \le V^*(d) + \lambda^*(d)^\top (d' - d) \quad\text{for all } d, d' ,$$
#
# because $V^*(d) = \min_{\lambda \ge 0} \max_\pi V_r - \lambda^\top (V_c - d)$ is a minimum of
# functions that are affine in $d$ (strong duality: Altman, *Constrained Markov Decision
# Processes*, 1999; Paternain et al., arXiv 1910.13393). Between two budgets of one constraint
# that leaves a finite difference no choice but to lie between the two multipliers:
#
# $$\lambda_j^*(d') \le \frac{V^*(d') - V^*(d)}{d_j' - d_j} \le \lambda_j^*(d)
# \qquad\text{for } d_j < d_j' .$$
#
# Four hospitals share the model: 716 states, 25 treatments, reward 1 for survival, discount 0.99.
# Each audits one cost: the vasopressor level, the fluid level, the SOFA score in intensive care,
# and treatments that no clinician gave in that state. Costs are discounted sums.

# %%
import itertools

import numpy as np

from fedjax_rl.cmdp import with_settings
from fedjax_rl.cmdp.solve import evaluate_policy
from fedjax_rl.runs import fednpg
from fedjax_rl.sources.problems import clinicians_policy
from fedjax_rl.sources.solutions import certify
from notebooks.style import look, panels, save, sized

ROUNDS = sized(100, 300)
CONSTRAINTS = sized((1,), (0, 1, 3))
FACTORS = sized((2.0, 4.0), (1.5, 2.0, 4.0))
"""By what a budget is multiplied while the others stay; with less there may be no policy."""

# %% [markdown]
# ## The learned policy
#
# FedNPG with $E = 1$: hospitals exchange policies, never what they audit. The policy is that of
# the occupancy averaged over rounds.

# %%
run = fednpg("icu-sepsis", rounds=ROUNDS, step_size=20.0, dual_step_size=0.02)
cmdp, optimum = run.problem.cmdp, run.certificate
names = [name.replace("-", " ") for name in cmdp.constraint_names]
policies = {
    "clinicians": clinicians_policy(),
    "FedNPG": run.outcome.averaged_policy,
    "optimum": optimum.policy,
}
survival, used = {}, {}
for label, policy in policies.items():
    survival[label], costs, _ = evaluate_policy(cmdp, policy)
    used[label] = costs / cmdp.budgets
    shares = ", ".join(
        f"{name} {share:.2f}" for name, share in zip(names, used[label], strict=True)
    )
    print(f"{label:10s} survival {survival[label]:.4f}; cost / budget: {shares}")
print(f"without budgets {optimum.unconstrained_value:.4f}")
print("multipliers", dict(zip(names, optimum.multipliers.round(4).tolist(), strict=True)))

# %% [markdown]
# ## The front
#
# One budget is varied at a time, and every problem is solved exactly, with a certificate.


# %%
def varied(constraint, factor):
    """The certificate where one budget is ``factor`` times its own."""
    budgets = cmdp.budgets.copy()
    budgets[constraint] *= factor
    return certify(with_settings(cmdp, budgets=budgets), "decomposition")


fronts = {}
for constraint in CONSTRAINTS:
    fronts[constraint] = [(1.0, optimum)]
    fronts[constraint] += [(factor, varied(constraint, factor)) for factor in FACTORS]
    for factor, found in fronts[constraint]:
        print(
            f"{names[constraint]:17s} budget × {factor:g}: V* {found.optimal_value:.4f}, "
            f"λ* {found.multipliers[constraint]:.4f}"
        )

# %% [markdown]
# ## Slopes and multipliers
#
# Between neighbours the finite difference must lie between the multipliers at the two ends. And
# the tangent at every budget must lie above every other point, whichever budget was varied.

# %%
secants, at_less, at_more = [], [], []
for constraint, points in fronts.items():
    for (less, before), (more, after) in itertools.pairwise(points):
        width = (more - less) * cmdp.budgets[constraint]
        secants.append((after.optimal_value - before.optimal_value) / width)
        at_less.append(before.multipliers[constraint])
        at_more.append(after.multipliers[constraint])
secants, at_less, at_more = np.array(secants), np.array(at_less), np.array(at_more)
between = (at_more - 1e-6 <= secants) & (secants <= at_less + 1e-6)

every = []
for constraint, points in fronts.items():
    for factor, found in points:
        budgets = cmdp.budgets.copy()
        budgets[constraint] *= factor
        every.append((budgets, found))
above = np.array(
    [
        found.optimal_value + found.multipliers @ (other - budgets) - there.optimal_value
        for budgets, found in every
        for other, there in every
    ]
)
certified = max(found.certified_gap for _, found in every)
print(f"{between.sum()} of {len(secants)} finite differences lie between the multipliers")
print(f"tangents are above the front by {above.min():.0e} or more; certified to {certified:.0e}")

# %% [markdown]
# ## Figure

# %%
figure, axes = panels(3)
for index, (constraint, points) in enumerate(fronts.items()):
    factors = np.array([factor for factor, _ in points])
    values = np.array([found.optimal_value for _, found in points])
    axes[0].plot(factors, values, label=names[constraint], **look(index))
    for factor, found in points:
        reach = factor + np.array([-0.3, 0.3])
        slope = found.multipliers[constraint] * cmdp.budgets[constraint]
        tangent = found.optimal_value + slope * (reach - factor)
        axes[0].plot(reach, tangent, ":", color=look(index)["color"], lw=0.9)
axes[0].axhline(optimum.unconstrained_value, color="black", lw=0.9, ls="--")
axes[0].axhline(survival["clinicians"], color="black", lw=0.9, ls="-.")
axes[0].text(1.0, optimum.unconstrained_value, "without budgets", va="bottom", fontsize=7)
axes[0].text(1.0, survival["clinicians"], "clinicians", va="bottom", fontsize=7)
axes[0].set(xlabel="budget / its own", ylabel="survival V* (simulated)")
axes[0].set_title("the front, and tangents of slope λ*")
axes[0].set_ylim(top=optimum.unconstrained_value + 0.012)
axes[0].legend(loc="center right", bbox_to_anchor=(1.0, 0.52))

positions = np.arange(len(secants))
error = np.array([secants - at_more, at_less - secants]).clip(0)
axes[1].errorbar(positions, secants, error, ls="none", capsize=4, **look(0))
labels = [
    f"{names[constraint].split()[0]}\n{less:g}–{more:g}"
    for constraint, points in fronts.items()
    for (less, _), (more, _) in itertools.pairwise(points)
]
axes[1].set_xticks(positions, labels, rotation=60 * (len(positions) > 4))
axes[1].set(ylabel="survival per unit of cost", title="finite differences, multipliers as bars")

width = 0.27
for index, (label, shares) in enumerate(used.items()):
    colour, where = look(index)["color"], np.arange(len(names)) + width * (index - 1)
    hatch = ("", "//", "..")[index]
    label_text = f"{label}, survival {survival[label]:.3f}"
    axes[2].bar(
        where, shares, width, color=colour, hatch=hatch, edgecolor="white", label=label_text
    )
axes[2].axhline(1, color="black", lw=0.9)
axes[2].set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
axes[2].set(ylabel="cost / budget", title=f"costs; FedNPG after {ROUNDS} rounds")
axes[2].set_ylim(0, 1.25 * max(shares.max() for shares in used.values()))
axes[2].legend(loc="upper right")
save(figure, "08_sepsis")

# %% [markdown]
# ## What the data say

# %%
loss = 1 - survival["FedNPG"] / survival["optimum"]
excess = used["FedNPG"].max() - 1
broken = [name for name, share in zip(names, used["clinicians"], strict=True) if share > 1]
doubled = {
    names[constraint]: dict(points)[2.0].optimal_value - optimum.optimal_value
    for constraint, points in fronts.items()
}
gains = ", ".join(f"{name} +{gain:.4f}" for name, gain in doubled.items())
print(
    f"In this simulation, which is no clinical evidence, the best survival within the budgets is "
    f"{survival['optimum']:.4f}, against {optimum.unconstrained_value:.4f} without them and "
    f"{survival['clinicians']:.4f} of the clinicians' policy, which exceeds the budgets of "
    f"{' and '.join(broken)} {used['clinicians'].max():.1f}-fold at most; a doubled budget is "
    f"worth {gains}; {between.sum()} of {len(secants)} finite differences lie between the "
    f"multipliers of their ends, and no tangent is below the front by more than "
    f"{max(0.0, -above.min()):.0e}; after {ROUNDS} rounds FedNPG is {loss:.1%} below the "
    f"optimum and no cost more than {max(excess, 0.0):.1%} over its budget."
)
assert all(found.optimal_value <= optimum.unconstrained_value + 1e-9 for _, found in every)
assert (secants >= -1e-6).all()
assert between.all()
assert above.min() > -1e-7
assert survival["clinicians"] < survival["FedNPG"] < optimum.unconstrained_value
assert abs(loss) < sized(0.03, 0.01)
assert excess < sized(0.1, 0.02)
assert {"vasopressor", "fluid"} <= set(broken)
