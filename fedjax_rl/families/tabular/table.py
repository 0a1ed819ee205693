"""The live table of a run on a finite problem."""

from __future__ import annotations

from fedjax_rl.columns import Columns
from fedjax_rl.families.tabular.history import Layout
from fedjax_rl.terminal.live import several

HEADER = (
    "round",
    "value",
    "gap",
    "violations (cost - budget)",
    "multipliers",
    "average gap",
    "average violation",
)


def cells(rows: Columns, index: int, layout: Layout) -> list[str]:
    """A row of a finite problem, under `HEADER`."""
    budgets = zip(layout.constraint_names, layout.budgets, strict=True)
    violations = [rows[f"cost/{name}"][index] - budget for name, budget in budgets]
    multipliers = [rows[name][index] for name in rows if name.startswith("multiplier/")]
    return [
        str(int(rows["round"][index])),
        f"{rows['value'][index]:.4f}",
        f"{rows['gap'][index]:+.4f}",
        several(violations, "+.3f"),
        several(multipliers, ".3f"),
        f"{rows['average_gap'][index]:+.4f}",
        f"{rows['average_violation'][index]:+.4f}",
    ]
