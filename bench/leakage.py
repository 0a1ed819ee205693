"""What an agent's message says of its private cost, to one who knows everything but that cost.

``python -m bench.leakage JSON PNG`` draws the figure of a JSON that the bench has written.
"""

from __future__ import annotations

import json
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from fedjax_rl.algorithm import Aggregator, Algorithm
from fedjax_rl.cmdp.access import default_access
from fedjax_rl.cmdp.dynamics import Model, model_of
from fedjax_rl.cmdp.evaluate import advantage, evaluated, values
from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.problems import random_mdp
from fedjax_rl.cmdp.problems.random_mdp import sparse_costs
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.execution.train import start, train
from fedjax_rl.federation.round import FederationSettings, FederationState, federate
from fedjax_rl.figures.style import COLOURS
from fedjax_rl.learners.tabular.agent import TabularSettings, federated_agents
from fedjax_rl.learners.tabular.npg import npg
from fedjax_rl.ops.means import weighted_mean
from fedjax_rl.precision import precision

STEP = 0.1
PRODUCT = 1.0
DUAL_RATIO = 0.1
POSITIVE = 1e-6
"""A multiplier counts as positive from here on."""
BUDGET_FRACTION, LOOSE_FRACTION = 0.7, 0.95


class View(NamedTuple):
    """One round: what an observer at the merge sees, and what the laboratory knows besides.

    Attributes:
        before: [S, A], logits of the merged policy before the round.
        updates: [N, S, A], how the agents' logits have changed, which is what they send.
        multipliers: [N], λ_i before the round; no observer sees them.
    """

    before: Any
    updates: Any
    multipliers: Any


class Drawn(NamedTuple):
    """B problems of one shape.

    Attributes:
        seeds: [B].
        cmdps: the problems, M = N.
        model: their dynamics and reward, leading axis B.
        costs: [B, N + 1, S, A]: the agents' costs, and last a stranger's, which nobody watches.
    """

    seeds: list[int]
    cmdps: list[CMDP]
    model: Model
    costs: np.ndarray


def measure(quick: bool) -> dict[str, Any]:
    """Cosines by E and N, by N under a secure sum, and the multipliers that E = 1 gives away."""
    count, rounds = (4, 60) if quick else (20, 200)
    agents, sums = ((4,), (4, 8)) if quick else ((2, 4, 8), (2, 4, 8, 16, 32))
    local = (1, 10) if quick else (1, 2, 5, 10, 20, 50)
    figures: dict[str, Any] = {
        "rounds": rounds,
        "step_size": STEP,
        "product": PRODUCT,
        "dual_over_primal_step": DUAL_RATIO,
        "budget_fraction": {"messages": BUDGET_FRACTION, "secure_sum": LOOSE_FRACTION},
        "seeds": {},
        "fixed_step": {},
        "fixed_product": {},
        "secure_sum": {},
    }
    for number in agents:
        problems = drawn(number, count, BUDGET_FRACTION)
        figures["seeds"][f"messages, N={number}"] = problems.seeds
        with ThreadPoolExecutor(2) as pool:  # what takes time is compiling, one program for each E
            rows = list(pool.map(partial(by_series, problems, rounds), local))
        for name in ("fixed_step", "fixed_product"):
            row = {str(steps): cells[name] for steps, cells in zip(local, rows, strict=True)}
            figures[name][str(number)] = row
        if number == 4:
            view = watch(problems, STEP, 1, rounds)
            figures["multipliers"] = of_multipliers(problems, view, STEP)
    for number in sums:
        problems = drawn(number, count, LOOSE_FRACTION)
        figures["seeds"][f"secure sum, N={number}"] = problems.seeds
        view = watch(problems, STEP, 1, rounds)
        figures["secure_sum"][str(number)] = of_sum(problems, view, STEP)
    print(*tables(figures), *phrases(figures), sep="\n\n")
    return figures


def by_series(problems: Drawn, rounds: int, steps: int) -> dict[str, Any]:
    """Cosines with E local steps, at η = 0.1 and at η = 1/E."""
    return {
        name: of_messages(problems, watch(problems, size, steps, rounds), size, steps)
        for name, size in (("fixed_step", STEP), ("fixed_product", PRODUCT / steps))
    }


@cache
def drawn(number: int, count: int, fraction: float) -> Drawn:
    """The first seeds of random-mdp, 5 states and 5 actions, that have a feasible draw."""
    seeds: list[int] = []
    cmdps: list[CMDP] = []
    seed = 0
    while len(seeds) < count:
        try:
            cmdps.append(random_mdp(agents=number, seed=seed, budget_fraction=fraction))
            seeds.append(seed)
        except InvalidInput:
            pass
        seed += 1
    strangers = [sparse_costs(np.random.default_rng([seed, 7]), 1, 5, 5) for seed in seeds]
    costs = [
        np.concatenate([cmdp.costs, other]) for cmdp, other in zip(cmdps, strangers, strict=True)
    ]
    return Drawn(seeds, cmdps, stacked([model_of(cmdp) for cmdp in cmdps]), np.array(costs))


def stacked(trees: list[Any]) -> Any:
    """One pytree with a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def watch(problems: Drawn, size: float, local_steps: int, rounds: int) -> View:
    """FedNPG on every problem as a sweep, seen from the merge; leaves lead with [T, B]."""
    number, members = problems.cmdps[0].num_constraints, len(problems.cmdps)
    access = default_access(number, number)
    cap = np.float64(10.0)
    hparams = [
        FederationSettings(
            federated_agents(cmdp, access),
            TabularSettings(
                np.float64(size),
                np.float64(DUAL_RATIO * size),
                cap,
                model_of(cmdp),
            ),
        )
        for cmdp in problems.cmdps
    ]
    algorithm = swept(number, local_steps, members)
    with precision(True):
        keys = jax.vmap(jax.random.key)(jnp.arange(members))
    together = stacked(hparams)
    state, _ = start(algorithm, keys, together)
    spans = list(
        train(algorithm, keys, state, together, rounds=rounds, span_rounds=max(1, rounds - 1))
    )
    assert all((span.failed_members < 0).all() for span in spans)
    return View(*(np.concatenate(parts) for parts in zip(*(c.info for c in spans), strict=True)))


@cache
def swept(number: int, local_steps: int, members: int) -> Algorithm:
    """The watched federation as a sweep; the same object for the same sizes, compiled once."""
    federation = federate(npg(), recording(number), num_agents=number, local_steps=local_steps)
    return sweep(watched(federation), 0, members)


def recording(number: int) -> Aggregator:
    """The mean of logits, by a server that keeps the last round's updates."""

    def init(message: jax.Array, settings: Any) -> jax.Array:
        return jnp.zeros((number, *message.shape))

    def merge(updates: jax.Array, weights: jax.Array, state: Any) -> tuple[Any, jax.Array]:
        return weighted_mean(updates, weights), updates

    return Aggregator(init, merge, accepts=("logits",))


def watched(federation: Algorithm) -> Algorithm:
    """A federation whose info is the `View` of its round."""

    def view(before: FederationState, after: FederationState) -> View:
        report = federation.report(before)
        return View(report.policy.logits, after.aggregator, report.multipliers[:, 0])

    def step(key: Any, round: Any, state: FederationState, hparams: Any) -> Any:
        after, _ = federation.step(key, round, state, hparams)
        return after, view(state, after)

    def observe(state: FederationState, hparams: Any) -> View:
        return view(state, state)

    return federation._replace(step=step, observe=observe)


def residuals(view: View, reward: np.ndarray, size: float, steps: int, discount: float) -> Any:
    """(1 − γ)/(ηE) · −(update − ηE/(1 − γ) · A_r/N); λ_i A_ci when E = 1.

    Args:
        view: leaves [T, B, …].
        reward: [T, B, S, A], A_r at the merged policy.
        size: η.
        steps: E.
        discount: γ.
    """
    number = view.updates.shape[-3]
    moved = view.updates * (1.0 - discount) / (size * steps)
    return reward[..., None, :, :] / number - moved


def advantages(problems: Drawn, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At the merged policies: π [T, B, S, A], A_r alike, and A_c [T, B, N + 1, S, A]."""
    with precision(True):
        result: Any = jax.device_get(_advantages(problems.model, problems.costs, view.before))
    return result


@jax.jit
@partial(jax.vmap, in_axes=(None, None, 0))
@jax.vmap
def _advantages(model: Model, costs: jax.Array, logits: jax.Array) -> Any:
    policy = evaluated(logits, model)

    def of(signal: jax.Array) -> jax.Array:
        return advantage(values(policy, signal), signal, model)

    return policy.probabilities, of(model.reward), jax.vmap(of)(costs)


def cosine(left: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of two arrays [..., S, A], from both of which each state's weighted mean is taken out."""

    def centred(array: np.ndarray) -> np.ndarray:
        return array - (weights * array).sum(-1, keepdims=True)

    left, right = centred(left), centred(right)
    product = (left * right).sum((-2, -1))
    norms = np.sqrt((left**2).sum((-2, -1)) * (right**2).sum((-2, -1)))
    return product / np.where(norms > 0, norms, 1.0)


def of_messages(problems: Drawn, view: View, size: float, steps: int) -> dict[str, Any]:
    """Cosine of what each agent's message leaves with its own A_c, and with a stranger's."""
    policy, reward, costs = advantages(problems, view)
    left = residuals(view, reward, size, steps, problems.cmdps[0].discount)
    return compared(left, costs, policy, view.multipliers)


def of_sum(problems: Drawn, view: View, size: float) -> dict[str, Any]:
    """Cosine of what the mean of the messages leaves with each agent's A_c, E = 1."""
    policy, reward, costs = advantages(problems, view)
    left = residuals(view, reward, size, 1, problems.cmdps[0].discount).mean(2, keepdims=True)
    return compared(left, costs, policy, view.multipliers)


def compared(
    left: np.ndarray, costs: np.ndarray, policy: np.ndarray, multipliers: np.ndarray
) -> dict[str, Any]:
    """Medians over the rounds and agents with λ_i > 0 of each problem, then over problems."""
    pi = policy[:, :, None]
    uniform = np.full_like(pi, 1.0 / pi.shape[-1])
    own = cosine(left, costs[:, :, :-1], pi)
    stranger = np.broadcast_to(cosine(left, costs[:, :, -1:], pi), own.shape)
    plain = cosine(left, costs[:, :, :-1], uniform)
    positive = multipliers > POSITIVE
    members = [b for b in range(own.shape[1]) if positive[:, b].any()]

    def medians(cosines: np.ndarray, quantile: float = 0.5) -> list[float]:
        return [float(np.quantile(cosines[:, b][positive[:, b]], quantile)) for b in members]

    each = medians(own)
    return {
        "cosine": float(np.median(each)),
        "quartiles": np.quantile(each, (0.25, 0.75)).tolist(),
        "tenth_percentile": float(np.median(medians(own, 0.1))),
        "stranger": float(np.median(medians(stranger))),
        "uniform_centring": float(np.median(medians(plain))),
        "largest_gap_to_one": float(1.0 - own[positive].min()),
        "positive_share": float(positive.mean()),
        "active_agents": float(positive.sum(-1)[positive.any(-1)].mean()),
        "problems": len(members),
        "by_problem": each,
    }


def of_multipliers(problems: Drawn, view: View, size: float) -> dict[str, Any]:
    """Error of the multipliers that an observer who knows η_λ computes from E = 1 messages.

    Its unit of cost is the first residual, c₀ = λ A_c of that round; c = κ c₀ up to shaping.
    Later residuals are u_t A_c₀ with u = λ κ, and u_{t+1} − u_t = η_λ κ² V_c₀(π_t) + constant
    as long as nothing is clipped: the slope gives κ², and with it every λ = u/κ.
    """
    _, reward, _ = advantages(problems, view)
    left = residuals(view, reward, size, 1, problems.cmdps[0].discount)
    errors = []
    for b, cmdp in enumerate(problems.cmdps):
        for agent in range(cmdp.num_constraints):
            multipliers = view.multipliers[:, b, agent]
            seen = np.flatnonzero(np.linalg.norm(left[:, b, agent], axis=(-2, -1)) > 1e-3)
            pairs = np.flatnonzero(np.diff(seen) == 1)
            if len(pairs) < 10:
                continue
            signal = left[seen[0], b, agent]
            own = problems._replace(
                model=jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], problems.model),
                costs=signal[None, None],
            )
            policy, _, unit = advantages(own, view._replace(before=view.before[:, b : b + 1]))
            unit, policy = unit[:, 0, 0], policy[:, 0]
            u = (left[:, b, agent] * unit).sum((-2, -1)) / (unit**2).sum((-2, -1))
            levels = np.array([returns(cmdp, policy[t], signal) for t in seen[pairs]])
            slope = np.polyfit(levels, u[seen[pairs] + 1] - u[seen[pairs]], 1)[0]
            scale = np.sqrt(max(slope, 0.0) / (DUAL_RATIO * size))
            at = seen[-1]
            errors.append(float(abs(u[at] / max(scale, 1e-300) / multipliers[at] - 1.0)))
    return {
        "agents": len(errors),
        "median_relative_error": float(np.median(errors)),
        "largest_relative_error": float(np.max(errors)),
    }


def returns(cmdp: CMDP, policy: np.ndarray, signal: np.ndarray) -> float:
    """V(ρ) of a signal [S, A] under a policy [S, A]."""
    transition = np.einsum("sa,sat->st", policy, cmdp.transition)
    operator = np.eye(cmdp.num_states) - cmdp.discount * transition
    return float(cmdp.initial @ np.linalg.solve(operator, (policy * signal).sum(1)))


def tables(figures: dict[str, Any]) -> list[str]:
    """The two tables of the page."""
    local = list(next(iter(figures["fixed_step"].values())))
    head = "| step | $N$ | " + " | ".join(f"$E = {steps}$" for steps in local) + " |"
    rows = [head, "|---" * (len(local) + 2) + "|"]
    for name, label in (
        ("fixed_step", rf"$\eta = {figures['step_size']:g}$"),
        ("fixed_product", rf"$\eta E = {figures['product']:g}$"),
    ):
        for number, row in figures[name].items():
            cells = " | ".join(f"{cell['cosine']:.4f}" for cell in row.values())
            rows.append(f"| {label} | {number} | {cells} |")
    head = r"| $N$ | agents with $\lambda > 0$ | cosine | quartiles | stranger |"
    below = [head, "|---|---|---|---|---|"]
    for number, cell in figures["secure_sum"].items():
        low, high = cell["quartiles"]
        below.append(
            f"| {number} | {cell['active_agents']:.1f} | {cell['cosine']:.3f} | "
            f"{low:.3f} to {high:.3f} | {cell['stranger']:.3f} |"
        )
    return ["\n".join(rows), "\n".join(below)]


def phrases(figures: dict[str, Any]) -> list[str]:
    """The numbers in the page's sentences."""
    cells = [
        cell
        for name in ("fixed_step", "fixed_product")
        for row in figures[name].values()
        for cell in row.values()
    ]
    found = figures["multipliers"]
    strangers = [cell["stranger"] for cell in cells]
    apart = max(abs(cell["uniform_centring"] - cell["cosine"]) for cell in cells)
    tenth = min(cell["tenth_percentile"] for cell in cells)
    return [
        f"never below {np.floor(100 * tenth) / 100:.2f}",
        f"between {min(strangers):.3f} and {max(strangers):.3f}",
        f"at most {apart:.3f}",
        f"median relative error of {found['median_relative_error']:.0e}",
        f"largest {found['largest_relative_error']:.0e}",
    ]


def figure(figures: dict[str, Any], path: pathlib.Path) -> None:
    """What is missing to a cosine of one against E, and the cosine against N of a secure sum."""
    drawing = Figure(figsize=(9, 3.8), layout="constrained", dpi=120)
    left, right = drawing.subplots(1, 2)
    series = (
        ("o-", "fixed_step", f"η = {figures['step_size']:g}"),
        ("s--", "fixed_product", f"η·E = {figures['product']:g}"),
    )
    for style, name, fixed in series:
        for colour, (number, row) in zip(COLOURS, figures[name].items(), strict=False):
            several = {int(steps): 1.0 - cell["cosine"] for steps, cell in row.items()}
            del several[1]  # zero but for rounding
            label = f"N = {number}, {fixed}"
            left.loglog(several.keys(), several.values(), style, color=colour, label=label)
    left.set(xlabel="local steps E", ylabel="1 − cosine (median)", title="one agent's message")
    sums = figures["secure_sum"]
    numbers = [int(number) for number in sums]
    low, high = np.array([cell["quartiles"] for cell in sums.values()]).T
    right.fill_between(numbers, low, high, color=COLOURS[0], alpha=0.2, label="quartiles")
    curves = (("cosine", "own"), ("stranger", "stranger's"))
    for colour, (name, label) in zip(COLOURS, curves, strict=False):
        heights = [cell[name] for cell in sums.values()]
        right.plot(numbers, heights, "o-", color=colour, label=f"{label} A_c")
    right.set(xscale="log", xlabel="agents N", ylabel="cosine (median)")
    right.set_title("the mean of all messages, E = 1")
    local = [int(steps) for steps in next(iter(figures["fixed_step"].values()))][1:]
    for axes, ticks in ((left, local), (right, numbers)):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
    path.parent.mkdir(exist_ok=True)
    drawing.savefig(path)


def main() -> int:
    """Draws the figure of a JSON of figures."""
    if len(sys.argv) != 3:
        print("usage: python -m bench.leakage JSON PNG", file=sys.stderr)
        return 2
    figures = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    figure(figures, pathlib.Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
