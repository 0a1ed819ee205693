"""FedNPG on finite problems: runs, members of sweeps, messages, files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.families.protocol import Experiment, Family, Headline, Result
from fedjax_rl.families.tabular import messages
from fedjax_rl.families.tabular.assembly import (
    Prepared,
    load_configured,
    prepare,
    settings,
    simulated,
)
from fedjax_rl.families.tabular.comparison import Equal, comparison, equal, measures
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.figures import figures_of
from fedjax_rl.families.tabular.history import columns, initial_columns, no_sums, rows_of
from fedjax_rl.families.tabular.programs import NAMED, algorithm_of, own_settings, unread
from fedjax_rl.families.tabular.summary import summarise
from fedjax_rl.families.tabular.table import HEADER, cells
from fedjax_rl.families.tabular.training import FedNPGResult, outcome_of, run
from fedjax_rl.records.checkpointer import Checkpointer
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.log import LogSchedule
from fedjax_rl.settings.fields import PROBLEM, TRACED, by_name, check_effect, names
from fedjax_rl.sources.content import digest_of
from fedjax_rl.sources.problems import PROBLEM_FILES, Problem
from fedjax_rl.terminal.live import working
from fedjax_rl.training.loop import OnRows
from fedjax_rl.training.protocol import Assembled, MemberResult, thinned

CURVES = ("value", "gap", "violation", "average_gap", "average_violation", "strong_violation")


def _prepare(algorithm: str, settings: FedNPGConfig, devices: DeviceSettings) -> Experiment:
    prepared = prepare(settings, devices=devices)
    return Experiment(
        settings=settings,
        digest=digest_of(prepared.problem),
        logged=LogSchedule("round", settings.rounds, settings.log_every, settings.seeds),
        opening=messages.opening(prepared),
        header=HEADER,
        cells=partial(cells, layout=prepared.layout),
        run=partial(_run, prepared),
    )


def _run(
    prepared: Prepared, on_rows: OnRows, checkpointer: Checkpointer, span: Callable[[int], int]
) -> Result:
    prepared = prepared._replace(span_rounds=span(prepared.span_rounds))
    result = run(prepared, on_rows, checkpointer)
    return Result(
        summary=result.summary,
        diverged=result.outcome.failed_round is not None,
        closing=messages.closing(result),
        write=partial(_write, result),
        rows=result.history,
        own=result,
    )


def _write(result: FedNPGResult, directory: RunDirectory) -> None:
    """Policies and plots."""
    from fedjax_rl.figures import png

    directory.write_arrays(
        "policy.npz",
        {
            "last": result.outcome.last_policy,
            "averaged": result.outcome.averaged_policy,
            "recommended": np.array(result.summary["recommended_policy"]),
        },
    )
    with working("drawing"):
        figures = figures_of(result.history, result.summary)
        png.write(figures, directory.path, result.problem.name)


class Tabular:
    """The `Assembler` of ``fednpg``. Problems are loaded and solved once."""

    def __init__(self, algorithm: str = "fednpg", equal: Equal | None = None) -> None:
        self.algorithm, self._equal = algorithm, equal
        self._problems: dict[Any, Problem] = {}
        self._prepared: dict[Any, Prepared] = {}

    def assemble(self, config: FedNPGConfig) -> Assembled:
        """A member; only what differs from members with the same problem is made anew."""
        check_effect(config, unread(self.algorithm, by_name(config)))
        kind = type(config)
        defaults = {name: getattr(kind, name) for name in names(kind, TRACED)}
        likewise = dataclasses.replace(config, **defaults)
        if likewise not in self._prepared:
            content = (
                *(getattr(config, name) for name in names(FedNPGConfig, PROBLEM)),
                config.access,
            )
            if content not in self._problems:
                self._problems[content] = load_configured(config)
            self._prepared[likewise] = prepare(likewise, self._problems[content])
        prepared = self._prepared[likewise]
        cmdp, access = prepared.problem.cmdp, prepared.problem.access
        hparams = settings(
            config,
            cmdp,
            simulated(config, access),
            prepared.certificate.dual_bound,
            pace=1 / len(access),
        )
        return Assembled(
            program=(prepared.algorithm, config.rounds),
            algorithm=prepared.algorithm,
            hparams=hparams,
            prepared=prepared._replace(config=config, hparams=hparams),
            rounds=config.rounds,
            span_rounds=prepared.span_rounds,
        )

    def agents(self, prepared: Prepared) -> int:
        """The number of agents N."""
        return len(simulated(prepared.config, prepared.problem.access))

    def at_once(self, prepared: Prepared, members: int) -> int:
        """All of them."""
        return members

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """The algorithm of any of them."""
        prepared: Prepared = members[0].prepared
        return algorithm_of(prepared.config, self.agents(prepared), placement)

    def outcome(self, algorithm: Algorithm, state: Pytree) -> Pytree:
        """The whole state: policies and multipliers."""
        return state

    def result(
        self, prepared: Prepared, rows: Pytree, outcome: Pytree, failed: int
    ) -> MemberResult:
        """Figures of a member, from rows up to the round that failed."""
        first = rows_of(jax.tree.map(lambda leaf: leaf[:1], rows))
        parts = [initial_columns(first, prepared.layout)]
        last = failed if failed >= 0 else len(rows.value)
        if last > 1:
            later = rows_of(jax.tree.map(lambda leaf: leaf[1:last], rows))
            none = no_sums(*first.costs.shape[:2])
            parts.append(columns(1, later, none, prepared.layout)[0])
        history = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        outcome = outcome_of(prepared.algorithm, outcome, failed if failed >= 0 else None)
        at = thinned(len(history["round"]))
        summary = summarise(prepared, history, outcome)
        if self._equal is not None:
            summary |= {
                view: measures(prepared, rows, history, summary, round)
                for view, round in self._equal.at(prepared.config).items()
            }
        return MemberResult(summary, {name: history[name][at] for name in ("round", *CURVES)})

    def digest(self, prepared: Prepared) -> str:
        """SHA-256 of the problem's arrays."""
        return digest_of(prepared.problem)


FAMILY = Family(
    name="tabular",
    settings=FedNPGConfig,
    algorithms={
        "fednpg": "natural policy gradient on local Lagrangians, for finite problems",
    },
    about="""Train FedNPG on a finite problem and compare it with the exact optimum.

Every agent ascends its own Lagrangian for E local steps, keeps its multipliers to itself, and the
policies are merged; T such rounds make a run. The table shows the merged policy, evaluated exactly:
its value, the gap to the constrained optimum V*, how far each cost is above its budget, each
agent's multipliers, and gap and violation of the average over rounds.""",
    headline=Headline("average_gap", False, "feasible_average", "feasible_last"),
    problem="problem",
    named=NAMED,
    own=own_settings,
    unread=unread,
    files=PROBLEM_FILES,
    prepare=_prepare,
    assembler=Tabular,
    section="fedjax_rl.report.finite:finite_section",
    comparison=comparison(lambda assembler, settings: Tabular("fednpg", equal(settings))),
)
