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
# # 10. GEPO
#
# **Claim** (arXiv 2508.17850, Theorem 1). Let $q$ be the policy that sampled and $p$ the one that
# learns, on $n$ responses. Importance weights $p/q$ (GSPO) vary more than the weights
# $p/\mathbb{E}_q[q]$ of group expectation policy optimisation (GEPO) by
#
# $$\Delta = \mathrm{Var}_q\Big[\frac pq\Big] - \mathrm{Var}_q\Big[\frac{p}{\mathbb{E}_q[q]}\Big]
# \;\ge\; e^{\mathrm{KL}(p\|q)} - (n^2 + 1).$$
#
# The right side is negative, and the theorem says nothing, for
# $\mathrm{KL} < \log(n^2 + 1)$. $n^{3/2} + 1$ in place of $n^2 + 1$ is enough
# (`theory.sharper_gap_bound`). The price of the smaller variance is bias: GEPO's weights have a
# mean below 1, even at $p = q$.

# %%
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from fedjax_rl.families.stale.assembly import prepare
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.summary import by_seed
from fedjax_rl.families.stale.training import run
from fedjax_rl.hetero import theory
from fedjax_rl.hetero.losses import Batch, LossChoices, build_loss, default_settings
from fedjax_rl.statistics import interquartile_mean, stratified_bootstrap
from notebooks.style import look, medians, panels, save, sized, written

LOSSES = ("gepo", "gspo", "grpo")
rng = np.random.default_rng(0)


# %% [markdown]
# ## The theorem, enumerated
#
# Pairs of Dirichlet laws, flat to nearly deterministic, and all pairs of Bernoulli laws of a grid.


# %%
def laws(count, support):
    """Distributions [count, support] of various peakedness, bounded away from zero."""
    shape = rng.choice([0.1, 0.3, 1.0, 5.0], (count, 1))
    draws = rng.gamma(np.broadcast_to(shape, (count, support))) + 1e-9
    return draws / draws.sum(-1, keepdims=True)


SUPPORTS = (2, 4, 8, 16, 32)
pairs = sized(1000, 10_000)
broken, vacuous, sharper_vacuous, helped = 0, [], [], []
for support in SUPPORTS:
    p, q = laws(pairs, support), laws(pairs, support)
    gap = theory.variance_gap(p, q)
    bound, sharper = theory.gap_bound(p, q), theory.sharper_gap_bound(p, q)
    broken += (gap + 1e-9 * (1 + np.abs(gap)) < sharper).sum()
    vacuous.append((bound <= 0).mean())
    sharper_vacuous.append((sharper <= 0).mean())
    helped.append((gap[bound <= 0] > 0).mean())
    print(
        f"n = {support:2d}: vacuous on {vacuous[-1]:.0%} of the pairs "
        f"(sharper: {sharper_vacuous[-1]:.0%}), and GEPO varies less on {helped[-1]:.0%} of those"
    )

grid = np.linspace(0.05, 0.95, 50)
a, b = np.meshgrid(grid, grid, indexing="ij")
divergence = theory.bernoulli_kl(a, b)
bernoulli_gap = theory.bernoulli_importance_variance(a, b) - theory.bernoulli_group_variance(a, b)
empty = np.exp(divergence) <= 5
worse = bernoulli_gap < 0
print(f"Bernoulli: vacuous on {empty.mean():.0%}, GEPO varies more on {worse.mean():.1%}")

# %% [markdown]
# ## Weights of perturbed policies
#
# Responses of six tokens out of three, 729 in all. $q$ is a random policy of independent tokens,
# and $p$ is $q$ with noise on its logits. Groups of eight responses are drawn from $q$ and
# weighed by the losses that train (product weights; GRPO's token weights are averaged over a
# response). Of $\sum_i w_i A_i/N$, with $A = r - \mathbb{E}_p[r]$ and a random reward in
# $\{0, 1\}$, the truth is $\mathbb{E}_p[A] = 0$: what the mean is off by is the bias, and the
# error of a batch of $N = 64$ has both bias and variance in it. Where the truth is zero,
# merely shrinking the weights looks like accuracy, so both are divided by the mean
# weight. Beyond a few nats the largest $p/q$ are too rare to be drawn, so GSPO's variance is
# enumerated, not sampled.

# %%
TOKENS, LENGTH, GROUP, BATCH = 3, 6, 8, 64
SCALES = np.array([0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.4])
POLICIES, GROUPS = sized(8, 40), sized(512, 4096)
responses = np.stack(np.unravel_index(np.arange(TOKENS**LENGTH), (TOKENS,) * LENGTH), -1)


def judge_of(loss):
    """The compiled weights of a loss."""
    judge = build_loss(loss, LossChoices(sequence_weight="product"))
    return jax.jit(lambda batch: judge(batch, default_settings(judge)).weights)


judges = {loss: judge_of(loss) for loss in LOSSES}


def token_logs(logits):
    """log π of every token of every response [729, 6], from logits [6, 3]."""
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return logs[np.arange(LENGTH), responses]


def weights_of(log_p, log_q):
    """Each loss's weights [groups, 8] of sampled responses."""
    batch = Batch(
        *(jnp.asarray(logs, jnp.float32) for logs in (log_p, log_q)),
        mask=jnp.ones(log_p.shape, bool),
        rewards=jnp.zeros(log_p.shape[:2]),
    )
    return {loss: np.asarray(judge(batch), np.float64).mean(-1) for loss, judge in judges.items()}


FIGURES = ("mean", "variance", "size", "bias", "error")
kl, exact = np.zeros((2, POLICIES, len(SCALES)))
moments = {loss: np.zeros((len(FIGURES), POLICIES, len(SCALES))) for loss in LOSSES}
drawn = {loss: [] for loss in LOSSES}
for policy in range(POLICIES):
    logits, noise = rng.normal(size=(2, LENGTH, TOKENS))
    reward = rng.random(len(responses)) < 0.3
    log_q = token_logs(logits)
    q = np.exp(log_q.sum(-1))
    picks = rng.choice(len(q), (GROUPS, GROUP), p=q / q.sum())
    for column, scale in enumerate(SCALES):
        log_p = token_logs(logits + scale * noise)
        p = np.exp(log_p.sum(-1))
        kl[policy, column], exact[policy, column] = theory.kl(p, q), theory.chi_square(p, q)
        advantages = (reward - p @ reward)[picks]
        for loss, weights in weights_of(log_p[picks], log_q[picks]).items():
            mean, variance = weights.mean(), weights.var()
            terms = weights / mean * advantages
            off = abs(terms.mean())
            error = np.sqrt(off**2 + terms.var() / BATCH)
            size = 1 / (1 + variance / mean**2)
            moments[loss][:, policy, column] = mean, variance, size, off, error
            drawn[loss].append(weights)
moments["gspo"][FIGURES.index("variance")] = exact
moments["gspo"][FIGURES.index("size")] = 1 / (1 + exact)
middle_kl = np.median(kl, 0)
for column, scale in enumerate(SCALES):
    row = {loss: np.median(moments[loss][:, :, column], 1).round(3).tolist() for loss in LOSSES}
    print(f"noise {scale:g}, KL {middle_kl[column]:.3f}: {FIGURES} {row}")
rank = spearmanr(kl[:, 1:].ravel(), exact[:, 1:].ravel()).statistic


# %%
def ratio(figure, column):
    """GEPO's over GSPO's of a figure at a scale, median over policies with its interval."""
    at = FIGURES.index(figure)
    ratios = moments["gepo"][at, :, column] / moments["gspo"][at, :, column]
    return stratified_bootstrap(ratios, np.median, seed=0)


far_variance, far_error, near_error = ratio("variance", -1), ratio("error", -1), ratio("error", 0)
far_size = ratio("size", -1)
fresh_mean = stratified_bootstrap(moments["gepo"][0, :, 0], np.median, seed=0)
fresh_size = stratified_bootstrap(moments["gepo"][2, :, 0], np.median, seed=0)

# %% [markdown]
# ## Shrinkage
#
# A GEPO weight is GSPO's times $q_i/E$ with $E = \sum_j q_j^2/\sum_j q_j \ge \max_j q_j / G$. By
# Cauchy–Schwarz the group's mean of these factors is at most 1. A large $p_i/q_i$ mostly has a
# small $q_i$, and is divided most.

# %%
gepo, gspo = (np.stack(drawn[loss]) for loss in ("gepo", "gspo"))  # [policies · scales, P, G]
factors = gepo / gspo
edges = np.geomspace(1e-2, 1e2, 13)
bins = [factors[(gspo >= low) & (gspo < high)] for low, high in pairwise(edges)]
large, usual = factors[gspo > 10], factors[(gspo > 0.5) & (gspo < 2)]
shrunk, near_one = np.median(large), np.median(usual)
print(
    f"q_i/E: {shrunk:.2g} where p/q > 10 ({large.size} weights), {near_one:.2g} where 1/2 < p/q < 2"
)

# %% [markdown]
# ## Stale runs
#
# Asynchronous training on prefix sums, at one learning rate for all losses (a fair comparison
# tunes it for each: `bench/stale.py`). A window of W means a staleness of at most 2W.

# %%
WINDOWS = sized((0, 4), (0, 8, 32))
CONFIG = HeteroConfig(
    task_args=sized(("length=6", "modulus=4"), ()),
    warm_start=sized(0.1, 0.18),
    steps=sized(60, 800),
    seeds=sized(3, 8),
    held_out=sized(64, 256),
    on_policy=sized(16, 32),
    evaluate_every=sized(10, 20),
)
cells = {
    (loss, cell.window): cell
    for loss in LOSSES
    for cell in run(prepare(loss, CONFIG, windows=WINDOWS)).cells
}


def interval(figure, loss, window):
    """Interquartile mean over seeds and its 95 % interval."""
    values = by_seed(cells[loss, window])[figure]
    return stratified_bootstrap(values, interquartile_mean, seed=0)


table = {
    key: (interval("best", *key), interval("last", *key), interval("ess_min", *key))
    for key in cells
}
print("loss   W  staleness  best               last               smallest sample size")
for (loss, window), figures in table.items():
    age = cells[loss, window].values["staleness"][:, 1:]
    print(f"{loss} {window:3d}  {age.mean():8.1f}   " + "  ".join(map(written, figures)))

# %% [markdown]
# Variance, bias and effective sample size against the age of a batch: means over the batches of
# an age in the steps in which accuracy is still rising, whatever the window. A weight without
# bias has mean 1.

# %%
RISING = sized(40, 200)
AGES = sized(((0, 0), (1, 3), (4, 8)), ((0, 0), (1, 4), (5, 8), (9, 16), (17, 32), (33, 64)))


def by_age(loss, name):
    """Mean of a diagnostic for each seed and each class of ages, [seeds, ages]."""
    own = [cells[loss, window].values for window in WINDOWS]
    age = np.concatenate([values["staleness"][:, 1 : RISING + 1] for values in own], 1)
    rising = np.concatenate([values[name][:, 1 : RISING + 1] for values in own], 1)
    classes = [(age >= low) & (age <= high) for low, high in AGES]
    return np.stack([[rising[k][of[k]].mean() for of in classes] for k in range(len(rising))])


aged = {
    (loss, name): by_age(loss, name)
    for loss in LOSSES
    for name in ("weight_variance", "weight_mean", "effective_sample_size")
}
for (loss, name), values in aged.items():
    print(f"{loss} {name:21s} at ages {AGES}: {np.median(values, 0).round(3).tolist()}")


def aging(loss, name):
    """Median over seeds of a diagnostic at the greatest age, with its interval."""
    return stratified_bootstrap(aged[loss, name][:, -1], np.median, seed=0)


# %%
figure, axes = panels(2, rows=4)
order = np.argsort(divergence.ravel())
axes[0].plot(divergence.ravel(), bernoulli_gap.ravel(), ".", ms=1.5, color=look(0)["color"])
curve = divergence.ravel()[order]
axes[0].plot(curve, np.exp(curve) - 5, "k--", label="eᴷᴸ − (n² + 1)")
axes[0].plot(curve, np.exp(curve) - 1 - 2**1.5, "k:", label="eᴷᴸ − (n¹·⁵ + 1)")
axes[0].axhline(0, color="black", lw=0.6)
axes[0].set(xlabel="KL(p‖q)", ylabel="Δ", title="Bernoulli grid and bounds")
axes[0].legend()
places = np.arange(len(SUPPORTS))
shares = {"bound": vacuous, "sharper bound": sharper_vacuous, "Δ > 0 where vacuous": helped}
for index, (label, share) in enumerate(shares.items()):
    axes[1].plot(places, share, label=label, **look(index))
axes[1].set_xticks(places, SUPPORTS)
axes[1].set(xlabel="n", ylabel="share of pairs", ylim=(0, 1.05), title="vacuous bounds")
axes[1].legend()
for panel, name in zip(axes[2:4], ("size", "error"), strict=True):
    for index, loss in enumerate(LOSSES):
        medians(panel, middle_kl, moments[loss][FIGURES.index(name)], index, loss)
    panel.set_xscale("symlog", linthresh=1e-2)
    panel.set(xlabel="KL(p‖q), median of policies")
    panel.legend()
axes[2].set(ylabel="effective sample size", ylim=(0, 1.05), title="perturbed policies")
axes[3].set(
    yscale="log", ylabel=f"error of Σ w A/N over mean w, N = {BATCH}", title="bias and variance"
)
middles = np.sqrt(edges[1:] * edges[:-1])
quartiles = np.array([np.quantile(own, (0.25, 0.5, 0.75)) for own in bins if own.size])
at = middles[[own.size > 0 for own in bins]]
axes[4].fill_between(at, quartiles[:, 0], quartiles[:, 2], color=look(0)["color"], alpha=0.18)
axes[4].plot(at, quartiles[:, 1], **look(0))
axes[4].set(xscale="log", yscale="log", xlabel="p/q", ylabel="GEPO's weight over p/q")
axes[4].set_title("shrinkage, median and quartiles")
for index, loss in enumerate(LOSSES):
    middle, low, high = np.array([table[loss, window][1] for window in WINDOWS]).T
    shift = np.arange(len(WINDOWS)) + 0.1 * (index - 1)
    bars = [middle - low, high - middle]
    axes[5].errorbar(shift, middle, np.maximum(bars, 0), label=f"{loss}, last", **look(index))
    best = [table[loss, window][0].estimate for window in WINDOWS]
    axes[5].plot(shift, best, ls="none", marker="_", ms=9, color=look(index)["color"])
axes[5].set_xticks(np.arange(len(WINDOWS)), WINDOWS)
axes[5].set(xlabel="window W", ylabel="accuracy", ylim=(0, 1.08), title="last (best: dashes)")
axes[5].legend()
names = [f"{low}–{high}" if low < high else f"{low}" for low, high in AGES]
for index, loss in enumerate(LOSSES):
    positions = np.arange(len(AGES))
    medians(axes[6], positions, aged[loss, "weight_variance"], index, loss)
    medians(axes[7], positions, aged[loss, "effective_sample_size"], index, loss)
    mean = {"ls": "--", "marker": ""}
    medians(axes[7], positions, aged[loss, "weight_mean"], index, f"{loss}, mean weight", **mean)
axes[6].set(yscale="log", ylabel="variance of weights", title="stale runs, while they learn")
axes[6].set_ylim(bottom=1e-4)
axes[7].set(ylabel="effective sample size", title="and the mean weight")
for panel in axes[6:]:
    panel.set_xticks(range(len(AGES)), names)
    panel.set_xlabel("age of the batch, in learner steps")
    panel.legend(fontsize=6)
save(figure, "10_gepo")

# %% [markdown]
# ## What the data say

# %%
fresh = {loss: cells[loss, 0].values["effective_sample_size"][:, 1:] for loss in LOSSES}
widest = WINDOWS[-1]
lasts = "; ".join(
    f"{loss} {written(table[loss, widest][0])}/{written(table[loss, widest][1])}" for loss in LOSSES
)
print(
    f"The bound of Theorem 1 breaks on {broken} of {pairs * len(SUPPORTS)} pairs and is vacuous "
    f"on {vacuous[0]:.0%} of them at n = 2 and {vacuous[-1]:.0%} at n = {SUPPORTS[-1]}; on a grid "
    f"of Bernoulli laws GEPO varies more than p/q on {worse.mean():.1%}, all of it at KL below "
    f"{divergence[worse].max():.2f}; at KL {middle_kl[-1]:.2g} its weights have "
    f"{written(far_variance)} of the variance of p/q, "
    f"{written(far_size)} times its effective sample size, and an estimate from "
    f"{BATCH} responses has "
    f"{written(far_error)} of the error ({written(near_error)} on fresh data, where the mean "
    f"weight is {written(fresh_mean)} and the effective sample size {written(fresh_size)} instead "
    f"of 1); p/q above 10 is multiplied by {shrunk:.2g}, p/q near 1 by {near_one:.2g}; batches "
    f"of age {AGES[-1][0]} to {AGES[-1][1]} have weights of variance "
    f"{written(aging('gspo', 'weight_variance'))} (gspo) and "
    f"{written(aging('gepo', 'weight_variance'))} (gepo), of mean "
    f"{written(aging('gspo', 'weight_mean'))} and {written(aging('gepo', 'weight_mean'))}; "
    f"best/last accuracy at W = {widest} and one learning rate: {lasts}."
)
assert broken == 0
assert vacuous[0] < vacuous[-1]
assert all(s <= v for s, v in zip(sharper_vacuous, vacuous, strict=True))
assert (bernoulli_gap[~empty] > 0).all()
assert round(100 * float(worse.mean()), 1) == 32.3
assert rank > 0.9
assert far_variance.high < 1
assert fresh_mean.high < 1
assert fresh_size.high < 1
assert near_error.low > 1
assert shrunk < near_one
for loss in ("gspo", "grpo"):
    np.testing.assert_allclose(fresh[loss], 1, atol=1e-3)
assert fresh["gepo"].min() < 0.9
for loss in ("gspo", "grpo"):
    fresh_variance, old_variance = np.median(aged[loss, "weight_variance"], 0)[[0, -1]]
    assert fresh_variance < 1e-3 < old_variance
assert aging("gepo", "weight_variance").estimate < aging("gspo", "weight_variance").estimate
assert all(cell.values["staleness"][:, 1:].max() <= 2 * cell.window for cell in cells.values())
