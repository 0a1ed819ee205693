"""Whether the tests notice a sign that is flipped in the places that everything rests on."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
CARRIED = ("fedjax_rl", "tests", "pyproject.toml")
FAILED = re.compile(r"^FAILED (\S+)", re.M)


class Mutation(NamedTuple):
    """One flipped sign.

    Attributes:
        place: what is wrong then.
        file: in the package.
        before: source that occurs exactly once in it.
        after: what stands there instead.
        test: node that fails then, and passes otherwise.
    """

    place: str
    file: str
    before: str
    after: str
    test: str


MUTATIONS = (
    Mutation(
        "dual update: multipliers fall where a cost is above its budget",
        "ops/duals.py",
        "state.multipliers + settings.step_size",
        "state.multipliers - settings.step_size",
        "tests/ops/test_duals.py::test_projected_gradient_by_hand",
    ),
    Mutation(
        "1/N weight: an agent counts N times instead of 1/N",
        "learners/tabular/agent.py",
        "1.0 / len(access)",
        "1.0 * len(access)",
        "tests/learners/tabular/test_npg.py::test_agents_hold_only_the_costs_they_watch",
    ),
    Mutation(
        "GAE mask: the recursion goes on across an end and is cut elsewhere",
        "ops/returns.py",
        "jnp.where(ended[..., None], 0.0, discount * decay)",
        "jnp.where(~ended[..., None], 0.0, discount * decay)",
        "tests/ops/test_returns.py::"
        "test_undiscounted_advantages_are_sums_to_the_end_of_the_episode",
    ),
    Mutation(
        "clip side: the larger of the two objectives",
        "ops/surrogate.py",
        "return jnp.minimum(ratio * advantage",
        "return jnp.maximum(ratio * advantage",
        "tests/ops/test_surrogate.py::test_clipping_takes_away_the_incentive_and_never_the_penalty",
    ),
    Mutation(
        "merge weights: multiplied by their sum, not divided",
        "ops/means.py",
        "leaf / weight",
        "leaf * weight",
        "tests/federation/test_round.py::test_an_absent_agent_has_no_weight",
    ),
    Mutation(
        "update: the received message minus what was learnt",
        "ops/differences.py",
        "one - other",
        "other - one",
        "tests/federation/test_round.py::test_round_by_hand",
    ),
    Mutation(
        "GEPO denominator: a factor instead",
        "hetero/losses/sequences.py",
        "return log_p - stop_gradient(group_log_mean(log_q, log_q, choices))",
        "return log_p + stop_gradient(group_log_mean(log_q, log_q, choices))",
        "tests/hetero/test_losses.py::test_fractions_by_hand",
    ),
    Mutation(
        "KL direction: KL(q‖p) instead of KL(p‖q)",
        "hetero/losses/kl.py",
        "return weight(log_ratios) * log_ratios - ratio_less_one",
        "return ratio_less_one - log_ratios",
        "tests/hetero/test_losses.py::test_what_the_kl_terms_estimate",
    ),
    Mutation(
        "budget sense: budgets to be exceeded",
        "learners/tabular/npg.py",
        "estimate.cost_estimate - agent.budgets",
        "agent.budgets - estimate.cost_estimate",
        "tests/learners/tabular/test_npg.py::"
        "test_policy_step_uses_the_multipliers_before_the_dual_step",
    ),
    Mutation(
        "conjugate-gradient product: added to the residual",
        "ops/conjugate_gradient.py",
        "now.residual - length * image",
        "now.residual + length * image",
        "tests/ops/test_conjugate_gradient.py::"
        "test_as_many_steps_as_distinct_eigenvalues_are_enough",
    ),
    Mutation(
        "staleness index: versions count forward",
        "hetero/schedule.py",
        "np.arange(schedule.version.shape[-1]) - schedule.version",
        "np.arange(schedule.version.shape[-1]) + schedule.version",
        "tests/hetero/test_schedule.py::test_a_schedule_by_hand",
    ),
)


def measure(quick: bool) -> dict[str, Any]:
    """Applies one mutation after another to a copy of the package."""
    selected = MUTATIONS[-1:] if quick else MUTATIONS
    with tempfile.TemporaryDirectory() as name:
        copy = pathlib.Path(name)
        for part in CARRIED:
            carry(ROOT / part, copy / part)
        whole = failing(copy, [mutation.test for mutation in selected])
        assert not whole, f"these fail without any mutation: {whole}"
        figures = [survey(copy, mutation) for mutation in selected]
    survivors = [figure["place"] for figure in figures if not figure["caught"]]
    assert not survivors, f"no test noticed: {survivors}"
    return {"mutations": figures}


def carry(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file, or a directory without what Python compiled."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def survey(copy: pathlib.Path, mutation: Mutation) -> dict[str, Any]:
    """Whether a mutation's test fails; the copy is whole again afterwards."""
    path = copy / "fedjax_rl" / mutation.file
    source = path.read_text(encoding="utf-8")
    path.write_text(mutated(source, mutation), encoding="utf-8")
    failed = failing(copy, [mutation.test])
    path.write_text(source, encoding="utf-8")
    print(f"{'caught  ' if failed else 'SURVIVED'}  {mutation.place}")
    return mutation._asdict() | {"caught": bool(failed), "failed": failed}


def mutated(source: str, mutation: Mutation) -> str:
    """The source of the mutation's file with the mutation in it.

    Raises:
        ValueError: there is not exactly one place for it.
    """
    if (count := source.count(mutation.before)) != 1:
        raise ValueError(f"{mutation.file}: {mutation.before!r} occurs {count} times, not once")
    return source.replace(mutation.before, mutation.after)


def failing(copy: pathlib.Path, tests: list[str]) -> list[str]:
    """Which of the tests fail on the copy.

    Raises:
        RuntimeError: they could not be run at all.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",  # a file of the same size and second would not be reread
        "PYTEST_ADDOPTS": "",  # what whoever started this says of other tests
    }
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    failed = FAILED.findall(done.stdout)
    if done.returncode not in (0, 1) or bool(failed) != bool(done.returncode):
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")
    return failed
