"""Names of problems: registered ones, files, and factories."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fedjax_rl.algorithm import Registry
from fedjax_rl.errors import InvalidInput

FILES_READ = 100
"""Most modules of the current folder that a hint looks into."""


def is_file(reference: str) -> bool:
    """Whether a problem is named by its file."""
    return Path(reference).suffix.lower() == ".npz"


def factory_of(registry: Registry, reference: str) -> Callable[..., Any]:
    """The factory behind a name; the hint knows what lies in the current folder, too.

    Raises:
        InvalidInput: no such name, module or attribute.
    """
    try:
        return registry.resolve(reference)
    except InvalidInput as error:
        if ":" in reference:
            raise
        known = error.allowed.partition("? ")[2] or error.allowed
        allowed = hint_of(reference, registry) + known
        raise InvalidInput(error.field, error.value, allowed) from None


def hint_of(reference: str, names: Iterable[str]) -> str:
    """``did you mean …? `` with the nearest of names, files and factories of the current folder.

    What a file is called without its ending counts, and of a factory its module or its own name.
    """
    candidates: dict[str, str] = {}
    for module in sorted(Path().glob("*.py"))[:FILES_READ]:
        for function in _functions(module):
            factory = f"{module.stem}:{function}"
            for word in (module.stem, module.name, function, factory):
                candidates.setdefault(word, factory)
    for file in sorted(Path().glob("*.[nN][pP][zZ]")):
        candidates |= {file.name: file.name, file.stem: file.name}
    candidates |= {name: name for name in names}
    near = difflib.get_close_matches(reference, candidates, n=1, cutoff=0.0)
    return f"did you mean {candidates[near[0]]!r}? " if near else ""


def _functions(module: Path) -> list[str]:
    """Public functions of a module, which is read and not run."""
    try:
        body = ast.parse(module.read_bytes()).body
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    names = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    return [name for name in names if not name.startswith("_")]
