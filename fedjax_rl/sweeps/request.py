"""The request of a sweep, from options or from the ``config.yaml`` of an earlier one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.families.protocol import settings_of
from fedjax_rl.families.registry import family_of
from fedjax_rl.ranking import EVERY_SEED
from fedjax_rl.records.directory import SWEEP
from fedjax_rl.records.output import Destination
from fedjax_rl.settings.fields import base_of
from fedjax_rl.settings.files import RunFile, settings_from
from fedjax_rl.settings.paths import (
    absolute,
    absolute_name,
    found_again,
    found_name,
    without_folders,
)
from fedjax_rl.sweeps.objective import Objective, objective_of, recorded_share
from fedjax_rl.sweeps.space import ALGORITHM, Space, space_of


class SweepRequest(NamedTuple):
    """The request of a sweep: algorithm, settings, space, destination.

    Attributes:
        algorithm: its name.
        base: settings that are not swept; ``seeds`` of them of every combination.
        space: those that are.
        chunk: members side by side; None for as many as fit memory.
        destination: where it is written, and how it survives.
        devices: over which members or their agents are spread.
        feasible_seeds: share of seeds that must keep every budget.
        compare: whether configurations are put side by side in the end.
        workers: how many processes run its chunks; 1 for this one alone, ``auto`` for one to a
            core where that is faster. No bit depends on it.
    """

    algorithm: str
    base: Any
    space: Space
    chunk: int | None = None
    destination: Destination = Destination()
    devices: DeviceSettings = ONE
    feasible_seeds: float = EVERY_SEED
    compare: bool = False
    workers: Literal["auto"] | int = 1

    @property
    def objective(self) -> Objective:
        """The objective that ranks the configurations of a sweep."""
        headline = family_of(self.algorithm).headline
        return objective_of(headline, feasible_seeds=self.feasible_seeds)

    def resolved(self) -> SweepRequest:
        """The request with absolute file names, so that it can be resumed from any folder."""
        files = family_of(self.algorithm).files

        def renamed(name: str, value: str) -> str:
            return str(absolute_name(value, files[name])) if name in files else value

        space = self.space.renamed(type(self.base), renamed)
        return self._replace(base=absolute(self.base, files), space=space)

    def identity(self) -> dict[str, Any]:
        """The document without the folders of files, which may be moved; see `document`."""
        files = family_of(self.algorithm).files

        def renamed(name: str, value: str) -> str:
            return str(without_folders({name: value}, files)[name])

        base = without_folders(dataclasses.asdict(self.base), files)
        space = self.space.renamed(type(self.base), renamed)
        return self._replace(space=space).document() | {"settings": base}

    def document(self) -> dict[str, Any]:
        """The content of ``config.yaml``: the whole request but for devices and workers."""
        space = self.space
        return {
            "algorithm": SWEEP + self.algorithm,
            "grid": space.grid,
            "random": space.random,
            "samples": space.samples,
            "sample_seed": space.sample_seed,
            "chunk": "auto" if self.chunk is None else self.chunk,
            "feasible_seeds": self.feasible_seeds,
            **({"compare": True} if self.compare else {}),
            "settings": dataclasses.asdict(self.base),
            "checkpoints": dataclasses.asdict(self.destination.checkpoints),
        }


def type_of(settings: Mapping[str, Any], algorithm: str) -> Any:
    """The type of the settings of a sweep, by what its ``config.yaml`` names.

    Args:
        settings: what the file says of the sweep: ``settings``, ``grid`` and ``random``.
        algorithm: that is swept.
    """
    random = {
        name: str(law).removeprefix("choice:").split("|")
        for name, law in (settings.get("random") or {}).items()
    }
    grid = settings.get("grid") or {}
    algorithms = tuple(map(str, grid.get(ALGORITHM, (algorithm,))))
    sources = settings.get("settings") or {}, grid, random
    return base_of(settings_of(family_of(algorithm), algorithms, *sources))


def request_in(
    file: RunFile,
    algorithm: str,
    destination: Destination,
    devices: DeviceSettings = ONE,
    workers: Literal["auto"] | int = 1,
) -> SweepRequest:
    """The request recorded in the ``config.yaml`` of a sweep.

    Raises:
        InvalidInput: it holds what cannot be.
    """
    family, document = family_of(algorithm), file.settings
    kind = type_of(document, algorithm)
    base: Any = settings_from(kind, document["settings"])
    laws = document["grid"] or {}, document["random"] or {}
    space = space_of(kind, *laws, document["samples"], document["sample_seed"])
    if destination.out is not None:

        def renamed(name: str, value: str) -> str:
            files, out = family.files, destination.out
            return str(found_name(value, files[name], out)) if name in files and out else value

        base = found_again(base, family.files, destination.out)
        space = space.renamed(kind, renamed)
    chunk = None if document["chunk"] == "auto" else document["chunk"]
    share = recorded_share(document)
    known = chunk, destination, devices, share, file.compare, workers
    return SweepRequest(algorithm, base, space, *known)
