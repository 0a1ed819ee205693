"""The trials of a search in SQLite; the only module that knows Optuna."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from fedjax_rl.errors import InvalidInput
from fedjax_rl.sweeps.space import Law

NAME = "search"
"""Of the study in its file."""
STARTUP = 10
"""Trials that TPE draws at random before it models anything."""
FAILURES = (optuna.exceptions.OptunaError, SQLAlchemyError)


class Trial(NamedTuple):
    """A trial that was asked for.

    Attributes:
        number: Optuna's.
        drawn: for each setting a number, or one of a choice's options.
        finished: whether its outcome was reported to Optuna.
    """

    number: int
    drawn: dict[str, Any]
    finished: bool


class Study:
    """Asks for trials and is told their values; a killed process loses neither.

    The sampler is made anew for every trial, with a seed of its own. So what is asked next
    depends on the seed and on the trials in the file, and not on when a search was resumed.

    Args:
        path: of the SQLite file, which is made unless it is there.
        laws: of each setting, as text and read.
        maximize: whether more is better.
        sampler: ``tpe`` or ``random``.
        seed: of everything that is drawn.

    Raises:
        InvalidInput: the file is damaged, or holds trials of other laws.
    """

    def __init__(
        self,
        path: Path,
        laws: Mapping[str, tuple[str, Law]],
        maximize: bool,
        sampler: str,
        seed: int,
    ):
        self._path, self._sampler, self._seed = path, sampler, seed
        self._space = {name: _distribution(law) for name, (_, law) in laws.items()}
        self._excess: dict[int, Sequence[float]] = {}
        request = {"laws": {name: text for name, (text, _) in laws.items()}, "maximize": maximize}
        request |= {"sampler": sampler, "seed": seed}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            self._storage = _storage(path)
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=NAME,
                load_if_exists=True,
                direction="maximize" if maximize else "minimize",
            )
            if not (known := self._study.user_attrs):
                self._study.set_user_attr("asked", request)
            self.trials()
        except (*FAILURES, RuntimeError, ValueError, KeyError):
            raise InvalidInput(
                "run directory",
                path,
                "a study that Optuna can read; without that file, resume asks anew for the same",
            ) from None
        if known and known.get("asked") != request:
            raise InvalidInput(
                "run directory",
                path,
                "trials of the search that config.yaml describes: put it right, or start anew "
                "with search --overwrite",
            )

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *error: object) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def trials(self) -> list[Trial]:
        """Trials in the order in which they were asked for.

        One that a kill cut while it was asked for is given up, to be asked for again.
        """
        found = []
        with self._stored():
            for trial in self._study.get_trials(deepcopy=False):
                if trial.state == TrialState.RUNNING and set(trial.params) != set(self._space):
                    self._study.tell(trial.number, state=TrialState.FAIL)
                elif trial.state != TrialState.FAIL:
                    finished = trial.state != TrialState.RUNNING
                    found.append(Trial(trial.number, dict(trial.params), finished))
        return found

    def ask(self) -> None:
        """Asks Optuna for a new trial."""
        # A fresh one for each trial, seeded by its position: no sampler has to survive a kill.
        self._study.sampler = self._sampler_of(len(self.trials()))
        with self._stored():
            self._study.ask(self._space)

    def tell(self, trial: Trial, value: float | None, excess: Sequence[float]) -> None:
        """Reports the outcome of a trial to Optuna.

        Args:
            trial: of `trials`, not finished yet.
            value: a finite number; None where there is none, which the sampler takes for worse
                than any number.
            excess: how far it is from keeping each condition, above 0 where it does not.
        """
        self._excess[trial.number] = excess
        self._study.sampler = self._sampler_of(0)
        with self._stored():
            if value is None:
                self._study.tell(trial.number, state=TrialState.PRUNED)
            else:
                self._study.tell(trial.number, value)

    def _sampler_of(self, position: int) -> optuna.samplers.BaseSampler:
        """The sampler of a trial; a random one is TPE that never begins to model."""
        seed = int(np.random.SeedSequence([self._seed, position]).generate_state(1)[0])
        with warnings.catch_warnings():
            # constraints_func: experimental in Optuna 4, deprecated in 5, the same in both.
            warnings.simplefilter("ignore")
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=STARTUP if self._sampler == "tpe" else 2**31,
                constant_liar=True,  # trials under way count as bad: no twins
                constraints_func=self._excess_of,
            )

    def _excess_of(self, trial: FrozenTrial) -> Sequence[float]:
        return self._excess[trial.number]

    @contextmanager
    def _stored(self) -> Iterator[None]:
        """Within it a storage that fails, as on a full disk, is an OSError."""
        try:
            yield
        except FAILURES as error:
            raise OSError(f"{self._path}: {' '.join(str(error).split())}") from None


def _storage(path: Path) -> optuna.storages.RDBStorage:
    """The storage of a file of any name, which an address could not hold."""
    connect = partial(sqlite3.connect, path, check_same_thread=False)
    return optuna.storages.RDBStorage(
        "sqlite://", engine_kwargs={"creator": connect, "poolclass": StaticPool}
    )


def _distribution(law: Law) -> BaseDistribution:
    if law.options:
        return CategoricalDistribution(list(dict.fromkeys(law.options)))
    return FloatDistribution(law.low, law.high, log=law.log)
