"""Several processes, on one host or many, that run one program together."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from fedjax_rl.backend import start_backend
from fedjax_rl.cluster.watch import Watch
from fedjax_rl.errors import InvalidInput, Stopped

SECONDS_TO_NOTICE = 20
"""Without a sign of life from a process, after which it counts as dead."""
SECONDS_OF_PATIENCE = 3600


@dataclasses.dataclass(frozen=True)
class HostSettings:
    """Which of several processes this one is, where a run is spread over several."""

    coordinator: str | None = None
    """host:port of process 0, the same for every process (the port above it is used, too); auto
    takes it, --process and --processes from the environment of Slurm, a Kubernetes Job or JAX_*."""
    process: int | None = None
    """Number of this process, from 0. Process 0 writes --out; all must see that directory."""
    processes: int | None = None
    """How many processes there are."""


class Team(NamedTuple):
    """The processes of a run that spans several.

    Attributes:
        host: of process 0.
        port: of JAX's coordinator on that host; the next one is the watch's.
        process: this one's number.
        processes: how many there are.
    """

    host: str
    port: int
    process: int
    processes: int


def team_of(settings: HostSettings, environment: Mapping[str, str]) -> Team | None:
    """The processes that the settings, or the environment, speak of; None for a process alone.

    Raises:
        InvalidInput: a part of them is missing or cannot be.
    """
    known = settings
    if settings.coordinator == "auto":
        known = _from_environment(settings, environment)
    for field, missing in (
        ("coordinator", known.coordinator is None),
        ("process", known.process is None),
        ("processes", known.processes is None),
    ):
        if missing and settings != HostSettings():
            raise InvalidInput(
                f"--{field}", "nothing", "all of --coordinator, --process and --processes"
            )
    if known.coordinator is None or known.process is None or known.processes is None:
        return None
    host, _, port = known.coordinator.rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) < 65535:
        raise InvalidInput("--coordinator", known.coordinator, "host:port, or auto")
    if known.processes < 1:
        raise InvalidInput("--processes", known.processes, "at least 1")
    if not 0 <= known.process < known.processes:
        raise InvalidInput("--process", known.process, f"0 … {known.processes - 1}")
    return Team(host, int(port), known.process, known.processes)


def _from_environment(settings: HostSettings, environment: Mapping[str, str]) -> HostSettings:
    """What was not given, from JAX_*, else Slurm, else the index of a Kubernetes Job."""
    coordinator = environment.get("JAX_COORDINATOR_ADDRESS")
    process = environment.get("JAX_PROCESS_ID")
    processes = environment.get("JAX_NUM_PROCESSES")
    if "SLURM_PROCID" in environment:
        process = process or environment["SLURM_PROCID"]
        processes = processes or environment.get(
            "SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS")
        )
        job = int(re.sub(r"\D", "", environment.get("SLURM_JOB_ID", "0")) or 0)
        nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", ""))
        if coordinator is None and nodes:
            coordinator = f"{first_node(nodes)}:{20000 + 2 * (job % 10000)}"
    process = process or environment.get("JOB_COMPLETION_INDEX")
    numbers = {"process": process, "processes": processes}
    for name, text in numbers.items():
        if text is not None and not text.isdigit():
            raise InvalidInput("--coordinator auto", f"{name} {text!r}", "a whole number")
    return HostSettings(
        coordinator,
        settings.process if settings.process is not None else _number(process),
        settings.processes if settings.processes is not None else _number(processes),
    )


def first_node(nodes: str) -> str:
    """The first name in a list as Slurm writes it: ``gpu[03-07,9],cpu1`` is ``gpu03``."""
    if match := re.match(r"([^\[,]*)\[([^\],-]+)[^\]]*\]([^,]*)", nodes):
        return match[1] + match[2] + match[3]
    return nodes.split(",")[0]


@contextlib.contextmanager
def joined(settings: HostSettings) -> Iterator[None]:
    """The context of a run with its team, each process watching that the others live.

    Output is process 0's alone. When a process dies, the others say which and stop.

    Raises:
        InvalidInput: settings that cannot be, the others do not come, or JAX finds no device.
    """
    team = team_of(settings, os.environ)
    if team is None or team.processes == 1:
        yield
        return
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(
            Watch(team.host, team.port + 1, team.process, team.processes, SECONDS_TO_NOTICE)
        )
        jax.distributed.initialize(  # before anything that starts a backend is imported
            f"{team.host}:{team.port}",
            num_processes=team.processes,
            process_id=team.process,
            # Deaths are the watch's business; process 0 may draw for a while after the others.
            heartbeat_timeout_seconds=SECONDS_OF_PATIENCE,
            shutdown_timeout_seconds=SECONDS_OF_PATIENCE,
        )
        start_backend()
        if team.process > 0:
            sink = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(sink))
        try:
            yield
        except Stopped:  # all of them
            _leave(watch)
            raise
        except jax.errors.JaxRuntimeError:
            watch.wait_for_a_death()  # what broke off was an exchange with it
            raise
        except BaseException as error:
            atexit.register(_end, 2 if isinstance(error, InvalidInput) else 1)
            raise
        _leave(watch)


def _leave(watch: Watch) -> None:
    watch.leave()
    jax.distributed.shutdown()


def _end(status: int) -> None:
    """Ends the process before JAX waits for the others, which are about to learn of it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def writes() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def share() -> tuple[int, int]:
    """The number of this process and how many there are."""
    return jax.process_index(), jax.process_count()


def wait_for_all() -> None:
    """Until every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("fedjax_rl")


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process; all of them must ask."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def same_in_all(field: str, number: int, allowed: str) -> None:
    """Raises InvalidInput unless all processes have the same number; all of them must ask."""
    if jax.process_count() == 1:
        return
    numbers = multihost_utils.process_allgather(np.array(number)).tolist()
    if len(set(numbers)) > 1:
        raise InvalidInput(field, f"{numbers} in processes 0 … {len(numbers) - 1}", allowed)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
