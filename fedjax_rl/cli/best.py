"""``fedjax-rl best DIR``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from fedjax_rl.cli.parse import parse
from fedjax_rl.cli.streams import utf8
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

    import yaml

    from fedjax_rl.runs.sweeps.best import best_configuration

    question = question_of(options.metric, options.maximize, options.subject_to)
    text, told = best_configuration(options.directory, question)
    print(told, file=sys.stderr)
    if not utf8(sys.stdout):
        text = yaml.safe_dump(yaml.safe_load(text), sort_keys=False)  # in escapes, which are ASCII
    print(text, end="", flush=True)
    return 0


def question_of(metric: str | None, maximize: bool, subject_to: tuple[str, ...]) -> Any:
    """The question that options ask; None when they ask none.

    Raises:
        InvalidInput: a condition cannot be read, or there is no metric to it.
    """
    from fedjax_rl.runs.sweeps.best import Question, condition

    conditions = tuple(condition(text) for text in subject_to)
    if metric is not None:
        return Question(metric, maximize, conditions)
    if maximize or conditions:
        raise InvalidInput("--metric", "none", "a column of sweep.csv")
    return None
