"""Going on with a run: what its directory says it is, and the session that runs such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.config import checkpoint_settings, sink_names
from fedjax_rl.runs.devices import ONE, DeviceSettings
from fedjax_rl.runs.directory import MARK, SWEEP
from fedjax_rl.runs.families.registry import family_of
from fedjax_rl.runs.paths import found_again
from fedjax_rl.runs.place import Destination
from fedjax_rl.runs.session import Request, compare_and_record, run_and_record
from fedjax_rl.runs.yaml_file import read_settings, read_yaml


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
    checkpoints = checkpoint_settings(path)
    destination = Destination(out, checkpoints=checkpoints, resume=True, log_to=sink_names(path))
    if isinstance(algorithm, str) and algorithm.startswith(SWEEP):
        return _sweep(document, algorithm.removeprefix(SWEEP), destination, devices)
    try:
        family = family_of(str(algorithm))
    except InvalidInput:
        allowed = "one that fedjax-rl run or sweep wrote"
        raise InvalidInput("run directory", f"{path} of {algorithm!r}", allowed) from None
    settings: Any
    settings, origin = read_settings(path, str(algorithm), family.settings)
    settings = found_again(settings, family.files, out)
    content = origin.get("problem_sha256")
    request = Request(str(algorithm), settings, destination, devices, content)
    return (compare_and_record if compare else run_and_record)(request)


def _sweep(
    document: dict[str, Any], algorithm: str, destination: Destination, devices: DeviceSettings
) -> bool:
    from fedjax_rl.runs.sweeps.request import asked_again
    from fedjax_rl.runs.sweeps.session import sweep_and_record

    asked = asked_again(document, algorithm, destination, devices)
    if "search" in document:
        from fedjax_rl.runs.sweeps.search import search_and_record
        from fedjax_rl.runs.sweeps.search_request import search_again

        return search_and_record(search_again(asked, document["search"]))
    return sweep_and_record(asked)
