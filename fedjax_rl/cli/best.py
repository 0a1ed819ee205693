"""``fedjax-rl best DIR``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from fedjax_rl.cli.parse import parse
from fedjax_rl.errors import InvalidInput
from fedjax_rl.terminal.streams import utf8


@dataclasses.dataclass(frozen=True)
class Best:
    """Print the best configuration of a sweep as a config.yaml that fedjax-rl run takes.

    Figures are means over the seeds of a configuration, like those of a run with --seeds; a
    configuration of which a seed diverged does not count. What was chosen and why is told on
    standard error, so that standard output can go to a file. Configurations that keep every
    budget come first, by the metric; the others follow by their largest relative violation.
    """

    directory: tyro.conf.Positional[Path]
    """Of the sweep."""
    metric: str | None = None
    """A column of sweep.csv, of which the smallest is best; unless given, what the algorithm is
    judged by: average_gap, reward or last accuracy."""
    maximize: bool = False
    """The largest is best."""
    subject_to: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """METRIC<=NUMBER, or >=, <, >, ==: what must hold as well; may be given again."""
    feasible_seeds: float | None = None
    """Share of a configuration's seeds that must keep every budget; that of the sweep unless
    given."""


def main(arguments: list[str]) -> int:
    """Prints the winner's configuration.

    Raises:
        InvalidInput: ``--maximize`` or ``--subject-to`` without a metric.
    """
    options = parse(Best, arguments, "best")

    from fedjax_rl.settings import values
    from fedjax_rl.sweeps.best import best_configuration
    from fedjax_rl.sweeps.objective import recorded_objective

    conditions = conditions_of(options.metric, options.maximize, options.subject_to)
    request = options.metric, options.maximize, conditions, options.feasible_seeds
    text, message = best_configuration(
        options.directory, recorded_objective(options.directory, *request)
    )
    print(message, file=sys.stderr)
    if not utf8(sys.stdout):
        text = values.dump(values.parse(text), ascii_only=True)  # in escapes, which are ASCII
    print(text, end="", flush=True)
    return 0


def conditions_of(metric: str | None, maximize: bool, subject_to: tuple[str, ...]) -> Any:
    """The conditions that options set.

    Raises:
        InvalidInput: a condition cannot be read, or there is no metric to it.
    """
    from fedjax_rl.sweeps.objective import condition

    conditions = tuple(condition(text) for text in subject_to)
    if metric is None and (maximize or conditions):
        raise InvalidInput("--metric", "none", "a column of sweep.csv")
    return conditions
