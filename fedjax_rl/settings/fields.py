"""Settings are dataclass fields whose annotations say what they may be and what depends on them.

``step_size: Annotated[float | Literal["auto"], positive, TRACED] = "auto"`` is a positive number
or the word auto, and data to the program. The text under a field is its help on the command line.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from fedjax_rl.checks import Rule, checked, finite, is_number, one_line, plain, whole
from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.settings.values import named_values

BASE = "_base_of_several"
"""Attribute of types of settings that are no run's alone."""


class Mark(enum.Enum):
    """Extra information on a setting, in its annotation."""

    TRACED = "data to the program, and nothing else depends on it"
    PROBLEM = "the content of the problem depends on it"
    START = "the supervised start depends on it"


TRACED, PROBLEM, START = Mark.TRACED, Mark.PROBLEM, Mark.START


class OnlyWith(NamedTuple):
    """A condition: the setting has no effect unless another one has one of these values.

    Attributes:
        name: of the other setting.
        values: of the other setting; a single `Rule` stands for the numbers that it holds of.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def allowed(self) -> str:
        """The values of the other setting, as text."""
        return " or ".join(
            one.allowed if isinstance(one, Rule) else str(one) for one in self.values
        )

    def holds(self, value: Any) -> bool:
        """Whether the other setting has one of the values."""
        rule = self.values[0]
        if isinstance(rule, Rule):
            return is_number(value) and rule.holds(value)
        return value in self.values


def only_with(name: str, *values: Any) -> OnlyWith:
    """Refuses a setting that is not at its default unless another one has one of these values.

    A setting may need several others. One that needs what has no effect itself has none.
    """
    return OnlyWith(name, values)


def name_values(field: str, entries: tuple[str, ...]) -> None:
    """Raises InvalidInput unless every entry is NAME=VALUE, and no name comes twice."""
    named_values(field, entries)


class Annotation(NamedTuple):
    """The annotation of a setting, read.

    Attributes:
        kind: int, float, bool or str; None where there are choices alone.
        many: whether it is a tuple of these.
        choices: names that may stand in its place, or all that there is.
        optional: whether None may.
        rule: of the number, or of each of a tuple.
        checks: of the whole value.
        company: other settings without which it has no effect.
        marks: what else is said.
    """

    kind: type | None
    many: bool
    choices: tuple[str, ...]
    optional: bool
    rule: Rule
    checks: tuple[Callable[[str, Any], None], ...]
    company: tuple[OnlyWith, ...]
    marks: tuple[Mark, ...]

    @property
    def allowed(self) -> str:
        """The values that are allowed, as text."""
        if self.kind is None:
            return f"one of {', '.join(self.choices)}"
        otherwise = {bool: "true or false", str: "a name"}.get(self.kind, self.rule.allowed)
        return " or ".join((*self.choices, otherwise))


def _read(annotation: Any) -> Annotation:
    extras: tuple[Any, ...] = ()
    if typing.get_origin(annotation) is Annotated:
        annotation, *extras = typing.get_args(annotation)  # type: ignore[assignment]
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    parts = typing.get_args(annotation) if union else (annotation,)
    choices = [
        word for part in parts if typing.get_origin(part) is Literal for word in part.__args__
    ]
    kinds = [
        part
        for part in parts
        if part is not types.NoneType and typing.get_origin(part) is not Literal
    ]
    assert len(kinds) <= 1, f"a setting has one kind of value beside choices: {annotation}"
    kind = kinds[0] if kinds else None
    many = typing.get_origin(kind) is tuple
    rules = [extra for extra in extras if isinstance(extra, Rule)]
    single = typing.get_args(kind)[0] if many else kind
    rule = rules[0] if rules else whole if single is int else finite
    assert len(rules) <= 1 and rule.whole == (single is int), f"which rule? {annotation}"
    return Annotation(
        kind=single,
        many=many,
        choices=tuple(choices),
        optional=types.NoneType in parts,
        rule=rule,
        checks=tuple(extra for extra in extras if isinstance(extra, types.FunctionType)),
        company=tuple(extra for extra in extras if isinstance(extra, OnlyWith)),
        marks=tuple(extra for extra in extras if isinstance(extra, Mark)),
    )


@functools.cache
def declared(kind: type) -> Mapping[str, Annotation]:
    """The annotations of a type of settings, by name."""
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = dataclasses.fields(kind)
    return {field.name: _read(hints[field.name]) for field in fields}


def names(kind: type, mark: Mark) -> tuple[str, ...]:
    """Settings of a type with that mark, in their order."""
    return tuple(name for name, one in declared(kind).items() if mark in one.marks)


def static_names(kind: type) -> tuple[str, ...]:
    """Settings that are not data to a program, in their order."""
    return tuple(name for name, one in declared(kind).items() if TRACED not in one.marks)


def check_fields(settings: Any) -> None:
    """Makes every field of a (frozen) dataclass what its annotation says; for ``__post_init__``.

    Scalars of NumPy and JAX, arrays in place of lists, a `Path` in place of its name and UTF-8
    bytes become plain Python values, a whole number that stands for a real one a float.

    Raises:
        InvalidInput: a value that does not fit, under the flag's name, or one that has no effect
            beside the others.
    """
    kind: type = type(settings)
    for name in declared(kind):
        value = value_of(flag(name), kind, name, getattr(settings, name))
        object.__setattr__(settings, name, value)
    if not getattr(kind, BASE, False):
        check_effect(settings, without_company(kind, by_name(settings)))


def by_name(settings: Any) -> dict[str, Any]:
    """The values of settings, as they are."""
    kind: type = type(settings)
    return {name: getattr(settings, name) for name in declared(kind)}


def without_company(kind: type, values: Mapping[str, Any]) -> dict[str, str]:
    """Settings that have no effect beside the others, and what they would need, in words.

    Nor has what needs a setting that has none itself; that one is declared before it.
    """
    found: dict[str, str] = {}
    for name, annotation in declared(kind).items():
        for one in annotation.company:
            if one.name in found:
                found[name] = found[one.name]
            elif not one.holds(values[one.name]):
                found.setdefault(name, f"{flag(one.name)} {one.allowed}")
    return found


def check_effect(settings: Any, without: Mapping[str, str]) -> None:
    """Raises InvalidInput for a setting without effect that is not at its default.

    Args:
        settings: of a dataclass.
        without: what settings that have no effect would need, in words, by name.
    """
    for name, company in without.items():
        value, default = getattr(settings, name), getattr(type(settings), name)
        if value != default:
            raise InvalidInput(flag(name), one_line(value), f"only with {company}; else {default}")


def base_of(kind: Any) -> Any:
    """The type of settings that several runs have in common, which differ in others.

    What has no effect beside the others is not refused, for the others may change; see
    `whole_of`, which is the way back.
    """
    return _base_of(kind)


@functools.cache
def _base_of(kind: Any) -> Any:
    made: Any = dataclasses.make_dataclass(
        kind.__name__, [], bases=(kind,), frozen=True, namespace={BASE: True}
    )
    made.__doc__, made.__module__ = kind.__doc__, kind.__module__
    return made


def whole_of(kind: Any) -> Any:
    """The type of the settings of a run, from that of what several have in common."""
    return kind.__bases__[0] if getattr(kind, BASE, False) else kind


def value_of(field: str, kind: type, name: str, value: object) -> Any:
    """The value of a setting as its annotation has it; see `check_fields`.

    Args:
        field: how the message calls it.
        kind: whose setting it is.
        name: of the setting.
        value: what was given.

    Raises:
        InvalidInput: it does not fit.
    """
    annotation, value = declared(kind)[name], plain(value)
    if value is None and annotation.optional:
        return None
    if annotation.choices and (word := _text(value)) in annotation.choices:
        return word
    found: Any
    if not annotation.many:
        found = _single(field, annotation, value)
    elif isinstance(value, list | tuple):
        found = tuple(_single(field, annotation, plain(one)) for one in value)
    else:
        raise InvalidInput(field, one_line(value, quoted=True), "a list of values")
    for check in annotation.checks:
        check(field, found)
    return found


def value_under(option: str, kind: type, name: str, value: object) -> Any:
    """The same for one setting among several that an option takes, as ``--grid`` does.

    Raises:
        InvalidInput: under the option, naming the setting; the value does not fit.
    """
    try:
        return value_of(flag(name), kind, name, value)
    except InvalidInput as error:
        raise InvalidInput(option, f"{error.value} for {flag(name)}", error.allowed) from None


def _single(field: str, annotation: Annotation, value: Any) -> Any:
    kind, allowed = annotation.kind, annotation.allowed
    if kind in (int, float):
        return checked(field, value, annotation.rule.named(allowed))
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and (text := _text(value)):
        return text
    raise InvalidInput(field, one_line(value, quoted=True), allowed)


def _text(value: Any) -> str | None:
    """A word, a file's name or UTF-8 bytes as text; None for anything else."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None
