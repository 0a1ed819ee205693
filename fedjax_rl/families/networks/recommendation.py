"""What a run recommends, in words; from a summary, so that a page says it as a run does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fedjax_rl.figures.numbers import brief, mapping, number, plural


def recommended_seeds(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of seeds that have a policy, by reward, the largest first."""
    entries = [one for one in _entries(summary) if one.get("round") is not None]
    return sorted(entries, key=lambda one: -number(one.get("reward")))


def recommendation(summary: Mapping[str, Any]) -> str:
    """One line: the policy of the seed whose reward is largest, or why there is none; or nothing.

    Args:
        summary: of the run; with no ``recommended`` in it there is nothing to be said.
    """
    entries, found = _entries(summary), recommended_seeds(summary)
    if not entries:
        return ""
    if not found:
        reasons = Counter(str(one.get("why_none")) for one in entries)
        each = [
            f"{why} ({plural(count, 'seed')})" if len(entries) > 1 else why
            for why, count in reasons.items()
        ]
        return f"Recommended: none; {'; '.join(each)}."
    best, budgets = found[0], mapping(summary, "budgets")
    bounds = mapping(best, "cost_bounds")
    costs = "".join(
        f", {name} {brief(cost)} ≤ {brief(budgets.get(name))} "
        f"(upper bound {brief(bounds.get(name))})"
        for name, cost in mapping(best, "costs").items()
    )
    confidence = 100 * number(mapping(summary, "recommendation").get("confidence"))
    share = f"; {len(found)} of {len(entries)} seeds have one" if len(entries) > 1 else ""
    return (
        f"Recommended: round {best['round']} of seed {best.get('seed')}, "
        f"reward {brief(best.get('reward'))}{costs}; {brief(best.get('episodes'))} fresh episodes, "
        f"{confidence:g} % confidence{share}."
    )


HEADINGS = (
    "seed",
    "round",
    "reward [95 %]",
    "costs",
    "upper bounds",
    "fresh episodes",
    "if none",
)


def rows_of(summary: Mapping[str, Any]) -> tuple[tuple[Any, ...], ...]:
    """A row for every seed, under `HEADINGS`."""
    return tuple(
        (
            one.get("seed"),
            one.get("round"),
            None
            if one.get("round") is None
            else f"{brief(one.get('reward'))} {brief(one.get('reward_interval'))}",
            *(
                None if one.get(name) is None else brief(one[name])
                for name in ("costs", "cost_bounds")
            ),
            one.get("episodes"),
            one.get("why_none"),
        )
        for one in _entries(summary)
    )


def _entries(summary: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    entries = summary.get("recommended")
    if not isinstance(entries, list):
        return []
    return [one for one in entries if isinstance(one, dict)]
