"""Generalised advantages against a double loop, and what follows a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.ops.returns import following_values, generalized_advantages

pytestmark = pytest.mark.timeout(60)

STEPS, BATCH, SIGNALS = 13, 3, 4
DISCOUNT = np.array([0.99, 1.0, 0.9, 0.0])
DECAY = np.array([0.95, 1.0, 0.0, 0.7])


def advantages_by_sums(signals, values, following, ended):
    """A_t = Σ_k (γλ)^k δ_{t+k} up to and including the step that ends the episode."""
    advantages = np.zeros_like(signals)
    for index in np.ndindex(BATCH, SIGNALS):
        batch, signal = index
        discount, decay = DISCOUNT[signal], DECAY[signal]
        for start in range(STEPS):
            weight = 1.0
            for time in range(start, STEPS):
                here = (time, batch, signal)
                residual = signals[here] + discount * following[here] - values[here]
                advantages[start, batch, signal] += weight * residual
                if ended[time, batch]:
                    break
                weight *= discount * decay
    return advantages


def following_by_cases(values, last, final_of, terminated, truncated, bootstraps):
    """V(s_{t+1}), one number at a time; final_of[t, b] is the value behind a cut at t."""
    following = np.zeros_like(values)
    for time, batch, signal in np.ndindex(values.shape):
        if terminated[time, batch]:
            continue
        if truncated[time, batch]:
            if bootstraps[signal]:
                following[time, batch, signal] = final_of[time, batch][signal]
        elif time + 1 < len(values):
            following[time, batch, signal] = values[time + 1, batch, signal]
        else:
            following[time, batch, signal] = last[batch, signal]
    return following


def rollout(seed, ends):
    rng = np.random.default_rng(seed)
    signals, values = rng.normal(size=(2, STEPS, BATCH, SIGNALS))
    last = rng.normal(size=(BATCH, SIGNALS))
    final = rng.normal(size=(2, BATCH, SIGNALS))
    terminated = np.zeros((STEPS, BATCH), bool)
    truncated = np.zeros((STEPS, BATCH), bool)
    if ends in ("terminated", "both"):
        terminated[[2, 7, 12], [0, 1, 2]] = True
    if ends in ("truncated", "both"):
        truncated[[3, 9, 5, 7, 12], [0, 0, 1, 2, 1]] = True
    # The first cut of an environment is in slot 0, the second in slot 1.
    final_of = {}
    for batch in range(BATCH):
        for slot, time in enumerate(np.flatnonzero(truncated[:, batch])):
            final_of[int(time), batch] = final[slot, batch]
    return signals, values, last, final, final_of, terminated, truncated


@pytest.mark.parametrize("ends", ["never", "terminated", "truncated", "both"])
@pytest.mark.parametrize("seed", [0, 1])
def test_advantages_agree_with_a_double_loop(ends, seed):
    signals, values, last, final, final_of, terminated, truncated = rollout(seed, ends)
    bootstraps = np.array([True, False, True, False])
    expected_following = following_by_cases(
        values, last, final_of, terminated, truncated, bootstraps
    )
    following = following_values(
        *(jnp.asarray(array) for array in (values, last, final, terminated, truncated, bootstraps))
    )
    np.testing.assert_allclose(following, expected_following, atol=1e-6)
    ended = terminated | truncated
    advantages = jax.jit(generalized_advantages)(
        signals, values, following, ended, jnp.asarray(DISCOUNT), jnp.asarray(DECAY)
    )
    expected = advantages_by_sums(signals, values, expected_following, ended)
    np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-4)


def test_undiscounted_advantages_are_sums_to_the_end_of_the_episode():
    signals = jnp.arange(1.0, 6.0)[:, None, None]
    zeros = jnp.zeros_like(signals)
    ended = jnp.array([False, False, True, False, False])[:, None]
    one = jnp.ones(1)
    advantages = generalized_advantages(signals, zeros, zeros, ended, one, one)
    np.testing.assert_array_equal(advantages[:, 0, 0], [6, 5, 3, 9, 5])


def test_nothing_leaks_across_the_end_of_an_episode():
    """However large the next episode's signals are."""
    signals = jnp.array([1.0, 2.0, 1e30])[:, None, None]
    zeros = jnp.zeros_like(signals)
    ended = jnp.array([False, True, False])[:, None]
    one = jnp.ones(1)
    advantages = generalized_advantages(signals, zeros, zeros, ended, one, one)
    np.testing.assert_array_equal(advantages[:2, 0, 0], [3, 2])


VALUES = np.array([10.0, 11.0, 12.0, 13.0])
LAST = 14.0


def following_of_one(final, terminated=(), truncated=(), bootstraps=True):
    """V(s_{t+1}) of one environment and one signal over four steps."""
    flags = np.zeros((2, 4, 1), bool)
    flags[0, list(terminated)] = flags[1, list(truncated)] = True
    return np.asarray(
        following_values(
            jnp.asarray(VALUES, jnp.float32)[:, None, None],
            jnp.full((1, 1), LAST),
            jnp.asarray(final, jnp.float32).reshape(-1, 1, 1),
            jnp.asarray(flags[0]),
            jnp.asarray(flags[1]),
            jnp.array([bootstraps]),
        )
    )[:, 0, 0].tolist()


@pytest.mark.parametrize("final", [[], [70.0], [70.0, 80.0]], ids=len)
def test_without_an_end_the_next_value_follows(final):
    assert following_of_one(final) == [11, 12, 13, 14]


@pytest.mark.parametrize("final", [[], [70.0], [70.0, 80.0]], ids=len)
def test_nothing_follows_a_terminal_state(final):
    assert following_of_one(final, terminated=[1, 3]) == [11, 0, 13, 0]


@pytest.mark.parametrize("final", [[70.0], [70.0, 80.0]], ids=len)
def test_a_cut_is_followed_by_its_final_observation(final):
    assert following_of_one(final, truncated=[2]) == [11, 12, 70, 14]
    assert following_of_one(final, truncated=[3]) == [11, 12, 13, 70]


def test_two_cuts_have_their_own_final_observations():
    assert following_of_one([70.0, 80.0], truncated=[0, 2]) == [70, 12, 80, 14]
    assert following_of_one([70.0, 80.0], truncated=[1, 3]) == [11, 70, 13, 80]
    assert following_of_one([70.0, 80.0], truncated=[1], terminated=[2]) == [11, 70, 0, 14]


@pytest.mark.parametrize("final", [[70.0], [70.0, 80.0]], ids=len)
def test_a_sum_per_episode_ends_at_the_time_limit(final):
    assert following_of_one(final, truncated=[1], bootstraps=False) == [11, 0, 13, 14]


@pytest.mark.parametrize("final", [[70.0], [70.0, 80.0]], ids=len)
def test_what_terminates_at_the_time_limit_is_not_bootstrapped(final):
    assert following_of_one(final, terminated=[1], truncated=[1]) == [11, 0, 13, 14]
