"""Who watches what: dealing, checking, and splitting a constraint among its owners."""

from __future__ import annotations

import numpy as np
import pytest

from fedjax_rl.cmdp.access import check_access, default_access, split_weights
from fedjax_rl.errors import InvalidInput

pytestmark = pytest.mark.timeout(30)

NAMES = ("fluids", "pressors")


def test_one_constraint_each_when_the_counts_agree():
    np.testing.assert_array_equal(default_access(3, 3), np.eye(3, dtype=bool))


def test_fewer_agents_than_constraints_are_dealt_in_turn():
    np.testing.assert_array_equal(default_access(2, 5), [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]])
    np.testing.assert_array_equal(default_access(1, 3), [[1, 1, 1]])


def test_more_agents_than_constraints_share():
    np.testing.assert_array_equal(default_access(5, 2), [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]])


@pytest.mark.parametrize("agents", range(1, 9))
@pytest.mark.parametrize("constraints", range(1, 9))
def test_nobody_idles_and_nothing_is_unwatched(agents, constraints):
    access = default_access(agents, constraints)
    assert access.shape == (agents, constraints)
    assert access.dtype == np.bool_
    assert access.any(0).all()
    assert access.any(1).all()
    assert access.sum() == max(agents, constraints)


def test_weights_split_a_constraint_equally_among_its_owners():
    access = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1]], bool)
    expected = [[1 / 3, 1 / 2, 0], [1 / 3, 0, 0], [1 / 3, 1 / 2, 1]]
    np.testing.assert_allclose(split_weights(access), expected)
    np.testing.assert_allclose(split_weights(access).sum(0), 1.0)


@pytest.mark.parametrize("given", [[[1, 0], [0, 1]], [[True, False], [False, True]], np.eye(2)])
def test_zeros_and_ones_are_booleans(given):
    matrix = check_access(given, 2, NAMES)
    assert matrix.dtype == np.bool_
    np.testing.assert_array_equal(matrix, np.eye(2, dtype=bool))


def test_an_agent_may_watch_nothing():
    assert not check_access([[1, 1], [0, 0]], 2, NAMES)[1].any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1, 0], [1, 0]], "^access: got no agent that watches pressors; .*at least one owner"),
        ([[0, 0]], "no agent that watches fluids, pressors"),
        ([[1, 0, 1]], r"^access: got int64 of shape \(1, 3\); .*M = 2"),
        ([[1], [1]], r"of shape \(2, 1\)"),
        ([1, 1], r"of shape \(2,\)"),
        ([], r"of shape \(0,\)"),
        (np.zeros((0, 2)), r"of shape \(0, 2\)"),
        ([[1, 2]], "^access: got int64"),
        ([[0.5, 1.0]], "^access: got float64"),
        ([[np.nan, 1.0]], "^access: got float64"),
        ([["yes", "no"]], "^access: got <U3"),
        ([[None, True]], "^access: got object"),
        ([[1, 0], [1]], "^access: got a ragged list"),
        (None, "^access: got object"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(InvalidInput, match=message):
        check_access(given, 2, NAMES)


NEEDED = "a matrix [N, M] of booleans with M = 2 is needed"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [[1, 0], [1, 0]],
            "access: got no agent that watches pressors; every constraint needs at least one owner",
        ),
        ([[1, 0, 1]], f"access: got int64 of shape (1, 3); {NEEDED}"),
        ([[0.5, 1.0]], f"access: got float64 of shape (1, 2); {NEEDED}"),
        ([[1, 0], [1]], "access: got a ragged list; a matrix [N, M] of booleans"),
    ],
)
def test_a_refusal_is_one_line_with_the_shape_and_what_is_allowed(given, message):
    with pytest.raises(InvalidInput) as raised:
        check_access(given, 2, NAMES)
    assert str(raised.value) == message


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_of_every_constraint_sum_to_one(seed):
    access = np.random.default_rng(seed).random((7, 5)) < 0.4
    access[seed] = True
    weights = split_weights(access)
    np.testing.assert_allclose(weights.sum(0), 1.0, rtol=1e-15)
    np.testing.assert_array_equal(weights > 0, access)
