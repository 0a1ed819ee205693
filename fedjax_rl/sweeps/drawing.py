"""PNG files of a sweep: what is asked for, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fedjax_rl.errors import InvalidInput
from fedjax_rl.figures import png
from fedjax_rl.figures.description import Figure
from fedjax_rl.sweeps.best import candidates
from fedjax_rl.sweeps.figures import (
    budgets_first,
    curve_of,
    curves_by,
    curves_of_best,
    heat_map,
    parallel,
)
from fedjax_rl.sweeps.objective import Objective, check_metric, recorded_objective
from fedjax_rl.sweeps.request import type_of
from fedjax_rl.sweeps.results import read_chunks, read_document, read_rows
from fedjax_rl.sweeps.space import ALGORITHM, setting


class PlotOptions(NamedTuple):
    """The options of ``fedjax-rl plot``.

    Attributes:
        objective: the metric, and which end of it is good.
        across: the setting of the heat map's horizontal axis; the first unless given.
        up: that of its vertical axis; the second unless given.
        curve: a name in ``curves.npz``; unless given, the metric if it is one, else the first.
        by: the setting whose values are curves; unless given, the best configurations are.
    """

    objective: Objective | None = None
    across: str | None = None
    up: str | None = None
    curve: str | None = None
    by: str | None = None


def plot_sweep(path: Path, options: PlotOptions) -> list[str]:
    """Writes heatmap.png, curves.png and parallel.png into the directory of a sweep.

    Returns:
        The names that were written; there is no heat map of fewer than two settings.

    Raises:
        InvalidInput: no sweep, or an unknown metric, setting or curve.
    """
    rows = read_rows(path)
    document, algorithm = read_document(path)
    done = read_chunks(path)
    objective = options.objective or recorded_objective(path)
    check_metric("--metric", objective.metric, rows)
    names = [*document["grid"], *document["random"]]
    options = options._replace(
        across=_swept("--across", type_of(document, algorithm), options.across, names),
        up=_swept("--up", type_of(document, algorithm), options.up, names),
        by=_swept("--by", type_of(document, algorithm), options.by, names),
    )
    found = candidates(rows, names)
    name = curve_of(options.curve, objective.metric, done)
    if options.by is None:
        lines = curves_of_best(found, done, objective, name, "curves.png")
    else:
        lines = curves_by(found, done, objective, name, options.by)
    figures = [*lines, *parallel(found, objective)]
    if (axes := _two(names, options)) is not None:
        views = heat_map(found, objective, objective.metric, *axes)
        note = f"Means over seeds and all other settings.{budgets_first(objective)}"
        figures += [Figure("", (view,), note, "heatmap.png") for view in views]
    return png.write(figures, path)


def _swept(option: str, config: type, requested: str | None, names: Sequence[str]) -> str | None:
    """The name, if it is that of a setting that was swept."""
    if requested is None:
        return None
    name = requested if requested == ALGORITHM else setting(option, config, requested)
    if name not in names:
        raise InvalidInput(option, repr(requested), f"a swept setting: {', '.join(names)}")
    return name


def _two(names: Sequence[str], options: PlotOptions) -> tuple[str, str] | None:
    """The settings of a heat map's axes, or None when there are not two."""
    across = options.across or next((name for name in names if name != options.up), None)
    up = options.up or next((name for name in names if name != across), None)
    return (across, up) if across and up and across != up else None
