"""The two sides of a round, apart and together; what an aggregator needs; what a channel does."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import DIRECT, Aggregator, Channel, Time, Update, aggregators
from fedjax_rl.cmdp.evaluate import evaluate_exactly
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.aggregate import logit_mean, of_messages, parameter_mean
from fedjax_rl.federation.channels import clipped
from fedjax_rl.federation.correction import control_variate
from fedjax_rl.federation.participation import sampled
from fedjax_rl.federation.round import FederationSettings, agent_keys, federate
from fedjax_rl.federation.sides import sides_of
from fedjax_rl.federation.traffic import message_bytes
from fedjax_rl.learners.deep.ppo import ppo
from fedjax_rl.learners.tabular import crpo, npg, optimistic
from fedjax_rl.ops.means import weighted_mean
from fedjax_rl.precision import precision
from tests import support
from tests.federation.harness import build, run
from tests.learners.deep.harness import WORLDS, close, designed, mixed_agents, settings
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(240)

ONE_EACH = np.eye(4, dtype=bool)
AGENTS = 4
STEPS = {"step": 0.3, "dual_step": 0.1}


def corrected(evaluation):
    return control_variate(npg(evaluation))


def loud(evaluation):
    """NPG whose update counts by one plus its multiplier."""
    return npg(evaluation)._replace(weight=lambda policy, local: 1.0 + local.multipliers.sum())


def point_mean():
    return aggregators.make("points")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learner", "mean", "local_steps"),
    [
        (npg, logit_mean, 3),
        (loud, logit_mean, 2),
        (corrected, logit_mean, 2),
        (optimistic, point_mean, 1),
    ],
)
def test_means_of_differences_are_means_of_messages(learner, mean, local_steps):
    options = {"learner": learner, "local_steps": local_steps, "participation": sampled(3)}
    problem = support.random_problem(0)
    one, other = (
        run(*build(problem, ONE_EACH, aggregator=aggregator, **options, **STEPS), rounds=50)
        for aggregator in (mean(), of_messages(mean()))
    )
    np.testing.assert_allclose(one.policy, other.policy, rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.multipliers, other.multipliers, rtol=0, atol=1e-12)
    assert one.multipliers.max() > 0


@pytest.mark.slow
def test_moments_of_observations_pool_the_same_as_differences():
    learner = ppo(designed(WORLDS["two"], 2, scale_observations="all", weigh_merge=True))
    hparams = FederationSettings(mixed_agents(), settings())
    states = []
    for aggregator in (parameter_mean(), of_messages(parameter_mean())):
        algorithm = federate(learner, aggregator, num_agents=2)
        state, step = algorithm.init(jax.random.key(0), hparams), jax.jit(algorithm.step)
        for round in (1, 2, 3):
            state, _ = step(jax.random.key(round), round, state, hparams)
        states.append(state)
    close(states[0].shared, states[1].shared)
    assert states[0].shared.observations.weight > 10


@functools.cache
def federation(learner, local_steps=2, aggregator=logit_mean, channel=DIRECT):
    """The parts of a federation on a random problem, and its settings."""
    _, observed = build(support.random_problem(0), ONE_EACH, **STEPS, learner=learner)
    made, merge = learner(evaluate_exactly), aggregator()
    together = federate(made, merge, num_agents=AGENTS, local_steps=local_steps, channel=channel)
    sides = sides_of(made, merge, local_steps=local_steps, channel=channel)
    hparams = observed.federation._replace(merge_weights=np.array([0.4, 0.3, 0.2, 0.1]))
    return together, sides, hparams


def agent_at(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def round_apart(sides, key, number, state, hparams, gather):
    """A round as an engine would run it: agents one by one, then the server."""
    _, key_exchanges, key_agents = jax.random.split(key, 3)
    agents = [agent_at(hparams.agents, index) for index in range(AGENTS)]
    locals_ = [agent_at(state.local, index) for index in range(AGENTS)]
    weights, learner = jnp.asarray(hparams.merge_weights), hparams.learner
    for index, exchange in enumerate(sides.exchanges):
        keys = agent_keys(jax.random.fold_in(key_exchanges, index), AGENTS)
        send, receive = jax.jit(exchange.send), jax.jit(exchange.receive)
        time = Time(number, jnp.int32(0))
        sent_and_retained = [
            send(keys[i], time, state.shared, locals_[i], agents[i], learner) for i in range(AGENTS)
        ]
        merged = jax.jit(exchange.merge)(stacked([sent for sent, _ in sent_and_retained]), weights)
        locals_ = [receive(locals_[i], sent_and_retained[i][1], merged) for i in range(AGENTS)]
    keys, agent = agent_keys(key_agents, AGENTS), jax.jit(sides.agent)
    done = [
        agent(keys[i], number, state.shared, locals_[i], agents[i], learner) for i in range(AGENTS)
    ]
    shared, carried = jax.jit(sides.server)(
        gather([sent for sent, _, _ in done], weights), state.shared, state.aggregator, learner
    )
    return type(state)(shared, stacked([local for _, local, _ in done]), carried)


def sum_of(sent, weights):
    """Σ w x and Σ w, one agent after another, as if nobody saw them together."""
    value, weight = None, 0.0
    for update, factor in zip(sent, weights, strict=True):
        scaled = jax.tree.map(lambda leaf, w=factor * update.weight: w * leaf, update.value)
        value = scaled if value is None else jax.tree.map(jnp.add, value, scaled)
        weight = weight + factor * update.weight
    return Update(value, weight)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("learner", [npg, loud, corrected, crpo])
def test_sides_that_run_apart_are_the_federation(learner, secure):
    together, sides, hparams = federation(learner)
    gather = sum_of if secure else lambda sent, weights: sides.gather(stacked(sent), weights)
    with precision(True):
        state = apart = jax.jit(together.init)(jax.random.key(0), hparams)
        step = jax.jit(together.step)
        for round in (1, 2, 3):
            key, number = jax.random.key(round), jnp.int32(round)
            state, _ = step(key, number, state, hparams)
            apart = round_apart(sides, key, number, apart, hparams, gather)
        chex.assert_trees_all_close(apart, state, atol=1e-12)
        first = jax.jit(together.init)(jax.random.key(0), hparams)
        assert np.abs(np.asarray(state.shared.logits - first.shared.logits)).max() > 0.1


@pytest.mark.parametrize("name", list(aggregators))
def test_registered_merges_need_no_more_than_a_sum(name):
    """The same sum and weight from other updates give the same merge; nothing else is seen."""
    aggregator = aggregators.make(name)
    sides = sides_of(npg(), aggregator)
    assert aggregator.needs == "sum"
    with precision(True):
        values = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1.0, (3, 5, 4)))
        weights = jnp.array([1.0, 2.0, 0.5])
        plain = sides.gather(Update(values, jnp.ones(3)), weights)
        mean = jnp.broadcast_to(weighted_mean(values, weights), (2, 5, 4))
        alike = sides.gather(Update(mean, jnp.ones(2)), weights.sum() * jnp.array([0.25, 0.75]))
        assert plain.value.shape == (5, 4) and plain.weight.shape == ()
        chex.assert_trees_all_close(plain, alike, atol=1e-14)
        state = aggregator.init(values[0], ())
        merged, _ = aggregator.merge(plain.value, plain.weight, state)
        np.testing.assert_allclose(merged, mean[0], atol=1e-14)
        encode = aggregator.encode or (lambda message, received: message - received)
        decode = aggregator.decode or jnp.add
        logits = jnp.log(jax.nn.softmax(values[0]))
        np.testing.assert_allclose(decode(encode(logits, values[1]), values[1]), logits, atol=1e-13)


def test_an_absent_agent_is_not_heard_whatever_it_sends():
    for needs in ("sum", "messages"):
        mean = Aggregator(lambda message, settings: (), lambda x, w, s: (x, s), needs=needs)
        gather = sides_of(npg(), mean).gather
        sent = Update(jnp.array([1.0, jnp.nan, 3.0]), jnp.array([1.0, jnp.nan, 3.0]))
        value, weight = gather(sent, jnp.array([1.0, 0.0, 1.0]))
        if needs == "sum":
            assert (float(value), float(weight)) == (10.0, 4.0)
        else:
            np.testing.assert_array_equal(weight, [1.0, 0.0, 3.0])
            np.testing.assert_array_equal(value, [1.0, 0.0, 3.0])


def test_an_aggregator_that_needs_something_else_is_refused():
    odd = logit_mean()._replace(needs="medians")
    with pytest.raises(InvalidInput, match="needs: got 'medians'; sum or messages"):
        sides_of(npg(), odd)


def test_everything_that_an_agent_sends_passes_the_channel():
    passed = []

    def send(key, value):
        passed.append(jax.tree.map(jnp.shape, value))
        return value

    for learner in (crpo, corrected):
        passed.clear()
        together, _, hparams = federation(learner, channel=Channel(send))
        with precision(True):
            state = jax.eval_shape(together.init, jax.random.key(0), hparams)
            jax.eval_shape(together.step, jax.random.key(0), 1, state, hparams)
        assert passed == [() if learner is crpo else (5, 4), (5, 4)], "one agent's, not all"


def test_a_channel_has_keys_of_its_own_for_each_agent_and_crossing():
    keys = []

    def noted(key):
        keys.append(np.asarray(key))

    def send(key, value):
        jax.debug.callback(noted, jax.random.key_data(key))
        return value

    together, _, hparams = federation(crpo, channel=Channel(send))
    with precision(True):
        state, step = together.init(jax.random.key(0), hparams), jax.jit(together.step)
        for round in (1, 2):
            state, _ = step(jax.random.key(round), jnp.int32(round), state, hparams)
        jax.effects_barrier()
    assert len(np.unique(np.stack(keys), axis=0)) == len(keys) == 2 * 2 * AGENTS


def rounded(value):
    """Eighths in a byte."""
    return jax.tree.map(lambda leaf: jnp.round(8.0 * leaf).astype(jnp.int8), value)


EIGHTHS = Channel(
    lambda key, value: rounded(value),
    lambda sent: jax.tree.map(lambda leaf: leaf / 8.0, sent),
)


def test_what_the_channel_sends_is_what_is_counted_and_what_is_merged():
    together, _, hparams = federation(npg, channel=EIGHTHS)
    assert message_bytes(npg(), logit_mean(), hparams) == 8 * 5 * 4
    assert message_bytes(npg(), logit_mean(), hparams, EIGHTHS) == 5 * 4
    assert message_bytes(loud(None), logit_mean(), hparams, EIGHTHS) == 5 * 4 + 8
    _, _, bits = federation(crpo)
    assert message_bytes(crpo(), logit_mean(), bits, EIGHTHS) == 5 * 4 + 1
    with precision(True):
        unequal = hparams._replace(merge_weights=None)
        first = together.init(jax.random.key(0), unequal)
        state, _ = jax.jit(together.step)(jax.random.key(1), jnp.int32(1), first, unequal)
    moved = 8 * AGENTS * np.asarray(state.shared.logits)
    np.testing.assert_allclose(moved, np.round(moved), atol=1e-12)
    assert np.abs(moved).max() > 1


def test_a_clipping_channel_bounds_what_one_agent_can_do():
    value = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]]), "n": jnp.int32(7)}
    short = clipped(1.0).send(None, value)
    np.testing.assert_allclose(short["a"], [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(short["b"], [[0.8]], rtol=1e-6)
    assert short["n"] == 7
    chex.assert_trees_all_equal(clipped(5.0).send(None, value), value)
    nothing = {"a": jnp.zeros(3)}
    chex.assert_trees_all_equal(clipped(1.0).send(None, nothing), nothing)
    together, _, hparams = federation(npg, channel=clipped(0.01))
    with precision(True):
        state = first = together.init(jax.random.key(0), hparams)
        for round in (1, 2):
            state, _ = jax.jit(together.step)(jax.random.key(0), round, state, hparams)
        far = np.linalg.norm(np.asarray(state.shared.logits - first.shared.logits))
    assert 0 < far <= 2 * 0.01 + 1e-12
