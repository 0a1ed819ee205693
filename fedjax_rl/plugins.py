"""Settings that belong to a plug-in: a NamedTuple of real numbers, each with what it must be."""

from __future__ import annotations

import collections
import functools
import typing
from typing import Any, NamedTuple


class NoSettings(NamedTuple):
    """The settings of a plug-in that has none."""


# Cached since rules made by a call, in_range(0, 1), equal only themselves, and hints that are read
# again call again: a setting that two plug-ins share would seem to be two.
@functools.cache
def fields_of(settings: Any) -> dict[str, tuple[Any, float]]:
    """Annotation and default of every field of a plug-in's settings, by name."""
    hints = typing.get_type_hints(settings, include_extras=True)
    return {name: (hints[name], settings._field_defaults[name]) for name in settings._fields}


@functools.cache
def joined(*kinds: Any) -> Any:
    """One NamedTuple with the fields of several, each of which comes once."""
    fields = {name: field for kind in kinds for name, field in fields_of(kind).items()}
    defaults = [default for _, default in fields.values()]
    name = "".join(kind.__name__.removesuffix("Settings") for kind in kinds) + "Settings"
    made: Any = collections.namedtuple(name, fields, defaults=defaults)  # type: ignore[misc]
    made.__annotations__ = {field: annotation for field, (annotation, _) in fields.items()}
    return made
