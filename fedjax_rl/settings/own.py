"""Types of settings that hold what plug-ins have of their own beside what all runs have."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.plugins import fields_of
from fedjax_rl.settings.fields import TRACED

Settings = TypeVar("Settings")
Named = Mapping[str, tuple[Any, ...]]
"""Values that settings which name a plug-in may have, by setting."""


@functools.cache
def extended(base: type[Settings], *own: Any) -> type[Settings]:
    """A type of settings with those of plug-ins as fields of its own; all of these are traced.

    Args:
        base: a dataclass of settings.
        own: NamedTuples, as `fedjax_rl.plugins.fields_of` reads them; a field that two of them
            have is one.

    Raises:
        InvalidInput: a field has the name of one of the base, or two differ.

    Examples:
        >>> from typing import Annotated, NamedTuple
        >>> from fedjax_rl.checks import not_negative
        >>> from fedjax_rl.families.tabular.config import FedNPGConfig
        >>> class DampedSettings(NamedTuple):
        ...     kappa: Annotated[float, not_negative, "κ, in multipliers per unit of cost."] = 0.1
        >>> kind = extended(FedNPGConfig, DampedSettings)
        >>> kind().kappa, kind(kappa=0.5).kappa
        (0.1, 0.5)
        >>> kind(kappa=-1.0)
        Traceback (most recent call last):
        fedjax_rl.errors.InvalidInput: --kappa: got -1.0; ...
    """
    taken = {field.name for field in dataclasses.fields(base)}  # type: ignore[arg-type]
    found: dict[str, tuple[Any, float]] = {}
    for kind in own:
        for name, field in fields_of(kind).items():
            if name in taken or found.setdefault(name, field) != field:
                raise InvalidInput(flag(name), f"a setting of {kind.__name__}", "a name of its own")
    if not found:
        return base
    fields = [
        (name, _annotated(annotation), dataclasses.field(default=default))
        for name, (annotation, default) in found.items()
    ]
    made: Any = dataclasses.make_dataclass(base.__name__, fields, bases=(base,), frozen=True)
    made.__doc__, made.__module__ = base.__doc__, base.__module__
    return typing.cast(type[Settings], made)


def _annotated(annotation: Any) -> Any:
    """The annotation of a plug-in's setting, as one of a dataclass of settings."""
    import tyro  # which no run needs that is not made of words

    kind, *extras = typing.get_args(annotation)
    help_text = "".join(extra for extra in extras if isinstance(extra, str))
    rules = [extra for extra in extras if not isinstance(extra, str)]
    return Annotated[(kind, *rules, TRACED, tyro.conf.arg(help=help_text))]


def named_in(
    base: type, names: Sequence[str], sources: Iterable[Mapping[str, Any]]
) -> dict[str, tuple[Any, ...]]:
    """Values that some settings have in mappings (a file, flags, lists of a grid), each once.

    Where no mapping has a setting, its default stands.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(base)}
    known = [source for source in sources if source]
    found: dict[str, tuple[Any, ...]] = {}
    for name in names:
        values: list[Any] = []
        for source in known:
            value = source.get(name)
            values += value if isinstance(value, list | tuple) else [] if value is None else [value]
        found[name] = tuple(dict.fromkeys(map(str, values))) or (defaults[name],)
    return found


def own_values(settings: Any, kind: Any, dtype: type) -> Any:
    """The settings of a plug-in out of those of a run, as host scalars of one type.

    Settings of a type that does not know them stand for the plug-in's defaults.
    """
    defaults = kind._field_defaults
    return kind(*(dtype(getattr(settings, name, defaults[name])) for name in kind._fields))
