"""Columns by hand."""

import numpy as np
import pytest

from fedjax_rl.families.tabular.history import (
    Layout,
    Rows,
    columns,
    initial_columns,
    no_sums,
    rows_of,
)
from fedjax_rl.federation.observed import Observation

pytestmark = pytest.mark.timeout(30)

LAYOUT = Layout(10.0, np.array([2.0, 1.0]), ("harm", "wait"), ((0, 0, 0), (1, 0, 1)), 64)


def observation(values, costs, multipliers=None, counted=None):
    values, costs = np.array(values, float), np.array(costs, float)
    rounds = len(values)
    if multipliers is None:
        multipliers = np.zeros((rounds, 2, 1))
    steps = 5 * (np.arange(rounds) > 0)
    counted = np.ones(values.shape) if counted is None else np.array(counted, float)
    return rows_of(Observation(values, costs, multipliers, steps, counted))


def table_of(rows, policies=1):
    """Round 0 and the rounds after it."""
    first, rest = (Rows(*(field[..., part] for field in rows)) for part in (np.s_[:1], np.s_[1:]))
    before = initial_columns(first, LAYOUT)
    if rest.value.size == 0:
        return before, no_sums(policies, 2)
    after, sums = columns(1, rest, no_sums(policies, 2), LAYOUT)
    return {name: np.concatenate([before[name], after[name]]) for name in before}, sums


def test_columns_by_hand():
    multipliers = np.array([[[0.0], [0.0]], [[0.5], [0.1]], [[0.25], [0.0]]])
    rows = observation([4, 8, 11], [[0, 0], [3, 2], [2, 0.5]], multipliers)
    table, sums = table_of(rows)
    assert table["round"].tolist() == [0, 1, 2]
    assert table["gap"].tolist() == [6, 2, -1]
    assert table["average_gap"].tolist() == [6, 2, 0.5]
    assert table["violation"].tolist() == [-1, 1, 0]
    assert table["average_violation"].tolist() == [-1, 1, 0.5]
    assert table["strong_violation"].tolist() == [0, 1, 0.5]
    assert table["cost/harm"].tolist() == [0, 3, 2]
    assert table["multiplier/0/harm"].tolist() == [0, 0.5, 0.25]
    assert table["multiplier/1/wait"].tolist() == [0, 0.1, 0]
    assert table["bytes_exchanged"].tolist() == [0, 64, 128]
    assert table["environment_steps"].tolist() == [0, 5, 10]
    assert sums.value.tolist() == [19.0]


def test_violations_that_alternate_cancel_in_the_average_but_not_in_the_strong_one():
    rows = observation([0, 0, 0], [[0, 0], [4, 0], [0, 0]])
    table, _ = table_of(rows)
    assert table["average_violation"][-1] == 0.0
    assert table["strong_violation"][-1] == 1.0


def test_chunks_give_the_columns_of_the_whole_to_the_bit():
    rng = np.random.default_rng(0)
    values, costs = rng.random(9), rng.random((9, 2))
    whole, _ = table_of(observation(values, costs))
    first, sums = table_of(observation(values[:4], costs[:4]))
    rest = observation(values[3:], costs[3:])
    rest = Rows(*(field[..., 1:] for field in rest))
    second, _ = columns(4, rest, sums, LAYOUT)
    for name in whole:
        np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), whole[name])


def test_agents_that_do_not_communicate_report_mean_and_worst():
    rows = observation([[4, 6]], [[[3, 0], [1, 3]]], np.zeros((1, 2, 1, 1)))
    table, _ = table_of(rows, policies=2)
    assert table["value"].tolist() == [5]
    assert table["gap"].tolist() == [5] and table["worst_gap"].tolist() == [6]
    assert table["violation"].tolist() == [1.5] and table["worst_violation"].tolist() == [2]
    assert table["cost/harm"].tolist() == [2]


def test_only_rounds_that_count_are_averaged():
    costs = [[0, 0], [9, 0], [2, 1], [0, 0], [9, 9]]
    rows = observation([0, 5, 6, 8, 9], costs, counted=[1, 0, 1, 1, 0])
    table, _ = table_of(rows)
    assert table["average_gap"].tolist() == [10, 5, 4, 3, 3], "V* − (…, its own, 6, 7, 7)"
    assert table["average_violation"].tolist() == [-1, 7, 0, -0.5, -0.5]
    assert table["strong_violation"].tolist() == [0, 7, 0, 0, 0]
