"""Values of settings as their types have them, from what YAML reads."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.runs.checks import as_number

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}


def typed(option: str, config: type, name: str, value: Any) -> Any:
    """The value as its setting's type has it; YAML reads 1e-3 as text, and lists as lists.

    Raises:
        InvalidInput: it has another type.
    """
    annotation = typing.get_type_hints(config)[name]
    found = _converted(annotation, value)
    if found is _MISFIT:
        told = repr(value) if isinstance(value, str) else value
        raise InvalidInput(option, f"{told} for {flag(name)}", _described(annotation))
    return found


_MISFIT = object()


def _converted(annotation: Any, value: Any) -> Any:
    """The value as the annotation has it, or `_MISFIT`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        found = (_converted(one, value) for one in arguments)
        return next((one for one in found if one is not _MISFIT), _MISFIT)
    if origin is Literal:
        return value if value in arguments and isinstance(value, str) else _MISFIT
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return _MISFIT
        parts = tuple(_converted(arguments[0], part) for part in value)
        return _MISFIT if any(part is _MISFIT for part in parts) else parts
    if annotation is types.NoneType:
        return None if value is None else _MISFIT
    if annotation is float:
        number = as_number(value)
        fits = isinstance(number, int | float) and not isinstance(number, bool)
        return float(number) if fits else _MISFIT
    fits = isinstance(value, annotation) and (annotation is bool or not isinstance(value, bool))
    return value if fits else _MISFIT


def _described(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        named = [_described(one) for one in arguments if one is not types.NoneType]
        return " or ".join([*named, *["null"] * (types.NoneType in arguments)])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return f"a list such as [A,B], each {_described(arguments[0])}"
    return WORDS[annotation]
