from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from fedjax_rl.cmdp.solve import from_arrays, problem_digest, solve, to_arrays
from fedjax_rl.errors import InvalidInput


def through_a_file(arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as stored:
        return dict(stored)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", ["both", "linear-program"])
@pytest.mark.parametrize("unique", [True, False, None])
def test_a_certificate_survives_a_file(bandit, solver, unique):
    certificate = solve(bandit([1, 0], [[1, 0]], [0.0]), solver)
    certificate = dataclasses.replace(certificate, multipliers_unique=unique)
    again = from_arrays(through_a_file(to_arrays(certificate)))
    for field in dataclasses.fields(certificate):
        before, after = getattr(certificate, field.name), getattr(again, field.name)
        assert type(before) is type(after), field.name
        np.testing.assert_array_equal(before, after)
    assert again.multipliers_unique is unique


@pytest.mark.timeout(30)
def test_another_version_or_a_missing_field_is_refused(bandit):
    arrays = to_arrays(solve(bandit([1, 0], [[1, 0]], [0.5])))
    with pytest.raises(InvalidInput, match="certificate_version"):
        from_arrays({**arrays, "certificate_version": np.asarray(99)})
    with pytest.raises(InvalidInput, match="certificate_version"):
        from_arrays({})
    del arrays["costs"]
    with pytest.raises(InvalidInput, match="costs"):
        from_arrays(arrays)


@pytest.mark.timeout(30)
def test_the_digest_sees_contents_and_not_names(random_problem):
    problem = random_problem(np.random.default_rng(0))
    digest = problem_digest(problem)
    assert len(digest) == 64
    names = tuple(f"hospital {index}" for index in range(problem.num_constraints))
    assert problem_digest(dataclasses.replace(problem, constraint_names=names, notes="x")) == digest
    assert problem_digest(random_problem(np.random.default_rng(0))) == digest
    fortran = dataclasses.replace(problem, transition=np.asfortranarray(problem.transition))
    assert problem_digest(fortran) == digest
    for name in ("transition", "reward", "costs", "budgets", "initial", "discount", "support"):
        array = np.array(getattr(problem, name))
        flat = array.reshape(-1)
        flat[0] = not flat[0] if name == "support" else np.nextafter(flat[0], 2)
        assert problem_digest(dataclasses.replace(problem, **{name: array})) != digest, name
