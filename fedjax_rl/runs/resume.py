"""Going on with a run: what its directory says it is, and the session that runs such."""

from __future__ import annotations

from pathlib import Path

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.config import CheckpointSettings, FedNPGConfig, sink_names
from fedjax_rl.runs.devices import ONE, DeviceSettings
from fedjax_rl.runs.directory import MARK
from fedjax_rl.runs.place import Destination
from fedjax_rl.settings.files import RunFile, read_run_file, settings_from

SWEEP = "sweep "
"""What the ``algorithm`` of a sweep's configuration begins with."""


def resume(out: Path, devices: DeviceSettings = ONE) -> bool:
    """Finishes the run of a directory, from its newest checkpoint or from the start.

    Args:
        out: what ``run``, ``sweep`` or an earlier ``resume`` wrote.
        devices: over which it is spread, whatever it was before.

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
    match algorithm := file.algorithm:
        case "fednpg":
            return _finite(destination, file, devices)
        case "fedppo" | "fednatural":
            return _deep(algorithm, destination, file, devices)
        case str() if algorithm.startswith(SWEEP):
            return _sweep(file, algorithm.removeprefix(SWEEP), destination, devices)
        case str() if _is_loss(algorithm):
            return _hetero(algorithm, destination, file, devices)
    allowed = "one that fedjax-rl run or sweep wrote"
    raise InvalidInput("run directory", f"{path} of {algorithm!r}", allowed)


def _finite(destination: Destination, file: RunFile, devices: DeviceSettings) -> bool:
    from fedjax_rl.runs.session import run_and_record

    config = settings_from(FedNPGConfig, file.settings)
    return run_and_record(config, destination, file.made_with, devices)


def _deep(algorithm: str, destination: Destination, file: RunFile, devices: DeviceSettings) -> bool:
    from fedjax_rl.runs.deep.config import DeepConfig
    from fedjax_rl.runs.deep.session import compare_and_record, run_and_record

    config = settings_from(DeepConfig, file.settings)
    record = compare_and_record if file.compare else run_and_record
    return record(algorithm, config, destination, file.made_with, devices)


def _sweep(
    file: RunFile, algorithm: str, destination: Destination, devices: DeviceSettings
) -> bool:
    from fedjax_rl.runs.sweeps.session import asked_again, sweep_and_record

    asked = asked_again(file.settings, algorithm, destination, devices)
    if "search" in file.settings:
        from fedjax_rl.runs.sweeps.search import search_again, search_and_record

        return search_and_record(search_again(asked, file.settings["search"]))
    return sweep_and_record(asked)


def _is_loss(name: str) -> bool:
    from fedjax_rl.hetero.losses import losses

    return name in losses or ":" in name


def _hetero(loss: str, destination: Destination, file: RunFile, devices: DeviceSettings) -> bool:
    from fedjax_rl.runs.hetero.config import HeteroConfig
    from fedjax_rl.runs.hetero.session import run_and_record

    config = settings_from(HeteroConfig, file.settings)
    return run_and_record(loss, config, destination, file.made_with, devices)
