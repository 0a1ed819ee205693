"""Colours and lines of all figures."""

from __future__ import annotations

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers; ``page.css`` has it, too."""
DASHES = ("-", "--", ":", "-.")
"""For more curves than colours."""
