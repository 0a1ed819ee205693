"""HTML out of values, in which nothing that is not markup can become markup."""

from __future__ import annotations

import html
from typing import Any


class Html(str):
    """Text that is HTML already; any other text is escaped where it is used."""


NONE = Html("")


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element; underscores of attributes become hyphens, and one that is None is left out.

    ``class_`` is ``class``; an attribute that is True has no value.
    """
    given = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        given.append(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"')
    if name in ("br", "link", "meta"):
        return Html(f"<{name}{''.join(given)}>")
    return Html(f"<{name}{''.join(given)}>{join(*children)}</{name}>")


def join(*children: Any) -> Html:
    """Elements and texts, one after another; lists of them are flattened."""
    parts = []
    for child in children:
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, list | tuple):
            parts.append(str(join(*child)))
        elif child is not None:
            parts.append(html.escape(str(child)))
    return Html("".join(parts))
