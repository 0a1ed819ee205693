"""Going on with a run: what its directory says it is, and the session that runs such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.config import checkpoint_settings, config_from_yaml, sink_names
from fedjax_rl.runs.devices import ONE, DeviceSettings
from fedjax_rl.runs.directory import MARK
from fedjax_rl.runs.place import Destination
from fedjax_rl.runs.yaml_file import read_yaml

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
    document = read_yaml("run directory", path)
    algorithm = document.get("algorithm") if isinstance(document, dict) else None
    compare = isinstance(document, dict) and bool(document.get("compare"))
    if (out / ("comparison.csv" if compare else "summary.json")).exists():
        print(f"{out} is finished; nothing to do")
        return False
    destination = Destination(
        out, checkpoints=checkpoint_settings(path), resume=True, log_to=sink_names(path)
    )
    match algorithm:
        case "fednpg":
            return _finite(destination, path, devices)
        case "fedppo" | "fednatural":
            return _deep(algorithm, destination, path, compare, devices)
        case str() if algorithm.startswith(SWEEP):
            return _sweep(document, algorithm.removeprefix(SWEEP), destination, devices)
        case str() if _is_loss(algorithm):
            return _hetero(algorithm, destination, path, devices)
    allowed = "one that fedjax-rl run or sweep wrote"
    raise InvalidInput("run directory", f"{path} of {algorithm!r}", allowed)


def _finite(destination: Destination, path: Path, devices: DeviceSettings) -> bool:
    from fedjax_rl.runs.session import run_and_record

    config, origin = config_from_yaml(path)
    return run_and_record(config, destination, origin, devices)


def _deep(
    algorithm: str, destination: Destination, path: Path, compare: bool, devices: DeviceSettings
) -> bool:
    from fedjax_rl.runs.deep.config import read_config
    from fedjax_rl.runs.deep.session import compare_and_record, run_and_record

    config, origin = read_config(path, algorithm)
    record = compare_and_record if compare else run_and_record
    return record(algorithm, config, destination, origin, devices)


def _sweep(
    document: dict[str, Any], algorithm: str, destination: Destination, devices: DeviceSettings
) -> bool:
    from fedjax_rl.runs.sweeps.session import asked_again, sweep_and_record

    asked = asked_again(document, algorithm, destination, devices)
    if "search" in document:
        from fedjax_rl.runs.sweeps.search import search_again, search_and_record

        return search_and_record(search_again(asked, document["search"]))
    return sweep_and_record(asked)


def _is_loss(name: str) -> bool:
    from fedjax_rl.hetero.losses import losses

    return name in losses or ":" in name


def _hetero(loss: str, destination: Destination, path: Path, devices: DeviceSettings) -> bool:
    from fedjax_rl.runs.hetero.config import read_config
    from fedjax_rl.runs.hetero.session import run_and_record

    config, origin = read_config(path, loss)
    return run_and_record(loss, config, destination, origin, devices)
