"""Bias and variance of every loss's gradient against the true one, as staleness grows."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
from fedjax_rl.families.stale.assembly import policy_of, task_of
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.starts import started
from fedjax_rl.hetero.evaluation import accuracy
from fedjax_rl.hetero.gradients import batch_gradient, policy_gradient, quality
from fedjax_rl.hetero.losses import LossChoices, build_loss, default_settings
from fedjax_rl.hetero.rollout import sampling
from fedjax_rl.hetero.tasks import TokenTask
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.policies.tokens import TokenPolicy

STALENESS = (0, 1, 2, 4, 8, 16, 32)
LOSSES = (
    *("grpo", "gspo", "gepo", "gepo+", "eqp", "ds-gspo", "gmpo", "cispo", "tis", "topr"),
    "v-trace",
)
GEOMETRIC = ("gspo", "gepo", "eqp")
"""Losses that are measured with geometric sequence weights too."""
PROMPTS, GROUP, NOISE = 8, 8, 0.1


def measure(quick: bool) -> dict[str, Any]:
    """Along one synchronous run: gradients at its end on batches of its past."""
    length, steps, batches = (4, 8, 64) if quick else (24, 40, 1024)
    config = HeteroConfig(
        task_args=(f"length={length}",), warm_start=0.0 if quick else 0.18, label_noise=NOISE
    )
    task = task_of(config)
    policy = policy_of(config, task)
    history = trajectory(task, policy, started(config, task, policy).parameters, steps)
    lags = [lag for lag in STALENESS if lag <= steps]
    true = mean_gradient(task, policy, history[-1], 4 * batches)
    rows: dict[str, Any] = {}
    for name, weight in names(quick):
        loss = build_loss(name, LossChoices(sequence_weight=weight))
        gradients = sampled(task, policy, loss, batches)
        for clipped in (True, False):
            own = {n: UNCLIPPED[n] for n in loss.settings._fields if n in UNCLIPPED}
            settings = default_settings(loss, **({} if clipped else own))
            measured = {
                str(lag): figures(gradients(history[-1], history[-1 - lag], settings), true)
                for lag in lags
            }
            rows[f"{name}, {weight}{'' if clipped else ', unclipped'}"] = measured
            cosines = ", ".join(f"{lag}: {row['cosine']}" for lag, row in measured.items())
            print(f"{name:8} {weight:9} {'clipped  ' if clipped else 'unclipped'} cosine {cosines}")
    right = jax.jit(accuracy(task, policy))
    held_out = jax.vmap(split(task).held_out)(jax.random.split(jax.random.key(0), 1024))
    return {
        "accuracy": {
            str(lag): float(right(jax.random.key(1), history[-1 - lag], held_out, sampling()))
            for lag in lags
        },
        "task": task.name,
        "length": length,
        "step": steps,
        "batches": batches,
        "prompts": PROMPTS,
        "group_size": GROUP,
        "label_noise": NOISE,
        "by_loss_and_staleness": rows,
    }


UNCLIPPED = {"clip_low": 1.0, "clip_high": 1e30, "gmpo_clip": 1e3, "tis_cap": 1e30}


def names(quick: bool) -> list[tuple[str, str]]:
    """Losses and sequence weights that are measured."""
    if quick:
        return [("gepo", "product")]
    return [(name, "product") for name in LOSSES] + [(name, "geometric") for name in GEOMETRIC]


def trajectory(task: TokenTask, policy: TokenPolicy, start: Pytree, steps: int) -> list[Pytree]:
    """Parameters along a synchronous ascent of the policy gradient, by Adam's rule of GRPO."""
    from fedjax_rl.hetero.learner import adam

    loss = build_loss("grpo")
    ascent = batch_gradient(task, policy, loss, PROMPTS, GROUP)
    settings = default_settings(loss)

    @jax.jit
    def step(key: jax.Array, parameters: Pytree, moments: Pytree) -> tuple[Pytree, Pytree]:
        flat = ascent(key, parameters, parameters, sampling(), settings, jnp.float32(NOISE))
        gradient = jax.tree.unflatten(jax.tree.structure(parameters), [flat.reshape(shape)])
        updates, moments = adam.update(gradient, moments)
        return jax.tree.map(lambda p, u: p + jnp.float32(0.02) * u, parameters, updates), moments

    (leaf,) = jax.tree.leaves(start)
    shape = leaf.shape
    history, moments = [start], adam.init(start)
    for index in range(steps):
        after, moments = step(jax.random.key(1000 + index), history[-1], moments)
        history.append(after)
    return history


def sampled(task: TokenTask, policy: TokenPolicy, loss: Any, batches: int) -> Any:
    """The compiled function (learner, sampler, settings) -> gradients of so many batches [n, D]."""
    one = batch_gradient(task, policy, loss, PROMPTS, GROUP)

    @jax.jit
    def gradients(learner: Pytree, sampler: Pytree, settings: Pytree) -> jax.Array:
        every = partial(
            one,
            learner=learner,
            sampler=sampler,
            sampling=sampling(),
            settings=settings,
            label_noise=jnp.float32(NOISE),
        )
        keys = jax.random.split(jax.random.key(7), batches)
        rows: jax.Array = jax.lax.map(every, keys, batch_size=64)
        return rows

    return gradients


def mean_gradient(task: TokenTask, policy: TokenPolicy, learner: Pytree, batches: int) -> jax.Array:
    """∇ E_p[r] of the noisy reward, from many batches of the learner's own responses."""
    gradients = sampled(task, policy, policy_gradient, batches)
    mean: jax.Array = gradients(learner, learner, ()).mean(0)
    return mean


def figures(gradients: jax.Array, true: jax.Array) -> dict[str, float | None]:
    """`GradientQuality` as numbers; None where it is not determined."""
    values = {name: float(value) for name, value in quality(gradients, true)._asdict().items()}
    return {name: value if value == value else None for name, value in values.items()}
