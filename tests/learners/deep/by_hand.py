"""PPO-Lagrangian of one agent that watches every cost, written out with loops over numbers.

It shares with the package the environment, the networks' functions, the rollout and the deal
of its steps into minibatches, so that both learn from the same data; nothing else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.learners.deep.rollout import collect
from fedjax_rl.ops.minibatches import stratified_minibatches


class Trained(NamedTuple):
    networks: Any
    multipliers: np.ndarray
    history: np.ndarray
    stopped: int


def train_by_hand(design, settings, shared, local, params, keys):
    """So many rounds as there are keys, from the first networks and environments on."""
    task, choices, slots = design.task, design.choices, design.slots
    networks = [shared.actor, shared.critic, local.cost_critic]
    adam = Adam(networks)
    duals = Multiplicative if choices.duals == "multiplicative" else Duals
    duals, gained = duals(choices.duals, slots, settings.duals), Gained(task.kinds)
    pace = 1.0
    environments = local.environments
    running_sums = np.zeros((choices.envs, slots))
    running_weights = np.ones((choices.envs, slots))
    squares, seen = np.ones(1 + slots), 1.0
    looked_at = []
    gradient = loss_gradient(design, settings)
    history, stopped = [], 0
    for round, key in enumerate(keys):
        key_rollout, key_improve = jax.random.split(key)
        prepare = features_of(design, looked_at)

        def act(observations, noise, actor=networks[0], prepare=prepare):
            parameters = design.actor.apply(actor, prepare(observations))
            return parameters, design.distribution.sample(parameters, noise)

        rollout, environments = collect(key_rollout, act, environments, params, design)
        host = jax.tree.map(np.asarray, rollout)
        size = np.sqrt(squares / seen) if choices.scale_returns else np.ones(1 + slots)

        def value(observations, left, networks=networks, prepare=prepare, size=size):
            features = prepare(observations)
            reward = design.critic.apply(networks[1], features)
            timed = jnp.concatenate([features, jnp.asarray(left)[..., None]], -1)
            costs = design.cost_critic.apply(networks[2], timed)
            return np.asarray(jnp.concatenate([reward, costs], -1), np.float64) * size

        now = value(host.observations, host.time_left[:-1])
        last = value(host.last, host.time_left[-1])
        final = value(host.final, np.zeros(host.final.shape[:2]))

        costs, known = measured(task, host, final, running_sums, running_weights, task.time_limit)
        advantages = advantages_of(task, settings, host, now, last, final)
        targets = advantages + now
        gained.see(host, targets[..., 0], settings.discount)
        duals.step(costs, known, task.budgets, settings.margin, gained)
        history.append(duals.multipliers.copy())
        normaliser = 1.0 + duals.multipliers.sum()
        reward_part = advantages[..., 0] / normaliser
        cost_part = (advantages[..., 1:] * duals.multipliers).sum(-1) / normaliser
        if choices.standardize:
            deviation = (reward_part - cost_part).std() + 1e-8
            reward_part = (reward_part - reward_part.mean()) / deviation
            cost_part = (cost_part - cost_part.mean()) / deviation

        features = prepare(host.observations)
        old = design.distribution.log_prob(design.actor.apply(networks[0], features), host.actions)
        table = [features, host.time_left[:-1], host.actions, old, reward_part, cost_part]
        squares, seen = squares + (targets**2).sum((0, 1)), seen + targets[..., 0].size
        table.append(targets / (np.sqrt(squares / seen) if choices.scale_returns else size))
        samples = choices.rollout * choices.envs
        table = [np.asarray(part).reshape(samples, *np.shape(part)[2:]) for part in table]
        decayed = settings.learning_rate * (
            1.0 - settings.learning_rate_decay * round / settings.total_updates
        )
        numbers = jnp.arange(samples, dtype=jnp.float32).reshape(choices.rollout, choices.envs, 1)
        beyond, divergences = False, []
        for key_epoch in jax.random.split(key_improve, choices.epochs):
            deal = np.asarray(stratified_minibatches(key_epoch, numbers, choices.minibatches))
            for indices in deal[..., 0].astype(int):
                gradients, distance = gradient(networks, *[part[indices] for part in table])
                divergences.append(float(distance))
                if choices.kl_stop and distance > settings.kl_limit:
                    beyond = True
                    break
                rates = (decayed * pace, decayed, decayed)
                networks = adam.step(networks, gradients, rates, settings.gradient_norm)
            if beyond:
                stopped += 1
                break

        if choices.adapts_pace:
            # The mean over the last pass, in which a step that stopped stays where it is.
            wanted = np.sqrt(settings.kl_target / np.mean(divergences[-choices.minibatches :]))
            pace = np.clip(pace * np.clip(wanted, 1 / 1.5, 1.5), 1 / 32, 2)
        looked_at.append(host.observations.reshape(samples, -1))
    return Trained(networks, duals.multipliers, np.array(history), stopped)


def features_of(design, looked_at):
    """Observations by the moments of all before, which start at one pseudo sample: its mean is 0
    and its deviation 1."""
    if design.choices.scale_observations == "none":
        return lambda observations: jnp.asarray(observations)
    width = design.features
    everything = np.concatenate([np.zeros((1, width)), *looked_at]).astype(np.float64)
    mean = everything.mean(0)
    variance = (1.0 + ((everything - mean) ** 2).sum(0)) / len(everything)
    if design.choices.scale_observations == "small":
        size = np.minimum(1.0, np.sqrt(variance + mean**2))
        return lambda observations: jnp.asarray(observations) / size
    deviation = np.sqrt(variance)
    return lambda observations: jnp.clip((jnp.asarray(observations) - mean) / deviation, -10, 10)


def measured(task, rollout, final, sums, weights, limit):
    """Mean costs of the episodes that ended, or per step; the sums go on into the next rollout."""
    slots = len(task.kinds)
    totals, ended = np.zeros(slots), 0
    steps, envs = rollout.terminated.shape
    for env in range(envs):
        cuts = 0
        for time in range(steps):
            for slot, kind in enumerate(task.kinds):
                sums[env, slot] += weights[env, slot] * rollout.signals[time, env, 1 + slot]
                weights[env, slot] *= task.cost_discount if kind == "discounted" else 1.0
            terminated, truncated = rollout.terminated[time, env], rollout.truncated[time, env]
            if truncated:
                for slot, kind in enumerate(task.kinds):
                    if kind == "discounted":
                        rest = final[cuts, env, 1 + slot]
                        sums[env, slot] += task.cost_discount**limit * rest
                cuts += 1
            if terminated or truncated:
                totals += sums[env]
                sums[env], weights[env] = 0.0, 1.0
                ended += 1
    per_step = np.array([kind == "step" for kind in task.kinds])
    rates = rollout.signals[..., 1:].mean((0, 1))
    return np.where(per_step, rates, totals / max(ended, 1)), per_step | (ended > 0)


def advantages_of(task, settings, rollout, now, last, final):
    """A_t = Σ_k (γλ)^k δ_{t+k}, up to the end of the episode or of the rollout."""
    kinds = ("reward", *task.kinds)
    steps, envs, _ = now.shape
    advantages = np.zeros(now.shape)
    for signal, kind in enumerate(kinds):
        discount = {"reward": settings.discount, "episode": 1.0}.get(kind, task.cost_discount)
        decay = settings.gae_decay if kind == "reward" else settings.cost_gae_decay
        scale = 1.0 - discount if kind == "step" else 1.0
        for env in range(envs):
            cuts_left, later = int(rollout.truncated[:, env].sum()), 0.0
            for time in reversed(range(steps)):
                following = last if time == steps - 1 else now[time + 1]
                onward = following[env, signal]
                if rollout.truncated[time, env]:
                    cuts_left -= 1
                    onward = 0.0 if kind == "episode" else final[cuts_left, env, signal]
                    later = 0.0
                if rollout.terminated[time, env]:
                    onward = later = 0.0
                observed = scale * rollout.signals[time, env, signal]
                error = observed + discount * onward - now[time, env, signal]
                later = error + discount * decay * later
                advantages[time, env, signal] = later
    return advantages


def loss_gradient(design, settings):
    """(networks, minibatch …) -> gradients of actor, critic and cost critic, mean KL estimate."""
    clipped_costs = design.choices.cost_surrogate == "clipped"

    def loss(networks, features, left, actions, old, reward_part, cost_part, targets):
        actor, critic, cost_critic = networks
        policy = design.actor.apply(actor, features)
        ratio = jnp.exp(design.distribution.log_prob(policy, actions) - old)
        nearby = jnp.clip(ratio, 1 - settings.clip, 1 + settings.clip)
        if clipped_costs:
            combined = reward_part - cost_part
            gained = jnp.minimum(ratio * combined, nearby * combined)
        else:
            gained = jnp.minimum(ratio * reward_part, nearby * reward_part) - ratio * cost_part
        entropy = design.distribution.entropy(policy).mean()
        value = design.critic.apply(critic, features)[:, 0]
        timed = jnp.concatenate([features, left[:, None]], -1)
        costs = design.cost_critic.apply(cost_critic, timed)
        errors = 0.5 * ((value - targets[:, 0]) ** 2).mean()
        errors += 0.5 * ((costs - targets[:, 1:]) ** 2).sum(-1).mean()
        distance = (ratio - 1.0 - jnp.log(ratio)).mean()
        return errors - gained.mean() - settings.entropy_weight * entropy, distance

    return jax.jit(jax.grad(loss, has_aux=True))


class Adam:
    """Adam (arXiv 1412.6980) with ε = 1e-5, each network's gradient cut to a norm first."""

    def __init__(self, networks):
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), networks)
        self.first, self.second, self.steps = zeros, zeros, 0

    def step(self, networks, gradients, rates, limit):
        cut = []
        for gradient in gradients:
            leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(gradient)]
            norm = np.sqrt(sum((leaf**2).sum() for leaf in leaves))
            factor = min(1.0, limit / (norm + 1e-6))
            cut.append(
                jax.tree.map(lambda leaf, factor=factor: factor * np.float64(leaf), gradient)
            )
        self.steps += 1
        self.first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, self.first, cut)
        self.second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, self.second, cut)
        first_share, second_share = 1 - 0.9**self.steps, 1 - 0.999**self.steps

        def moved(leaf, m, v, rate):
            direction = (m / first_share) / (np.sqrt(v / second_share) + 1e-5)
            return np.asarray(leaf - rate * direction, np.float32)

        each = zip(networks, self.first, self.second, rates, strict=True)
        return [
            jax.tree.map(lambda *of, rate=rate: moved(*of, rate), *parts) for *parts, rate in each
        ]


class Duals:
    """Projected gradient ascent, or the PID controller of arXiv 2007.03964, on each violation."""

    def __init__(self, rule, slots, settings):
        self.rule, self.settings = rule, settings
        self.multipliers, self.integral = np.zeros(slots), np.zeros(slots)
        self.before = [None] * slots

    def step(self, costs, known, budgets, margin, gained=None):
        gains = self.settings
        for slot, (cost, budget) in enumerate(zip(costs, budgets, strict=True)):
            if not known[slot]:
                continue
            aim = budget - margin * abs(budget)
            violation = (cost - aim) / budget
            raised = self.multipliers[slot] + gains.step_size * violation
            if self.rule == "pid":
                before = cost if self.before[slot] is None else self.before[slot]
                smooth = gains.smoothing * before + (1 - gains.smoothing) * cost
                violation = (smooth - aim) / budget
                most = gains.cap / gains.integral
                self.integral[slot] = np.clip(self.integral[slot] + violation, 0, most)
                raised = gains.proportional * violation + gains.integral * self.integral[slot]
                raised += gains.derivative * max(0.0, (smooth - before) / budget)
                self.before[slot] = smooth
            self.multipliers[slot] = np.clip(raised, 0.0, gains.cap)


class Gained:
    """Smoothed returns of episodes (0) and of steps (1), the least and the best of them."""

    def __init__(self, kinds):
        self.of = [0 if kind == "episode" else 1 for kind in kinds]
        self.smoothed, self.least, self.best = [None, None], [0.0, 0.0], [0.0, 0.0]
        self.slow = [0.0, 0.0]
        self.spread = 0.0

    def see(self, rollout, targets, discount):
        episodes = int(rollout.episodes)
        onward = rollout.signals[..., 0].mean() / (1.0 - discount)
        later, seen = np.full(targets.shape[1], onward), []
        for time in reversed(range(len(targets))):
            later = np.where(rollout.truncated[time], onward, later)
            later = rollout.signals[time, :, 0] + discount * ~rollout.terminated[time] * later
            seen.append(later)
        returns = [rollout.episode_sums[0] / episodes if episodes else None, np.mean(seen)]
        for kind, now in enumerate(returns):
            if now is None:
                continue
            if self.smoothed[kind] is None:
                self.smoothed[kind] = self.least[kind] = self.best[kind] = now
                self.slow[kind] = now
            self.smoothed[kind] = (self.smoothed[kind] + now) / 2
            self.slow[kind] += 0.1 * (self.smoothed[kind] - self.slow[kind])
            self.least[kind] = min(self.least[kind], self.smoothed[kind])
            self.best[kind] = max(self.best[kind], self.smoothed[kind])
        self.spread = targets.std()

    def held(self, slot):
        kind = self.of[slot]
        return max((self.smoothed[kind] or 0.0) - self.least[kind], 0.1 * self.spread)

    def climb(self, slot):
        kind = self.of[slot]
        lately = max(0.0, (self.smoothed[kind] or 0.0) - self.slow[kind])
        return lately / max(self.best[kind] - self.least[kind], 1e-12)

    def gain(self, slot):
        kind = self.of[slot]
        return max(self.best[kind] - self.least[kind], self.spread)


class Multiplicative(Duals):
    """Factors e^{K e} on each multiplier, as long as all that is paid is worth its reward."""

    def __init__(self, rule, slots, settings):
        super().__init__(rule, slots, settings)
        self.insistence = np.zeros(slots)
        self.smooth, self.slow = np.zeros(slots), np.zeros(slots)

    def step(self, costs, known, budgets, margin, gained):
        gains, slots = self.settings, len(costs)
        raised, integral, error = np.zeros(slots), np.zeros(slots), np.zeros(slots)
        floor, smooth, lasting = np.zeros(slots), np.zeros(slots), np.zeros(slots)
        slow = np.zeros(slots)
        for slot in range(slots):
            before = costs[slot] if self.before[slot] is None else self.smooth[slot]
            smooth[slot] = gains.smoothing * before + (1 - gains.smoothing) * costs[slot]
            aim = budgets[slot] - margin * abs(budgets[slot])
            error[slot] = (smooth[slot] - aim) / max(abs(smooth[slot]), abs(aim))
            waiting = 1.0 - gained.climb(slot)
            error[slot] *= waiting if error[slot] > 0 else 1.0
            floor[slot] = gains.floor * waiting * gained.held(slot) / abs(budgets[slot])
            slow[slot] = smooth[slot] if self.before[slot] is None else self.slow[slot]
            slow[slot] += 0.1 * (smooth[slot] - slow[slot])
            lasting[slot] = error[slot]
            if error[slot] > 0:
                soon = 2.0 * (slow[slot] - smooth[slot]) / (smooth[slot] - aim)
                lasting[slot] *= 1.0 - np.clip(soon, 0.0, 1.0)
            integral[slot] = max(self.integral[slot], floor[slot])
            integral[slot] *= np.exp(gains.integral * lasting[slot])
            raised[slot] = integral[slot] * np.exp(gains.proportional * error[slot])
        paid = sum(raised[slot] * abs(smooth[slot]) / gained.gain(slot) for slot in range(slots))
        for slot in np.flatnonzero(known):
            insistence = max(0.0, self.insistence[slot] + gains.insistence * lasting[slot])
            share = min(gains.penalty_share * np.exp(insistence), max(3.0, gains.penalty_share))
            insistence = np.log(share / gains.penalty_share)
            shrink = min(1.0, (share + max(0.0, (1 - share) * error[slot])) / paid)
            self.insistence[slot], self.before[slot] = insistence, True
            self.smooth[slot], self.slow[slot] = smooth[slot], slow[slot]
            self.integral[slot] = np.clip(shrink * integral[slot], floor[slot], gains.cap)
            self.multipliers[slot] = np.clip(shrink * raised[slot], floor[slot], gains.cap)
