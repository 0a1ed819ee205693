"""Natural steps within a trust region (arXiv 1502.05477), of one agent's samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedjax_rl.algorithm import Pytree
from fedjax_rl.learners.deep.agent import DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.state import Batch, Improvement
from fedjax_rl.ops.conjugate_gradient import conjugate_gradient


def natural_step(
    design: Design, actor: Pytree, batch: Batch, hparams: DeepSettings
) -> tuple[Pytree, Improvement]:
    """The step α F⁻¹g of the actor within the radius, and how it went.

    Args:
        design: networks and static choices.
        actor: parameters before the step.
        batch: T·B samples.
        hparams: δ, the damping of F, and the weight of the entropy bonus.
    """
    start, unravel = ravel_pytree(actor)

    def gained(flat: jax.Array) -> jax.Array:
        return surrogate(design, unravel(flat), batch, hparams)

    def distance(flat: jax.Array) -> jax.Array:
        return divergence(design, unravel(flat), batch)

    fisher = fisher_product(distance, start, hparams.damping)
    before, gradient = jax.value_and_grad(gained)(start)
    direction = conjugate_gradient(fisher, gradient, design.choices.conjugate_steps)
    length = longest(jnp.vdot(direction, fisher(direction)), hparams.radius)
    full = length * direction

    def good(proposal: jax.Array, kl: jax.Array) -> jax.Array:
        return (kl <= hparams.radius) & (gained(proposal) > before)

    moved, kl = line_search(distance, good, start, full, design.choices.line_search_steps)
    policy = design.actor.apply(unravel(moved), batch.features)
    return unravel(moved), Improvement(
        kl=kl,
        clip_fraction=jnp.zeros(()),
        entropy=design.distribution.entropy(policy).mean(),
        value_loss=jnp.zeros(()),
        gradient_norm=jnp.linalg.norm(gradient),
    )


def fisher_product(
    distance: Callable[[jax.Array], jax.Array], start: jax.Array, damping: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """The product v [n] -> (F + damping · I) v [n]; no matrix is formed.

    Args:
        distance: (point) -> its KL divergence from the policy that acted, whose Hessian at the
            start is F.
        start: [n], parameters of that policy.
        damping: scalar.
    """

    def product(vector: jax.Array) -> jax.Array:
        _, image = jax.jvp(jax.grad(distance), (start,), (vector,))
        return image + damping * vector

    return product


def longest(curvature: jax.Array, radius: jax.Array) -> jax.Array:
    """√(2 δ / xᵀF x), by which a direction x may be followed, a scalar.

    Args:
        curvature: xᵀF x; 0 of a zero gradient, which has no direction.
        radius: δ, nats.
    """
    return jnp.sqrt(2.0 * radius / jnp.maximum(curvature, 1e-12))  # 0/0 would be NaN


def surrogate(design: Design, actor: Pytree, batch: Batch, hparams: DeepSettings) -> jax.Array:
    """mean( ρ A_L ) and the entropy bonus, a scalar; unclipped, since the radius bounds the step.

    Args:
        design: networks.
        actor: parameters of the policy.
        batch: T·B samples.
        hparams: weight of the entropy bonus.
    """
    advantage = batch.reward_part - batch.cost_part
    policy = design.actor.apply(actor, batch.features)
    log_ratio = design.distribution.log_prob(policy, batch.actions) - batch.log_prob
    entropy = design.distribution.entropy(policy).mean()
    return (jnp.exp(log_ratio) * advantage).mean() + hparams.entropy_weight * entropy


def divergence(design: Design, actor: Pytree, batch: Batch) -> jax.Array:
    """Mean KL(π_old‖π) over the states of the batch, a scalar, nats.

    Args:
        design: networks.
        actor: parameters of π.
        batch: T·B samples, with the parameters [T, B, P] of π_old's distributions.
    """
    policy = design.actor.apply(actor, batch.features)
    return design.distribution.kl(batch.parameters, policy).mean()


def line_search(
    distance: Callable[[jax.Array], jax.Array],
    good: Callable[[jax.Array, jax.Array], jax.Array],
    start: jax.Array,
    full: jax.Array,
    halvings: int,
) -> tuple[jax.Array, jax.Array]:
    """The longest of the steps full, full/2, full/4, … that is good, or none.

    Args:
        distance: (point) -> its KL divergence from the start.
        good: (point, divergence) -> whether it may be taken.
        start: [n].
        full: [n], the longest step.
        halvings: how many steps are looked at, static.

    Returns:
        Where it leads [n], and the divergence there; the start and 0 where none is good.
    """

    def halve(carry: tuple, power: jax.Array) -> tuple[tuple, None]:
        best, accepted, kl_best = carry
        proposal = start + full * 0.5**power
        kl = distance(proposal)
        # All are computed, as a loop that stopped would have to wait for the last agent anyway.
        taken = good(proposal, kl) & ~accepted
        best = jnp.where(taken, proposal, best)
        return (best, accepted | taken, jnp.where(taken, kl, kl_best)), None

    nothing: Any = (start, jnp.zeros((), bool), jnp.zeros(()))
    powers = jnp.arange(halvings, dtype=jnp.float32)
    (moved, _, kl), _ = jax.lax.scan(halve, nothing, powers)
    return moved, kl
