"""PPO on CartPole and nothing else: no costs, agents, merges or records; to compare with."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import gymnax
import jax
import jax.numpy as jnp
import optax

from fedjax_rl.algorithm import Algorithm, Pytree

STEPS, EPOCHS, MINIBATCHES = 128, 4, 4
GAMMA, DECAY, CLIP, ENTROPY, RATE, NORM = 0.99, 0.95, 0.2, 0.01, 2e-3, 0.5


class State(NamedTuple):
    """Networks and environments.

    Attributes:
        parameters: of actor and critic.
        optimizer: Adam's moments.
        environments: states, leading axis B.
        observation: [B, 4].
        returns: [B], reward of the episodes under way.
    """

    parameters: Pytree
    optimizer: Pytree
    environments: Pytree
    observation: jax.Array
    returns: jax.Array


class Row(NamedTuple):
    """What ended in a round.

    Attributes:
        episodes: scalar.
        episode_sums: [1], their rewards.
    """

    episodes: jax.Array
    episode_sums: jax.Array


class Network(nn.Module):
    """Two hidden layers of 64 hyperbolic tangents."""

    outputs: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """[..., 4] -> [..., outputs]."""
        for _ in range(2):
            features = nn.tanh(nn.Dense(64)(features))
        return nn.Dense(self.outputs, kernel_init=nn.initializers.normal(0.01))(features)


def lean_ppo(environments: int) -> Algorithm:
    """Proximal policy optimisation (arXiv 1707.06347) of one agent; its settings are constants.

    Args:
        environments: B.
    """
    environment, params = gymnax.make("CartPole-v1")
    actor, critic = Network(2), Network(1)
    adam = optax.chain(optax.clip_by_global_norm(NORM), optax.adam(RATE, eps=1e-5))
    reset = jax.vmap(environment.reset_env, (0, None))
    step_all = jax.vmap(environment.step_env, (0, 0, 0, None))

    def init(key: jax.Array, hparams: Pytree) -> State:
        key_actor, key_critic, key_reset = jax.random.split(key, 3)
        parameters = actor.init(key_actor, jnp.zeros(4)), critic.init(key_critic, jnp.zeros(4))
        observation, states = strong(reset(jax.random.split(key_reset, environments), params))
        returns = jnp.zeros(environments)
        return State(parameters, adam.init(parameters), states, observation, returns)

    def act(state: State, key: jax.Array) -> tuple[State, tuple]:
        key_action, key_step, key_reset = jax.random.split(key, 3)
        logits = actor.apply(state.parameters[0], state.observation)
        action = jax.random.categorical(key_action, logits)
        log_prob = chosen(logits, action)
        keys = jax.random.split(key_step, environments)
        observation, after, reward, terminated, _ = strong(
            step_all(keys, state.environments, action, params)
        )
        truncated = jax.vmap(environment.is_truncated, (0, None))(after, params) & ~terminated
        ended = terminated | truncated
        fresh = strong(reset(jax.random.split(key_reset, environments), params))
        final = critic.apply(state.parameters[1], observation)[..., 0]
        following = jax.tree.map(
            lambda new, old: jnp.where(ended.reshape(-1, *(1,) * (old.ndim - 1)), new, old),
            fresh,
            (observation, after),
        )
        returns = state.returns + reward
        row = (state.observation, action, log_prob, reward, terminated, ended, final, returns)
        moved = state._replace(
            environments=following[1],
            observation=following[0],
            returns=jnp.where(ended, 0.0, returns),
        )
        return moved, row

    def loss(parameters: Pytree, batch: tuple) -> jax.Array:
        observation, action, log_prob, advantage, target = batch
        logits = actor.apply(parameters[0], observation)
        ratio = jnp.exp(chosen(logits, action) - log_prob)
        clipped = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
        gained = jnp.minimum(ratio * advantage, clipped * advantage).mean()
        logs = jax.nn.log_softmax(logits)
        entropy = -(jnp.exp(logs) * logs).sum(-1).mean()
        value = critic.apply(parameters[1], observation)[..., 0]
        return 0.5 * jnp.square(value - target).mean() - gained - ENTROPY * entropy

    def one_step(key: jax.Array, round: Any, state: State, hparams: Pytree) -> tuple[State, Row]:
        key_rollout, key_epochs = jax.random.split(key)
        after, rows = jax.lax.scan(act, state, jax.random.split(key_rollout, STEPS))
        observations, actions, log_probs, rewards, terminated, ended, final, returns = rows
        values = critic.apply(state.parameters[1], observations)[..., 0]
        onward = jnp.where(terminated, 0.0, final)

        def backwards(later: jax.Array, now: tuple) -> tuple[jax.Array, jax.Array]:
            residual, ended = now
            advantage = residual + jnp.where(ended, 0.0, GAMMA * DECAY) * later
            return advantage, advantage

        residuals = rewards + GAMMA * onward - values
        _, advantages = jax.lax.scan(
            backwards, jnp.zeros(environments), (residuals, ended), reverse=True, unroll=8
        )
        standard = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        batch = observations, actions, log_probs, standard, advantages + values
        samples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch)

        def descend(carry: tuple, minibatch: tuple) -> tuple[tuple, None]:
            parameters, optimizer = carry
            updates, optimizer = adam.update(jax.grad(loss)(parameters, minibatch), optimizer)
            return (optax.apply_updates(parameters, updates), optimizer), None

        def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
            order = jax.random.permutation(key, STEPS * environments).reshape(MINIBATCHES, -1)
            return jax.lax.scan(descend, carry, jax.tree.map(lambda leaf: leaf[order], samples))

        carry = state.parameters, state.optimizer
        (parameters, optimizer), _ = jax.lax.scan(
            epoch, carry, jax.random.split(key_epochs, EPOCHS)
        )
        row = Row(ended.sum(), jnp.where(ended, returns, 0.0).sum()[None])
        return after._replace(parameters=parameters, optimizer=optimizer), row

    return Algorithm(init, one_step)


def chosen(logits: jax.Array, action: jax.Array) -> jax.Array:
    """Log-probabilities [...] of actions under logits [..., A]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]


def strong(tree: Pytree) -> Pytree:
    """Numbers of the types that a loop can carry: gymnax's resets give weak ones."""

    def settle(leaf: Any) -> jax.Array:
        array = jnp.asarray(leaf)
        whole = jnp.issubdtype(array.dtype, jnp.integer)
        kept = array.dtype == bool
        return array if kept else array.astype(jnp.int32 if whole else jnp.float32)

    return jax.tree.map(settle, tree)
