"""Problems that are given as objects: every setting applies to them, or is refused."""

from __future__ import annotations

import numpy as np
import pytest

from fedjax_rl import runs
from fedjax_rl.algorithm import environments
from fedjax_rl.cmdp.model import from_arrays
from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.tasks import tasks
from fedjax_rl.sources.problems import Problem, load_problem, save_problem
from tests.quick import quick_compilation  # noqa: F401

TINY_NETWORKS = {
    **{"rounds": 1, "envs": 2, "rollout": 8, "hidden": (2,), "epochs": 1, "minibatches": 1},
    **{"episodes": 100},
}


@pytest.fixture
def cmdp():
    """One state; the second action earns 1 and costs 1, so that V* is the budget or 1/(1 − γ)."""
    return from_arrays(
        transition=np.ones((1, 2, 1)),
        reward=[[0.0, 1.0]],
        costs=[[[0.0, 1.0]]],
        budgets=[4.0],
        initial=[1.0],
        discount=0.9,
    )


def optimum(problem, **settings):
    return runs.fednpg(problem, rounds=2, **settings).certificate.optimal_value


def test_budgets_and_discount_of_an_object_are_applied(cmdp):
    assert optimum(cmdp) == pytest.approx(4.0)
    assert optimum(cmdp, budgets=(1.0,)) == pytest.approx(1.0)
    assert optimum(cmdp, discount=0.5) == pytest.approx(2.0)
    assert optimum(Problem("mine", cmdp, np.ones((1, 1), bool)), budgets=(1.0,)) == pytest.approx(1)


def test_an_object_means_what_its_file_means(cmdp, tmp_path):
    """Whatever its access matrix, and whatever stands in for it."""
    matrix = np.ones((2, 1), bool)
    file, other = tmp_path / "p.npz", tmp_path / "access.yaml"
    save_problem(file, cmdp, matrix)
    other.write_text("[[true], [true], [false]]")
    loaded = load_problem(str(file))
    for settings, agents in (({}, 2), ({"access": str(other)}, 3), ({"agents": 2}, 2)):
        for problem in (loaded, str(file)):
            found = runs.fednpg(problem, rounds=2, **settings)
            assert len(found.problem.access) == agents
    for problem in (loaded, str(file)):
        with pytest.raises(InvalidInput, match="--agents: got 3; the access matrix has 2 rows"):
            runs.fednpg(problem, rounds=2, agents=3)
    assert len(runs.fednpg(cmdp, rounds=2, agents=3).problem.access) == 3


def test_arguments_of_a_factory_are_refused(cmdp):
    for run in (runs.fednpg, runs.fedppo):
        with pytest.raises(InvalidInput, match="--problem-args: got states=3; none of a problem"):
            run(cmdp, problem_args=("states=3",))
    task = tasks.make("sorting")
    with pytest.raises(InvalidInput, match="--task-args: got length=3; none of a problem"):
        runs.hetero_rl("gepo", task, task_args=("length=3",))


@pytest.mark.parametrize(
    "run", [runs.fednpg, runs.fedppo, runs.fednatural, lambda task: runs.hetero_rl("gepo", task)]
)
def test_anything_else_is_refused_by_its_type(run):
    with pytest.raises(InvalidInput, match="problem: got ndarray; one of a name, "):
        run(np.ones(3))


@pytest.mark.slow
def test_tasks_are_taken_as_objects(cmdp):
    """Of gymnax, finite, and of tokens."""
    task = environments.make("cartpole-pos2")
    result = runs.fedppo(task, budgets=(5.0, 6.0), agents=1, **TINY_NETWORKS)
    assert result.summary["budgets"] == {"position-1": 5.0, "position-2": 6.0}
    assert result.prepared.num_agents == 1
    exact = runs.fedppo(cmdp, budgets=(1.0,), **TINY_NETWORKS)
    assert exact.summary["optimal_value"] == pytest.approx(1.0)
    one = {"steps": 1, "held_out": 4, "on_policy": 2, "warm_start": 0.0, "prompts": 2}
    by_name, by_object = (
        runs.hetero_rl("grpo", given, **one) for given in ("sorting", tasks.make("sorting"))
    )
    assert by_name.summary["last"] == by_object.summary["last"]
    assert by_object.summary["task"] == "arrays"
