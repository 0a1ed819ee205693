"""PNG plots of a sweep: heat maps, curves with intervals, parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from fedjax_rl.checks import is_number
from fedjax_rl.errors import InvalidInput
from fedjax_rl.figures.style import COLOURS, DASHES, STYLE, save
from fedjax_rl.statistics import interquartile_mean, stratified_bootstrap
from fedjax_rl.sweeps.best import Candidate, candidates, ordered
from fedjax_rl.sweeps.execution import Done
from fedjax_rl.sweeps.objective import Objective, check_metric, recorded_objective
from fedjax_rl.sweeps.request import type_of
from fedjax_rl.sweeps.results import read_chunks, read_document, read_rows
from fedjax_rl.sweeps.space import ALGORITHM, setting

CELLS = 12
"""With more values than this a setting is an axis of points and not of cells."""
CURVES_DRAWN = 6
POINTS_WITH_BANDS = 40
RESAMPLES = 500
COLOUR_MAP = "viridis"


class Drawn(NamedTuple):
    """What is drawn.

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


def plot_sweep(path: Path, drawn: Drawn) -> list[str]:
    """Writes heatmap.png, curves.png and parallel.png into the directory of a sweep.

    Returns:
        The names that were written; there is no heat map of fewer than two settings.

    Raises:
        InvalidInput: no sweep, or an unknown metric, setting or curve.
    """
    rows = read_rows(path)
    document, algorithm = read_document(path)
    done = read_chunks(path)
    objective = drawn.objective or recorded_objective(path)
    check_metric("--metric", objective.metric, rows)
    names = [*document["grid"], *document["random"]]
    drawn = drawn._replace(
        across=_swept("--across", type_of(document, algorithm), drawn.across, names),
        up=_swept("--up", type_of(document, algorithm), drawn.up, names),
        by=_swept("--by", type_of(document, algorithm), drawn.by, names),
    )
    found = candidates(rows, names)
    curve = _curve(drawn.curve, objective.metric, done)
    figures = {"curves.png": curves(found, done, objective, curve, drawn.by)}
    figures["parallel.png"] = parallel(found, objective)
    axes = _two(names, drawn)
    if axes is not None:
        figures["heatmap.png"] = heat_map(found, objective, *axes)
    with matplotlib.rc_context(STYLE):
        for name, figure in figures.items():
            save(figure, path / name)
    return sorted(figures)


def of_the_best(done: Mapping[int, Done], objective: Objective) -> Figure:
    """The curves of the best configurations."""
    found = candidates([done[member].row for member in sorted(done)])
    return curves(found, done, objective, _curve(None, objective.metric, done), None)


def heat_map(found: Sequence[Candidate], objective: Objective, across: str, up: str) -> Figure:
    """Means of the metric over everything but two settings: cells, or points of two numbers."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    finite = [one for one in found if math.isfinite(one.mean(objective.metric))]
    columns, lines = ([one.chosen[name] for one in finite] for name in (across, up))
    values = np.array([one.mean(objective.metric) for one in finite])
    few = all(len(set(map(str, axis))) <= CELLS for axis in (columns, lines))
    if few or not (_numbers(columns) and _numbers(lines)):
        xs, ys = _distinct(columns), _distinct(lines)
        sums, counts = np.zeros((2, len(ys), len(xs)))
        for column, line, value in zip(columns, lines, values, strict=True):
            sums[ys.index(str(line)), xs.index(str(column))] += value
            counts[ys.index(str(line)), xs.index(str(column))] += 1
        means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        shown: Any = axes.imshow(means, origin="lower", aspect="auto", cmap=COLOUR_MAP)
        for (y, x), mean in np.ndenumerate(means):
            if math.isfinite(mean) and means.size <= CELLS**2:
                colour = "black" if shown.norm(mean) > 0.6 else "white"
                axes.text(x, y, f"{mean:.3g}", ha="center", va="center", color=colour)
        axes.set_xticks(range(len(xs)), list(map(_short, xs)))
        axes.set_yticks(range(len(ys)), list(map(_short, ys)))
        axes.grid(False)
    else:
        shown = axes.scatter(columns, lines, c=values, cmap=COLOUR_MAP, s=40)
        _scaled(axes, "x", columns)
        _scaled(axes, "y", lines)
    figure.colorbar(shown, ax=axes, label=objective.metric)
    end = "largest" if objective.maximize else "smallest"
    first = " among those that keep every budget" if objective.feasible else ""
    axes.set(xlabel=across, ylabel=up, title=f"mean {objective.metric}; {end} is best{first}")
    return figure


def curves(
    found: Sequence[Candidate],
    done: Mapping[int, Done],
    objective: Objective,
    curve: str,
    by: str | None,
) -> Figure:
    """Interquartile means and 95 % bootstrap intervals of learning curves.

    A line is one of the best configurations, resampled over its seeds; or all configurations
    with the same value of a setting, each of them a stratum of its own.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    lines: dict[str, list[Candidate]] = {}
    most = len(COLOURS) * len(DASHES)
    if by is None:
        most = CURVES_DRAWN
        for _, one in ordered(found, objective):
            label = ", ".join(f"{name} {_short(value)}" for name, value in one.chosen.items())
            lines[label] = [one]
    else:
        for one in found:
            if math.isfinite(one.mean(objective.metric)):
                lines.setdefault(f"{by} {_short(one.chosen[by])}", []).append(one)
    for index, (label, ones) in enumerate(list(lines.items())[:most]):
        rounds, bands = banded(ones, done, curve)
        colour = COLOURS[index % len(COLOURS)]
        dash = DASHES[index // len(COLOURS)]
        axes.plot(rounds, bands[:, 0], color=colour, ls=dash, label=label)
        axes.fill_between(rounds, bands[:, 1], bands[:, 2], color=colour, alpha=0.15, lw=0)
    which = f"the {'best' if by is None else 'first'} {most} of {len(lines)}"
    cut = f"; {which}" if len(lines) > most else ""
    title = f"interquartile means, 95 % bootstrap intervals{cut}"
    axes.set(xlabel="round", ylabel=curve, title=title)
    if lines:
        axes.legend(fontsize="small")
    return figure


def banded(
    ones: Sequence[Candidate], done: Mapping[int, Done], curve: str
) -> tuple[np.ndarray, np.ndarray]:
    """Rounds [Q], and [Q, 3] estimate, low and high of what configurations have there.

    Args:
        ones: configurations with equally many seeds, none of which diverged; the strata.
        done: all members, by number.
        curve: the name of their curves.
    """
    seeds = min(len(one.rows) for one in ones)
    members = [[done[row["member"]].curves for row in one.rows[:seeds]] for one in ones]
    scores = np.array([[own[curve] for own in each] for each in members])  # [tasks, runs, Q]
    rounds = members[0][0]["round"]
    at = np.flatnonzero(np.isfinite(scores).all((0, 1)) & np.isfinite(rounds))
    if len(at) > POINTS_WITH_BANDS:
        at = at[np.linspace(0, len(at) - 1, POINTS_WITH_BANDS).round().astype(int)]
    intervals = [
        stratified_bootstrap(scores[:, :, point].T, interquartile_mean, resamples=RESAMPLES, seed=0)
        for point in at
    ]
    return rounds[at], np.array(intervals).reshape(-1, 3)


def parallel(found: Sequence[Candidate], objective: Objective) -> Figure:
    """A line for each configuration through its settings and its metric, the best in front."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    best = ordered(found, objective)
    names = list(found[0].chosen)
    if not best:
        axes.set_title(f"no configuration has {objective.metric}")
        return figure
    values = np.array([value for value, _ in best])
    places = [_places([one.chosen[name] for _, one in best]) for name in names]
    places.append(_places(values.tolist()))
    colours = matplotlib.colormaps[COLOUR_MAP]
    norm = Normalize(values.min(), values.max() if values.max() > values.min() else None)
    heights = np.array([place for place, _ in places])
    for index in reversed(range(len(best))):
        width = 2.5 if index == 0 else 1.0
        axes.plot(heights[:, index], color=colours(norm(values[index])), lw=width, alpha=0.8)
    for column, (_, ticks) in enumerate(places):
        axes.axvline(column, color="black", lw=0.8)
        for height, text in ticks:
            axes.text(column, height, f" {text}", fontsize="small", va="center")
    axes.set_xticks(range(len(names) + 1), [*names, objective.metric])
    axes.set_yticks([])
    axes.grid(False)
    axes.set_title(f"{len(best)} configurations; {_bold(best[0][1], objective)} in bold")
    return figure


def _bold(first: Candidate, objective: Objective) -> str:
    """What is to be said of the first."""
    if not first.standing(objective).excess:
        return "the best"
    return "none keeps every budget, the closest"


def _places(values: Sequence[Any]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights in [0, 1] on an axis of a setting, and its ticks."""
    if _numbers(values) and len(set(values)) > 1:
        numbers = np.array(values, float)
        low, high = numbers.min(), numbers.max()
        norm: Any = LogNorm(low, high) if _spread(numbers) else Normalize(low, high)
        ends = sorted(set(values)) if len(set(values)) <= CELLS else [low, high]
        return np.asarray(norm(numbers)), [(float(norm(end)), _short(end)) for end in ends]
    distinct = _distinct(values)
    scale = max(1, len(distinct) - 1)
    heights = np.array([distinct.index(str(value)) / scale for value in values])
    return heights, [(index / scale, _short(value)) for index, value in enumerate(distinct)]


def _swept(option: str, config: type, asked: str | None, names: Sequence[str]) -> str | None:
    """The name, if it is that of a setting that was swept."""
    if asked is None:
        return None
    name = asked if asked == ALGORITHM else setting(option, config, asked)
    if name not in names:
        raise InvalidInput(option, repr(asked), f"a swept setting: {', '.join(names)}")
    return name


def _two(names: Sequence[str], drawn: Drawn) -> tuple[str, str] | None:
    """The settings of a heat map's axes, or None when there are not two."""
    across = drawn.across or next((name for name in names if name != drawn.up), None)
    up = drawn.up or next((name for name in names if name != across), None)
    return (across, up) if across and up and across != up else None


def _curve(asked: str | None, metric: str, done: Mapping[int, Done]) -> str:
    known = [name for name in next(iter(done.values())).curves if name != "round"]
    if asked is None:
        return metric if metric in known else known[0]
    if asked not in known:
        raise InvalidInput("--curve", repr(asked), f"one of {', '.join(known)}")
    return asked


def _numbers(values: Sequence[Any]) -> bool:
    return all(is_number(value) for value in values)


def _spread(numbers: np.ndarray) -> bool:
    """Whether numbers are better told apart on a logarithmic axis."""
    return bool(numbers.min() > 0 and numbers.max() / numbers.min() > 20)


def _scaled(axes: Axes, which: str, values: Sequence[Any]) -> None:
    if _spread(np.array(values, float)):
        axes.set(**{f"{which}scale": "log"})


def _distinct(values: Sequence[Any]) -> list[str]:
    ordered_values = sorted(set(values)) if _numbers(values) else dict.fromkeys(map(str, values))
    return [str(value) for value in ordered_values]


def _short(value: Any) -> str:
    """A setting in a few characters."""
    try:
        return f"{float(value):.3g}"
    except (TypeError, ValueError):
        return str(value)
