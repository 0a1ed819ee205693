"""``fedjax-rl list``."""

from __future__ import annotations

import dataclasses

import tyro

from fedjax_rl.cli import choose
from fedjax_rl.cli.parse import parse


@dataclasses.dataclass(frozen=True)
class List:
    """List what can be named on the command line: problems, tasks, learners and merges."""

    kind: tyro.conf.Positional[str] = "all"
    """problems, tasks, learners or merges; everything unless given."""


def main(arguments: list[str]) -> int:
    """Prints names and the first line of what they are."""
    options = parse(List, arguments, "list")

    import fedjax_rl.envs
    import fedjax_rl.federation.aggregate
    import fedjax_rl.learners.tabular
    import fedjax_rl.runs.sources  # noqa: F401
    from fedjax_rl.algorithm import aggregators, environments, learners, problems

    kinds = {
        "problems": problems,
        "tasks": environments,
        "learners": learners,
        "merges": aggregators,
    }
    wanted = kinds if options.kind == "all" else {choose("kind", options.kind, list(kinds)): None}
    for kind in wanted:
        print(f"{kind}:")
        for name in kinds[kind]:
            print(f"  {name:<34} {kinds[kind].describe(name)}")
    return 0
