"""Going on with a run: what its directory says it is, and the session that runs such."""

from __future__ import annotations

from pathlib import Path

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.config import checkpoint_settings, config_from_yaml, sink_names
from fedjax_rl.runs.directory import MARK
from fedjax_rl.runs.place import Destination
from fedjax_rl.runs.yaml_file import read_yaml


def resume(out: Path) -> bool:
    """Finishes the run of a directory, from its newest checkpoint or from the start.

    Args:
        out: what ``run`` or an earlier ``resume`` wrote.

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
            return _finite(destination, path)
        case "fedppo" | "fednatural":
            return _deep(algorithm, destination, path, compare)
        case str() if _is_loss(algorithm):
            return _hetero(algorithm, destination, path)
    raise InvalidInput("run directory", f"{path} of {algorithm!r}", "one that fedjax-rl run wrote")


def _finite(destination: Destination, path: Path) -> bool:
    from fedjax_rl.runs.session import run_and_record

    config, origin = config_from_yaml(path)
    return run_and_record(config, destination, origin)


def _deep(algorithm: str, destination: Destination, path: Path, compare: bool) -> bool:
    from fedjax_rl.runs.deep.config import read_config
    from fedjax_rl.runs.deep.session import compare_and_record, run_and_record

    config, origin = read_config(path, algorithm)
    record = compare_and_record if compare else run_and_record
    return record(algorithm, config, destination, origin)


def _is_loss(name: str) -> bool:
    from fedjax_rl.hetero.losses import losses

    return name in losses or ":" in name


def _hetero(loss: str, destination: Destination, path: Path) -> bool:
    from fedjax_rl.runs.hetero.config import read_config
    from fedjax_rl.runs.hetero.session import run_and_record

    config, origin = read_config(path, loss)
    return run_and_record(loss, config, destination, origin)
