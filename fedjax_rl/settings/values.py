"""The one place where text becomes a value and a value text: YAML by the core rules of 1.2.

PyYAML reads by the rules of YAML 1.1, in which ``1e-3`` is text, ``010`` is eight, ``no`` is
false and ``12:30`` is 750. Here numbers are what they look like, and words stay words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from fedjax_rl.checks import is_number
from fedjax_rl.errors import InvalidInput

UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)
"""What `parse` raises; ValueError: of whole numbers with thousands of digits."""

_RULES = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
)
"""Tags of scalars without quotes, what each looks like, and how it may begin (the YAML
specification 1.2.2, section 10.3.2)."""


class _Loader(yaml.SafeLoader):
    """PyYAML's, with the rules of 1.2, in which a key is given once."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # of which PyYAML itself says that it is no key
            line = key.start_mark.line + 1
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is given twice, in line {seen[key.value]} and again",
                    problem_mark=key.start_mark,
                )
            seen[key.value] = line
        found: dict[Any, Any] = yaml.constructor.BaseConstructor.construct_mapping(self, node, deep)
        return found


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with quotes around what is a number, a date or a truth value by either version."""

    def ignore_aliases(self, data: Any) -> bool:
        return True  # a list that is there twice is written twice


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text[2:] if base != 10 else text, base)


def _real(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


for _tag, _looks, _first in _RULES:
    for _reader in (_Loader, _Dumper):
        _reader.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_looks})\Z"), _first
        )
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _real)
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


def parse(text: str) -> Any:
    """The value or document that a text stands for.

    Raises:
        yaml.YAMLError, ValueError or RecursionError: it is not YAML; see `reason`.
    """
    return yaml.load(text, _Loader)


def read_as(text: str) -> Any:
    """The value that a text stands for, or the text itself where it is not YAML."""
    try:
        return parse(text)
    except UNREADABLE:
        return text


def number(text: str) -> float:
    """The finite number that a text stands for.

    Raises:
        ValueError: or another of `UNREADABLE`; it is none.
    """
    value = parse(text)
    if not is_number(value):
        raise ValueError(f"{text!r} is no number")
    return float(value)


def reason(error: Exception) -> str:
    """Why `parse` failed, and in which line, in one line."""
    mark = getattr(error, "problem_mark", None)
    return str(error).splitlines()[0] + ("" if mark is None else f" in line {mark.line + 1}")


def dump(document: Any, ascii_only: bool = False) -> str:
    """The text of a document, keys in their order, tuples as lists; `parse` gives it back."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=not ascii_only)


def named_values(field: str, entries: Iterable[str]) -> dict[str, Any]:
    """``("states=20", "seed=3")`` as ``{"states": 20, "seed": 3}``.

    Args:
        field: whose entries they are, for the message.
        entries: each NAME=VALUE; a ``-`` of a name is a ``_``.

    Raises:
        InvalidInput: an entry is not NAME=VALUE, its value is not YAML, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for name, text, entry in named_texts(field, entries):
        try:
            found[name] = parse(text)
        except UNREADABLE:
            raise InvalidInput(field, repr(entry), "a VALUE that reads as YAML") from None
    return found


def named_texts(field: str, entries: Iterable[str]) -> list[tuple[str, str, str]]:
    """Name, text of the value, and the entry, of entries NAME=VALUE; see `named_values`.

    Raises:
        InvalidInput: an entry is not NAME=VALUE, or a name comes twice.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for entry in entries:
        name, equals, text = entry.partition("=") if isinstance(entry, str) else ("", "", "")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise InvalidInput(field, repr(entry), "NAME=VALUE")
        if name in found:
            raise InvalidInput(field, repr(entry), f"{name} once; it is also {found[name][2]!r}")
        found[name] = name, text, entry
    return list(found.values())
