"""The one scan: chunks, keys, the guard."""

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


def walk(algorithm, rounds, chunk_rounds, **options):
    state, row = start(algorithm, KEY, HPARAMS)
    options.setdefault("state", state)
    chunks = list(
        train(algorithm, KEY, hparams=HPARAMS, rounds=rounds, chunk_rounds=chunk_rounds, **options)
    )
    return row, chunks


def path_of(chunks):
    return np.concatenate([chunk.info["position"] for chunk in chunks])


@pytest.mark.parametrize("rounds", [1, 2, 7, 10])
@pytest.mark.parametrize("chunk_rounds", [1, 3, 9, 1000])
def test_spans_cover_every_round_once(rounds, chunk_rounds):
    covered = spans(1, rounds, chunk_rounds)
    assert [r for first, last in covered for r in range(first, last + 1)] == [*range(1, rounds + 1)]
    assert max(last - first + 1 for first, last in covered) <= chunk_rounds
    assert covered[0] == (1, 1)


@pytest.mark.parametrize("chunk_rounds", [1, 3, 7, 10, 1000])
def test_chunks_do_not_change_the_bits(chunk_rounds):
    _, whole = walk(random_walk(), 10, 10)
    _, chunks = walk(random_walk(), 10, chunk_rounds)
    path = path_of(chunks)
    np.testing.assert_array_equal(path, path_of(whole))
    assert chunks[-1].last_round == 10
    assert int(chunks[-1].state["rounds"]) == 10, "no round beyond the last is applied"
    assert float(chunks[-1].state["position"]) == path[-1]


def test_rows_describe_the_state_after_their_round():
    algorithm = random_walk()
    row, chunks = walk(algorithm, 4, 4)
    position = row["position"]
    for round in range(1, 5):
        position = position + np.float32(0.1) * jax.random.normal(jax.random.fold_in(KEY, round))
        assert path_of(chunks)[round - 1] == pytest.approx(float(position), rel=1e-6)


def test_a_run_resumes_to_the_same_bits():
    _, chunks = walk(random_walk(), 9, 3)
    reached = chunks[1].last_round
    _, rest = walk(random_walk(), 9, 3, state=chunks[1].state, first_round=reached + 1)
    np.testing.assert_array_equal(path_of(rest), path_of(chunks[2:]))


def test_a_resumed_run_has_the_chunks_that_it_would_have_had():
    _, chunks = walk(random_walk(), 20, 6)
    for index, chunk in enumerate(chunks):
        rest = walk(random_walk(), 20, 6, state=chunk.state, first_round=chunk.last_round + 1)[1]
        begun = [later.first_round for later in chunks[index + 1 :]]
        assert [later.first_round for later in rest] == begun
    _, rest = walk(random_walk(), 20, 6, state=chunks[1].state, first_round=5)
    assert rest[0].first_round == 5, "in the middle of a chunk: its rest"


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
    go = partial(train, together, keys, hparams=hparams, rounds=12, chunk_rounds=3)
    chunks = list(go(state))
    assert chunks[-1].failed.tolist() == [-1, 4, -1]
    for chunk in chunks:
        rest = go(chunk.state, first_round=chunk.last_round + 1, failed=chunk.failed)
        *_, last = [chunk, *rest]
        np.testing.assert_array_equal(last.state, chunks[-1].state)
        np.testing.assert_array_equal(last.failed, chunks[-1].failed)


def test_a_run_that_failed_has_nothing_to_resume():
    _, chunks = walk(random_walk(fails_at=6), 20, 4)
    last = chunks[-1]
    assert last.failed == 6
    _, rest = walk(
        random_walk(), 20, 4, state=last.state, first_round=last.last_round + 1, failed=last.failed
    )
    assert rest == []


@pytest.mark.parametrize("chunk_rounds", [2, 5, 20])
def test_a_round_that_is_not_finite_is_masked_and_named(chunk_rounds):
    _, healthy = walk(random_walk(), 20, chunk_rounds)
    _, chunks = walk(random_walk(fails_at=6), 20, chunk_rounds)
    path = path_of(chunks)
    assert [chunk.failed_round for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].failed_round == 6
    assert chunks[-1].last_round == 5
    assert len(path) == 5 and np.isfinite(path).all()
    assert float(chunks[-1].state["position"]) == path[-1], "the last finite state is kept"
    assert int(chunks[-1].state["rounds"]) == 5
    np.testing.assert_array_equal(path, path_of(healthy)[:5])


def test_one_trace_for_all_chunks_seeds_and_settings():
    algorithm = random_walk()
    step = chex.assert_max_traces(algorithm.step, n=1)
    algorithm = algorithm._replace(step=step)
    for seed in range(3):
        key = jax.random.key(seed)
        hparams = {"scale": np.float32(seed)}
        state, _ = start(algorithm, key, hparams)
        for _ in train(algorithm, key, state, hparams, rounds=13, chunk_rounds=5):
            pass
