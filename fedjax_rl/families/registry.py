"""Families by the names of their algorithms; each is imported when it is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from fedjax_rl.errors import InvalidInput, nearest
from fedjax_rl.families.protocol import Family, settings_of
from fedjax_rl.settings.files import RunFile, settings_from
from fedjax_rl.settings.paths import found_again

BUILT_IN = {
    "fednpg": "fedjax_rl.families.tabular.family",
    "fedppo": "fedjax_rl.families.networks.family",
    "fednatural": "fedjax_rl.families.networks.family",
}
"""Modules that have a ``FAMILY``, by algorithm."""
LOSSES = "fedjax_rl.families.stale.family"
"""Its algorithms are the losses by name, and ``module:factory`` of one's own."""

_registered: dict[str, Family] = {}


def register_family(family: Family) -> Family:
    """Adds a kind of experiment: its algorithms can be run, resumed, swept and reported.

    Returns:
        The family.

    Raises:
        InvalidInput: an algorithm's name is taken by another family, or contains a colon.

    Examples:
        >>> twin = family_of("fednpg")._replace(name="twin", algorithms={"twin-npg": "FedNPG"})
        >>> _ = register_family(twin)
        >>> "twin-npg" in algorithms(), family_of("twin-npg").name
        (True, 'twin')
        >>> register_family(twin._replace(algorithms={"fedppo": "another one"}))
        Traceback (most recent call last):
        fedjax_rl.errors.InvalidInput: algorithm: got 'fedppo'; that name is taken
    """
    for algorithm in family.algorithms:
        if ":" in algorithm:
            raise InvalidInput("algorithm", repr(algorithm), "a name has no colon")
        if algorithm in BUILT_IN or _registered.get(algorithm, family) is not family:
            raise InvalidInput("algorithm", repr(algorithm), "that name is taken")
    _registered.update(dict.fromkeys(family.algorithms, family))
    return family


def family_of(algorithm: str) -> Family:
    """The family of an algorithm; imports no more than that algorithm needs.

    Raises:
        InvalidInput: there is no such algorithm; names the nearest.
    """
    if algorithm in _registered:
        return _registered[algorithm]
    if algorithm in BUILT_IN:
        return _imported(BUILT_IN[algorithm])
    if ":" not in algorithm and algorithm not in (known := algorithms()):
        raise InvalidInput("algorithm", repr(algorithm), f"{nearest(algorithm, known)}; see --help")
    return _imported(LOSSES)


def algorithms() -> tuple[str, ...]:
    """The names of all algorithms."""
    from fedjax_rl.hetero.losses import losses

    return (*BUILT_IN, *_registered, *losses)


def _imported(module: str) -> Family:
    found: Any = importlib.import_module(module)
    family: Family = found.FAMILY
    return family


def settings_in(file: RunFile, directory: Path) -> tuple[Family, str, Any]:
    """Family, algorithm and settings of a run's ``config.yaml``, with files found where they are.

    Raises:
        InvalidInput: no algorithm that there is, or settings that cannot be used.
    """
    algorithm = str(file.algorithm)
    family = family_of(algorithm)
    settings: Any = settings_from(settings_of(family, algorithm, file.settings), file.settings)
    return family, algorithm, found_again(settings, family.files, directory)
