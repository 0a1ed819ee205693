"""Weights & Biases: an offline run, which ``wandb sync`` uploads when its owner likes."""

from __future__ import annotations

import os

import wandb
from wandb import Settings, init, teardown

from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.protocol import About, Logged, defined
from fedjax_rl.terminal.surroundings import environment, hooks

FOLDER = "wandb"
PROJECT = "fedjax-rl"
"""Unless WANDB_PROJECT says otherwise."""
QUIET = Settings(
    silent=True,
    console="off",
    save_code=False,
    disable_code=True,
    disable_git=True,
    x_disable_stats=True,
    x_disable_machine_info=True,
    x_save_requirements=False,
)
"""Rows and settings only: no terminal output, no source code, no system metrics."""


class WandbOffline:
    """A run beside any other that the process may have; ``wandb.run`` is left as it is."""

    def __init__(self, directory: RunDirectory, about: About):
        cache = directory.path / FOLDER / "cache"
        # For the process that wandb starts: it reports to its makers unless it is told not to.
        variables = environment(WANDB_ERROR_REPORTING="false", WANDB_CACHE_DIR=str(cache))
        with variables, hooks():
            self._run = init(
                mode="offline",
                dir=directory.path,
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=directory.path.resolve().name,
                config={"algorithm": about.algorithm, **about.settings},
                reinit="create_new",
                settings=QUIET,
            )

    def write(self, rows: Logged) -> None:
        for step, metrics in defined(rows):
            self._run.log(metrics, step=step)

    def close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
        if wandb.run is None:
            teardown()


def open_sink(directory: RunDirectory, about: About) -> WandbOffline:
    """Opens an offline run of Weights & Biases."""
    return WandbOffline(directory, about)
