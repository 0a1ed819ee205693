"""What a run of networks leaves in its directory beside rows and summary."""

from __future__ import annotations

from collections.abc import Mapping

from fedjax_rl.columns import of_table
from fedjax_rl.families.networks.figures import curves_of, figures_of
from fedjax_rl.families.networks.history import to_rows
from fedjax_rl.families.networks.policy_file import RECOMMENDED, policy_arrays, recommended_arrays
from fedjax_rl.families.networks.result import DeepResult
from fedjax_rl.families.protocol import Result
from fedjax_rl.figures.curves import Curves, overlaid
from fedjax_rl.figures.numbers import mapping
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.terminal.live import working


def write(result: DeepResult, directory: RunDirectory) -> None:
    """Writes evaluations, policies and plots."""
    from fedjax_rl.figures import png

    header, rows = to_rows(result.evaluations, result.prepared)
    directory.append_rows("evaluations.csv", header, rows)
    directory.write_arrays("policy.npz", policy_arrays(result.policy))
    if result.recommended is not None and result.recommended.policy is not None:
        directory.write_arrays(RECOMMENDED, recommended_arrays(result.recommended))
    with working("drawing"):
        agents = result.prepared.num_agents
        figures = figures_of(result.history, of_table(header, rows), result.summary, agents)
        png.write(figures, directory.path, result.prepared.config.problem)


def write_comparison(directory: RunDirectory, results: Mapping[str, Result]) -> None:
    """Writes results by the name of their reference side by side, into the federation's."""
    from fedjax_rl.figures import png

    summaries = {who: result.summary for who, result in results.items()}
    rewards = {f"reward_{who.replace('-', '_')}": s["reward"] for who, s in summaries.items()}
    directory.write_json("summary.json", {**summaries["fed"], **rewards})
    with working("drawing"):
        curves = {who: _curves(result.own) for who, result in results.items()}
        png.write(overlaid(curves, file="comparison.png"), directory.path)
    header = ["reference", "reward", *(f"cost/{name}" for name in summaries["fed"]["costs"])]
    header += ["feasible", "environment_steps", "bytes_exchanged", "seconds"]
    directory.append_rows(
        "comparison.csv",
        header,
        [
            [who, s["reward"], *s["costs"].values(), *(s[name] for name in header[-4:])]
            for who, s in summaries.items()
        ],
    )


def _curves(result: DeepResult) -> Curves:
    evaluations = of_table(*to_rows(result.evaluations, result.prepared))
    budgets = mapping(result.summary, "budgets")
    return curves_of(evaluations, result.prepared.num_agents, budgets)
