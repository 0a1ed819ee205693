"""Parts that sections of every kind share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.figures.numbers import brief, in_bytes, number, seconds
from fedjax_rl.report.document import KeyFigure, Section, State
from fedjax_rl.report.environment import environment
from fedjax_rl.report.reading import Source

ASIDE = ("algorithm", "made_with", "compare")
"""Entries of ``config.yaml`` that are shown elsewhere."""


def section_of(source: Source, name: str, kind: str) -> Section:
    """A section with what every directory has: configuration and environment."""
    return Section(
        name=name,
        kind=kind,
        states=(),
        configuration=settings_of(source.config),
        environment=environment(source.path, source.config),
    )


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name; those of a mapping within follow it, as ``checkpoints.keep_checkpoints``.

    The settings of a sweep are not swept ones alone: they are shown as those of a run are.
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name in ASIDE:
            continue
        if name == "settings" and isinstance(value, dict):
            found |= {key: entry for key, entry in value.items() if key not in found}
        elif name == "variants" and isinstance(value, list):
            found[name] = [v.get("variant") if isinstance(v, dict) else v for v in value]
        elif isinstance(value, dict) and value:
            found |= {f"{name}.{key}": entry for key, entry in value.items()}
        else:
            found[name] = value
    return found


def finish_states(
    source: Source,
    rows: Columns,
    unit: str,
    total: str,
    diverged: bool,
    last_file: str = "summary.json",
) -> tuple[State, ...]:
    """Whether a run is finished, as its last file tells, and whether anything diverged.

    Args:
        source: the directory.
        rows: of ``metrics.csv``.
        unit: the column that counts.
        total: the setting that says how far it should count.
        diverged: whether anything did.
        last_file: what is written last.
    """
    states = [State("finished", True)]
    if not source.has(last_file):
        done = rows[unit][-1] if len(rows.get(unit, ())) else 0.0
        planned = source.config.get(total)
        so_far = f": {unit} {brief(int(done))} of {brief(planned)}" if planned else ""
        states = [State(f"unfinished{so_far}", None)]
    return (*states, State("diverged", False)) if diverged else tuple(states)


def named(summary: Mapping[str, Any]) -> tuple[KeyFigure, ...]:
    """Key figures on how much was done, of those that the summary has."""
    found = []
    steps = summary.get("rounds", summary.get("steps"))
    if steps is not None:
        unit = "Rounds" if "rounds" in summary else "Learner steps"
        count = summary.get("seeds", 1)
        found.append(KeyFigure(unit, brief(steps), f"{count} seeds" if count != 1 else "one seed"))
    exchanged = number(summary.get("bytes_exchanged"))
    note = f"{in_bytes(exchanged)} exchanged" if np.isfinite(exchanged) else ""
    found.append(KeyFigure("Time", seconds(number(summary.get("seconds"))), note))
    return tuple(found)


def resources_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Time and steps of a run, for a table over several."""
    exchanged, took = (number(summary.get(name)) for name in ("bytes_exchanged", "seconds"))
    return {
        "seeds": summary.get("seeds"),
        "rounds": summary.get("rounds", summary.get("steps")),
        "exchanged": in_bytes(exchanged),
        "time": seconds(took),
    }
