"""SHA-256 of what a run is about: a problem or a task, and who watches what."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from fedjax_rl.cmdp.access import default_access
from fedjax_rl.cmdp.model import BoolArray
from fedjax_rl.cmdp.solve import problem_digest
from fedjax_rl.sources.problems import Problem

if TYPE_CHECKING:  # gymnax takes seconds to import
    from fedjax_rl.sources.tasks import LoadedTask


def digest_of(problem: Problem) -> str:
    """SHA-256 of a problem's arrays, and of who watches what unless constraints are dealt."""
    return with_access(problem_digest(problem.cmdp), problem.access)


def with_access(digest: str, access: BoolArray) -> str:
    """A problem's digest, with that of an access matrix of one's own."""
    if np.array_equal(access, default_access(*access.shape)):
        return digest
    matrix = np.packbits(access).tobytes()
    return hashlib.sha256(f"{digest} {access.shape} ".encode() + matrix).hexdigest()


def digest_of_task(loaded: LoadedTask) -> str:
    """SHA-256 of what is known of a task: a finite problem's arrays, or parameters and budgets.

    Who watches what is part of it unless constraints are dealt.
    """
    if loaded.problem is not None:
        return digest_of(loaded.problem)
    task = loaded.task
    known = [task.environment.name, task.constraint_names, task.budgets.tolist(), task.kinds]
    numbers = sorted((name, np.asarray(leaf).tolist()) for name, leaf in vars(task.params).items())
    content = hashlib.sha256(repr([known, numbers]).encode()).hexdigest()
    return with_access(content, loaded.access)
