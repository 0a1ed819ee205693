"""``fedjax-rl eval DIR``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import tyro

from fedjax_rl.cli.parse import parse


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Play episodes with the policies of a finished run, and film one.

    Networks: every seed's policy plays episodes as it acts, and as many with its mode; reward and
    costs are shown with 95 % intervals, beside the budgets. The directory gets evaluation.json and,
    where the task can be drawn, episode.gif. Policies over tokens (run gepo and other losses)
    answer as many held-out prompts, one response to each.
    """

    directory: tyro.conf.Positional[Path]
    """A directory that run fedppo, run fednatural or run gepo wrote."""
    policy: Literal["last", "recommended"] = "last"
    """last: after the last round; recommended: of networks, that which the run recommends, of the
    seeds that have one."""
    episodes: int = 128
    """Episodes (prompts) of every policy, at least 100: so many of it, as many of its mode."""
    eval_seed: int = 1000
    """Seed of the episodes; the run's own seed has no part in them."""
    member: int = 0
    """Which of the run's seeds is filmed, counted from 0."""
    agent: int = 0
    """Whose dynamics are filmed; without communication, whose policy too."""
    no_film: bool = False
    """Leave episode.gif out."""
    overwrite: bool = False
    """Replace the evaluation that is in the directory."""


def main(arguments: list[str]) -> int:
    """Evaluates the policy of a run directory."""
    options = parse(Evaluate, arguments, "eval")

    from fedjax_rl.families.protocol import EvaluationRequest
    from fedjax_rl.runs.evaluate import evaluate

    evaluate(
        options.directory,
        EvaluationRequest(
            options.episodes,
            options.eval_seed,
            options.member,
            options.agent,
            film=not options.no_film,
            overwrite=options.overwrite,
            policy=options.policy,
        ),
    )
    sys.stdout.flush()
    return 0
