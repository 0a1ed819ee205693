"""Natural steps in common: agents on the same samples are one agent that sees every cost."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import Time
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.federation.traffic import message_bytes
from fedjax_rl.learners.deep.agreement import radius_at
from fedjax_rl.policies.networks import Network
from tests.learners.deep.harness import (
    LEARNERS,
    WORLDS,
    agent_at,
    agents_of,
    designed,
    federation,
    mixed_agents,
    moved,
    run,
    settings,
)

pytestmark = pytest.mark.timeout(240)

ROUNDS = 3
ACCESS = {"two": [[1, 1], [0, 1]], "three": np.eye(3), "slope": [[1, 0, 0], [0, 1, 1]]}


def on_the_same_samples(function, in_axes=0, out_axes=0, axis_size=None):
    """A map over agents in which all of them have the random key of the first."""
    together = jax.vmap(function, in_axes, out_axes, axis_size=axis_size)

    def mapped(*arguments):
        return together(*(first_of(one) if is_key(one) else one for one in arguments))

    def is_key(one):
        return isinstance(one, jax.Array) and jnp.issubdtype(one.dtype, jax.dtypes.prng_key)

    def first_of(keys):
        return jnp.broadcast_to(keys[0], keys.shape)

    return mapped


def apart(design):
    """The design with a critic for each cost, so that none depends on who has it.

    One network of several heads would be another function than networks of one head each.
    """
    single = designed(WORLDS["two"], 1).cost_critic

    def init(key):
        one = single.init(key)
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * design.slots), one)

    def apply(parameters, seen):
        values = jax.vmap(single.apply, (0, None), -1)(parameters, seen)
        return values[..., 0, :]

    return design._replace(cost_critic=Network(init, apply))


def double(tree):
    """All floating-point numbers in double precision."""
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(leaf, jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
        ),
        tree,
    )


def after_rounds(world, access, common=True, changes=None, learner="natural", **choices):
    """States of a federation after 0 … 3 rounds, and all infos; its agents have one key."""
    access = np.asarray(access, bool)
    slots, num_agents = int(access.sum(1).max()), len(access)
    design = apart(designed(WORLDS[world], slots, common_step=common, **choices))
    with jax.enable_x64(True):
        given = agents_of(WORLDS[world], access)
        agents = double(jax.tree.map(jnp.asarray, given))._replace(
            reward_weight=jnp.full(num_agents, 1.0 / num_agents), params=given.params
        )
        hparams = settings(gradient_norm=1e9, **{"radius": 0.05, **(changes or {})})
        hparams = FederationSettings(agents, double(jax.tree.map(jnp.asarray, hparams)))
        algorithm = federate(
            LEARNERS[learner](design),
            parameter_mean(),
            num_agents=num_agents,
            agent_map=on_the_same_samples,
        )
        first = algorithm.init(jax.random.key(3), hparams)
        # Mapped over another number of agents, an initialiser rounds differently.
        critic, cost_critic = (
            jax.tree.map(
                lambda leaf: jnp.stack([leaf] * num_agents), network.init(jax.random.key(4))
            )
            for network in (design.critic, design.cost_critic)
        )
        if first.local.critic is None:
            critic = None
        # What environments look like is single precision, and the same for all.
        local = double(first.local._replace(critic=critic, cost_critic=cost_critic))._replace(
            environments=first.local.environments
        )
        states, infos = [double(first)._replace(local=local)], []
        step = jax.jit(algorithm.step)
        for round in range(1, ROUNDS + 1):
            state, info = step(jax.random.key(round), jnp.int32(round), states[-1], hparams)
            states.append(state)
            infos.append(info)
    # On the host: out of double precision, JAX would round them again.
    return jax.device_get((agents, states, infos))


def of_constraints(agents, leaf):
    """{constraint: what each of its owners has}, from [N, K, …]."""
    found = {}
    for agent, slot in np.argwhere(np.asarray(agents.watches)):
        constraint = int(agents.constraint[agent, slot])
        found.setdefault(constraint, []).append(np.asarray(leaf[agent, slot]))
    return found


def largest_difference(several, one):
    """Of actors, critics, moments, multipliers and cost critics, in every round."""
    (agents, states, _), (alone, whole, _) = several, one
    differences = []
    for federated, centralised in zip(states, whole, strict=True):
        shared = jax.tree.map(
            lambda a, b: np.abs(a - b).max(), federated.shared, centralised.shared
        )
        differences += jax.tree.leaves(shared)
        parts = [
            (state.local.cost_critic, state.local.duals and state.local.duals.multipliers)
            for state in (federated, centralised)
        ]
        for left, right in zip(*map(jax.tree.leaves, parts), strict=True):
            of_one = of_constraints(alone, right)
            for constraint, owned in of_constraints(agents, left).items():
                differences += [np.abs(own - of_one[constraint][0]).max() for own in owned]
    return max(differences)


CASES = [
    ("two", {"duals": "multiplicative"}, 1e-10),
    ("three", {"duals": "multiplicative", "share_critic": False}, 1e-10),
    ("slope", {"duals": "pid", "standardize": False}, 1e-10),
    # Observations are single precision, and so are their means over a rollout.
    ("two", {"duals": "gradient", "scale_observations": "all"}, 1e-4),
]


@pytest.mark.parametrize(("world", "choices", "bound"), CASES)
def test_agents_on_the_same_samples_take_the_step_of_one_that_sees_every_cost(
    world, choices, bound
):
    several = after_rounds(world, ACCESS[world], **choices)
    one = after_rounds(world, np.ones((1, np.shape(ACCESS[world])[1])), **choices)
    _, states, infos = one
    assert largest_difference(several, one) < bound
    # Comparisons are not between standstills, nor without constraints.
    for before, after in itertools.pairwise(states):
        assert moved(before.shared.actor, after.shared.actor) > 0.01
        assert moved(before.local.cost_critic, after.local.cost_critic) > 1e-3
    assert states[-1].local.duals.multipliers.max() > 0.01
    assert all((info.improvement.kl > 0).all() for info in infos)


def test_steps_of_their_own_are_another_step():
    """Without this, agents that all do the same would prove nothing."""
    several = after_rounds("two", ACCESS["two"], common=False)
    one = after_rounds("two", np.ones((1, 2)), common=False)
    assert largest_difference(several, one) > 1e-3


def common(**choices):
    """A federation of two agents of world "two" that merge after common steps."""
    return federation("two", "natural", 2, 2, common_step=True, epochs=1, **choices)


@pytest.mark.parametrize("rule", ["multiplicative", "crpo"])
def test_on_samples_of_their_own_agents_move_alike_and_within_the_radius_of_all(rule):
    _, _, algorithm = common(duals=rule)
    first, last, info = run(algorithm, mixed_agents(), 3)
    kl = np.asarray(info.improvement.kl)[..., 0]
    np.testing.assert_array_equal(kl[:, 0], kl[:, 1])
    assert (kl > 0).all() and (kl <= 0.01).all()
    entropies = np.asarray(info.improvement.entropy)[..., 0]
    assert (entropies[:, 0] != entropies[:, 1]).all(), "these are of their own samples"
    assert moved(first.shared.actor, last.shared.actor) > 0.01


def test_the_radius_decays_with_the_round_and_not_with_the_steps_an_agent_has_taken():
    hparams = settings(radius=0.08, learning_rate_decay=0.5, total_updates=20.0)
    radii = [float(radius_at(Time(round, 0), hparams)) for round in (1, 11, 21)]
    np.testing.assert_allclose(radii, [0.08, 0.08 * 0.75**2, 0.08 * 0.5**2], rtol=1e-6)


def test_absent_agents_have_no_say_in_the_step():
    """Agent 1 is absent: whatever its budgets, agent 0 takes the same step."""
    _, learner, _ = common(duals="multiplicative")
    algorithm = federate(
        learner,
        parameter_mean(),
        num_agents=2,
        participation=lambda key, count: jnp.arange(count) == 0,
    )
    ends = []
    for factor in (1.0, 0.2):
        agents = mixed_agents()
        budgets = agents.budgets.copy()
        budgets[1] *= factor
        ends.append(run(algorithm, agents._replace(budgets=budgets), 2)[:2])
    (first, one), (_, other) = ends
    jax.tree.map(np.testing.assert_array_equal, one.shared, other.shared)
    jax.tree.map(np.testing.assert_array_equal, agent_at(one.local, 1), agent_at(first.local, 1))
    assert moved(first.shared.actor, one.shared.actor) > 0.01


@pytest.mark.parametrize(("rule", "scalars"), [("gradient", 1), ("multiplicative", 2), ("crpo", 2)])
def test_bytes_are_those_of_a_gradient_a_direction_and_numbers(rule, scalars):
    """Beside the networks: two vectors, a curvature, 10 candidates of two numbers each."""
    design, learner, _ = common(duals=rule)
    hparams = FederationSettings(mixed_agents(), settings())
    shared = jax.eval_shape(
        learner.init, jax.random.key(0), agent_at(hparams.agents, 0), settings()
    )[0]
    actor, critic = (
        sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (shared.actor, shared.critic)
    )
    numbers = actor + critic + 2 * actor + 2 * design.choices.line_search_steps + scalars
    assert message_bytes(learner, parameter_mean(), hparams) == 4 * numbers


def test_agents_that_take_further_steps_before_a_merge_are_refused():
    _, learner, _ = common()
    with pytest.raises(InvalidInput, match="--local-steps: got 2"):
        federate(learner, parameter_mean(), num_agents=2, local_steps=2)
