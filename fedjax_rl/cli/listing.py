"""``fedjax-rl list``."""

from __future__ import annotations

import dataclasses

import tyro

from fedjax_rl.cli import choose
from fedjax_rl.cli.parse import parse


@dataclasses.dataclass(frozen=True)
class List:
    """List what can be named on the command line, each with what it is."""

    kind: tyro.conf.Positional[str] = "all"
    """problems, tasks, token-tasks, learners, merges, losses or latencies; all unless given."""


def main(arguments: list[str]) -> int:
    """Prints names and the first line of what they are."""
    options = parse(List, arguments, "list")

    import fedjax_rl.envs
    import fedjax_rl.federation.aggregate
    import fedjax_rl.learners.tabular
    import fedjax_rl.sources.problems  # noqa: F401
    from fedjax_rl.algorithm import aggregators, environments, learners, problems
    from fedjax_rl.hetero.latency import latencies
    from fedjax_rl.hetero.losses import losses
    from fedjax_rl.hetero.tasks import tasks

    kinds = {
        "problems": problems,
        "tasks": environments,
        "token-tasks": tasks,
        "learners": learners,
        "merges": aggregators,
        "losses": losses,
        "latencies": latencies,
    }
    wanted = kinds if options.kind == "all" else {choose("kind", options.kind, list(kinds)): None}
    for kind in wanted:
        print(f"{kind}:")
        for name in kinds[kind]:
            print(f"  {name:<34} {kinds[kind].describe(name)}")
    return 0
