"""Several directories beside one another."""

from __future__ import annotations

from collections.abc import Sequence

from fedjax_rl.figures.numbers import NOTHING, exactly
from fedjax_rl.report.document import Section, Table


def glances(sections: Sequence[Section]) -> Table | None:
    """A row for each section, and a column for everything that one of them says of itself."""
    if not sections:
        return None
    names = list(dict.fromkeys(name for one in sections for name in one.glance))
    rows = tuple(
        (
            one.name,
            one.kind,
            ", ".join(state.text for state in one.states),
            *(one.glance.get(name) for name in names),
        )
        for one in sections
    )
    return Table("At a glance", ("directory", "what", "state", *names), rows, sortable=True)


def different_settings(sections: Sequence[Section]) -> Table | None:
    """The settings that are not the same in all sections that have them."""
    rows = []
    for name in dict.fromkeys(name for one in sections for name in one.configuration):
        having = [one for one in sections if name in one.configuration]
        if len({exactly(one.configuration[name]) for one in having}) > 1:
            rows.append((name, *(_setting(one, name) for one in sections)))
    if not rows:
        return None
    headings = ("setting", *(one.name for one in sections))
    return Table("Settings that differ", headings, tuple(rows))


def _setting(section: Section, name: str) -> str:
    settings = section.configuration
    return exactly(settings[name]) if name in settings else NOTHING


def different_environments(sections: Sequence[Section]) -> Table | None:
    """Versions, devices and commits that are not the same in all sections."""
    rows = []
    for name in dict.fromkeys(name for one in sections for name in one.environment):
        texts = [one.environment.get(name, NOTHING) for one in sections]
        if len(set(texts)) > 1:
            rows.append((name, *texts))
    if not rows:
        return None
    headings = ("environment", *(one.name for one in sections))
    return Table("Environments that differ", headings, tuple(rows))
