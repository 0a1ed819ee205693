"""Diagnostics against numbers worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.hetero import diagnostics
from fedjax_rl.hetero.losses import LossOutput

MASK = np.array([[[1, 1], [1, 0]]], bool)


def output(weights):
    return LossOutput(jnp.zeros(()), jnp.zeros((1, 2)), jnp.array(weights), jnp.zeros(()))


def test_the_spread_of_sequence_weights_is_over_all_of_them():
    spread = diagnostics.weight_spread(jnp.array([[[1.0], [3.0]]]), jnp.ones((1, 2, 5), bool))
    np.testing.assert_allclose(spread, [2.0, 1.0, 0.25, 16 / (2 * 10)], rtol=1e-6)


def test_the_spread_of_token_weights_is_over_counted_tokens():
    weights = jnp.array([[[1.0, 2.0], [6.0, 100.0]]])
    spread = diagnostics.weight_spread(weights, jnp.array(MASK))
    variance = (4 + 1 + 9) / 3
    np.testing.assert_allclose(spread, [3.0, variance, variance / 9, 81 / (3 * 41)], rtol=1e-6)


def test_divergence_is_from_the_sampler_to_the_learner():
    q, p = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    log_q = np.log(np.broadcast_to(q, (1, 2, 2, 2)))
    log_p = np.log(np.stack([[np.stack([p, q]), np.stack([p, p])]]))
    expected = (q * np.log(q / p)).sum()  # KL(q‖p), not KL(p‖q) = .368
    assert expected == pytest.approx(0.5108256)
    got = diagnostics.divergence(jnp.array(log_q), jnp.array(log_p), jnp.array(MASK))
    np.testing.assert_allclose(got, 2 * expected / 3, rtol=1e-5)


def test_variation_within_groups_survives_underflow():
    log_q = jnp.array([[-500.0, -500.0 + np.log(3.0)], [-1.0, -1.0]])
    np.testing.assert_allclose(diagnostics.group_variation(log_q), 0.25, rtol=1e-5)


def test_estimation_error_by_hand():
    rewards, expected = jnp.array([[1.0, 0.0]]), jnp.array([0.7])
    # A = ±1/2; (2 · 1/2 − 1 · 1/2) / 2 = 1/4, against 0.7 − 1/2.
    sequence = diagnostics.estimation_error(
        output([[[2.0], [1.0]]]), rewards, jnp.array(MASK), expected
    )
    np.testing.assert_allclose(sequence, 0.05, atol=1e-6)
    # The weights of the first response's two tokens have mean 2; the last token is masked.
    tokens = diagnostics.estimation_error(
        output([[[1.5, 2.5], [1.0, 9.0]]]), rewards, jnp.array(MASK), expected
    )
    np.testing.assert_allclose(tokens, 0.05, atol=1e-6)
