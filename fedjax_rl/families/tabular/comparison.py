"""Comparisons of FedNPG's variants: two views, and how each variant keeps the budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree, aggregators
from fedjax_rl.columns import Columns
from fedjax_rl.families.protocol import Comparison, Headline, settings_as_text
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.figures import variants
from fedjax_rl.families.tabular.history import average, columns, no_sums, rows_of
from fedjax_rl.families.tabular.programs import merge_of, tabular_learner
from fedjax_rl.families.tabular.summary import tolerances
from fedjax_rl.ranking import relative_violation

if TYPE_CHECKING:
    from fedjax_rl.families.tabular.assembly import Prepared

FIGURES = ("average_gap", "average_violation", "strong_violation", "gap", "violation")
POLICIES = ("average", "last")
"""The two policies of a run, as names of columns end."""
HEADINGS = {
    "round": "round",
    "avg gap": "average_gap",
    "strong": "strong_violation",
    "gap": "gap",
    "bytes": "bytes_exchanged",
}
RANKED_BY = {
    "averaged policies": Headline("average_gap", False, "feasible_average"),
    "last policies": Headline("gap", False, "feasible_last"),
}
USUAL = {"learner": None, "correction": "none", "merge": "auto", "reference": "fed"}
"""Settings whose values speak for themselves, and which of them need not be said."""


class Equal(NamedTuple):
    """The rounds and local steps after which variants are compared.

    Attributes:
        rounds: T of the variant with the fewest rounds.
        steps: local steps in the shortest variant, the smallest T times E.
    """

    rounds: int
    steps: int

    def at(self, config: FedNPGConfig) -> dict[str, int]:
        """The round of each view: of equal steps the nearest one, at least 1."""
        nearest = max(1, round(self.steps / config.local_steps))
        return {"equal_rounds": self.rounds, "equal_local_steps": nearest}


def equal(settings: Sequence[FedNPGConfig]) -> Equal:
    """The `Equal` of members with these settings."""
    steps = min(config.rounds * config.local_steps for config in settings)
    return Equal(min(config.rounds for config in settings), steps)


def views(settings: Sequence[FedNPGConfig]) -> dict[str, str]:
    """Both views in words; one where both are the same for everybody."""
    same = equal(settings)
    alike = all(len(set(same.at(config).values())) == 1 for config in settings)
    rounds = f"After {same.rounds} rounds{f' ({same.steps} local steps)' * alike} each"
    steps = f"After {same.steps} local steps each, to the nearest round"
    return {"equal_rounds": rounds} | ({} if alike else {"equal_local_steps": steps})


def label_of(combination: Mapping[str, Any]) -> str:
    """The label of a configuration without what is usual: ``npg E=5 control-variate``."""
    parts = [
        *(str(combination[n]) for n in ("learner",) if n in combination),
        *(f"E={combination[name]}" for name in ("local_steps",) if name in combination),
        *(
            str(combination[n])
            for n, usual in USUAL.items()
            if usual and combination.get(n, usual) != usual
        ),
    ]
    others = {n: value for n, value in combination.items() if n not in (*USUAL, "local_steps")}
    return ", ".join(filter(None, [" ".join(parts), settings_as_text(others)])) or settings_as_text(
        combination
    )


def check(grid: Mapping[str, Sequence[Any]]) -> None:
    """Raises InvalidInput for a learner or a merge that there is none of."""
    for name in grid.get("learner", ()):
        tabular_learner(name, "exact")
    for name in grid.get("merge", ()):
        if name != "auto":
            aggregators.make(name)


def same(config: FedNPGConfig) -> FedNPGConfig:
    """Settings that compute the same: an automatic merge is that of what the learner sends."""
    if config.reference != "fed":
        return config
    return dataclasses.replace(config, merge=merge_of(config))


def measures(
    prepared: Prepared, rows: Pytree, history: Columns, summary: Mapping[str, Any], round: int
) -> dict[str, Any]:
    """What is reported of a member after a round; nothing but the round if it diverged before.

    Args:
        prepared: of the member.
        rows: host arrays, leading axis of rounds.
        history: its columns.
        summary: of the whole run, which judges the policies of the last round themselves.
        round: between 1 and T.
    """
    if round >= len(history["round"]):
        return {"round": round}
    taken = {name: float(history[name][round]) for name in FIGURES}
    found = {
        f"{stem}_{policy}": summary[f"{stem}_{policy}"]
        for policy in POLICIES
        for stem in ("feasible", "relative_violation")
    }
    if round < prepared.config.rounds:
        found = feasibility_after(prepared, rows, round)
    return {"round": round, **taken, "bytes_exchanged": history["bytes_exchanged"][round], **found}


def feasibility_after(prepared: Prepared, rows: Pytree, round: int) -> dict[str, Any]:
    """How the averaged and the last policy keep budgets after any round.

    Of agents that do not communicate every one must keep them.

    Returns:
        For both policies ``feasible_…`` and ``relative_violation_…``.
    """
    cmdp = prepared.problem.cmdp
    later = rows_of(jax.tree.map(lambda leaf: leaf[1 : round + 1], rows))
    _, sums = columns(1, later, no_sums(*later.costs.shape[:2]), prepared.layout)
    last = later.costs[..., -1]
    found: dict[str, Any] = {}
    averaged = average(sums.costs, sums.counted[:, None], last)
    for policy, costs in zip(POLICIES, (averaged, last), strict=True):
        found[f"feasible_{policy}"] = bool(np.all(costs - cmdp.budgets <= tolerances(cmdp)))
        violation = relative_violation(costs, cmdp.budgets).max()
        found[f"relative_violation_{policy}"] = float(violation)
    return found


def comparison(measured: Callable[[Any, Sequence[FedNPGConfig]], Any]) -> Comparison:
    """What FedNPG adds, with how its assembler is made to measure the views."""
    return Comparison(
        label=label_of,
        check=check,
        same=same,
        views=views,
        measured=measured,
        figures=HEADINGS,
        columns=("round", *FIGURES, "bytes_exchanged"),
        ranked_by=RANKED_BY,
        draw=variants,
    )
