"""Critics that are fitted apart from the policy."""

from __future__ import annotations

import jax

from fedjax_rl.algorithm import Pytree
from fedjax_rl.learners.deep.agent import DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.ppo import adam_step, critic_losses
from fedjax_rl.learners.deep.state import Batch, Parameters, Rates
from fedjax_rl.learners.deep.vectors import vectors_of
from fedjax_rl.ops.minibatches import stratified_minibatches
from fedjax_rl.ops.rows import packed


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
    rows, vectors = packed(batch), vectors_of(parameters, optimizer)

    def fit(carry: tuple, minibatch: jax.Array) -> tuple[tuple, jax.Array]:
        parameters, optimizer = carry
        sample = rows.unpack(minibatch)

        def loss(parameters: Parameters) -> tuple[jax.Array, jax.Array]:
            value_loss, cost_loss = critic_losses(vectors.networks(parameters), sample, design)
            return value_loss + cost_loss, value_loss

        gradients, value_loss = jax.grad(loss, has_aux=True)(parameters)
        return adam_step(parameters, gradients, optimizer, rates, hparams), value_loss

    def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        minibatches = stratified_minibatches(key, rows.values, design.choices.minibatches)
        carry, value_losses = jax.lax.scan(fit, carry, minibatches)
        return carry, value_losses.mean()

    keys = jax.random.split(key, design.choices.epochs)
    carry = vectors.parameters, vectors.optimizer
    (fitted, moments), value_losses = jax.lax.scan(epoch, carry, keys)
    return vectors.networks(fitted), vectors.moments(moments), value_losses[-1]
