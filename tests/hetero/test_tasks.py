"""Token tasks against plain Python, and prompts that are held out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.tasks import addition, brackets, prefix_sum, sorting, tasks
from fedjax_rl.hetero.tasks.split import is_held_out, split
from fedjax_rl.hetero.tasks.task import TokenTask, flipped, register_task
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(60)

PROMPTS = 200


def sums(prompt, modulus):
    total, answer = 0, []
    for number in prompt:
        total = (total + number) % modulus
        answer.append(total)
    return answer


def sum_of_numbers(prompt, base):
    digits = len(prompt) // 2
    first, second = (
        sum(digit * base**index for index, digit in enumerate(number))
        for number in (prompt[:digits], prompt[digits:])
    )
    return [(first + second) // base**index % base for index in range(digits + 1)]


def closings(prompt, kinds):
    stack = []
    for token in prompt:
        if token < kinds:
            stack.append(token)
        else:
            assert stack.pop() == token - kinds
    return [kinds + kind for kind in reversed(stack)] + [2 * kinds]


CASES = {
    "prefix-sum": (prefix_sum(), lambda prompt: sums(prompt, 8)),
    "prefix-sum mod 3": (prefix_sum(length=5, modulus=3), lambda prompt: sums(prompt, 3)),
    "sorting": (sorting(), sorted),
    "sorting many": (sorting(length=20, values=5), sorted),
    "addition": (addition(), lambda prompt: sum_of_numbers(prompt, 10)),
    "addition of bits": (addition(digits=7, base=2), lambda prompt: sum_of_numbers(prompt, 2)),
    "brackets": (brackets(), lambda prompt: closings(prompt, 3)),
    "brackets of one kind": (brackets(9, kinds=1, closing=0.5), lambda prompt: closings(prompt, 1)),
}
each_task = pytest.mark.parametrize(("task", "answer"), CASES.values(), ids=CASES)


def draw(task, seed=0, number=PROMPTS):
    return jax.jit(jax.vmap(task.prompt))(jax.random.split(jax.random.key(seed), number))


def solve(task, prompts):
    return jax.jit(jax.vmap(task.solution))(prompts)


@pytest.mark.slow
@each_task
def test_solutions_are_those_of_plain_python(task, answer):
    prompts = draw(task)
    assert prompts.shape == (PROMPTS, task.prompt_length) and prompts.dtype == jnp.int32
    assert prompts.min() >= 0 and prompts.max() < task.vocabulary
    tokens, mask = solve(task, prompts)
    assert tokens.shape == mask.shape == (PROMPTS, task.response_length)
    assert tokens.dtype == jnp.int32 and mask.dtype == bool
    for prompt, own_tokens, own_mask in zip(*map(np.asarray, (prompts, tokens, mask)), strict=True):
        expected = answer(prompt.tolist())
        assert own_tokens[: len(expected)].tolist() == expected
        assert own_mask.tolist() == [index < len(expected) for index in range(len(own_mask))]
        assert (own_tokens[len(expected) :] == task.end_token).all()


@each_task
def test_rewards_are_one_for_the_answer_and_zero_for_anything_else(task, answer):
    prompts = draw(task, seed=1)
    tokens, mask = solve(task, prompts)
    reward = jax.jit(jax.vmap(task.reward))
    np.testing.assert_array_equal(reward(prompts, tokens, mask), np.ones(PROMPTS, np.float32))
    for index in range(task.response_length):
        corrupted = tokens.at[:, index].set((tokens[:, index] + 1) % task.vocabulary)
        # Only what is masked may be anything.
        np.testing.assert_array_equal(reward(prompts, corrupted, mask), ~mask[:, index])
        np.testing.assert_array_equal(
            reward(prompts, tokens, mask.at[:, index].set(~mask[:, index])), np.zeros(PROMPTS)
        )


@each_task
def test_rewards_of_random_answers_are_those_of_plain_python(task, answer):
    rng = np.random.default_rng(2)
    prompts = np.asarray(draw(task, seed=2))
    tokens, mask = map(np.asarray, solve(task, prompts))
    wrong = rng.random(tokens.shape) < 0.5 / task.response_length
    tokens = np.where(wrong, rng.integers(task.vocabulary, size=tokens.shape), tokens)
    rewards = jax.jit(jax.vmap(task.reward))(prompts, tokens, mask)
    expected = [
        own[own_mask].tolist() == answer(prompt.tolist())
        for prompt, own, own_mask in zip(prompts, tokens, mask, strict=True)
    ]
    assert 0 < sum(expected) < PROMPTS
    np.testing.assert_array_equal(rewards, np.asarray(expected, np.float32))


@pytest.mark.slow
@each_task
def test_a_table_can_solve_it(task, answer):
    """Equal contexts want equal tokens, and a context knows nothing of what is to come."""
    prompts = draw(task, seed=3)
    tokens, mask = solve(task, prompts)
    positions = jnp.arange(task.response_length)
    see = jax.jit(jax.vmap(jax.vmap(task.context, (None, None, 0)), (0, 0, None)))
    contexts = np.asarray(see(prompts, tokens, positions))
    assert contexts.dtype == np.int32
    wanted = {}
    on_answer = np.asarray(mask)
    for context, token in zip(contexts[on_answer], np.asarray(tokens)[on_answer], strict=True):
        assert wanted.setdefault(int(context), int(token)) == int(token)
    assert len(set(wanted.values())) > 1
    random = jax.random.randint(jax.random.key(4), tokens.shape, 0, task.vocabulary, jnp.int32)
    reached = np.asarray(see(prompts, random, positions))
    assert reached.min() >= 0 and reached.max() < task.contexts
    for index in (0, task.response_length - 1):
        changed = random.at[:, index:].set(0)
        np.testing.assert_array_equal(
            see(prompts, changed, positions)[:, : index + 1], reached[:, : index + 1]
        )


@pytest.mark.slow
@each_task
def test_one_by_one_is_as_all_at_once(task, answer):
    prompts = draw(task, seed=5, number=4)
    together = solve(task, prompts)
    keys = jax.random.split(jax.random.key(5), 4)
    prompt_of, solution_of = jax.jit(task.prompt), jax.jit(task.solution)
    for index in range(4):
        np.testing.assert_array_equal(prompt_of(keys[index]), prompts[index])
        for one, all_of_them in zip(solution_of(prompts[index]), together, strict=True):
            np.testing.assert_array_equal(one, all_of_them[index])


@pytest.mark.parametrize(
    ("task", "prompt", "tokens"),
    [
        (prefix_sum(length=4), [3, 5, 7, 1], [3, 0, 7, 0]),
        (sorting(length=4), [3, 1, 3, 0], [0, 1, 3, 3]),
        (addition(digits=3), [8, 5, 9, 7, 6, 0], [5, 2, 0, 1]),  # 958 + 67 = 1025
        (addition(digits=3), [9, 9, 9, 1, 0, 0], [0, 0, 0, 1]),  # 999 + 1 = 1000
        (addition(digits=3), [4, 4, 4, 5, 5, 5], [9, 9, 9, 0]),
        (brackets(length=4), [0, 1, 4, 2], [5, 3, 6, 6, 6]),  # ( [ ] {  wants  } ) end
        (brackets(length=4), [0, 3, 1, 4], [6, 6, 6, 6, 6]),  # ( ) [ ]  wants the end
        (brackets(length=4), [2, 1, 1, 0], [3, 4, 4, 5, 6]),
    ],
)
def test_answers_by_hand(task, prompt, tokens):
    np.testing.assert_array_equal(task.solution(jnp.array(prompt))[0], tokens)


def test_contexts_by_hand():
    response = jnp.array([0, 1, 3, 3])
    see = jax.vmap(sorting(length=4).context, (None, None, 0))
    # (last + 1) · 9 + next larger, twice, plus one where a copy of the last is to be placed.
    np.testing.assert_array_equal(
        see(jnp.array([3, 1, 3, 0]), response, jnp.arange(4)), [0, 20, 42, 89]
    )
    see = jax.vmap(prefix_sum(length=4).context, (None, None, 0))
    np.testing.assert_array_equal(
        see(jnp.array([3, 5, 7, 1]), jnp.array([3, 0, 7, 0]), jnp.arange(4)), [3, 29, 7, 57]
    )


@pytest.mark.slow
def test_brackets_close_as_often_as_they_are_told():
    task = brackets(length=40, closing=0.3)
    prompts = np.asarray(draw(task, number=500))
    could = closed = 0
    for prompt in prompts:
        depth = 0
        for token in prompt:
            could, closed = could + (depth > 0), closed + (token >= 3)
            depth += 1 if token < 3 else -1
    assert abs(closed / could - 0.3) < 4 * np.sqrt(0.3 * 0.7 / could)
    assert (np.asarray(draw(brackets(closing=0))) < 3).all()
    assert (np.asarray(draw(brackets(closing=1)))[:, 1::2] >= 3).all()


@pytest.mark.slow
def test_no_prompt_is_both_trained_on_and_held_out():
    task = addition(digits=1)
    sides = split(task)
    keys = jax.random.split(jax.random.key(0), 3000)
    training, held_out = (
        {tuple(prompt) for prompt in np.asarray(jax.jit(jax.vmap(side))(keys)).tolist()}
        for side in sides
    )
    assert training | held_out == {(first, second) for first in range(10) for second in range(10)}
    assert not training & held_out
    assert 5 <= len(held_out) <= 20


def test_an_eighth_is_held_out_whatever_the_prompts_mean():
    prompts = draw(prefix_sum(), number=8000)
    out = np.asarray(jax.vmap(is_held_out)(prompts))
    assert abs(out.mean() - 1 / 8) < 4 * np.sqrt(7 / 64 / 8000)
    for index in (0, 23):
        for token in range(8):
            rows = out[np.asarray(prompts[:, index]) == token]
            assert abs(rows.mean() - 1 / 8) < 4.5 * np.sqrt(7 / 64 / len(rows))


def test_the_hash_is_that_of_plain_python():
    def scramble(word):
        word = (word ^ word >> 16) * 0x85EBCA6B & 0xFFFFFFFF
        word = (word ^ word >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
        return word ^ word >> 16

    prompts = np.asarray(draw(brackets()))
    expected = [
        scramble(
            sum(scramble((index + 1) * 0x9E3779B9 & 0xFFFFFFFF ^ token) for index, token in one)
            & 0xFFFFFFFF
        )
        % 8
        == 0
        for one in (list(enumerate(prompt)) for prompt in prompts.tolist())
    ]
    np.testing.assert_array_equal(jax.vmap(is_held_out)(prompts), expected)


def test_a_noisy_judge_is_wrong_as_often_as_it_is_told():
    rewards = jnp.tile(jnp.array([0.0, 1.0]), 10_000)
    judge = jax.jit(flipped)
    np.testing.assert_array_equal(judge(jax.random.key(0), rewards, 0.0), rewards)
    np.testing.assert_array_equal(judge(jax.random.key(0), rewards, 1.0), 1 - rewards)
    noisy = np.asarray(judge(jax.random.key(1), rewards, 0.1))
    assert set(noisy.tolist()) == {0.0, 1.0} and noisy.dtype == np.float32
    for label in (0, 1):
        wrong = noisy[label::2] != label
        assert abs(wrong.mean() - 0.1) < 4 * np.sqrt(0.09 / 10_000)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: prefix_sum(length=0), "length"),
        (lambda: prefix_sum(length=2.5), "length"),
        (lambda: prefix_sum(modulus=1), "modulus"),
        (lambda: sorting(length=True), "length"),
        (lambda: sorting(values=1), "values"),
        (lambda: addition(digits=0), "digits"),
        (lambda: addition(base=1), "base"),
        (lambda: brackets(length=0), "length"),
        (lambda: brackets(kinds=0), "kinds"),
        (lambda: brackets(closing=1.1), "closing"),
        (lambda: brackets(closing=float("nan")), "closing"),
        (lambda: brackets(closing="often"), "closing"),
        (lambda: split(prefix_sum(length=1, modulus=2)), "--task"),
        (lambda: tasks.make("prefix-sums"), "--task"),
        (lambda: tasks.make("builtins:dict"), "--task"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(make, field):
    with pytest.raises(InvalidInput) as error:
        make()
    assert error.value.field == field and "\n" not in str(error.value)


def test_names_find_factories():
    assert list(tasks) == ["addition", "brackets", "prefix-sum", "sorting"]
    for name in tasks:
        task = tasks.make(name)
        assert isinstance(task, TokenTask) and task.name == name
        assert tasks.describe(name)
    assert register_task("sorting", sorting) is sorting
