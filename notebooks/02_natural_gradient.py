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
# # 2. The natural gradient in closed form, and a Lagrangian that splits
#
# **Claim.** For a softmax policy $\pi_\theta = \mathrm{softmax}(\theta)$ the natural gradient of
# any value needs no Fisher matrix, its step is a multiplicative-weights update, and the
# Lagrangian of the whole problem falls apart into one piece per agent. Together: a round of
# FedNPG with one local step *is* a step of the centralised method.
#
# 1. **Closed form** (Kakade 2001; Agarwal et al., arXiv 1908.00261, Lemma 15). With
#    $F = E_{q}[\nabla\log\pi\,\nabla\log\pi^\top]$, $q$ the occupancy, and ${}^\dagger$ the
#    pseudo-inverse,
#
#    $$F^\dagger \nabla_\theta V(\rho) = \tfrac{1}{1-\gamma}\,A \quad
#    \text{up to a constant per state,}$$
#
#    which softmax does not see. It takes a policy and an occupancy of full support.
# 2. **Multiplicative weights.** $\theta^+ = \theta + \tfrac{\eta}{1-\gamma} A$ is
#    $\pi^+ \propto \pi\,\exp\!\big(\tfrac{\eta}{1-\gamma} A\big)$.
# 3. **Splitting** (Jin, Zhang, Zhang, arXiv 2405.03236). With any access $\Gamma$ that covers all
#    constraints and shares $\sum_{i:\,j\in\Gamma_i} w_{ij} = 1$,
#
#    $$L_i = \tfrac1N V_r - \sum_{j\in\Gamma_i} w_{ij}\lambda_j (V_{c_j} - d_j), \qquad
#    \sum_i L_i = L_0 ,$$
#
#    and so do the advantages: the mean of the agents' logits moves by
#    $\tfrac{\eta}{N}\,\tfrac{1}{1-\gamma}\,A_{L_0}$.

# %%
import numpy as np

from fedjax_rl.cmdp import from_arrays
from fedjax_rl.cmdp.access import split_weights
from fedjax_rl.cmdp.problems import random_mdp
from fedjax_rl.cmdp.solve import evaluate_policy
from fedjax_rl.runs import fednpg
from notebooks.style import look, medians, panels, save, sized

PROBLEMS = sized(20, 50)
ROUNDS = sized(200, 1000)
STEP, DUAL_STEP, CAP = 0.1, 0.01, 10.0

# %% [markdown]
# ## Values without the package's solver
#
# Everything here is plain NumPy: one dense solve for a value, central differences for a gradient.


# %%
def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def values(cmdp, policy, signals):
    """V [K, S] of signals [K, S, A]."""
    transition = np.einsum("sa,sat->st", policy, cmdp.transition)
    operator = np.eye(cmdp.num_states) - cmdp.discount * transition
    return np.linalg.solve(operator, np.einsum("sa,ksa->sk", policy, signals)).T


def advantages(cmdp, policy, signals):
    """A [K, S, A] and V(ρ) [K] of signals [K, S, A]."""
    value = values(cmdp, policy, signals)
    following = np.einsum("sat,kt->ksa", cmdp.transition, value)
    return signals + cmdp.discount * following - value[:, :, None], value @ cmdp.initial


def gradient(cmdp, logits, signal, step=1e-5):
    """∇_θ V(ρ), [S·A], by central differences."""
    slopes = []
    for direction in np.eye(logits.size).reshape(-1, *logits.shape):
        ends = [
            advantages(cmdp, softmax(logits + side * step * direction), signal[None])[1][0]
            for side in (1, -1)
        ]
        slopes.append((ends[0] - ends[1]) / (2 * step))
    return np.array(slopes)


def fisher(cmdp, policy):
    """F [S·A, S·A]: a block q(s) (diag π − π πᵀ) for each state."""
    visits = evaluate_policy(cmdp, policy)[2].sum(1)
    size = policy.size
    matrix = np.zeros((*policy.shape, *policy.shape))
    for state, row in enumerate(policy):
        matrix[state, :, state] = visits[state] * (np.diag(row) - np.outer(row, row))
    return matrix.reshape(size, size)


def without_constants(array):
    """Each state's mean taken out: what a softmax can see."""
    return array - array.mean(-1, keepdims=True)


# %% [markdown]
# ## The closed form, and where it ends
#
# At random logits the pseudo-inverse and the advantages agree to what central differences can
# tell. A state that is never visited is another matter: its block of $F$ vanishes, the
# pseudo-inverse gives it no gradient at all, and the advantages still say what to do there.

# %%
cmdps = [random_mdp(seed=seed) for seed in range(PROBLEMS)]
generator = np.random.default_rng(0)


def closed_form(cmdp, logits):
    """F†∇V and A/(1 − γ) of the reward, [S, A] each, without constants."""
    policy = softmax(logits)
    natural = np.linalg.pinv(fisher(cmdp, policy), rcond=1e-10, hermitian=True)
    natural = (natural @ gradient(cmdp, logits, cmdp.reward)).reshape(logits.shape)
    advantage = advantages(cmdp, policy, cmdp.reward[None])[0][0] / (1 - cmdp.discount)
    return without_constants(natural), without_constants(advantage)


def unvisited(cmdp):
    """The same problem whose last state is never entered, nor begun in."""
    transition = cmdp.transition.copy()
    transition[:, :, 0] += transition[:, :, -1]
    transition[:, :, -1] = 0.0
    initial = np.append(np.full(cmdp.num_states - 1, 1 / (cmdp.num_states - 1)), 0.0)
    return from_arrays(transition, cmdp.reward, cmdp.costs, cmdp.budgets, initial, cmdp.discount)


form_error, blind = np.zeros(PROBLEMS), np.zeros(PROBLEMS)
for index, cmdp in enumerate(cmdps):
    natural, advantage = closed_form(cmdp, generator.normal(size=cmdp.reward.shape))
    form_error[index] = np.abs(natural - advantage).max() / np.abs(advantage).max()
    natural, advantage = closed_form(unvisited(cmdp), generator.normal(size=cmdp.reward.shape))
    blind[index] = np.abs(natural[-1]).max() / np.abs(advantage[-1]).max()
print(f"closed form: largest relative error {form_error.max():.1e}")
print(f"unvisited state: F†∇V is at most {blind.max():.1e} of the advantage")

# %% [markdown]
# ## The Lagrangian splits
#
# Under random access matrices in which constraints overlap, random multipliers and policies.


# %%
def random_access(agents, constraints):
    """Γ [N, M] with an owner for every constraint, at random."""
    access = generator.random((agents, constraints)) < 0.5
    access[generator.integers(agents, size=constraints), np.arange(constraints)] = True
    return access


split_error = np.zeros(PROBLEMS)
for index, cmdp in enumerate(cmdps):
    policy = softmax(generator.normal(size=cmdp.reward.shape))
    multipliers = generator.exponential(size=cmdp.num_constraints)
    agents = int(generator.integers(2, 8))
    prices = split_weights(random_access(agents, cmdp.num_constraints)) * multipliers
    own = cmdp.reward / agents - np.einsum("nm,msa->nsa", prices, cmdp.costs)
    whole = cmdp.reward - np.einsum("m,msa->sa", multipliers, cmdp.costs)
    (pieces, terms), (total, value) = (
        advantages(cmdp, policy, signals) for signals in (own, whole[None])
    )
    local = terms + prices @ cmdp.budgets
    split_error[index] = max(
        np.abs(pieces.sum(0) - total[0]).max() / np.abs(total).max(),
        abs(local.sum() - (value[0] + multipliers @ cmdp.budgets)) / abs(value[0]),
    )
print(f"splitting: largest relative error {split_error.max():.1e}")

# %% [markdown]
# ## Hence: one local step is the centralised method
#
# Four agents with a constraint each and $E = 1$, in the package, against multiplicative weights
# on the whole Lagrangian at step $\eta/N$, in NumPy. Multipliers start at zero and move by
# $\lambda_j \leftarrow \mathrm{clip}(\lambda_j + \eta_\lambda(V_{c_j} - d_j), 0, 10)$ in both.


# %%
def multiplicative_weights(cmdp, rounds, step):
    """Value, costs and multipliers after each round, [rounds, 1 + 2 M]."""
    policy = np.full(cmdp.reward.shape, 1 / cmdp.num_actions)
    multipliers = np.zeros(cmdp.num_constraints)
    signals = np.concatenate([cmdp.reward[None], cmdp.costs])
    rows = []
    for _ in range(rounds):
        advantage, returns = advantages(cmdp, policy, signals)
        whole = advantage[0] - np.einsum("m,msa->sa", multipliers, advantage[1:])
        policy = policy * np.exp(step / (1 - cmdp.discount) * whole)
        policy /= policy.sum(-1, keepdims=True)
        excess = returns[1:] - cmdp.budgets
        multipliers = np.clip(multipliers + DUAL_STEP * excess, 0, CAP)
        rows.append([*values(cmdp, policy, signals) @ cmdp.initial, *multipliers])
    return np.array(rows)


settings = {"rounds": ROUNDS, "step_size": STEP, "dual_step_size": DUAL_STEP}
apart = np.zeros((PROBLEMS, ROUNDS))
for index, cmdp in enumerate(cmdps):
    history = fednpg(cmdp, multiplier_cap=CAP, **settings).history
    names = ["value", *(f"cost/{name}" for name in cmdp.constraint_names)]
    names += [f"multiplier/{i}/{name}" for i, name in enumerate(cmdp.constraint_names)]
    federated = np.stack([history[name][1:] for name in names], axis=1)
    centralised = multiplicative_weights(cmdp, ROUNDS, STEP / cmdp.num_constraints)
    apart[index] = np.abs(federated - centralised).max(1)
print(f"FedNPG and multiplicative weights: apart by at most {apart.max():.1e}")

# %% [markdown]
# ## Figure

# %%
figure, axes = panels(2)
series = (
    (form_error, r"$F^\dagger\nabla V$ and $A/(1-\gamma)$"),
    (split_error, r"$\Sigma_i L_i$ and $L_0$"),
)
share = np.arange(1, PROBLEMS + 1) / PROBLEMS
for index, (errors, label) in enumerate(series):
    style = look(index) | {"markevery": max(1, PROBLEMS // 8)}
    axes[0].plot(np.sort(errors), share, drawstyle="steps-post", label=label, **style)
axes[0].axvline(np.finfo(float).eps, color="black", ls=":", lw=1, label="float64")
axes[0].set(xscale="log", xlabel="relative error", ylabel="share of problems")
axes[0].set_title("two identities; gradients by central differences")
axes[0].legend(loc="center", bbox_to_anchor=(0.55, 0.4))
drawn_rounds = np.unique(np.geomspace(1, ROUNDS, 25).astype(int)) - 1
drawn = np.maximum(apart[:, drawn_rounds], 1e-17)
medians(axes[1], drawn_rounds + 1, drawn, 0, "median and 95 % interval")
axes[1].plot(drawn_rounds + 1, drawn.max(0), color=look(1)["color"], ls="--", label="worst problem")
axes[1].set(xscale="log", yscale="log", xlabel="round", ylim=(1e-17, 1e-9))
axes[1].set_ylabel("largest difference of value, costs, λ")
axes[1].set_title("FedNPG with E = 1 is the centralised method")
axes[1].legend()
save(figure, "02_natural_gradient")

# %% [markdown]
# ## What the data say

# %%
exact = (form_error < 1e-5) & (split_error < 1e-12) & (apart.max(1) < 1e-9)
print(
    f"On {exact.sum()} of {PROBLEMS} problems F†∇V equals A/(1 − γ) to {form_error.max():.0e} (the "
    f"accuracy of central differences) and the agents' Lagrangians add up to the whole to "
    f"{split_error.max():.0e}; {ROUNDS} rounds of FedNPG with E = 1 stay within "
    f"{apart.max():.0e} of multiplicative weights at η/N; in a state that is never visited the "
    f"closed form fails on {(blind < 1e-3).sum()} of {PROBLEMS}: there F†∇V is zero and A is not."
)
assert exact.all()
assert (blind < 1e-3).all()
