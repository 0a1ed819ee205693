"""MLflow: a run in a SQLite store of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy.engine import URL

from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.protocol import About, Logged, defined
from fedjax_rl.terminal.surroundings import environment, quiet

with environment(MLFLOW_DISABLE_TELEMETRY="true"):  # which is read when mlflow is imported
    import alembic  # noqa: F401  mlflow asks for it as late as when it makes a store
    from mlflow.entities import Metric, Param, RunStatus
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

FOLDER = "mlflow"
FILE = "mlflow.db"
EXPERIMENT = "fedjax-rl"
METRICS_AT_ONCE = 1000
PARAMS_AT_ONCE = 100
"""MLflow takes no more in one batch."""


class MlflowStore:
    """Settings as parameters, rows as metrics.

    The store is opened directly and not by a tracking URI, for which MLflow keeps connections
    until the process ends: to a file that may have been replaced by then.
    """

    def __init__(self, directory: RunDirectory, about: About):
        folder = directory.path.resolve() / FOLDER
        folder.mkdir()
        uri = URL.create("sqlite", database=str(folder / FILE)).render_as_string()
        artifacts = (folder / "artifacts").as_uri()
        with quiet("mlflow", "alembic"):
            self._store = SqlAlchemyStore(uri, artifacts)
        experiment = self._store.create_experiment(EXPERIMENT, artifacts)
        name = directory.path.resolve().name
        run = self._store.create_run(experiment, "", _now(), [], name)
        self._run = run.info.run_id
        settings = {"algorithm": about.algorithm, **about.settings}
        params = [Param(key, str(value)) for key, value in settings.items()]
        for batch in _batches(params, PARAMS_AT_ONCE):
            self._store.log_batch(self._run, [], batch, [])

    def write(self, rows: Logged) -> None:
        now = _now()
        metrics = [
            Metric(allowed(name), value, now, step)
            for step, row in defined(rows)
            for name, value in row.items()
        ]
        for batch in _batches(metrics, METRICS_AT_ONCE):
            self._store.log_batch(self._run, batch, [], [])

    def close(self, finished: bool) -> None:
        status = RunStatus.FINISHED if finished else RunStatus.KILLED
        self._store.update_run_info(self._run, status, _now(), None)
        self._store.engine.dispose()


def open_sink(directory: RunDirectory, about: About) -> MlflowStore:
    """Makes a store with one run."""
    return MlflowStore(directory, about)


def allowed(name: str) -> str:
    """The name with ``_`` for what MLflow refuses in one."""
    parts = re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII).split("/")
    return "/".join(part if part.strip(".") else "_" * max(1, len(part)) for part in parts)


def _now() -> int:
    return int(1000 * time.time())


def _batches(entries: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(entries)
    while batch := list(islice(rest, size)):
        yield batch
