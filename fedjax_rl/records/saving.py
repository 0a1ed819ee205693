"""When a run saves itself, and where its rows go."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, get_args

from fedjax_rl.checks import at_least, not_negative
from fedjax_rl.errors import InvalidInput
from fedjax_rl.settings.fields import check_fields

SinkName = Literal["jsonl", "tensorboard", "wandb", "mlflow"]
"""What rows can be logged to besides ``metrics.csv``."""


def sink_names(names: Any) -> tuple[SinkName, ...]:
    """The sinks that a ``config.yaml`` lists.

    Raises:
        InvalidInput: that is no list, or there is no such sink.
    """
    known = get_args(SinkName)
    wrong = [names] if not isinstance(names, list) else [one for one in names if one not in known]
    if wrong:
        raise InvalidInput("sinks", repr(wrong[0]), f"a list of {', '.join(known)}")
    return tuple(names)


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
    """When a run that is written somewhere saves itself."""

    checkpoint_every: Annotated[int | None, at_least(1)] = None
    """Save after so many rounds or learner steps, too."""
    checkpoint_seconds: Annotated[float, not_negative] = 60.0
    """Save when so many seconds have passed since the last time."""
    keep_checkpoints: Annotated[int, at_least(0)] = 2
    """How many checkpoints to keep; 0 for none at all."""

    def __post_init__(self) -> None:
        check_fields(self)

    def span(self, rounds: int) -> int:
        """Rounds between two visits of the host that are rare enough, for ``rounds`` of speed."""
        if self.checkpoint_every is None or self.keep_checkpoints == 0:
            return rounds
        return min(rounds, self.checkpoint_every)
