"""Texts of a run on stale data: before it starts, in its live table, when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedjax_rl.columns import Columns
from fedjax_rl.families.stale.assembly import HeteroPrepared
from fedjax_rl.families.stale.training import HeteroResult
from fedjax_rl.hetero.schedule import throughput, wasted

HEADER = (
    *("step", "virtual h", "staleness", "reward", "accuracy", "KL(q‖p)", "weight var", "ESS"),
    *("clipped", "grad norm"),
)


def opening(prepared: HeteroPrepared) -> str:
    """The text before a run starts: loss, task, samplers, batches."""
    config, start = prepared.config, prepared.start
    windows = sorted({member.window for member in prepared.members})
    distance = f"window {', '.join(map(str, windows))}" + (" (0: synchronous)" * (0 in windows))
    seeds = f", {config.seeds} seeds" * (config.seeds > 1)
    together = f"; {len(prepared.members)} runs as one program" * (len(prepared.members) > 1)
    taught = f"warm-started to accuracy {start.accuracy:.3f}" if start.steps else "untrained"
    noise = f", rewards flipped with probability {config.label_noise:g}" * (config.label_noise > 0)
    return "\n".join(
        [
            f"{prepared.loss} on {config.task} with a {config.policy}, {taught}{noise}",
            f"{config.samplers} samplers, {config.latency} latency, {distance}{seeds}{together}",
            f"{config.steps} learner steps on batches of {config.prompts} prompts × "
            f"{config.group_size} responses of at most {prepared.task.response_length} tokens; "
            "compiling first",
        ]
    )


def cells(rows: Columns, index: int) -> list[str]:
    """A row of the live table, under `HEADER`."""

    def number(name: str, form: str) -> str:
        value = float(rows[name][index])
        return format(value, form) if value == value else "-"

    return [
        str(int(rows["step"][index])),
        f"{rows['virtual_seconds'][index] / 3600:.2f}",
        number("staleness", ".1f"),
        number("reward", ".3f"),
        number("accuracy", ".3f"),
        number("kl", ".2e"),
        number("weight_variance", ".2e"),
        number("effective_sample_size", ".2f"),
        number("clip_fraction", ".2f"),
        number("gradient_norm", ".2e"),
    ]


def closing(result: HeteroResult) -> str:
    """The text after a run: accuracies, staleness, warnings."""
    summary, prepared = result.summary, result.prepared
    traffic = prepared.traffic[0]
    count = prepared.config.seeds
    lines = [
        f"Held-out accuracy{f' (mean of {count} seeds)' * (count > 1)}: best "
        f"{summary['best']:.3f}, last {summary['last']:.3f}, lost since the best "
        f"{summary['best_last_gap']:.3f}.",
        f"Staleness {summary['staleness_mean']:.1f} steps on average, "
        f"{summary['staleness_max']:.0f} at most; weight variance "
        f"{summary['weight_variance_median']:.3g} (median), smallest effective sample size "
        f"{100 * summary['ess_min']:.1f} % of a batch.",
        f"{summary['virtual_seconds'] / 3600:.2f} virtual hours, "
        f"{3600 * throughput(traffic):.0f} learner steps an hour, learner idle "
        f"{100 * summary['learner_idle_share']:.0f} %, "
        f"{100 * wasted(traffic):.0f} % of the batches wasted (seed {prepared.config.seed}).",
        f"{summary['seconds']:.1f} s, {summary['compile_seconds']:.1f} s of them compiling; "
        f"{summary['steps_per_second']:.0f} learner steps per second.",
    ]
    return "\n".join([*lines, *diverged(summary["failed_seeds"])])


def diverged(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for every seed whose policy was no longer finite."""
    return [
        f"DIVERGED: seed {one['seed']} in step {one['step']}; it is left out of the means."
        for one in failed
    ]
