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
# # FedNPG against the exact optimum
#
# **Claim.** Four agents, each watching one constraint of a windy cliff, find the constrained
# optimum by averaging their policies once a round; agents that never communicate break the
# constraints they do not see. (Jin, Zhang, Zhang: arXiv 2405.03236.)
#
# Each agent $i$ ascends its own Lagrangian
# $L_i = V_r/N - \sum_{j\in\Gamma_i} w_{ij}\lambda_{ij}(V_{c_j} - d_j)$ and keeps
# $\lambda_{ij}$ to itself.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

from fedjax_rl.runs import fednpg

ROUNDS = int(os.environ.get("NOTEBOOK_ROUNDS", "20000"))

# %% [markdown]
# ## The exact truth first
#
# A linear program over occupancies and a Dantzig–Wolfe decomposition agree on the optimum; its
# multipliers say what each budget costs.

# %%
federated = fednpg("windy-cliff", rounds=ROUNDS)
truth = federated.certificate
print(f"V* = {truth.optimal_value:.4f}, certified to {truth.certified_gap:.1e}")
print("multipliers", np.round(truth.multipliers, 3), "unique:", truth.multipliers_unique)

# %% [markdown]
# ## Federated, and alone

# %%
alone = fednpg("windy-cliff", rounds=ROUNDS, reference="no-communication")
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for run, label in ((federated, "FedNPG"), (alone, "no communication")):
    rounds = run.history["round"][1:]
    axes[0].plot(rounds, run.history["average_gap"][1:], label=label)
    axes[1].plot(rounds, run.history["average_violation"][1:], label=label)
axes[0].set(xlabel="round", ylabel="average gap", xscale="log")
axes[1].set(xlabel="round", ylabel="average violation", xscale="log")
axes[1].axhline(0.0, color="black", lw=0.8)
axes[0].legend()
plt.show()

# %% [markdown]
# ## What the data say

# %%
ours, theirs = (run.summary["average_violation"] for run in (federated, alone))
gap = federated.summary["average_gap"] / truth.optimal_value
print(
    f"After {ROUNDS} rounds FedNPG's average violation is {ours:.3f} and its average gap "
    f"{100 * gap:+.2f} % of V*; without communication the average violation is {theirs:.3f}."
)
assert theirs > 5.0, "agents alone must break the budgets they do not see"
assert ours < 0.2 * theirs
