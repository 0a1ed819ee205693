"""The deep natural policy gradient: a trust-region step on the agent's Lagrangian."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedjax_rl.algorithm import Learner, Pytree
from fedjax_rl.learners.deep.agent import DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.learner import Improve, deep_learner
from fedjax_rl.learners.deep.ppo import adam_step, critic_losses
from fedjax_rl.learners.deep.state import Batch, Improvement, Parameters
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
    return deep_learner(design, trust_region(design))


def trust_region(design: Design) -> Improve:
    """The improvement of `natural`."""
    choices = design.choices

    def improve(
        key: jax.Array,
        parameters: Parameters,
        optimizer: Pytree,
        batch: Batch,
        learning_rate: jax.Array,
        hparams: DeepSettings,
    ) -> tuple[Parameters, Pytree, Improvement]:
        # A step's length falls with the learning rate, and a divergence is a length squared.
        radius = hparams.radius * jnp.square(learning_rate / hparams.learning_rate)
        actor, improvement = natural_step(parameters.actor, batch, hparams._replace(radius=radius))
        rows = packed(batch)

        def fit(carry: tuple, minibatch: jax.Array) -> tuple[tuple, jax.Array]:
            parameters, optimizer = carry
            sample = rows.unpack(minibatch)

            def loss(parameters: Parameters) -> tuple[jax.Array, jax.Array]:
                value_loss, cost_loss = critic_losses(parameters, sample, design)
                return value_loss + cost_loss, value_loss

            gradients, value_loss = jax.grad(loss, has_aux=True)(parameters)
            return adam_step(parameters, gradients, optimizer, learning_rate, hparams), value_loss

        def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
            minibatches = stratified_minibatches(key, rows.values, choices.minibatches)
            carry, value_losses = jax.lax.scan(fit, carry, minibatches)
            return carry, value_losses.mean()

        keys = jax.random.split(key, choices.epochs)
        (fitted, optimizer), value_losses = jax.lax.scan(epoch, (parameters, optimizer), keys)
        return (
            fitted._replace(actor=actor),
            optimizer,
            improvement._replace(value_loss=value_losses[-1]),
        )

    def natural_step(
        actor: Pytree, batch: Batch, hparams: DeepSettings
    ) -> tuple[Pytree, Improvement]:
        start, unravel = ravel_pytree(actor)
        advantage = batch.reward_part - batch.cost_part

        def surrogate(flat: jax.Array) -> jax.Array:
            policy = design.actor.apply(unravel(flat), batch.features)
            log_ratio = design.distribution.log_prob(policy, batch.actions) - batch.log_prob
            entropy = design.distribution.entropy(policy).mean()
            return (jnp.exp(log_ratio) * advantage).mean() + hparams.entropy_weight * entropy

        def divergence(flat: jax.Array) -> jax.Array:
            policy = design.actor.apply(unravel(flat), batch.features)
            return design.distribution.kl(batch.parameters, policy).mean()

        def fisher(vector: jax.Array) -> jax.Array:
            _, product = jax.jvp(jax.grad(divergence), (start,), (vector,))
            return product + hparams.damping * vector

        before, gradient = jax.value_and_grad(surrogate)(start)
        direction = conjugate_gradient(fisher, gradient, choices.conjugate_steps)
        curvature = jnp.maximum(jnp.vdot(direction, fisher(direction)), 1e-12)
        full = jnp.sqrt(2.0 * hparams.radius / curvature) * direction

        def halve(carry: tuple, power: jax.Array) -> tuple[tuple, None]:
            best, accepted, distance = carry
            proposal = start + full * 0.5**power
            kl = divergence(proposal)
            good = (kl <= hparams.radius) & (surrogate(proposal) > before) & ~accepted
            best = jnp.where(good, proposal, best)
            return (best, accepted | good, jnp.where(good, kl, distance)), None

        nothing: Any = (start, jnp.zeros((), bool), jnp.zeros(()))
        powers = jnp.arange(choices.line_search_steps, dtype=jnp.float32)
        (moved, _, distance), _ = jax.lax.scan(halve, nothing, powers)
        policy = design.actor.apply(unravel(moved), batch.features)
        return unravel(moved), Improvement(
            kl=distance,
            clip_fraction=jnp.zeros(()),
            entropy=design.distribution.entropy(policy).mean(),
            value_loss=jnp.zeros(()),
            gradient_norm=jnp.linalg.norm(gradient),
        )

    return improve
