"""FedPPO's local improvement: clipped surrogate steps on the agent's Lagrangian."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from fedjax_rl.algorithm import Learner, Pytree
from fedjax_rl.learners.deep.agent import DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.learner import Improve, deep_learner
from fedjax_rl.learners.deep.state import Batch, Improvement, Parameters, Rates
from fedjax_rl.learners.deep.vectors import vector, vectors_of
from fedjax_rl.ops import surrogate
from fedjax_rl.ops.minibatches import mean_over_blocks, stratified_minibatches
from fedjax_rl.ops.rows import packed
from fedjax_rl.ops.select import where

adam = optax.scale_by_adam(eps=1e-5)


def ppo(design: Design) -> Learner:
    """Proximal policy optimisation of the Lagrangian (arXiv 1707.06347, arXiv 2405.03236).

        maximise  mean( clipped(ρ, A_r/N) − ρ Σ_j w_ij λ_ij A_cj ) / (1/N + Σ_j w_ij λ_ij)

    over epochs of minibatches, with each critic fitted to its returns in the same steps.

    Args:
        design: task, networks and static choices.

    Examples:
        >>> from fedjax_rl.envs.cartpole import cartpole_pos2
        >>> from fedjax_rl.families.networks.config import DeepConfig
        >>> from fedjax_rl.families.networks.traced import choices_of, sized
        >>> from fedjax_rl.federation.aggregate import parameter_mean
        >>> from fedjax_rl.federation.round import federate
        >>> from fedjax_rl.learners.deep.design import design_of
        >>> learner = ppo(
        ...     design_of(cartpole_pos2(), 1, choices_of(sized(DeepConfig(), cartpole_pos2())))
        ... )
        >>> fedppo = federate(learner, parameter_mean(), num_agents=2, local_steps=3)
        >>> learner.message_kind, fedppo.float64
        ('parameters', False)
    """
    return deep_learner(design, proximal(design))


def proximal(design: Design) -> Improve:
    """The improvement of `ppo`."""
    choices = design.choices
    take_step = preconditioned_step if choices.common_preconditioner else adam_step

    def losses(
        parameters: Parameters, batch: Batch, hparams: DeepSettings
    ) -> tuple[jax.Array, Improvement]:
        policy = design.actor.apply(parameters.actor, batch.features)
        log_ratio = design.distribution.log_prob(policy, batch.actions) - batch.log_prob
        ratio = jnp.exp(log_ratio)
        objective = surrogate.lagrangian(ratio, batch.reward_part, batch.cost_part, hparams.clip)
        entropy = design.distribution.entropy(policy).mean()
        value_loss, cost_loss = critic_losses(parameters, batch, design)
        loss = value_loss + cost_loss - objective.mean() - hparams.entropy_weight * entropy
        return loss, Improvement(
            kl=surrogate.divergence(log_ratio).mean(),
            clip_fraction=(jnp.abs(ratio - 1.0) > hparams.clip).mean(),
            entropy=entropy,
            value_loss=value_loss,
            gradient_norm=jnp.zeros(()),
        )

    def improve(
        key: jax.Array,
        parameters: Parameters,
        optimizer: Pytree,
        batch: Batch,
        rates: Rates,
        hparams: DeepSettings,
    ) -> tuple[Parameters, Pytree, Improvement]:
        rows, vectors = packed(batch), vectors_of(parameters, optimizer)
        if choices.common_preconditioner:
            rates = rates._replace(divisors=vector(rates.divisors))

        def loss_of(parameters: Parameters, samples: jax.Array) -> tuple[jax.Array, Improvement]:
            return losses(vectors.networks(parameters), rows.unpack(samples), hparams)

        def descend(carry: tuple, minibatch: jax.Array) -> tuple[tuple, Improvement]:
            parameters, optimizer, active = carry
            gradients, improvement = mean_over_blocks(
                lambda block: jax.grad(loss_of, has_aux=True)(parameters, block), minibatch
            )
            proposed = take_step(parameters, gradients, optimizer, rates, hparams)
            if choices.kl_stop:
                # Selected and not stopped: mapped agents would wait for the last one anyway. From
                # the first minibatch beyond the limit on, so that no epoch runs far over it.
                active &= improvement.kl <= hparams.kl_limit
                proposed = where(active, proposed, (parameters, optimizer))
            norm = optax.tree.norm(gradients.actor)
            return (*proposed, active), improvement._replace(gradient_norm=norm)

        def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, Improvement]:
            minibatches = stratified_minibatches(key, rows.values, choices.minibatches)
            (parameters, optimizer, active), improvements = jax.lax.scan(
                descend, carry, minibatches
            )
            last = jax.tree.map(lambda leaf: leaf.mean(0), improvements)
            return (parameters, optimizer, active), last

        carry = (vectors.parameters, vectors.optimizer, jnp.ones((), bool))
        keys = jax.random.split(key, choices.epochs)
        (moved, moments, _), improvements = jax.lax.scan(epoch, carry, keys)
        last = jax.tree.map(lambda leaf: leaf[-1], improvements)
        return vectors.networks(moved), vectors.moments(moments), last

    return improve


def critic_losses(
    parameters: Parameters, batch: Batch, design: Design
) -> tuple[jax.Array, jax.Array]:
    """Half the mean squared error of the reward critic, and of all cost heads together.

    Args:
        parameters: of all networks.
        batch: features and targets of T·B samples, [T, B, …].
        design: networks.

    Returns:
        Two scalars, in squared units of the targets; the second is 0 where no cost is watched.
    """
    value = design.critic.apply(parameters.critic, batch.features)[..., 0]
    value_loss = 0.5 * jnp.square(value - batch.targets[..., 0]).mean()
    if not design.slots:
        return value_loss, jnp.zeros(())
    timed = jnp.concatenate([batch.features, batch.time_left[..., None]], axis=-1)
    costs = design.cost_critic.apply(parameters.cost_critic, timed)
    errors = jnp.square(costs - batch.targets[..., 1:]).sum(-1)
    return value_loss, 0.5 * errors.mean()


def adam_step(
    parameters: Parameters,
    gradients: Parameters,
    optimizer: Pytree,
    rates: Rates,
    hparams: DeepSettings,
) -> tuple[Parameters, Pytree]:
    """Adam (arXiv 1412.6980) on every network; each gradient is cut to ``gradient_norm`` by itself.

    Args:
        parameters: before the step.
        gradients: of what is minimised.
        optimizer: Adam's own state.
        rates: of actor and critics.
        hparams: for ``gradient_norm``.

    Returns:
        Parameters and Adam's state after the step.
    """
    gradients = Parameters(*(_cut(gradient, hparams.gradient_norm) for gradient in gradients))
    updates, optimizer = adam.update(gradients, optimizer)
    by_network = Parameters(rates.policy, rates.critics, rates.critics)
    moved = [
        jax.tree.map(lambda leaf, update, rate=rate: leaf - rate * update, *both)
        for rate, *both in zip(by_network, parameters, updates, strict=True)
    ]
    return Parameters(*moved), optimizer


def preconditioned_step(
    parameters: Parameters,
    gradients: Parameters,
    optimizer: Pytree,
    rates: Rates,
    hparams: DeepSettings,
) -> tuple[Parameters, Pytree]:
    """Adam on critics; the actor's gradient is divided by what all agents have in common.

        θ ← θ − rate · g / divisor

    A cut gradient would not add up, and is not cut; a momentum would bring gradients that were
    divided by other numbers.

    Args:
        parameters: before the step.
        gradients: of what is minimised.
        optimizer: Adam's own state, of critics alone.
        rates: of actor and critics, and the divisors.
        hparams: for ``gradient_norm``.
    """
    actor = jax.tree.map(
        lambda leaf, gradient, divisor: leaf - rates.policy * gradient / divisor,
        *(parameters.actor, gradients.actor, rates.divisors),
    )
    critics, slopes = parameters._replace(actor=None), gradients._replace(actor=None)
    critics, optimizer = adam_step(critics, slopes, optimizer, rates, hparams)
    return critics._replace(actor=actor), optimizer


def _cut(gradient: Pytree, limit: jax.Array) -> Pytree:
    factor = jnp.minimum(1.0, limit / (optax.tree.norm(gradient) + 1e-6))
    return jax.tree.map(lambda leaf: factor * leaf, gradient)
