"""Going on with a run: what its directory says it is, and the session that runs such."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of, settings_in
from fedjax_rl.records.directory import MARK, SWEEP
from fedjax_rl.records.output import Destination
from fedjax_rl.records.saving import CheckpointSettings, sink_names
from fedjax_rl.runs.session import Request, compare_and_record, run_and_record
from fedjax_rl.settings.files import RunFile, read_run_file, settings_from


def resume(out: Path, devices: DeviceSettings = ONE, workers: Literal["auto"] | int = 1) -> bool:
    """Finishes the run of a directory, from its newest checkpoint or from the start.

    Args:
        out: what ``run``, ``compare``, ``sweep``, ``search`` or an earlier ``resume`` wrote.
        devices: over which it is spread, whatever it was before.
        workers: processes that run the chunks of a sweep or search; see `SweepRequest`.

    Returns:
        Whether it diverged; False for a run that is finished already.

    Raises:
        InvalidInput: no run directory, a kind that cannot be resumed, or a checkpoint of
            another run.
        Stopped: a signal asked for it, and the run is saved again.
    """
    path = out / MARK
    file = read_run_file(path, "run directory")
    if (out / ("comparison.csv" if file.compare else "summary.json")).exists():
        print(f"{out} is finished; nothing to do")
        return False
    checkpoints = settings_from(CheckpointSettings, file.checkpoints, "checkpoints")
    destination = Destination(
        out, checkpoints=checkpoints, resume=True, log_to=sink_names(file.sinks)
    )
    if (algorithm := str(file.algorithm)).startswith(SWEEP):
        return _sweep(file, algorithm.removeprefix(SWEEP), destination, devices, workers)
    if workers not in ("auto", 1):
        raise InvalidInput("--workers", workers, "auto or 1, for this is no sweep")
    try:
        family_of(algorithm)
    except InvalidInput:
        allowed = "one that fedjax-rl run or sweep wrote"
        raise InvalidInput("run directory", f"{path} of {file.algorithm!r}", allowed) from None
    _, _, settings = settings_in(file, out)
    content = file.made_with.get("problem_sha256")
    request = Request(algorithm, settings, destination, devices, content)
    return (compare_and_record if file.compare else run_and_record)(request)


def _sweep(
    file: RunFile,
    algorithm: str,
    destination: Destination,
    devices: DeviceSettings,
    workers: Literal["auto"] | int,
) -> bool:
    from fedjax_rl.sweeps.request import request_in
    from fedjax_rl.sweeps.session import sweep_and_record

    request = request_in(file, algorithm, destination, devices, workers)
    if "search" in file.settings:
        from fedjax_rl.sweeps.search import search_and_record
        from fedjax_rl.sweeps.search_request import search_again

        return search_and_record(search_again(request, file.settings["search"]))
    return sweep_and_record(request)
