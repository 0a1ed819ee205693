"""A second moment that agents have in common: their steps add up."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import Aggregator, Time
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.federation.traffic import message_bytes
from fedjax_rl.learners.deep.merging import adopt, message
from fedjax_rl.learners.deep.preconditioner import FLOOR, MEMORY, after_merge, divisors
from fedjax_rl.ops.means import weighted_mean
from tests.learners.deep.harness import (
    LEARNERS,
    WORLDS,
    agent_at,
    close,
    designed,
    federation,
    mixed_agents,
    moved,
    settings,
    single_step,
)
from tests.learners.deep.test_common_step import ACCESS, after_rounds, largest_difference
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(240)

ADDS_UP = {"standardize": False, "weigh_merge": True, "epochs": 1, "minibatches": 1}


def pair(world, common, **choices):
    """Agents that see a part each, and one that sees everything, on the same samples."""
    choices = {"learner": "ppo", "common": False, "common_preconditioner": common} | choices
    everything = np.ones((1, np.shape(ACCESS[world])[1]))
    return [after_rounds(world, access, **choices) for access in (ACCESS[world], everything)]


@pytest.mark.parametrize(("world", "rule"), [("two", "gradient"), ("slope", "pid")])
def test_steps_of_agents_on_the_same_samples_add_up_to_that_of_one_that_sees_every_cost(
    world, rule
):
    several, one = pair(world, True, duals=rule, **ADDS_UP)
    assert largest_difference(several, one) < 1e-10
    (_, federated, _), (_, whole, _) = several, one
    for left, right in zip(federated[1:], whole[1:], strict=True):
        close(left.shared.second_moment, right.shared.second_moment, rtol=1e-9, atol=0)
    # Comparisons are not between standstills, nor without constraints. The first step is short.
    changes = [
        moved(before.shared.actor, after.shared.actor)
        for before, after in itertools.pairwise(whole)
    ]
    assert changes[0] > 1e-4 and min(changes[1:]) > 5e-3
    assert whole[-1].local.duals.multipliers.max() > 0.01


def test_steps_that_each_agent_divides_by_its_own_gradients_do_not_add_up():
    several, one = pair("two", False, duals="gradient", **ADDS_UP)
    assert largest_difference(several, one) > 1e-4


TREE = {"kernel": jnp.array([[1.0, -2.0], [0.5, 0.0]]), "bias": jnp.array([3.0])}
NOTHING = jax.tree.map(jnp.zeros_like, TREE)


def scaled(tree, factor):
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def gone(second_moment, gradient, travelled):
    """The second moment after a merged step on this gradient."""
    by = divisors(second_moment)
    after = jax.tree.map(lambda old, g, d: old - travelled * g / d, TREE, gradient, by)
    return after_merge(second_moment, jnp.float32(travelled), TREE, after)


def test_the_second_moment_is_of_the_gradient_behind_the_merged_step_however_far_it_went():
    """v begins with the mean square for every parameter, and its steps are plain ones before."""
    mean = (1.0 + 4.0 + 0.25 + 9.0) / 5
    close(divisors(NOTHING), jax.tree.map(jnp.ones_like, TREE))
    ends = []
    for pace in (1.0, 0.05):
        one = gone(NOTHING, TREE, 0.3 * pace)
        alike = jax.tree.map(lambda leaf: jnp.full_like(leaf, mean), TREE)
        close(one, alike, rtol=1e-4)
        close(divisors(one), jax.tree.map(lambda v: (1.0 + FLOOR) * jnp.sqrt(v), one))
        two = gone(one, scaled(TREE, 2.0), 0.1 * pace)
        later = jax.tree.map(lambda g: MEMORY * mean + (1.0 - MEMORY) * 4.0 * g**2, TREE)
        close(two, later, rtol=1e-3)
        ends.append(two)
    close(*ends, rtol=1e-3)


def test_a_parameter_that_had_no_gradient_for_long_does_not_leap():
    by = divisors({"kernel": jnp.zeros((2, 2)), "bias": jnp.array([5.0])})
    np.testing.assert_allclose(by["kernel"], FLOOR, rtol=1e-6)
    np.testing.assert_allclose(by["bias"], np.sqrt(5.0) + FLOOR, rtol=1e-6)


def test_where_nobody_moved_the_second_moment_stays():
    for before in (jax.tree.map(jnp.square, TREE), NOTHING):
        close(after_merge(before, jnp.zeros(()), TREE, TREE), before)


def test_a_merge_that_makes_its_step_longer_tells_the_gradient_of_the_longer_step():
    design = designed(WORLDS["two"], 2, weigh_merge=True, common_preconditioner=True)
    shared, _ = LEARNERS["ppo"](design).init(
        jax.random.key(0), agent_at(mixed_agents(), 0), settings()
    )
    ends = []
    for length, square in ((1.0, 0.25), (2.0, 1.0)):  # S = 1: longer by 2, and not at all
        merged = message(shared)._replace(
            actor=jax.tree.map(lambda leaf, by=length: leaf + by * jnp.cos(leaf), shared.actor),
            lengths=jnp.array([square, 1.0, 0.2]),
            travelled=jnp.float32(0.5),
        )
        ends.append(adopt(shared, merged, settings()))
    close(*ends, rtol=1e-4)
    assert min(leaf.min() for leaf in jax.tree.leaves(ends[0].second_moment)) > 0.0
    assert ends[0].travelled == 0.0


def common(**choices):
    return ("two", "ppo", 2, 2), {"weigh_merge": True, "common_preconditioner": True, **choices}


def test_a_number_crosses_and_no_second_moment():
    seen = []

    def merge(messages, weights, state):
        seen.append(messages)
        return weighted_mean(messages, weights), state

    arguments, choices = common()
    _, learner, _ = federation(*arguments, **choices)
    spying = Aggregator(lambda message, settings: (), merge)
    hparams = FederationSettings(mixed_agents(), settings())
    algorithm = federate(learner, spying, num_agents=2)
    state = jax.eval_shape(algorithm.init, jax.random.key(0), hparams)
    jax.eval_shape(algorithm.step, jax.random.key(0), 1, state, hparams)
    (sent,) = seen
    assert sent.second_moment is None and sent.travelled.shape == (2,)
    _, own, _ = federation(*arguments, weigh_merge=True)
    more = [message_bytes(made, parameter_mean(), hparams) for made in (learner, own)]
    assert more[0] - more[1] == 4


def local_steps(count, changes, pace=None, **choices):
    """The shared part after so many local steps of agent 0."""
    arguments, choices = common(**choices)
    _, learner, _ = federation(*arguments, **choices)
    hparams, agent = settings(**changes), agent_at(mixed_agents(), 0)
    shared, local = learner.init(jax.random.key(0), agent, hparams)
    if pace is not None:
        local = local._replace(pace=jnp.float32(pace))
    step = single_step("ppo", **choices)
    for number in range(count):
        key, time = jax.random.key(number), Time(1, number)
        shared, local, _ = step(key, time, shared, local, agent, hparams)
    return shared


@pytest.mark.parametrize(("count", "expected"), [(1, 4 * 0.01), (2, 4 * 0.01 * (2 - 0.5 / 20))])
def test_what_an_agent_travelled_is_its_steps_at_its_rate(count, expected):
    np.testing.assert_allclose(local_steps(count, {}).travelled, expected, rtol=1e-5)


def test_an_agent_that_is_slow_or_stops_has_travelled_less():
    """Plain steps at a rate of 2 times the pace; the first is beyond the limit already."""
    changes = {"learning_rate": 2.0, "kl_limit": 1e-4}
    shared = local_steps(1, changes, pace=0.5, kl_stop=True, adapts_pace=True)
    np.testing.assert_allclose(shared.travelled, 2.0 * 0.5, rtol=1e-6)
