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
# # 11. A tour in ten cells
#
# **Claim.** From `pip install` to a sweep and its report takes ten short cells, each of which
# checks itself against something exact where there is something exact: an optimum, a winner among
# its rivals, a run that nobody killed.
#
# ```text
# pip install .
# ```
#
# Whatever is done here with a function can be done on the command line, and the other way round:
# `main([...])` is `fedjax-rl ...`. Problem and method are those of Jin, Zhang, Zhang (arXiv
# 2405.03236), and of arXiv 2508.17850 for data that is old.

# %% [markdown]
# ## 1. The truth
#
# Four agents on a windy cliff, each of which can measure one danger only. What could be reached by
# someone who sees everything?

# %%
import contextlib
import csv
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from fedjax_rl.cli import main
from fedjax_rl.cmdp.problems import windy_cliff
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.report import write_report
from fedjax_rl.runs import fednpg, fedppo, hetero_rl
from notebooks.style import look, panels, save, sized

optimum = solve(windy_cliff())
print(f"V* = {optimum.optimal_value:.4f} within budgets, {optimum.unconstrained_value:.4f} without")

# %% [markdown]
# ## 2. A run
#
# Agents climb their own Lagrangians and merge policies; nobody sends what it measured. The
# multipliers printed are the last ones: they circle λ*, and only averages converge
# (notebook 7).

# %%
ROUNDS = sized(1000, 10_000)
run = fednpg("windy-cliff", rounds=ROUNDS)
print(f"multipliers {run.outcome.multipliers.ravel().round(3)}, λ* {optimum.multipliers.round(3)}")

# %% [markdown]
# ## 3. The gap
#
# Of the policy that is the average over rounds. A gap is read next to a violation: a policy that
# breaks its budgets can beat the optimum. Both fall like 1/√T, so four times the rounds halve
# them (notebook 4).

# %%
gap = run.summary["occupancy_gap"] / optimum.optimal_value
violation = run.summary["occupancy_violation"] / run.problem.cmdp.budgets.min()
print(f"gap {gap:+.2%} of V*, violation {violation:+.2%} of the smallest budget")

# %% [markdown]
# ## 4. Networks
#
# FedPPO on a cart-pole, whose two forbidden sets of positions are watched by one agent each.

# %%
networks = fedppo(
    "cartpole-pos2",
    episodes=100,
    **sized(
        {"rounds": 2, "envs": 4, "rollout": 8, "hidden": (4,), "epochs": 1, "minibatches": 2},
        {"rounds": 20, "envs": 16, "rollout": 100, "hidden": (32, 32), "window": 1},
    ),
)
reward = networks.evaluations.reward.mean((1, 2))  # [evaluations]
deep_rounds = networks.summary["rounds"]
print(f"reward {reward[0]:.1f} at first, {reward[-1]:.1f} after {deep_rounds} rounds")

# %% [markdown]
# ## 5. Data that is old
#
# GEPO: one learner, samplers far away that draw with parameters of its past.

# %%
stale = hetero_rl(
    "gepo",
    warm_start=0.0,
    window=8,
    **sized(
        {"task_args": ("length=3", "modulus=3"), "steps": 60, "prompts": 4, "held_out": 64},
        {"task_args": ("length=4", "modulus=3"), "steps": 300},
    ),
)
accuracy = stale.cells[0].at_evaluations("accuracy")[0]
age = stale.summary["staleness_mean"]
print(f"accuracy {accuracy[0]:.2f} at first, {accuracy[-1]:.2f} at last; data {age:.1f} steps old")

# %% [markdown]
# ## 6. A sweep
#
# Settings that are numbers are data to a compiled program: all members here share one.

# %%
folder = Path(tempfile.mkdtemp())
SWEPT = ["--rounds", str(sized(200, 2000)), "--log-every", "10", "--seeds", "1"]
GRID = ["--grid", "step_size=0.01,0.1,1", "--grid", "dual_step_size=0.001,0.01,0.1"]
assert main(["sweep", "fednpg", *GRID, *SWEPT, "--out", str(folder / "sweep")]) == 0
with (folder / "sweep" / "sweep.csv").open(newline="") as file:
    members = list(csv.DictReader(file))

# %% [markdown]
# ## 7. The best of it
#
# `best` prints a configuration that `run --config` takes. Here it is the one that violates least,
# counting no round for another.

# %%
with (folder / "best.yaml").open("w") as file, contextlib.redirect_stdout(file):
    assert main(["best", str(folder / "sweep"), "--metric", "strong_violation"]) == 0
again = ["--config", str(folder / "best.yaml"), "--checkpoint-every", "50"]
assert main(["run", "fednpg", *again, "--out", str(folder / "best")]) == 0
best = json.loads((folder / "best" / "summary.json").read_text())

# %% [markdown]
# ## 8. A report
#
# One page about both, in one file that needs no network.

# %%
report = write_report([folder / "best", folder / "sweep"], folder / "report.html")
page = report.read_text()
print(f"{report.name}: {len(page) / 1e3:.0f} kB")

# %% [markdown]
# ## 9. A power cut
#
# A copy of the run as a kill would have left it, without its outcome and its newest checkpoint.
# `resume` goes on from the one before.

# %%
killed = folder / "killed"
shutil.copytree(folder / "best", killed)
(killed / "summary.json").unlink()
checkpoints = sorted((killed / "checkpoints").iterdir())
print("checkpoints:", ", ".join(path.name for path in checkpoints))
shutil.rmtree(checkpoints[-1])
assert main(["resume", str(killed)]) == 0
same = (killed / "metrics.csv").read_bytes() == (folder / "best" / "metrics.csv").read_bytes()

# %% [markdown]
# ## 10. A figure

# %%
figure, axes = panels(3)
history = run.history
axes[0].plot(history["round"], history["value"], color=look(0)["color"], label="current policy")
axes[0].plot(
    *(history["round"], optimum.optimal_value - history["average_gap"]),
    **{"color": look(1)["color"], "ls": "--", "label": "average so far"},
)
axes[0].axhline(optimum.optimal_value, color="black", lw=0.9, ls=":", label="V*")
axes[0].set(xlabel="round", ylabel="value", title="FedNPG on a windy cliff")
axes[0].legend(loc="lower right")
steps = stale.cells[0].step[stale.cells[0].evaluated]
axes[1].plot(steps, accuracy, **look(0) | {"marker": ""})
axes[1].set(xlabel="learner step", ylabel="accuracy on held-out prompts")
axes[1].set_title(f"GEPO on data {age:.1f} steps old")
gaps = [float(member["average_gap"]) for member in members]
excess = [float(member["strong_violation"]) for member in members]
axes[2].plot(excess, gaps, ls="none", **look(0), label="a member of the sweep")
best_style = {"ls": "none", "mfc": "none", "ms": 10, "color": look(1)["color"], "marker": "s"}
axes[2].plot(best["strong_violation"], best["average_gap"], **best_style, label="the best")
axes[2].axhline(0, color="black", lw=0.9)
axes[2].set(xlabel="strong violation", ylabel="average gap", title="what settings do")
axes[2].legend()
save(figure, "11_tour")

# %% [markdown]
# ## What the data say

# %%
shutil.rmtree(folder)
print(
    f"After {ROUNDS} rounds FedNPG's gap is {gap:+.2%} of V* = {optimum.optimal_value:.2f} and its "
    f"violation {violation:+.2%} of the smallest budget; {deep_rounds} rounds of "
    f"FedPPO take the reward from {reward[0]:.1f} to {reward[-1]:.1f}; GEPO learns from data "
    f"{age:.1f} steps old, from accuracy {accuracy[0]:.2f} to {accuracy[-1]:.2f}; of "
    f"{len(members)} configurations the best violates {best['strong_violation']:.3g} and the worst "
    f"{max(excess):.3g}, and run alone it is as in the sweep to "
    f"{abs(min(excess) - best['strong_violation']):.0e}; its report is one file of "
    f"{len(page) / 1e3:.0f} kB, and a run that was cut and resumed is "
    f"{'the same to the last bit' if same else 'another one'}."
)
assert abs(gap) < sized(0.2, 0.05)
assert len(members) == 9
assert np.isclose(best["strong_violation"], min(excess), atol=1e-9)
assert np.isfinite(reward).all()
assert sized(True, reward[-1] > reward[0])
assert accuracy[-1] > accuracy[0] + 0.1
assert "<script src" not in page
assert same
