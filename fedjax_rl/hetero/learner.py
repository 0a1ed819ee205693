"""HeteroRL: one learner, fed by samplers whose parameters are from its past."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from fedjax_rl.algorithm import Algorithm, Array, Pytree
from fedjax_rl.hetero.diagnostics import WeightSpread, divergence, group_variation, weight_spread
from fedjax_rl.hetero.evaluator import evaluator
from fedjax_rl.hetero.groups import Groups, group_sampler
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


def asynchronous(
    task: TokenTask, policy: TokenPolicy, loss: Loss, choices: HeteroChoices
) -> Algorithm:
    """One learner on batches of the past (HeteroRL, arXiv 2508.17850).

        for k = 1 … T:
            y ~ q = π(θ_v) with v = version_k ≤ k − 1, rewards and log q by the sampler
            θ_k ← Adam(θ_{k−1}, ∇ loss(log p, log q, rewards)),  p = π(θ_{k−1})

    Which v a step gets is data (`schedule.simulate`), and a batch is drawn when it is
    delivered, from its sampler's own stream: batches that nobody takes cost nothing. With
    version_k = k − 1 throughout this is the synchronous method.

    Args:
        task: prompts and rewards.
        policy: what answers.
        loss: what is descended.
        choices: what shapes the program.

    Returns:
        An algorithm over `HeteroState` and `HeteroSettings`, whose info is a `HeteroRow`.

    Raises:
        InvalidInput: a group of one, or a count below 1.
    """
    check_choices(choices)
    sample = group_sampler(task, policy, choices.prompts, choices.group_size, choices.top_k)
    examine = evaluator(task, policy, choices)
    every_log = log_policy(policy)

    def init(key: jax.Array, hparams: HeteroSettings) -> HeteroState:
        start = hparams.start
        past = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], choices.depth, 0), start)
        return HeteroState(start, adam.init(start), past, key)

    def observe(state: HeteroState, hparams: HeteroSettings) -> HeteroRow:
        undefined = jnp.full((), jnp.nan)
        right = examine.accuracy(jax.random.key(0), state.parameters, hparams)
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

    def step(
        key: jax.Array, round: jax.Array, state: HeteroState, hparams: HeteroSettings
    ) -> tuple[HeteroState, HeteroRow]:
        version, sampler, number = (leaf[round - 1] for leaf in hparams.deliveries)
        behaviour = jax.tree.map(lambda leaf: leaf[version % choices.depth], state.past)
        key_batch = jax.random.fold_in(jax.random.fold_in(state.streams, sampler), number)
        groups = sample(key_batch, behaviour, hparams.sampling, hparams.label_noise)

        def objective(parameters: Pytree) -> tuple[jax.Array, tuple[LossOutput, jax.Array]]:
            logs = every_log(parameters, groups, hparams.sampling.temperature)
            log_p = of_tokens(logs, groups.tokens)
            batch = Batch(log_p, groups.log_q, groups.mask, groups.rewards)
            output = loss(batch, hparams.loss)
            return output.loss, (output, logs)

        gradient, (output, log_p) = jax.grad(objective, has_aux=True)(state.parameters)
        norm = optax.tree.norm(gradient)
        factor = jnp.minimum(1.0, hparams.gradient_norm / (norm + 1e-6))
        gradient = jax.tree.map(lambda leaf: factor * leaf, gradient)
        updates, optimizer = adam.update(gradient, state.optimizer)
        parameters = jax.tree.map(
            lambda leaf, update: leaf - hparams.learning_rate * update, state.parameters, updates
        )
        past = jax.tree.map(
            lambda ring, leaf: jax.lax.dynamic_update_index_in_dim(
                ring, leaf, round % choices.depth, 0
            ),
            state.past,
            parameters,
        )
        due = (round % hparams.every == 0) | (round == hparams.last)
        check = jax.lax.cond(
            due,
            lambda: Check(
                examine.accuracy(key, parameters, hparams),
                examine.error(key, state.parameters, groups, output, hparams),
            ),
            lambda: Check(jnp.full((), jnp.nan), jnp.full((), jnp.nan)),
        )
        log_q = every_log(behaviour, groups, hparams.sampling.temperature)
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
        return HeteroState(parameters, optimizer, past, state.streams), row

    return Algorithm(init, step, observe)


def log_policy(policy: TokenPolicy) -> Callable[[Pytree, Groups, Array], jax.Array]:
    """The function (parameters, groups, temperature) -> log-probabilities [P, G, L, V], nats."""

    def of_response(
        parameters: Pytree, prompt: Array, tokens: Array, temperature: Array
    ) -> jax.Array:
        logits = policy.logits(parameters, policy.read(parameters, prompt), tokens)
        return jax.nn.log_softmax(logits / temperature)

    of_group = jax.vmap(of_response, (None, None, 0, None))
    of_groups = jax.vmap(of_group, (None, 0, 0, None))

    def every_log(parameters: Pytree, groups: Groups, temperature: Array) -> jax.Array:
        logs: jax.Array = of_groups(parameters, groups.prompts, groups.tokens, temperature)
        return logs

    return every_log


def of_tokens(logs: jax.Array, tokens: jax.Array) -> jax.Array:
    """Log-probabilities [...] of tokens [...] among those of all tokens [..., V]."""
    return jnp.take_along_axis(logs, tokens[..., None], axis=-1)[..., 0]


def log_of_responses(groups: Groups, geometric: bool) -> jax.Array:
    """Log q_i [P, G] of whole responses: mean over tokens if geometric, else sum."""
    total = jnp.where(groups.mask, groups.log_q, 0.0).sum(-1)
    return total / jnp.maximum(groups.mask.sum(-1), 1) if geometric else total
