"""Rows a: whether a card computes what the processor beside it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.accelerator_programs import DETERMINISTIC, compiled, several
from bench.accelerator_rows import NotNeeded, Row
from bench.fednpg import assembled
from bench.fedppo import STEPS, on_cartpole
from bench.hetero import settings
from fedjax_rl.algorithm import Pytree
from fedjax_rl.cmdp.dynamics import Model, model_of
from fedjax_rl.cmdp.evaluate import NO_SUPPORT, advantage, evaluated, uniform_logits, values
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.families.stale.assembly import loss_of, prepare
from fedjax_rl.federation.round import first_of
from fedjax_rl.hetero.evaluation import evaluator
from fedjax_rl.hetero.groups import group_sampler
from fedjax_rl.hetero.learner import Components, gradient_step, initial, log_policy, objective
from fedjax_rl.hetero.state import HeteroChoices
from fedjax_rl.learners.deep.learner import initial as begin
from fedjax_rl.learners.deep.pace import rates_of
from fedjax_rl.learners.deep.ppo import proximal
from fedjax_rl.learners.deep.stages import acted, objective_of, parameters_of
from fedjax_rl.precision import precision
from fedjax_rl.sources.problems import load_problem
from fedjax_rl.training.loop import keys_of

EXACT, CLOSE = 1e-9, 1e-4
"""Largest difference in float64, and after an update in float32."""
NOISE = 1e-4
"""Share of the largest gradient below which an entry is rounding: Adam makes a whole step of it."""
ERRORS = 4.0
"""Standard errors that mean rewards may be apart."""


def rows(quick: bool) -> list[Row]:
    """What is compared."""
    return [
        Row("identities in float64", 5, lambda _: identities_agree()),
        Row("rounds of fednpg", 5, lambda _: rounds_agree(5 if quick else 50)),
        Row("value of the exact solver", 4, lambda _: optimum_agrees()),
        Row("update of fedppo", 8, lambda _: update_of_fedppo(4 if quick else 64)),
        Row("update of gepo", 8, lambda _: update_of_gepo(4 if quick else 32)),
        Row("bits repeat", 12, lambda _: bits_repeat(4 if quick else 64)),
        Row("reward", 25, lambda _: rewards_agree(*((1, 4, 2) if quick else (24, 16, 16)))),
    ]


def processor() -> jax.Device:
    """The processor beside the card.

    Raises:
        NotNeeded: JAX was told to leave it out.
    """
    try:
        device: jax.Device = jax.devices("cpu")[0]
    except RuntimeError:
        raise NotNeeded("JAX has no processor beside the card: JAX_PLATFORMS hides it") from None
    return device


def on_both(float64: bool, function: Callable[..., Pytree], *arguments: Any) -> tuple[Any, Any]:
    """A function's results on the processor and on the card, at the highest precision."""
    found = [
        on(device, float64, function, *arguments) for device in (processor(), jax.devices()[0])
    ]
    return found[0], found[1]


def on(
    device: jax.Device, float64: bool, function: Callable[..., Pytree], *arguments: Any
) -> Pytree:
    """A function's results on a device, taken to the host."""
    # Within `precision`, which would undo it: float32 products of a card are else TensorFloat-32.
    with precision(float64), jax.default_matmul_precision("highest"):
        return jax.device_get(jax.jit(function)(*jax.device_put(arguments, device)))


def difference(one: Pytree, other: Pytree, *, relative: bool) -> float:
    """The largest difference of two trees; infinite where either is not finite.

    Args:
        one, other: arrays of the same shapes.
        relative: to the largest entry of each leaf of ``one``, but at least 1.
    """
    found = [0.0]
    for mine, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        mine, theirs = np.asarray(mine, np.float64), np.asarray(theirs, np.float64)
        apart = float(np.max(np.abs(mine - theirs), initial=0.0))
        scale = max(1.0, float(np.max(np.abs(mine), initial=0.0))) if relative else 1.0
        found.append(apart / scale if np.isfinite(apart) else np.inf)
    return max(found)


def judged(apart: float, allowed: float, **figures: Any) -> dict[str, Any]:
    """The figures of a comparison, with whether it holds."""
    agrees = bool(apart <= allowed)
    say = f"{apart:.1e} apart, allowed {allowed:g}: {'agrees' if agrees else 'DOES NOT AGREE'}"
    return {"apart": apart, "allowed": allowed, "agrees": agrees, "say": say} | figures


def identities_agree() -> dict[str, Any]:
    """Residuals of identities that hold exactly, and the quantities on both devices."""
    model = model_of(load_problem("windy-cliff", agents=4).cmdp)
    with precision(True):
        uniform = np.asarray(uniform_logits(jnp.asarray(model.support)))
    noise = np.random.default_rng(0).normal(size=uniform.shape)
    other = np.where(model.support, noise, NO_SUPPORT)
    ours, cards = on_both(True, identities, uniform, other, model)
    worst = max(float(np.max(np.abs(own))) for own in cards[0].values())
    apart = max(worst, difference(ours[1], cards[1], relative=True))
    return judged(apart, EXACT, residuals={name: float(own) for name, own in cards[0].items()})


def identities(logits: jax.Array, other: jax.Array, model: Model) -> tuple[Pytree, Pytree]:
    """Residuals of what holds of every two policies, and what they are residuals of.

    The occupancy sums to one and flows on: d = (1 − γ) ρ + γ P_πᵀ d; values are those of the
    occupancy; and the performance difference lemma (Kakade, Langford 2002).
    """
    first, second = evaluated(logits, model), evaluated(other, model)
    value, gamma = values(first, model.reward), model.discount
    flow = model.dynamics.under(first.probabilities).T @ first.visits
    returns = [
        jnp.vdot(policy.occupancy, model.reward) / (1.0 - gamma) for policy in (first, second)
    ]
    gained = jnp.vdot(second.occupancy, advantage(value, model.reward, model)) / (1.0 - gamma)
    residuals = {
        "occupancy": jnp.abs(first.visits.sum() - 1.0),
        "flow": jnp.abs(first.visits - (1.0 - gamma) * model.initial - gamma * flow).max(),
        "value": jnp.abs(jnp.vdot(model.initial, value) - returns[0]),
        "performance difference": jnp.abs(returns[1] - returns[0] - gained),
    }
    return residuals, (first.visits, second.visits, value, returns)


def rounds_agree(rounds: int) -> dict[str, Any]:
    """Logits and multipliers of FedNPG after so many rounds."""
    cmdp = load_problem("random-mdp", agents=4, arguments={"states": 20, "actions": 5}).cmdp
    algorithm, hparams, *_ = assembled(cmdp, 0.05, 0.01, rounds)

    def trained(hparams: Pytree) -> Pytree:
        key = jax.random.key(0)
        state, _ = several(algorithm)(key, algorithm.init(key, hparams), hparams, 1, rounds)
        return state

    ours, cards = on_both(True, trained, jax.device_get(hparams))
    return judged(difference(ours, cards, relative=True), EXACT, rounds=rounds)


def optimum_agrees() -> dict[str, Any]:
    """V* of the exact solver, and the card's value of its optimal policy."""
    cmdp = load_problem("windy-cliff", agents=4).cmdp
    solution = solve(cmdp, "auto")
    policy = np.where(solution.policy > 0, np.log(np.maximum(solution.policy, 1e-300)), NO_SUPPORT)

    def value(logits: jax.Array, model: Model) -> jax.Array:
        occupancy = evaluated(logits, model).occupancy
        return jnp.vdot(occupancy, model.reward) / (1.0 - model.discount)

    found = float(on(jax.devices()[0], True, value, policy, model_of(cmdp)))
    scale = max(1.0, abs(solution.optimal_value))
    apart = abs(found - solution.optimal_value) / scale
    return judged(apart, EXACT, optimal_value=solution.optimal_value, found=found)


def update_of_fedppo(environments: int) -> dict[str, Any]:
    """The networks after all minibatches on one rollout, which the processor made."""
    built = on_cartpole(2, environments)
    design, hparams = built.design, built.hparams.learner
    agent, key = first_of(built.hparams.agents), jax.random.key(0)

    def rollout(agent: Pytree, hparams: Pytree) -> Pytree:
        shared, local = begin(design, key, agent, hparams)
        experience = acted(design, jax.random.key(1), shared, local, agent, hparams)
        made = objective_of(design, experience, shared, local, agent, hparams)
        parts = parameters_of(shared, local), local.optimizer
        return *parts, made.batch, rates_of(local, hparams)

    recorded = on(processor(), False, rollout, agent, hparams)
    improve = proximal(design)

    def updated(recorded: Pytree, hparams: Pytree) -> Pytree:
        return improve(jax.random.key(2), *recorded, hparams)[0]

    ours, cards = on_both(False, updated, recorded, hparams)
    moved = difference(recorded[0], ours, relative=False)
    return judged(difference(ours, cards, relative=False), CLOSE, moved=moved)


def update_of_gepo(length: int) -> dict[str, Any]:
    """The gradient and a step of Adam on one batch of stale responses, made by the processor."""
    prepared = prepare("gepo", settings("transformer", length, 10))
    config, task, policy = prepared.config, prepared.task, prepared.policy
    choices = HeteroChoices(config.prompts, config.group_size, 1, 0, 8, 1, geometric=False)
    components = Components(
        sample=group_sampler(task, policy, choices.prompts, choices.group_size),
        log_probabilities=log_policy(policy),
        loss=loss_of("gepo", config),
        evaluator=evaluator(task, policy, choices),
        choices=choices,
    )
    hparams = prepared.hparams._replace(learning_rate=prepared.hparams.learning_rate[0])

    def batch(hparams: Pytree) -> Pytree:
        key = jax.random.key(0)
        return components.sample(key, hparams.start, hparams.sampling, hparams.label_noise)

    groups = on(processor(), False, batch, hparams)

    def updated(groups: Pytree, hparams: Pytree) -> Pytree:
        state = initial(components, jax.random.key(0), hparams)
        # Not the policy that sampled, or all ratios would be one.
        state = state._replace(parameters=jax.tree.map(lambda leaf: 1.05 * leaf, hparams.start))
        gradient, _ = jax.grad(partial(objective, components), has_aux=True)(
            state.parameters, groups, hparams
        )
        return gradient, gradient_step(gradient, state, hparams)[0]

    (gradient, ours), (theirs, cards) = on_both(False, updated, groups, hparams)
    largest = max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(gradient))
    steps = [
        jax.tree.map(
            lambda leaf, own: np.where(np.abs(own) > NOISE * largest, leaf, 0), tree, gradient
        )
        for tree in (ours, cards)
    ]
    apart = {
        "gradient": difference(gradient, theirs, relative=False) / largest,
        "parameters": difference(*steps, relative=False),
    }
    return judged(max(apart.values()), CLOSE, parts=apart, largest_gradient=largest)


def bits_repeat(environments: int) -> dict[str, Any]:
    """Whether two runs of one program with deterministic operations have the same bits."""
    built = on_cartpole(2, environments)
    rounds = compiled(built.algorithm, jax.random.key(0), built.hparams, DETERMINISTIC)
    once, again = (jax.device_get(jax.tree.leaves(rounds.run(3))) for _ in range(2))
    pairs = zip(once, again, strict=True)
    same = all(np.array_equal(own, other, equal_nan=True) for own, other in pairs)
    places = np.arange(4)

    def written(values: jax.Array, places: jax.Array) -> jax.Array:
        return jnp.zeros_like(values).at[places].set(values)

    arguments = (places + 1, places)
    scatter = jax.jit(written).lower(*arguments).compile(compiler_options=DETERMINISTIC)
    right = bool(np.array_equal(scatter(*arguments), places + 1))
    say = f"the same bits: {same}; scattered rightly: {right}"
    return rounds.described | {"agrees": same and right, "scattered_rightly": right, "say": say}


def rewards_agree(rounds: int, seeds: int, environments: int) -> dict[str, Any]:
    """Mean rewards of late episodes over seeds: bits differ, and with them every later sample."""
    built = on_cartpole(1, environments)
    algorithm = sweep(built.algorithm, None, seeds)

    def trained(keys: jax.Array, hparams: Pytree) -> jax.Array:
        _, row = several(algorithm)(keys, algorithm.init(keys, hparams), hparams, 1, rounds)
        return row.episode_sums[..., 0].sum((1, 2)) / jnp.maximum(row.episodes.sum((1, 2)), 1)

    both = on_both(False, trained, keys_of(np.arange(seeds)), built.hparams)
    means = [float(own.mean()) for own in both]
    error = float(np.sqrt(sum(own.var(ddof=1) for own in both) / seeds))
    apart = abs(means[0] - means[1]) / error if means[0] != means[1] else 0.0
    steps = rounds * environments * STEPS
    figures = {"processor": means[0], "card": means[1], "error": error, "steps": steps}
    return judged(apart, ERRORS, **figures)
