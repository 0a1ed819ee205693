"""Comparisons of losses and windows on stale data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedjax_rl.families.protocol import Comparison, settings_as_text

HEADINGS = {
    **{"best": "best", "last": "last", "best − last": "best_last_gap"},
    **{"staleness": "staleness_mean", "KL": "kl_median", "CV²": "weight_cv2_median"},
    "least ESS": "ess_min",
}
COLUMNS = (
    *("loss", "best", "last", "best_last_gap", "staleness_mean", "staleness_max"),
    *("kl_median", "weight_variance_median", "weight_cv2_median", "ess_min"),
    *("clip_fraction_mean", "estimation_error_mean"),
)


def label_of(combination: Mapping[str, Any]) -> str:
    """The label of a configuration: ``gepo, W = 4``."""
    parts = [str(combination[name]) for name in ("algorithm",) if name in combination]
    parts += [f"W = {combination[name]}" for name in ("window",) if name in combination]
    others = {n: value for n, value in combination.items() if n not in ("algorithm", "window")}
    return ", ".join(filter(None, [*parts, settings_as_text(others)]))


COMPARISON = Comparison(label=label_of, figures=HEADINGS, columns=COLUMNS)
