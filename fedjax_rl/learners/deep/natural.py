"""The deep natural policy gradient: a trust-region step on the agent's Lagrangian."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Learner, Pytree
from fedjax_rl.learners.deep.agent import DeepSettings
from fedjax_rl.learners.deep.common_step import common_step
from fedjax_rl.learners.deep.critics import fitted_critics
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.learner import Improve, deep_learner
from fedjax_rl.learners.deep.state import Batch, Improvement, Parameters, Rates
from fedjax_rl.learners.deep.trust_region import natural_step


def natural(design: Design) -> Learner:
    """Natural gradient ascent on the Lagrangian within a trust region (arXiv 1502.05477).

        θ ← θ + α F⁻¹ g,   g = ∇ mean( ρ A_L ),   α ≤ √(2 δ / gᵀF⁻¹g)

    F is the Fisher matrix of the policy at the states of the rollout, and F⁻¹g comes from
    conjugate gradients on products with it, ``damping`` added to its diagonal. The step is
    halved until the mean KL divergence is within δ and the surrogate has grown; else it is not
    taken. Critics are fitted by Adam over epochs of minibatches.

    Every agent takes a step of its own, and a merge makes one of them; or, by ``common_step`` of
    the choices, all agents take the same one, on the sum of their Lagrangians: see `common_step`.

    Args:
        design: task, networks and static choices.
    """
    # The radius says how long a step is, and needs no pace; no gradient is divided by its size.
    choices = design.choices._replace(adapts_pace=False, common_preconditioner=False)
    if not choices.common_step:
        own = design._replace(choices=choices)
        return deep_learner(own, trust_region(own))
    # Agents that move alike have nothing to be weighed by.
    alike = design._replace(choices=choices._replace(weigh_merge=False))
    return common_step(alike, deep_learner(alike, trust_region(alike)))


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
