"""FedNPG on finite problems, as a sweep sees it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.cmdp.solve import problem_digest
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.runs.assembly import Prepared, load_configured, prepare, settings, simulated
from fedjax_rl.runs.config import FedNPGConfig
from fedjax_rl.runs.finite import _outcome
from fedjax_rl.runs.history import columns, initial_columns, no_sums, rows_of
from fedjax_rl.runs.programs import algorithm_of
from fedjax_rl.runs.session import resolved
from fedjax_rl.runs.sources import Problem
from fedjax_rl.runs.summary import summarise
from fedjax_rl.runs.sweeps.family import Assembled, Figures, Headline, thinned

PROBLEM = ("problem", "problem_args", "agents", "access", "budgets", "discount")
REAL = ("step_size", "dual_step_size", "multiplier_cap", "regularization", "tolerance", "seed")
"""Settings that nothing but the traced settings and the key of a run depend on."""
CURVES = ("value", "gap", "violation", "average_gap", "average_violation", "strong_violation")


class Tabular:
    """The family of `fednpg`; see `Family`. Problems are loaded and solved once."""

    algorithm = "fednpg"
    config: type = FedNPGConfig
    headline = Headline("average_gap", False, "feasible_average", "feasible_last")
    problem: tuple[str, ...] = PROBLEM

    def __init__(self) -> None:
        self._problems: dict[Any, Problem] = {}
        self._prepared: dict[Any, Prepared] = {}

    def resolved(self, config: FedNPGConfig) -> FedNPGConfig:
        """The settings with absolute file names."""
        absolute: FedNPGConfig = resolved(config)
        return absolute

    def assemble(self, config: FedNPGConfig) -> Assembled:
        """A member; only what differs from members with the same problem is made anew."""
        defaults = {name: getattr(FedNPGConfig, name) for name in REAL}
        likewise = dataclasses.replace(config, **defaults)
        if likewise not in self._prepared:
            content = tuple(getattr(config, name) for name in PROBLEM)
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
        own = dataclasses.replace(config, merge=prepared.config.merge)
        return Assembled(
            program=(prepared.algorithm, config.rounds),
            algorithm=prepared.algorithm,
            hparams=hparams,
            prepared=prepared._replace(config=own, hparams=hparams),
            rounds=config.rounds,
            chunk_rounds=prepared.chunk_rounds,
        )

    def agents(self, prepared: Prepared) -> int:
        """N."""
        return len(simulated(prepared.config, prepared.problem.access))

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """The algorithm of any of them."""
        prepared: Prepared = members[0].prepared
        return algorithm_of(prepared.config, self.agents(prepared), placement)

    def kept(self, state: Pytree) -> Pytree:
        """All of the state: policies and multipliers."""
        return state

    def figures(self, prepared: Prepared, rows: Pytree, kept: Pytree, failed: int) -> Figures:
        """Figures of a member, from rows up to the round that failed."""
        first = rows_of(jax.tree.map(lambda leaf: leaf[:1], rows))
        parts = [initial_columns(first, prepared.layout)]
        last = failed if failed >= 0 else len(rows.value)
        if last > 1:
            later = rows_of(jax.tree.map(lambda leaf: leaf[1:last], rows))
            none = no_sums(*first.costs.shape[:2])
            parts.append(columns(1, later, none, prepared.layout)[0])
        history = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        outcome = _outcome(prepared.algorithm, kept, failed if failed >= 0 else None)
        at = thinned(len(history["round"]))
        return Figures(
            summarise(prepared, history, outcome),
            {name: history[name][at] for name in ("round", *CURVES)},
        )

    def digest(self, prepared: Prepared) -> str:
        """SHA-256 of the problem's arrays."""
        return problem_digest(prepared.problem.cmdp)
