"""What all plots look like, and how one is written."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fedjax_rl.records.directory import write_atomically

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers."""
DASHES = ("-", "--", ":", "-.")
"""For more variants than colours."""
STYLE: Any = {"axes.grid": True, "grid.alpha": 0.3, "figure.dpi": 120}
POINTS_DRAWN = 4000


def save(figure: Figure, target: Path) -> None:
    """Writes a whole PNG file or nothing."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(target, buffer.getvalue())
