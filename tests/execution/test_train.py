"""The one scan: spans, keys, the guard."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.execution.train import spans, start, train

pytestmark = pytest.mark.timeout(120)


def random_walk(fails_at=None):
    """Adds noise from the round's key; a chosen round produces NaN."""

    def init(key, hparams):
        return {"position": jax.random.normal(key), "rounds": jnp.zeros((), int)}

    def step(key, round, state, hparams):
        noise = hparams["scale"] * jax.random.normal(key)
        if fails_at is not None:
            noise = jnp.where(round == fails_at, jnp.nan, noise)
        position = state["position"] + noise
        return {"position": position, "rounds": state["rounds"] + 1}, {"position": position}

    return Algorithm(init, step, observe=lambda state, hparams: {"position": state["position"]})


HPARAMS = {"scale": np.float32(0.1)}
KEY = jax.random.key(3)


def walk(algorithm, rounds, span_rounds, **options):
    state, row = start(algorithm, KEY, HPARAMS)
    options.setdefault("state", state)
    spans = list(
        train(algorithm, KEY, hparams=HPARAMS, rounds=rounds, span_rounds=span_rounds, **options)
    )
    return row, spans


def path_of(spans):
    return np.concatenate([span.info["position"] for span in spans])


@pytest.mark.parametrize("rounds", [1, 2, 7, 10])
@pytest.mark.parametrize("span_rounds", [1, 3, 9, 1000])
def test_spans_cover_every_round_once(rounds, span_rounds):
    covered = spans(1, rounds, span_rounds)
    assert [r for first, last in covered for r in range(first, last + 1)] == [*range(1, rounds + 1)]
    assert max(last - first + 1 for first, last in covered) <= span_rounds
    assert covered[0] == (1, 1)


@pytest.mark.parametrize("span_rounds", [1, 3, 7, 10, 1000])
def test_chunks_do_not_change_the_bits(span_rounds):
    _, whole = walk(random_walk(), 10, 10)
    _, spans = walk(random_walk(), 10, span_rounds)
    path = path_of(spans)
    np.testing.assert_array_equal(path, path_of(whole))
    assert spans[-1].last_round == 10
    assert int(spans[-1].state["rounds"]) == 10, "no round beyond the last is applied"
    assert float(spans[-1].state["position"]) == path[-1]


def test_rows_describe_the_state_after_their_round():
    algorithm = random_walk()
    row, spans = walk(algorithm, 4, 4)
    position = row["position"]
    for round in range(1, 5):
        position = position + np.float32(0.1) * jax.random.normal(jax.random.fold_in(KEY, round))
        assert path_of(spans)[round - 1] == pytest.approx(float(position), rel=1e-6)


def test_a_run_resumes_to_the_same_bits():
    _, spans = walk(random_walk(), 9, 3)
    reached = spans[1].last_round
    _, rest = walk(random_walk(), 9, 3, state=spans[1].state, first_round=reached + 1)
    np.testing.assert_array_equal(path_of(rest), path_of(spans[2:]))


def test_a_resumed_run_has_the_chunks_that_it_would_have_had():
    _, spans = walk(random_walk(), 20, 6)
    for index, span in enumerate(spans):
        rest = walk(random_walk(), 20, 6, state=span.state, first_round=span.last_round + 1)[1]
        begun = [later.first_round for later in spans[index + 1 :]]
        assert [later.first_round for later in rest] == begun
    _, rest = walk(random_walk(), 20, 6, state=spans[1].state, first_round=5)
    assert rest[0].first_round == 5, "in the middle of a span: its rest"


def test_a_sweep_resumes_with_its_failed_members():
    """Member 1 fails in round 4, and what it would do after that is not asked again."""

    def step(key, round, state, hparams):
        noise = jnp.where(round == hparams["fails_at"], jnp.nan, jax.random.normal(key))
        return state + noise, {"position": state}

    walks = Algorithm(
        lambda key, hparams: jax.random.normal(key),
        step,
        observe=lambda state, hparams: {"position": state},
    )
    hparams = {"fails_at": np.array([-1, 4, -1], np.int32)}
    together = sweep(walks, {"fails_at": 0}, 3)
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    state, _ = start(together, keys, hparams)
    go = partial(train, together, keys, hparams=hparams, rounds=12, span_rounds=3)
    spans = list(go(state))
    assert spans[-1].failed.tolist() == [-1, 4, -1]
    for span in spans:
        rest = go(span.state, first_round=span.last_round + 1, failed=span.failed)
        *_, last = [span, *rest]
        np.testing.assert_array_equal(last.state, spans[-1].state)
        np.testing.assert_array_equal(last.failed, spans[-1].failed)


def test_a_run_that_failed_has_nothing_to_resume():
    _, spans = walk(random_walk(fails_at=6), 20, 4)
    last = spans[-1]
    assert last.failed == 6
    _, rest = walk(
        random_walk(), 20, 4, state=last.state, first_round=last.last_round + 1, failed=last.failed
    )
    assert rest == []


@pytest.mark.parametrize("span_rounds", [2, 5, 20])
def test_a_round_that_is_not_finite_is_masked_and_named(span_rounds):
    _, healthy = walk(random_walk(), 20, span_rounds)
    _, spans = walk(random_walk(fails_at=6), 20, span_rounds)
    path = path_of(spans)
    assert [span.failed_round for span in spans[:-1]] == [None] * (len(spans) - 1)
    assert spans[-1].failed_round == 6
    assert spans[-1].last_round == 5
    assert len(path) == 5 and np.isfinite(path).all()
    assert float(spans[-1].state["position"]) == path[-1], "the last finite state is kept"
    assert int(spans[-1].state["rounds"]) == 5
    np.testing.assert_array_equal(path, path_of(healthy)[:5])


def test_one_trace_for_all_chunks_seeds_and_settings():
    algorithm = random_walk()
    step = chex.assert_max_traces(algorithm.step, n=1)
    algorithm = algorithm._replace(step=step)
    for seed in range(3):
        key = jax.random.key(seed)
        hparams = {"scale": np.float32(seed)}
        state, _ = start(algorithm, key, hparams)
        for _ in train(algorithm, key, state, hparams, rounds=13, span_rounds=5):
            pass
