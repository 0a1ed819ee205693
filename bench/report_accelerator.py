"""docs/gpu.md from bench/results/accelerator.json; it says where there is nothing yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bench.accelerator_rows import FAILED, LEFT_OUT, MEASURED
from bench.measured import RESULTS, ROOT

PAGE = ROOT / "docs" / "gpu.md"
FIGURES = RESULTS / "accelerator.json"
NOT_YET = "Not measured yet."
Rows = dict[str, dict[str, Any]]

HEAD = """# On a GPU

This page is written by `python -m bench.report` from `bench/results/accelerator.json`, and a test
holds it against that file. To measure a card of your own:

```text
python -m bench accelerator [--minutes 6] [--out FILE]
```

It is one command for a machine that is there for minutes. It needs Python 3.11 or newer, a JAX
that finds the card, and the wheels of flax, optax, chex, scipy, gymnax and gymnasium with what
they need; no network, and no installation: a folder on `PYTHONPATH` will do. It says what is
missing before it begins, writes its figures after every row, leaves out a row that the time left
is not enough for, and ends at its limit with what it has. `--quick` runs the same rows at small
sizes on a processor.

Rates are medians [least, most] over repeats in which competitors took turns. What a row compiled is
apart from what it ran. Memory is what the compiled program holds at once.
"""


def page() -> str:
    """The whole page."""
    return written(figures())


def figures() -> dict[str, Any] | None:
    """What was measured on a card; None where nothing was."""
    if not FIGURES.exists():
        return None
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found if on_a_card(found) else None


def on_a_card(found: dict[str, Any]) -> bool:
    """Whether figures are of full size and of an accelerator, as the page says of them."""
    return not found["quick"] and found["card"]["platform"] != "cpu"


def written(found: dict[str, Any] | None) -> str:
    """The page of such figures.

    Args:
        found: as `bench.accelerator` writes them; None for none.
    """
    rows: Rows = found["rows"] if found else {}
    parts = [HEAD, card(found)]
    for section, (title, text, table) in SECTIONS.items():
        own = {name: row for name, row in rows.items() if row["section"] == section}
        had = {name: row["figures"] for name, row in own.items() if row["status"] == MEASURED}
        lines = table(had) if had else [NOT_YET]
        parts.append("\n".join([f"## {title}", "", text, "", *lines, *others(own)]) + "\n")
    return "\n".join(parts)


def card(found: dict[str, Any] | None) -> str:
    """What it was measured on."""
    if found is None:
        return f"## The card\n\n{NOT_YET}\n"
    known, machine = found["card"], found["machine"]
    driver = known["driver"] if isinstance(known["driver"], dict) else {}
    versions = machine["versions"]
    entries = {
        "card": known["kind"],
        **driver,
        "matrix products in float32": f"JAX's precision {known['matmul_precision']}, "
        f"NVIDIA_TF32_OVERRIDE {known['tf32_override'] or 'not set'}",
        "flags of XLA": f"`{machine['xla_flags']}`" if machine["xla_flags"] else "none",
        "versions": f"jax {versions['jax']}, jaxlib {versions['jaxlib']}, "
        f"Python {versions['python']}",
        "host": f"{machine['processor']}, {machine['cores']} cores",
    }
    for name, unit in (("clocks.sm", "MHz"), ("power.draw", "W"), ("temperature.gpu", "°C")):
        seen = [row["card"][name] for row in found["rows"].values() if name in row.get("card", {})]
        if seen:
            low, high = min(own["least"] for own in seen), max(own["most"] for own in seen)
            entries[f"{name} while rows ran"] = f"{low:g} to {high:g} {unit}"
    lines = ["## The card", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in entries.items()]
    stopped = found["stopped"]
    ended = f" It ended early: {stopped}." if stopped else ""
    return "\n".join([*lines, "", f"The limit was {found['minutes']:g} minutes.{ended}", ""])


def others(rows: Rows) -> list[str]:
    """Rows without figures, and why."""
    apart = [row for row in rows.items() if row[1]["status"] in (FAILED, LEFT_OUT)]
    lines = [f"- {name}: {row['status']}: {row['reason']}" for name, row in apart]
    return ["", *lines] if lines else []


def truth(had: Rows) -> list[str]:
    """Comparisons with the processor."""
    lines = ["| | apart | allowed | agrees |", "|---|---|---|---|"]
    for name, row in had.items():
        apart = f"{row['apart']:.1e}" if row.get("apart") is not None else "–"
        allowed = f"{row['allowed']:g}" if "allowed" in row else "–"
        lines.append(f"| {name} | {apart} | {allowed} | {'yes' if row['agrees'] else '**no**'} |")
    return lines


def members(had: Rows) -> list[str]:
    """Sweeps."""
    lines = ["| | members per second | steps per second | compiled in | memory |", "|---" * 5 + "|"]
    for name, row in had.items():
        steps = spread(row["steps_per_second"]) if "steps_per_second" in row else "–"
        rate = spread(row["members_per_second"])
        lines.append(
            f"| {name} | {rate} | {steps} | {row['compile_seconds']:.1f} s | {size(row['bytes'])} |"
        )
    return lines


def networks(had: Rows) -> list[str]:
    """FedPPO."""
    lines = [
        "| environments | agents | steps per second | environment alone | compiled in | memory | "
        "reward after so many steps |",
        "|---" * 7 + "|",
    ]
    for row in had.values():
        reward = "–"
        if row.get("reward") is not None:
            reward = f"{row['reward']:.0f} after {row['equal_steps']:,}"
        lines.append(
            f"| {row['environments']:,} | {row['agents']:,} | {spread(row['steps_per_second'])} | "
            f"{spread(row['environment_steps_per_second'])} | {row['compile_seconds']:.1f} s | "
            f"{size(row['bytes'])} | {reward} |"
        )
    return lines


def tokens(had: Rows) -> list[str]:
    """The transformer."""
    lines = ["| | part | tokens per second | compiled in |", "|---|---|---|---|"]
    for name, row in had.items():
        for part, own in row["parts"].items():
            rate = spread(own["tokens_per_second"])
            lines.append(f"| {name} | {part} | {rate} | {own['compile_seconds']:.1f} s |")
    return lines


def peaks(had: Rows) -> list[str]:
    """The card's own rates, and shares of them."""
    lines: list[str] = []
    if (limits := had.get("peaks")) is not None:
        lines += ["| matrix products | 10¹² per second | relative error |", "|---|---|---|"]
        for name, rate in limits["flops_per_second"].items():
            error = limits["product_errors"][name]
            lines.append(f"| {name} | {rate['median'] / 1e12:.3g} | {error:.0e} |")
        bandwidth = limits["bytes_per_second"]["median"] / 1e9
        lines += ["", f"Streamed from memory and back: {bandwidth:,.0f} GB/s.", ""]
    shares = had.get("shares of the peaks", {}).get("rows", {})
    if shares:
        lines += ["| a row's | products | bytes |", "|---|---|---|"]
        lines += [
            f"| {name} | {100 * own['products']:.3g} % | {100 * own['bandwidth']:.3g} % |"
            for name, own in shares.items()
        ]
    return lines


def lean(had: Rows) -> list[str]:
    """Against a PPO with nothing else in it."""
    lines = [
        "| environments | fedppo, one agent | lean PPO | times as fast | "
        "rewards after so many steps |",
        "|---" * 5 + "|",
    ]
    for row in had.values():
        found, rewards = row["steps_per_second"], row["rewards"]
        both = " and ".join("–" if own is None else f"{own:.0f}" for own in rewards.values())
        lines.append(
            f"| {row['environments']:,} | {spread(found['fedppo'])} | {spread(found['lean'])} | "
            f"{spread(row['over_lean'])} | {both} after {row['equal_steps']:,} |"
        )
    return lines


Table = Callable[[Rows], list[str]]
SECTIONS: dict[str, tuple[str, str, Table]] = {
    "a": (
        "Whether it computes the same",
        "Against the processor of the same machine: finite problems in float64, relative to the\n"
        "largest entry; one update of networks from one batch, with matrix products at the\n"
        "highest precision; whether the bits of a program with deterministic operations repeat;\n"
        "and rewards over seeds, in standard errors, since a sample that differs in its last bit\n"
        "is another episode.",
        truth,
    ),
    "c": (
        "Members of sweeps",
        "As one program. A member of fedppo is 49 rounds of two agents, 200,704 steps of\n"
        "CartPole; of fednpg 2,000 rounds of four agents, evaluated exactly; of gepo 800 steps on\n"
        "the table at 24 tokens. `ppo` are agents that learn alone, 500,000 steps each in four\n"
        "environments.",
        members,
    ),
    "b": (
        "FedPPO on CartPole",
        "Environments in all, dealt evenly among the agents; 128-step rollouts, 4 epochs of 4\n"
        "minibatches, two hidden layers of 64 tanh units. The environment alone, with random\n"
        "actions, is what no learner can be faster than.",
        networks,
    ),
    "d": (
        "Tokens of the transformer",
        "4 layers of width 256; 64 prompts, 8 responses to each, written with the cache and\n"
        "learned from by gepo.",
        tokens,
    ),
    "e": (
        "Shares of the peaks",
        "Matrix products and bytes that a program cannot do without, counted from its jaxpr,\n"
        "against programs that do nothing else. An error of 10⁻³ in float32 is that of\n"
        "TensorFloat-32.",
        peaks,
    ),
    "f": (
        "Against a lean PPO",
        "`bench/lean_ppo.py` has one agent, one critic and no cost; both take turns.",
        lean,
    ),
}


def spread(rate: dict[str, float]) -> str:
    """Median [least, most]."""
    values = [rate[name] for name in ("median", "least", "most")]
    digits = ",.0f" if values[0] >= 100 else ".3g"
    middle, least, most = (format(value, digits) for value in values)
    return f"{middle} [{least}, {most}]"


def size(count: int | None) -> str:
    """Bytes."""
    return "–" if count is None else f"{count / 2**20:,.0f} MiB"


def write() -> None:
    """Renews the page."""
    PAGE.write_text(page(), encoding="utf-8")
