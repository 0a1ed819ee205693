"""State, batches and metrics of a deep learner."""

from __future__ import annotations

from typing import NamedTuple

import jax

from fedjax_rl.algorithm import Pytree
from fedjax_rl.learners.deep.advantages import CostEstimate, Estimates
from fedjax_rl.learners.deep.reward_range import RewardRange
from fedjax_rl.learners.deep.rollout import Environments, Rollout
from fedjax_rl.ops.duals import DualState
from fedjax_rl.ops.moments import Moments


class DeepShared(NamedTuple):
    """The shared part of a learner's state, which a merge replaces.

    Attributes:
        actor: parameters of the policy.
        critic: parameters of the reward critic; None where it is not merged.
        observations: moments of the observations; None where they are not normalised.
        origin: [D], mean of the observations at the last merge; None likewise.
        lengths: [3], of which a merge makes the length of its step; zero at rest; None where
            it has none (`merging.measures_length`).
        second_moment: like the actor, of the gradients behind merged steps (`preconditioner`); 0
            before the first; None where each agent has Adam's. It does not cross: whoever has the
            actors before and after a merge can work it out.
        travelled: scalar, sum of the actor's learning rates over the steps since the last merge;
            0 at rest; None likewise.
    """

    actor: Pytree
    critic: Pytree
    observations: Moments | None
    origin: jax.Array | None
    lengths: jax.Array | None
    second_moment: Pytree = None
    travelled: jax.Array | None = None


class DeepLocal(NamedTuple):
    """The local part of a learner's state, which never leaves the agent.

    Attributes:
        critic: parameters of the reward critic; None where it is merged.
        cost_critic: parameters of the cost critic; None without constraints.
        optimizer: Adam's moments; of critics alone where the actor's second moment is common.
        duals: multipliers λ_ij and their controller; None under CRPO, which has none.
        objective_scale: s_i, scalar, by which the last objective was divided.
        satisfied: scalar, whether the agent's own costs were within budget; None but for CRPO.
        all_satisfied: scalar, whether every agent's were; None but for CRPO.
        returns: mean square of the targets [1 + K] as a running mean with its weight.
        rewards: between which rewards the policy has been.
        others: scalar, the penalty that all other agents pay; None but for multiplicative weights.
        environments: B environments under way.
        updates: scalar, local steps taken.
        pace: scalar, factor on the policy's learning rate; None where it does not adapt.
    """

    critic: Pytree
    cost_critic: Pytree
    optimizer: Pytree
    duals: DualState | None
    objective_scale: jax.Array
    satisfied: jax.Array | None
    all_satisfied: jax.Array | None
    returns: Moments | None
    rewards: RewardRange
    others: jax.Array | None
    environments: Environments
    updates: jax.Array
    pace: jax.Array | None


class Parameters(NamedTuple):
    """Parameters of all networks of an agent.

    Attributes:
        actor: of the policy.
        critic: of the reward's value.
        cost_critic: of the values of the K watched costs.
    """

    actor: Pytree
    critic: Pytree
    cost_critic: Pytree


class Rates(NamedTuple):
    """Learning rates of a local step, scalars, and what divides the actor's steps in common.

    Attributes:
        policy: of the actor.
        critics: of both critics.
        divisors: like the actor; None where each agent has Adam's.
    """

    policy: jax.Array
    critics: jax.Array
    divisors: Pytree = None


class Batch(NamedTuple):
    """The data of a policy step; T·B samples as [T, B, …].

    Attributes:
        features: [T, B, D], normalised observations.
        time_left: [T, B].
        actions: [T, B, …].
        log_prob: [T, B], of the actions when they were drawn.
        parameters: [T, B, P], of the distribution they were drawn from.
        reward_part: [T, B], the clipped part of the Lagrangian's advantage.
        cost_part: [T, B], the part that is not clipped.
        targets: [T, B, 1 + K], of the critics, in their units.
    """

    features: jax.Array
    time_left: jax.Array
    actions: jax.Array
    log_prob: jax.Array
    parameters: jax.Array
    reward_part: jax.Array
    cost_part: jax.Array
    targets: jax.Array


class Experience(NamedTuple):
    """What an agent acted on in a local step, and what its critics and budgets say of it.

    Attributes:
        rollout: T steps of B environments.
        environments: after them.
        estimates: advantages and targets [T, B, 1 + K].
        cost_estimate: J_c [K].
        rewards: between which rewards the policy has been, with those of the rollout.
        caps: λ_max [K].
    """

    rollout: Rollout
    environments: Environments
    estimates: Estimates
    cost_estimate: CostEstimate
    rewards: RewardRange
    caps: jax.Array


class Objective(NamedTuple):
    """What an agent improves in a local step.

    Attributes:
        duals: multipliers after their step; None under CRPO.
        weights: [1 + K], of A_r and of −A_c, not divided by anything.
        scale: s_i, scalar, by which the advantage in the batch was divided.
        batch: T·B samples.
        returns: size of the targets with those of the rollout; None where critics predict raw
            returns.
    """

    duals: DualState | None
    weights: jax.Array
    scale: jax.Array
    batch: Batch
    returns: Moments | None


class Improvement(NamedTuple):
    """Diagnostics of an update of the networks.

    Attributes:
        kl: mean KL divergence from the policy that acted, nats.
        clip_fraction: share of samples outside the clip range.
        entropy: nats.
        value_loss: of the reward critic.
        gradient_norm: of the actor, before clipping; mean over minibatches.
    """

    kl: jax.Array
    clip_fraction: jax.Array
    entropy: jax.Array
    value_loss: jax.Array
    gradient_norm: jax.Array


class DeepInfo(NamedTuple):
    """Metrics of one local step.

    Attributes:
        episodes: finished in the rollout.
        episode_sums: [1 + M], reward and costs summed over them.
        step_costs: [M], mean costs per step.
        multipliers: [K], λ_ij after the dual step.
        at_cap: how many of them are at their cap.
        environment_steps: T·B.
        improvement: of the networks.
    """

    episodes: jax.Array
    episode_sums: jax.Array
    step_costs: jax.Array
    multipliers: jax.Array
    at_cap: jax.Array
    environment_steps: jax.Array
    improvement: Improvement
