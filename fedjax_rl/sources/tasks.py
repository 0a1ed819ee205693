"""Constrained tasks from names, files and factories of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import fedjax_rl.envs  # noqa: F401  registers
from fedjax_rl.algorithm import Pytree, environments, problems
from fedjax_rl.cmdp.model import CMDP, BoolArray, with_settings
from fedjax_rl.envs.finite import finite_task
from fedjax_rl.envs.task import Task, vary
from fedjax_rl.errors import InvalidInput, by_flag
from fedjax_rl.settings.values import UNREADABLE, named_texts, number
from fedjax_rl.sources.names import factory_of, is_file
from fedjax_rl.sources.objects import check_no_arguments, problem_of
from fedjax_rl.sources.problems import (
    Problem,
    access_matrix,
    call_factory,
    load_problem,
    problem_from_cmdp,
)


class LoadedTask(NamedTuple):
    """A task and who watches what.

    Attributes:
        task: with the budgets asked for.
        access: Γ [N, M].
        problem: the finite problem that the task is, or None.
    """

    task: Task
    access: BoolArray
    problem: Problem | None


def load_task(
    reference: str,
    *,
    agents: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    budgets: Sequence[float] | None = None,
    access: str | Path | ArrayLike | None = None,
) -> LoadedTask:
    """Loads a task by name, or a finite problem as one.

    Args:
        reference: a registered task or finite problem, ``path.npz``, or ``module:factory`` of a
            `Task` or a `CMDP`.
        agents: N, one per constraint unless given.
        arguments: keyword arguments of the factory.
        budgets: [M], in place of the task's own.
        access: matrix [N, M], or a file that holds one.

    Raises:
        InvalidInput: no such task, or any part of it cannot be used.
    """
    if is_file(reference) or (reference in problems and reference not in environments):
        return _finite(
            load_problem(
                reference, agents=agents, arguments=arguments, budgets=budgets, access=access
            )
        )
    try:
        factory = factory_of(environments, reference)
    except InvalidInput as error:
        if ":" in reference:
            raise
        finite = ", ".join(problems)
        raise InvalidInput(
            "--problem", repr(reference), f"{error.allowed}; finite problems: {finite}"
        ) from None
    made = call_factory(factory, reference, arguments or {}, {"agents": agents})
    if isinstance(made, CMDP):
        with by_flag("budgets"):
            made = with_settings(made, budgets=budgets)
        return _finite(problem_from_cmdp(made, agents=agents, access=access))
    if not isinstance(made, Task):
        raise InvalidInput(
            "--problem", reference, f"a factory of a Task or a CMDP, not {type(made).__name__}"
        )
    task = made if budgets is None else with_budgets(made, budgets)
    return LoadedTask(task, access_matrix(task.constraint_names, agents, access), None)


def task_of(
    given: Task | CMDP | Problem,
    *,
    agents: int | None,
    arguments: Sequence[str],
    budgets: Sequence[float] | None,
    access: str | None,
) -> LoadedTask:
    """A task, or a finite problem as one, with the settings of a run; see `objects.problem_of`.

    Raises:
        InvalidInput: a setting that does not fit the task, or an argument of a factory.
    """
    if not isinstance(given, Task):
        options: Any = {"agents": agents, "arguments": arguments}
        return _finite(problem_of(given, **options, budgets=budgets, access=access))
    check_no_arguments("--problem-args", arguments)
    task = given if budgets is None else with_budgets(given, budgets)
    return LoadedTask(task, access_matrix(task.constraint_names, agents, access), None)


def with_budgets(task: Task, budgets: Sequence[float]) -> Task:
    """The task with budgets of one's own.

    Raises:
        InvalidInput: not M finite numbers.
    """
    numbers = np.array(budgets, np.float32)
    if numbers.shape != task.budgets.shape or not np.isfinite(numbers).all():
        raise InvalidInput(
            "--budgets",
            list(budgets),
            f"{task.num_constraints} finite numbers, for {', '.join(task.constraint_names)}",
        )
    return task._replace(budgets=numbers)


def agents_dynamics(task: Task, entries: Sequence[str], num_agents: int) -> Pytree:
    """Each agent's parameters of the dynamics from entries NAME=VALUE,VALUE,….

    Raises:
        InvalidInput: no such parameter, or not one number for each agent.
    """
    values: dict[str, list[float]] = {}
    for name, text, entry in named_texts("--vary", entries):
        try:
            values[name] = [number(each) for each in text.split(",")]
        except UNREADABLE:
            raise InvalidInput("--vary", repr(entry), "NAME=VALUE,VALUE,… of numbers") from None
    return vary(task, values, num_agents)


def _finite(problem: Problem) -> LoadedTask:
    return LoadedTask(finite_task(problem.cmdp, problem.name), problem.access, problem)
