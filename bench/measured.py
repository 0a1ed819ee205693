"""Where figures lie, and the figures of a bench."""

from __future__ import annotations

import json
import pathlib
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
FIGURES = ROOT / "docs" / "figures"


def load(name: str) -> dict[str, Any]:
    """The figures of one bench at full size."""
    figures: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert not figures["quick"]
    return figures


def where(figures: dict[str, Any]) -> str:
    """The machine that figures were measured on, to begin a sentence with."""
    machine = figures["machine"]
    return (
        f"On {machine['processor']}, {machine['cores']} cores, jaxlib "
        f"{machine['versions']['jaxlib']}"
    )
