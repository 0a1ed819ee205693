"""The asynchronous learner against plain loops that keep every parameter there ever was."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.execution.train import start, train
from fedjax_rl.hetero.learner import adam, asynchronous, gradient_step, with_past
from fedjax_rl.hetero.losses import LossChoices, build_loss
from fedjax_rl.hetero.rollout import generator, sampling
from fedjax_rl.hetero.schedule import ScheduleSettings, depth, simulate, staleness
from fedjax_rl.hetero.state import Deliveries, HeteroChoices, HeteroSettings, HeteroState
from fedjax_rl.hetero.tasks import prefix_sum
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.policies.table import table
from tests.hetero.judging import settings_with
from tests.quick import quick_compilation  # noqa: F401

PROMPTS, GROUP, STEPS, RATE, NOISE = 3, 4, 12, 0.1, 0.1
TASK = prefix_sum(length=3, modulus=3)
POLICY = table(TASK.vocabulary, TASK.response_length, TASK.contexts, TASK.context)
START = 0.5 * jax.random.normal(jax.random.key(5), (TASK.contexts, TASK.vocabulary))


def choices(past):
    return HeteroChoices(
        PROMPTS, GROUP, depth=past, top_k=0, held_out=16, on_policy=4, geometric=True
    )


@functools.cache
def algorithm(past, loss="grpo"):
    return asynchronous(TASK, POLICY, build_loss(loss, LossChoices("geometric")), choices(past))


def settings(schedule, rate=RATE):
    return HeteroSettings(
        deliveries=Deliveries(schedule.version, schedule.sampler, schedule.batch),
        start=START,
        loss=settings_with(),
        sampling=sampling(),
        learning_rate=np.float32(rate),
        gradient_norm=np.float32(1e9),
        label_noise=np.float32(NOISE),
        every=np.int32(5),
        last=np.int32(STEPS),
    )


def schedule_of(window, seed=0):
    sync = 0.0 if window == 0 else 90.0
    chosen_settings = ScheduleSettings(
        samplers=2, window=window, sync_seconds=sync, sampler_seconds=20.0
    )
    return simulate(chosen_settings, STEPS, seed)[0]


def trained(schedule, loss="grpo", seed=0):
    made, key, hparams = algorithm(depth(schedule), loss), jax.random.key(seed), settings(schedule)
    state, _ = start(made, key, hparams)
    infos = []
    for span in train(made, key, state, hparams, rounds=STEPS, span_rounds=5):
        infos.append(span.info)
        assert span.failed_round is None
    return span.state, jax.tree.map(lambda *parts: np.concatenate(parts), *infos)


@functools.cache
def compiled():
    return jax.jit(split(TASK).training), jax.jit(generator(POLICY))


def batch_by_loops(streams, sampler, number, parameters):
    """Prompts, tokens and noisy rewards of one batch, a response at a time."""
    key = jax.random.fold_in(jax.random.fold_in(streams, sampler), number)
    key_prompts, key_answers, key_noise = jax.random.split(key, 3)
    prompt_keys = jax.random.split(key_prompts, PROMPTS)
    answer_keys = jax.random.split(key_answers, (PROMPTS, GROUP))
    flips = jax.random.bernoulli(key_noise, NOISE, (PROMPTS, GROUP))
    draw, write = compiled()
    prompts = [np.asarray(draw(key)) for key in prompt_keys]
    tokens, rewards = np.zeros((PROMPTS, GROUP, 3), int), np.zeros((PROMPTS, GROUP))
    for i, j in np.ndindex(PROMPTS, GROUP):
        tokens[i, j] = write(answer_keys[i, j], parameters, prompts[i], sampling()).tokens
        right = np.array_equal(tokens[i, j], np.cumsum(prompts[i]) % 3)
        rewards[i, j] = right != flips[i, j]
    return prompts, tokens, rewards


def contexts_of(prompts, tokens):
    """[P, G, L] by hand: the context is the last sum and the number to add."""
    before = np.concatenate([np.zeros_like(tokens[..., :1]), tokens[..., :-1]], axis=-1)
    return 3 * before + np.array(prompts)[:, None]


def log_probabilities(parameters, contexts, tokens):
    return jax.nn.log_softmax(parameters)[contexts, tokens]


def grpo_by_hand(log_p, log_q, rewards):
    centred = rewards - rewards.mean(1, keepdims=True)
    deviation = jnp.sqrt((centred**2).sum(1, keepdims=True) / (GROUP - 1))
    advantage = (centred / (deviation + 1e-4))[..., None]
    ratio = jnp.exp(log_p - log_q)
    bounded = jnp.clip(ratio, 0.8, 1.2) * advantage
    return -jnp.minimum(ratio * advantage, bounded).mean()


def plain_trainer(schedule, seed=0):
    """GRPO with Adam, on batches of the scheduled past; every parameter is remembered."""
    streams = jax.random.fold_in(jax.random.key(seed), 0)
    optimiser = optax.adam(RATE)
    history, moments, seen = [START], optimiser.init(START), []

    @jax.jit
    def gradient(parameters, contexts, tokens, log_q, rewards):
        def loss(parameters):
            log_p = log_probabilities(parameters, contexts, tokens)
            return grpo_by_hand(log_p, log_q, rewards)

        return jax.grad(loss)(parameters)

    for version, sampler, number in zip(*schedule[:3], strict=True):
        behaviour = history[version]
        prompts, tokens, rewards = batch_by_loops(streams, sampler, number, behaviour)
        contexts = contexts_of(prompts, tokens)
        log_q = log_probabilities(behaviour, contexts, tokens)
        slope = gradient(history[-1], contexts, tokens, log_q, rewards)
        updates, moments = optimiser.update(slope, moments)
        history.append(optax.apply_updates(history[-1], updates))
        seen.append((tokens, rewards))
    return history, seen


@pytest.mark.slow
@pytest.mark.parametrize("window", [0, 3])
def test_it_is_a_plain_trainer_on_batches_of_the_past(window):
    """Window 0 is the synchronous method, step for step: each batch is the last policy's."""
    schedule = schedule_of(window)
    assert (staleness(schedule).max() > 1) == (window > 0)
    state, info = trained(schedule)
    history, seen = plain_trainer(schedule)
    np.testing.assert_allclose(state.parameters, history[-1], atol=1e-6)
    assert np.abs(history[-1] - START).max() > 0.1
    np.testing.assert_allclose(info.reward, [rewards.mean() for _, rewards in seen], atol=1e-7)
    np.testing.assert_array_equal(info.staleness, staleness(schedule))
    if window == 0:
        np.testing.assert_allclose(info.weights.mean, 1.0, atol=1e-5)
        np.testing.assert_allclose(info.kl, 0.0, atol=1e-6)
        np.testing.assert_allclose(info.weights.effective_sample_size, 1.0, atol=1e-5)
    else:
        stale = staleness(schedule) > 0
        assert (info.kl[stale] > 1e-4).all() and (info.weights.variance[stale] > 1e-5).all()


def test_tokens_are_those_of_the_plain_trainer():
    """One batch in detail: the same prompts, tokens and rewards, to the last bit."""
    from fedjax_rl.hetero.groups import group_sampler

    streams = jax.random.fold_in(jax.random.key(0), 0)
    prompts, tokens, rewards = batch_by_loops(streams, 1, 3, START)
    key = jax.random.fold_in(jax.random.fold_in(streams, 1), 3)
    groups = jax.jit(group_sampler(TASK, POLICY, PROMPTS, GROUP))(
        key, START, sampling(), jnp.float32(NOISE)
    )
    np.testing.assert_array_equal(groups.prompts, prompts)
    np.testing.assert_array_equal(groups.tokens, tokens)
    np.testing.assert_array_equal(groups.rewards, rewards)
    assert 0 < rewards.mean() < 1


@pytest.mark.slow
def test_a_delay_sweep_is_one_program_and_each_member_its_own_run():
    chex.clear_trace_counter()
    schedules = [schedule_of(0), schedule_of(2, seed=1), schedule_of(3, seed=2)]
    largest = max(map(depth, schedules))
    made = algorithm(largest)
    counted = chex.assert_max_traces(lambda *arguments: algorithm(largest).step(*arguments), n=1)
    made = made._replace(step=counted)
    stacked = Deliveries(*(np.stack(leaves) for leaves in zip(*[s[:3] for s in schedules])))  # noqa: B905
    hparams = settings(schedules[0])._replace(deliveries=stacked)
    axes = HeteroSettings(*[None] * len(hparams))._replace(deliveries=0)
    members = sweep(made, axes, 3)
    keys = jax.vmap(jax.random.key)(np.arange(3))
    state, _ = start(members, keys, hparams)
    for span in train(members, keys, state, hparams, rounds=STEPS, span_rounds=5):
        assert (span.failed_members < 0).all()
    for index, schedule in enumerate(schedules):
        alone, _ = trained(schedule, seed=index)
        np.testing.assert_allclose(span.state.parameters[index], alone.parameters, atol=1e-5)


def test_same_seed_same_bits_and_another_seed_other_tokens():
    schedule = schedule_of(3)
    one, other = trained(schedule)[0], trained(schedule)[0]
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert (one.parameters != trained(schedule, seed=1)[0].parameters).any()


def test_evaluations_come_when_they_are_due():
    _, info = trained(schedule_of(0))
    assert np.flatnonzero(info.evaluated).tolist() == [4, 9, 11]
    assert np.isfinite(info.check.accuracy).tolist() == info.evaluated.tolist()
    assert np.isfinite(info.check.estimation_error).tolist() == info.evaluated.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["gepo", "gspo", "bnpo", "v-trace"])
def test_other_losses_learn_too(loss):
    made = algorithm(depth(schedule_of(3)), loss)
    state, _ = trained(schedule_of(3), loss)
    assert np.isfinite(state.parameters).all()
    assert np.abs(np.asarray(state.parameters) - START).max() > 0.05
    assert made.members is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_size": 1}, "--group-size: got 1"),
        ({"prompts": 0}, "--prompts: got 0"),
        ({"depth": 0}, "--depth: got 0"),
    ],
)
def test_impossible_choices_are_refused(change, message):
    with pytest.raises(InvalidInput, match=message):
        asynchronous(TASK, POLICY, build_loss("gepo", LossChoices()), choices(1)._replace(**change))


def test_the_ring_of_the_past_is_written_where_it_is_asked():
    past = {"a": jnp.zeros((3, 2)), "b": jnp.ones(3)}
    ring = with_past(past, {"a": jnp.full(2, 5.0), "b": jnp.float32(7.0)}, jnp.int32(1))
    np.testing.assert_array_equal(ring["a"], [[0, 0], [5, 5], [0, 0]])
    np.testing.assert_array_equal(ring["b"], [1, 7, 1])


def test_a_gradient_is_cut_to_its_norm_before_adam_sees_it():
    state = HeteroState(jnp.zeros(2), adam.init(jnp.zeros(2)), jnp.zeros((1, 2)), None)
    hparams = settings(schedule_of(0))._replace(gradient_norm=np.float32(1.0))
    parameters, moments, norm = gradient_step(jnp.array([3.0, 4.0]), state, hparams)
    assert float(norm) == 5.0
    np.testing.assert_allclose(moments.mu, [0.06, 0.08], rtol=1e-5)
    np.testing.assert_allclose(parameters, [-RATE, -RATE], rtol=1e-5)
