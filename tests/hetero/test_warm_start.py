"""A supervised start stops where it should."""

import jax
import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.evaluation import accuracy
from fedjax_rl.hetero.rollout import sampling
from fedjax_rl.hetero.tasks import brackets, prefix_sum
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.hetero.warm_start import Teaching, teacher, warm_start
from fedjax_rl.policies.table import table
from fedjax_rl.policies.transformer import transformer
from tests.quick import quick_compilation  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TASK = prefix_sum(length=8, modulus=4)
QUICK = Teaching(learning_rate=0.05, prompts=16, chunk=10, most_steps=400, measured=1024)


def table_for(task):
    return table(task.vocabulary, task.response_length, task.contexts, task.context)


def fresh_accuracy(task, policy, parameters, number=8192):
    """On other held-out prompts with other random numbers."""
    prompts = jax.jit(jax.vmap(split(task).held_out))(jax.random.split(jax.random.key(98), number))
    return float(
        jax.jit(accuracy(task, policy))(jax.random.key(99), parameters, prompts, sampling())
    )


@pytest.mark.parametrize("target", [0.18, 0.6])
def test_it_stops_at_the_accuracy_that_was_asked_for(target):
    policy = table_for(TASK)
    started = warm_start(jax.random.key(0), TASK, policy, target, QUICK)
    assert abs(started.accuracy - target) <= 2 / QUICK.measured
    assert 0 < started.steps < QUICK.most_steps and started.steps % QUICK.chunk == 0
    error = np.sqrt(target * (1 - target) * (1 / QUICK.measured + 1 / 8192))
    assert abs(fresh_accuracy(TASK, policy, started.parameters) - target) < 4 * error


def test_a_transformer_with_ends_of_sequence_starts_too():
    task = brackets(length=6, kinds=2)
    policy = transformer(task.vocabulary, 6, 7, layers=1, width=16, heads=2, dtype="float32")
    settings = QUICK._replace(learning_rate=0.01, measured=512)
    started = warm_start(jax.random.key(1), task, policy, 0.5, settings)
    assert abs(started.accuracy - 0.5) <= 0.01
    assert abs(fresh_accuracy(task, policy, started.parameters) - 0.5) < 0.1


def test_the_same_key_gives_the_same_start_and_another_key_another():
    policy = table_for(TASK)
    first, again, other = (
        warm_start(jax.random.key(seed), TASK, policy, 0.18, QUICK) for seed in (2, 2, 3)
    )
    np.testing.assert_array_equal(first.parameters, again.parameters)
    assert first.accuracy == again.accuracy and first.steps == again.steps
    assert np.abs(first.parameters - other.parameters).max() > 0.01


def test_no_step_is_taken_where_none_is_needed():
    started = warm_start(jax.random.key(0), TASK, table_for(TASK), 0.0, QUICK)
    assert started.steps == 0
    np.testing.assert_array_equal(started.parameters, np.zeros((16, 4)))


def test_the_first_step_moves_every_context_towards_its_solution():
    """Adam's first step is the learning rate times the sign of the gradient."""
    policy = table_for(TASK)
    init, chunk = teacher(TASK, policy, TASK.prompt, QUICK._replace(chunk=1, prompts=64))
    state = chunk(jax.random.key(4), 0, init(jax.random.key(5)))
    right = np.arange(4) == ((np.arange(16) // 4 + np.arange(16) % 4) % 4)[:, None]
    np.testing.assert_allclose(state[0], np.where(right, 0.05, -0.05), rtol=1e-3)


def test_chunks_do_not_change_what_is_learned():
    policy, key = table_for(TASK), jax.random.key(6)
    outcomes = []
    for size in (2, 6):
        init, chunk = teacher(TASK, policy, TASK.prompt, QUICK._replace(chunk=size))
        state = init(key)
        for steps in range(0, 6, size):
            state = chunk(key, steps, state)
        outcomes.append(state[0])
    np.testing.assert_allclose(*outcomes, atol=1e-6)
    assert np.abs(outcomes[0]).max() > 0.1


@pytest.mark.parametrize(
    ("target", "settings", "field"),
    [
        (1.0, {}, "--warm-start"),
        (-0.1, {}, "--warm-start"),
        (float("nan"), {}, "--warm-start"),
        (0.9, {"most_steps": 10}, "--warm-start"),
        (0.2, {"learning_rate": 0.0}, "learning_rate"),
        (0.2, {"learning_rate": float("nan")}, "learning_rate"),
        (0.2, {"prompts": 0}, "prompts"),
        (0.2, {"chunk": 0}, "chunk"),
        (0.2, {"most_steps": 0}, "most_steps"),
        (0.2, {"measured": 0}, "measured"),
    ],
)
def test_what_cannot_be_reached_is_told_in_one_line(target, settings, field):
    with pytest.raises(InvalidInput) as error:
        warm_start(jax.random.key(0), TASK, table_for(TASK), target, QUICK._replace(**settings))
    assert error.value.field == field and "\n" not in str(error.value)


def test_a_failed_start_says_how_far_it_came():
    with pytest.raises(InvalidInput, match=r"at most 0\.\d{3}, the accuracy after 10 steps"):
        warm_start(jax.random.key(0), TASK, table_for(TASK), 0.9, QUICK._replace(most_steps=10))
