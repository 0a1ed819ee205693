"""``fedjax-rl plot DIR``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from fedjax_rl.cli.parse import parse
from fedjax_rl.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a sweep: a heat map of two settings, learning curves, and parallel coordinates.

    heatmap.png shows means of a metric over everything but two settings; curves.png the
    interquartile means of learning curves with 95 % bootstrap intervals over seeds; parallel.png
    a line for each configuration. They are written into the sweep's directory. The best are those
    of fedjax-rl best: configurations that keep every budget come first.
    """

    directory: tyro.conf.Positional[Path]
    """Of the sweep."""
    metric: str | None = None
    """A column of sweep.csv; unless given, what the algorithm is judged by."""
    maximize: bool = False
    """The largest is best."""
    across: str | None = None
    """Setting on the heat map's horizontal axis; the first that is swept unless given."""
    up: str | None = None
    """Setting on its vertical axis; the next unless given."""
    curve: str | None = None
    """Name in curves.npz; unless given, the metric if it has a curve."""
    by: str | None = None
    """Setting whose values are the curves; unless given, the best configurations are."""
    feasible_seeds: float | None = None
    """Share of a configuration's seeds that must keep every budget; that of the sweep unless
    given."""


def main(arguments: list[str]) -> int:
    """Writes the plots of a sweep.

    Raises:
        InvalidInput: ``--maximize`` without a metric.
    """
    options = parse(Plot, arguments, "plot")
    if options.maximize and options.metric is None:
        raise InvalidInput("--metric", "none", "a column of sweep.csv with --maximize")

    from fedjax_rl.terminal.drawing import import_matplotlib
    from fedjax_rl.terminal.live import working

    import_matplotlib(options.directory)
    from fedjax_rl.sweeps.drawing import PlotOptions, plot_sweep
    from fedjax_rl.sweeps.objective import recorded_objective

    request = options.metric, options.maximize, (), options.feasible_seeds
    objective = recorded_objective(options.directory, *request)
    settings = (options.across, options.up, options.curve, options.by)
    with working("drawing"):
        written = plot_sweep(options.directory, PlotOptions(objective, *settings))
    print(f"Written to {options.directory}: {', '.join(written)}", flush=True)
    return 0
