"""The deep natural policy gradient: a trust-region step on the agent's Lagrangian."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedjax_rl.algorithm import Learner, Pytree
from fedjax_rl.learners.deep.agent import DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.learner import Improve, deep_learner
from fedjax_rl.learners.deep.ppo import adam_step, critic_losses
from fedjax_rl.learners.deep.state import Batch, Improvement, Parameters, Rates
from fedjax_rl.ops.conjugate_gradient import conjugate_gradient
from fedjax_rl.ops.minibatches import stratified_minibatches
from fedjax_rl.ops.rows import packed


def natural(design: Design) -> Learner:
    """Natural gradient ascent on the Lagrangian within a trust region (arXiv 1502.05477).

        θ ← θ + α F⁻¹ g,   g = ∇ mean( ρ A_L ),   α ≤ √(2 δ / gᵀF⁻¹g)

    F is the Fisher matrix of the policy at the states of the rollout, and F⁻¹g comes from
    conjugate gradients on products with it, ``damping`` added to its diagonal. The step is
    halved until the mean KL divergence is within δ and the surrogate has grown; else it is not
    taken. Critics are fitted by Adam over epochs of minibatches.

    Args:
        design: task, networks and static choices.
    """
    # The radius says how long a step is, and needs no pace.
    own = design._replace(choices=design.choices._replace(adapts_pace=False))
    return deep_learner(own, trust_region(own))


def trust_region(design: Design) -> Improve:
    """The improvement of `natural`: `improved`, with its static part said."""
    return partial(improved, design)


def improved(
    design: Design,
    key: jax.Array,
    parameters: Parameters,
    optimizer: Pytree,
    batch: Batch,
    rates: Rates,
    hparams: DeepSettings,
) -> tuple[Parameters, Pytree, Improvement]:
    """A natural step of the actor, and Adam on the critics.

    Args:
        design: networks and static choices.
        key: of the minibatches.
        parameters: of all networks.
        optimizer: Adam's moments.
        batch: T·B samples.
        rates: scalars, what is left of them.
        hparams: traced settings.
    """
    # A step's length falls with the learning rate, and a divergence is a length squared.
    radius = hparams.radius * jnp.square(rates.policy / hparams.learning_rate)
    within = hparams._replace(radius=radius)
    actor, improvement = natural_step(design, parameters.actor, batch, within)
    fitted, optimizer, value_loss = fitted_critics(
        design, key, parameters, optimizer, batch, rates, hparams
    )
    improvement = improvement._replace(value_loss=value_loss)
    return fitted._replace(actor=actor), optimizer, improvement


def fitted_critics(
    design: Design,
    key: jax.Array,
    parameters: Parameters,
    optimizer: Pytree,
    batch: Batch,
    rates: Rates,
    hparams: DeepSettings,
) -> tuple[Parameters, Pytree, jax.Array]:
    """Epochs of minibatches of Adam on both critics' errors.

    Args:
        design: networks and static choices.
        key: of the minibatches.
        parameters: of all networks; the actor, without a gradient, stays.
        optimizer: Adam's moments.
        batch: T·B samples.
        rates: scalars, of the critics.
        hparams: for ``gradient_norm``.

    Returns:
        Parameters, moments, and the last epoch's mean loss of the reward critic.
    """
    rows = packed(batch)

    def fit(carry: tuple, minibatch: jax.Array) -> tuple[tuple, jax.Array]:
        parameters, optimizer = carry
        sample = rows.unpack(minibatch)

        def loss(parameters: Parameters) -> tuple[jax.Array, jax.Array]:
            value_loss, cost_loss = critic_losses(parameters, sample, design)
            return value_loss + cost_loss, value_loss

        gradients, value_loss = jax.grad(loss, has_aux=True)(parameters)
        return adam_step(parameters, gradients, optimizer, rates, hparams), value_loss

    def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        minibatches = stratified_minibatches(key, rows.values, design.choices.minibatches)
        carry, value_losses = jax.lax.scan(fit, carry, minibatches)
        return carry, value_losses.mean()

    keys = jax.random.split(key, design.choices.epochs)
    (fitted, optimizer), value_losses = jax.lax.scan(epoch, (parameters, optimizer), keys)
    return fitted, optimizer, value_losses[-1]


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

    def fisher(vector: jax.Array) -> jax.Array:
        # The Hessian of the divergence at the policy that acted is F: no matrix is formed.
        _, product = jax.jvp(jax.grad(distance), (start,), (vector,))
        return product + hparams.damping * vector

    before, gradient = jax.value_and_grad(gained)(start)
    direction = conjugate_gradient(fisher, gradient, design.choices.conjugate_steps)
    # A zero gradient has no direction, and 0/0 would be NaN.
    curvature = jnp.maximum(jnp.vdot(direction, fisher(direction)), 1e-12)
    full = jnp.sqrt(2.0 * hparams.radius / curvature) * direction

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
