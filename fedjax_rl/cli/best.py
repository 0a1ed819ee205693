"""``fedjax-rl best DIR``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from fedjax_rl.cli.parse import parse
from fedjax_rl.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Best:
    """Print the best configuration of a sweep as a config.yaml that fedjax-rl run takes.

    Figures are means over the seeds of a configuration, like those of a run with --seeds; a
    configuration of which a seed diverged does not count. What was chosen and why is told on
    standard error, so that standard output can go to a file.
    """

    directory: tyro.conf.Positional[Path]
    """Of the sweep."""
    metric: str | None = None
    """A column of sweep.csv, of which the smallest is best; unless given, what the algorithm is
    judged by: average_gap, reward or last accuracy, of feasible configurations if there are any."""
    maximize: bool = False
    """The largest is best."""
    subject_to: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """METRIC<=NUMBER, or >=, <, >, ==: what must hold as well; may be given again."""


def main(arguments: list[str]) -> int:
    """Prints the winner's configuration.

    Raises:
        InvalidInput: ``--maximize`` or ``--subject-to`` without a metric.
    """
    options = parse(Best, arguments, "best")

    from fedjax_rl.runs.sweeps.best import Question, best_configuration, condition

    conditions = tuple(condition(text) for text in options.subject_to)
    question = None
    if options.metric is not None:
        question = Question(options.metric, options.maximize, conditions)
    elif options.maximize or conditions:
        raise InvalidInput("--metric", "none", "a column of sweep.csv")
    text, told = best_configuration(options.directory, question)
    print(told, file=sys.stderr)
    print(text, end="", flush=True)
    return 0
