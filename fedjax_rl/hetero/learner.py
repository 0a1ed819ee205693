"""HeteroRL: one learner, fed by samplers whose parameters are from its past."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from fedjax_rl.algorithm import Algorithm, Array, Pytree
from fedjax_rl.hetero.diagnostics import WeightSpread, divergence, group_variation, weight_spread
from fedjax_rl.hetero.evaluation import Evaluator, evaluator
from fedjax_rl.hetero.groups import Groups, SampleGroups, group_sampler
from fedjax_rl.hetero.losses.contract import Batch, Loss, LossOutput
from fedjax_rl.hetero.state import (
    Check,
    HeteroChoices,
    HeteroRow,
    HeteroSettings,
    HeteroState,
    check_choices,
)
from fedjax_rl.hetero.tasks.task import TokenTask
from fedjax_rl.policies.tokens import TokenPolicy

adam = optax.scale_by_adam()


class Components(NamedTuple):
    """The static parts of a learner, bound by `asynchronous`.

    Attributes:
        sample: draws a batch.
        log_probabilities: of all tokens, see `log_policy`.
        loss: what is descended.
        evaluator: accuracy and estimation error, at evaluations.
        choices: what shapes the program.
    """

    sample: SampleGroups
    log_probabilities: Callable[[Pytree, Groups, Array], jax.Array]
    loss: Loss
    evaluator: Evaluator
    choices: HeteroChoices


def asynchronous(
    task: TokenTask, policy: TokenPolicy, loss: Loss, choices: HeteroChoices
) -> Algorithm:
    """One learner on batches of the past (HeteroRL, arXiv 2508.17850); its step is `one_step`.

    Which batch a step gets is data (`schedule.simulate`). With version_k = k − 1 throughout this
    is the synchronous method.

    Args:
        task: prompts and rewards.
        policy: what answers.
        loss: what is descended.
        choices: what shapes the program.

    Returns:
        An algorithm over `HeteroState` and `HeteroSettings`, whose info is a `HeteroRow`.

    Raises:
        InvalidInput: a group of one, or a count below 1.

    Examples:
        Three steps on batches that are 0, 0 and 1 steps old.

        >>> import jax
        >>> import numpy as np
        >>> from fedjax_rl.execution.train import start, train
        >>> from fedjax_rl.hetero.losses import build_loss, default_settings
        >>> from fedjax_rl.hetero.rollout import sampling
        >>> from fedjax_rl.hetero.state import Deliveries, HeteroChoices, HeteroSettings
        >>> from fedjax_rl.hetero.tasks import prefix_sum
        >>> from fedjax_rl.policies.table import table
        >>> task, loss = prefix_sum(length=2, modulus=2), build_loss("gepo")
        >>> policy = table(task.vocabulary, task.response_length, task.contexts, task.context)
        >>> choices = HeteroChoices(
        ...     prompts=2, group_size=2, depth=2, top_k=0, held_out=4, on_policy=2, geometric=True
        ... )
        >>> made, key = asynchronous(task, policy, loss, choices), jax.random.key(0)
        >>> settings = HeteroSettings(
        ...     deliveries=Deliveries(np.array([0, 1, 1]), np.zeros(3, int), np.arange(3)),
        ...     start=policy.init(key),
        ...     loss=default_settings(loss),
        ...     sampling=sampling(),
        ...     learning_rate=0.1,
        ...     gradient_norm=1.0,
        ...     label_noise=0.0,
        ...     every=3,
        ...     last=3,
        ... )
        >>> state, _ = start(made, key, settings)
        >>> spans = train(made, key, state, settings, rounds=3, span_rounds=2)
        >>> [int(old) for span in spans for old in span.info.staleness]
        [0, 0, 1]
    """
    check_choices(choices)
    components = Components(
        sample=group_sampler(task, policy, choices.prompts, choices.group_size, choices.top_k),
        log_probabilities=log_policy(policy),
        loss=loss,
        evaluator=evaluator(task, policy, choices),
        choices=choices,
    )
    return Algorithm(
        partial(initial, components), partial(one_step, components), partial(observe, components)
    )


def initial(components: Components, key: jax.Array, hparams: HeteroSettings) -> HeteroState:
    """The initial state, with the start's parameters as the past ``depth`` steps.

    Args:
        components: static.
        key: from which every sampler's batches derive.
        hparams: for the start.
    """
    start, depth = hparams.start, components.choices.depth
    past = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], depth, 0), start)
    return HeteroState(start, adam.init(start), past, key)


def observe(components: Components, state: HeteroState, hparams: HeteroSettings) -> HeteroRow:
    """The row of step 0, of which only the accuracy is known.

    Args:
        components: static.
        state: at rest.
        hparams: traced settings.
    """
    undefined = jnp.full((), jnp.nan)
    right = components.evaluator.accuracy(jax.random.key(0), state.parameters, hparams)
    return HeteroRow(
        staleness=jnp.zeros((), jnp.int32),
        loss=undefined,
        reward=undefined,
        kl=undefined,
        weights=WeightSpread(*[undefined] * len(WeightSpread._fields)),
        gradient_norm=undefined,
        clip_fraction=undefined,
        variation=undefined,
        evaluated=jnp.ones((), bool),
        check=Check(right, undefined),
    )


def one_step(
    components: Components,
    key: jax.Array,
    round: jax.Array,
    state: HeteroState,
    hparams: HeteroSettings,
) -> tuple[HeteroState, HeteroRow]:
    """One learner step on the batch that the schedule delivers.

        y ~ q = π(θ_v) with v = version_k ≤ k − 1, rewards and log q by the sampler
        θ_k ← Adam(θ_{k−1}, ∇ loss(log p, log q, rewards)),  p = π(θ_{k−1})

    A batch is drawn when it is delivered: batches that nobody takes cost nothing.

    Args:
        components: static.
        key: of the evaluation alone.
        round: k = 1, 2, …
        state: before the step.
        hparams: traced settings.
    """
    choices, temperature = components.choices, hparams.sampling.temperature
    version, sampler, number = (leaf[round - 1] for leaf in hparams.deliveries)
    behaviour = jax.tree.map(lambda leaf: leaf[version % choices.depth], state.past)
    # From its sampler's own stream, by its number there: neither the step that takes it nor who
    # else samples changes a batch, so that schedules differ in nothing but their order.
    key_batch = jax.random.fold_in(jax.random.fold_in(state.streams, sampler), number)
    groups = components.sample(key_batch, behaviour, hparams.sampling, hparams.label_noise)
    gradient, (output, log_p) = jax.grad(partial(objective, components), has_aux=True)(
        state.parameters, groups, hparams
    )
    parameters, optimizer, norm = gradient_step(gradient, state, hparams)
    due = (round % hparams.every == 0) | (round == hparams.last)
    check = jax.lax.cond(
        due,
        lambda: Check(
            components.evaluator.accuracy(key, parameters, hparams),
            components.evaluator.error(key, state.parameters, groups, output, hparams),
        ),
        lambda: Check(jnp.full((), jnp.nan), jnp.full((), jnp.nan)),
    )
    log_q = components.log_probabilities(behaviour, groups, temperature)
    row = HeteroRow(
        staleness=round - 1 - version,
        loss=output.loss,
        reward=groups.rewards.mean(),
        kl=divergence(log_q, log_p, groups.mask),
        weights=weight_spread(output.weights, groups.mask),
        gradient_norm=norm,
        clip_fraction=output.clipped,
        variation=group_variation(log_of_responses(groups, choices.geometric)),
        evaluated=due,
        check=check,
    )
    past = with_past(state.past, parameters, round % choices.depth)
    return HeteroState(parameters, optimizer, past, state.streams), row


def objective(
    components: Components, parameters: Pytree, groups: Groups, hparams: HeteroSettings
) -> tuple[jax.Array, tuple[LossOutput, jax.Array]]:
    """The loss of a batch, a scalar; what explains it, and log p of all tokens [P, G, L, V].

    Args:
        components: static.
        parameters: of the learner, differentiable.
        groups: the batch.
        hparams: settings of the loss, and the temperature.
    """
    logs = components.log_probabilities(parameters, groups, hparams.sampling.temperature)
    log_p = of_tokens(logs, groups.tokens)
    output = components.loss(Batch(log_p, groups.log_q, groups.mask, groups.rewards), hparams.loss)
    return output.loss, (output, logs)


def gradient_step(
    gradient: Pytree, state: HeteroState, hparams: HeteroSettings
) -> tuple[Pytree, Pytree, jax.Array]:
    """Parameters and Adam's moments (arXiv 1412.6980) after a step, and the gradient's norm.

    Args:
        gradient: of the loss, before it is cut to ``gradient_norm``.
        state: before the step.
        hparams: the learning rate and the largest norm.
    """
    norm = optax.tree.norm(gradient)
    factor = jnp.minimum(1.0, hparams.gradient_norm / (norm + 1e-6))
    gradient = jax.tree.map(lambda leaf: factor * leaf, gradient)
    updates, optimizer = adam.update(gradient, state.optimizer)
    parameters = jax.tree.map(
        lambda leaf, update: leaf - hparams.learning_rate * update, state.parameters, updates
    )
    return parameters, optimizer, norm


def with_past(past: Pytree, parameters: Pytree, slot: jax.Array) -> Pytree:
    """The ring of past parameters with new ones in a slot that no batch needs any more.

    Args:
        past: leaves [depth, …].
        parameters: leaves […].
        slot: scalar, the step modulo ``depth``. It comes from the caller's round: in the state
            a sweep would batch it, and this write of one row would become a scatter.
    """
    write = partial(jax.lax.dynamic_update_index_in_dim, index=slot, axis=0)
    return jax.tree.map(write, past, parameters)


def log_policy(policy: TokenPolicy) -> Callable[[Pytree, Groups, Array], jax.Array]:
    """The function (parameters, groups, temperature) -> log-probabilities [P, G, L, V], nats."""

    def of_response(
        parameters: Pytree, prompt: Array, tokens: Array, temperature: Array
    ) -> jax.Array:
        logits = policy.logits(parameters, policy.read(parameters, prompt), tokens)
        return jax.nn.log_softmax(logits / temperature)

    of_group = jax.vmap(of_response, (None, None, 0, None))
    of_groups = jax.vmap(of_group, (None, 0, 0, None))

    def log_probabilities(parameters: Pytree, groups: Groups, temperature: Array) -> jax.Array:
        logs: jax.Array = of_groups(parameters, groups.prompts, groups.tokens, temperature)
        return logs

    return log_probabilities


def of_tokens(logs: jax.Array, tokens: jax.Array) -> jax.Array:
    """Log-probabilities [...] of tokens [...] among those of all tokens [..., V]."""
    return jnp.take_along_axis(logs, tokens[..., None], axis=-1)[..., 0]


def log_of_responses(groups: Groups, geometric: bool) -> jax.Array:
    """Log q_i [P, G] of whole responses: mean over tokens if geometric, else sum."""
    total = jnp.where(groups.mask, groups.log_q, 0.0).sum(-1)
    return total / jnp.maximum(groups.mask.sum(-1), 1) if geometric else total
