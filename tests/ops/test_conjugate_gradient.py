"""Conjugate gradients against dense solves."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.ops.conjugate_gradient import conjugate_gradient

pytestmark = pytest.mark.timeout(60)


def positive_definite(seed, size=6, condition=30.0):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    matrix = basis @ np.diag(np.geomspace(1.0, condition, size)) @ basis.T
    return jnp.asarray(matrix, jnp.float32), jnp.asarray(rng.normal(size=size), jnp.float32)


def solve(matrix, target, steps):
    return conjugate_gradient(lambda vector: matrix @ vector, target, steps)


@pytest.mark.parametrize("seed", range(4))
def test_as_many_steps_as_unknowns_solve_exactly(seed):
    matrix, target = positive_definite(seed)
    solution = jax.jit(solve, static_argnums=2)(matrix, target, 6)
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, target), rtol=1e-3, atol=1e-4)


def test_as_many_steps_as_distinct_eigenvalues_are_enough():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    matrix = jnp.asarray(basis @ np.diag([1.0] * 10 + [3.0] * 10) @ basis.T, jnp.float32)
    target = jnp.asarray(rng.normal(size=20), jnp.float32)
    np.testing.assert_allclose(solve(matrix, target, 2), np.linalg.solve(matrix, target), atol=1e-5)


def test_one_step_is_steepest_descent_with_an_exact_line_search():
    matrix, target = positive_definite(1)
    length = (target @ target) / (target @ matrix @ target)
    np.testing.assert_allclose(solve(matrix, target, 1), length * target, rtol=1e-5)


def test_every_step_comes_nearer_in_the_energy_norm():
    matrix, target = positive_definite(2)
    exact = jnp.asarray(np.linalg.solve(matrix, target))
    errors = [solve(matrix, target, steps) - exact for steps in range(7)]
    energies = [float(error @ matrix @ error) for error in errors]
    assert all(after < before for before, after in itertools.pairwise(energies[:6]))
    assert energies[6] < 1e-6 * energies[0]


@pytest.mark.parametrize("seed", range(4))
def test_more_steps_than_needed_change_nothing(seed):
    matrix, target = positive_definite(seed, condition=1000.0)
    exact = np.linalg.solve(np.asarray(matrix, np.float64), np.asarray(target, np.float64))
    errors = [np.abs(solve(matrix, target, steps) - exact).max() for steps in (12, 60)]
    assert np.all(np.isfinite(errors))
    assert errors[1] <= max(2 * errors[0], 1e-4 * np.abs(exact).max())


@pytest.mark.parametrize("steps", [0, 1, 10])
def test_no_target_gives_no_direction(steps):
    matrix, _ = positive_definite(0)
    np.testing.assert_array_equal(solve(matrix, jnp.zeros(6), steps), 0)


def test_a_flat_direction_gives_no_nan():
    """F v = 0: nothing is known about v, and the iterate stays where it is."""
    matrix = jnp.diag(jnp.array([1.0, 2.0, 0.0]))
    np.testing.assert_array_equal(solve(matrix, jnp.array([0.0, 0.0, 1.0]), 5), 0)
    np.testing.assert_allclose(solve(matrix, jnp.array([1.0, 2.0, 0.0]), 5), [1, 1, 0], atol=1e-6)


def test_mapped_agents_do_not_wait_for_each_other():
    """One converges in its first step and one has nothing to solve, beside one that needs six."""
    matrix, target = positive_definite(3)
    matrices = jnp.stack([matrix, jnp.eye(6), matrix])
    targets = jnp.stack([target, target, jnp.zeros(6)])
    together = jax.vmap(lambda one, other: solve(one, other, 6))(matrices, targets)
    assert np.all(np.isfinite(together))
    for index in range(3):
        alone = np.linalg.solve(matrices[index], targets[index])
        np.testing.assert_allclose(together[index], alone, rtol=1e-3, atol=1e-4)
