"""Names for plug-ins."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fedjax_rl.errors import InvalidInput, flag


class Registry:
    """Names for plug-ins of one kind; wherever a name is taken, ``module:factory`` is too.

    Args:
        kind: of the plug-ins, for messages.
        product: what a factory must return; None for anything.
        field: the setting that takes a name, as messages call it; the flag of the kind's name
            unless given.
    """

    def __init__(self, kind: str, product: type | None = None, field: str | None = None):
        self.kind = kind
        self.product = product
        self.field = field or flag(kind)
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str, factory: Callable[..., Any]) -> Callable[..., Any]:
        """Adds a factory under a name and returns it.

        Raises:
            InvalidInput: the name is taken by another factory or contains a colon.

        Examples:
            >>> areas = Registry("shape")
            >>> _ = areas.register("square", lambda side: side**2)
            >>> areas.make("square", 3)
            9
            >>> areas.make("cube", 3)
            Traceback (most recent call last):
            fedjax_rl.errors.InvalidInput: --shape: got 'cube'; did you mean 'square'? ...
        """
        if ":" in name:
            raise InvalidInput(self.kind, repr(name), "a name has no colon")
        if self._entries.get(name, factory) is not factory:
            raise InvalidInput(self.kind, repr(name), "that name is taken")
        self._entries[name] = factory
        return factory

    def resolve(self, name: str) -> Callable[..., Any]:
        """The factory behind a registered name or a ``module:factory`` reference.

        Raises:
            InvalidInput: no such name (with the nearest one), module or attribute.
        """
        if ":" in name:
            return self._load(name)
        if name in self._entries:
            return self._entries[name]
        near = difflib.get_close_matches(name, self._entries, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(sorted(self._entries))
        raise InvalidInput(
            self.field, repr(name), f"{hint}known: {known}; or module:factory of your own"
        )

    def make(self, name: str, *arguments: Any) -> Any:
        """Calls the factory behind a name.

        Raises:
            InvalidInput: no such factory, it does not take these arguments, or what it returns
                is of another kind.
        """
        factory = self.resolve(name)
        try:
            inspect.signature(factory).bind(*arguments)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                self.field, repr(name), f"a factory of {len(arguments)} arguments ({error})"
            ) from None
        made = factory(*arguments)
        if self.product is not None and not isinstance(made, self.product):
            wanted = self.product.__name__
            raise InvalidInput(
                self.field, repr(name), f"a factory of {wanted}, not of {type(made).__name__}"
            )
        return made

    def _load(self, reference: str) -> Callable[..., Any]:
        module_name, _, attribute = reference.partition(":")
        try:
            factory = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
            raise InvalidInput(
                self.field, repr(reference), f"an importable module:factory ({error})"
            ) from None
        if not callable(factory):
            raise InvalidInput(self.field, repr(reference), "the factory must be callable")
        return factory

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def describe(self, name: str) -> str:
        """The first line of the factory's docstring, for lists."""
        return (self._entries[name].__doc__ or "").strip().split("\n")[0]
