"""``fedjax-rl search ALGORITHM``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fedjax_rl.checks import check_count
from fedjax_rl.cli.best import conditions_of
from fedjax_rl.cli.parse import check_has_out, parse
from fedjax_rl.cli.run import base, made
from fedjax_rl.cli.sweep import Repeated, chunk_of, named_lists
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of
from fedjax_rl.records.saving import CheckpointSettings

HELP = """\
usage: fedjax-rl search ALGORITHM --random NAME=LAW --trials T --batch B --out DIR [OPTIONS]

Settings that learn from those before: Optuna is asked for B trials, they run side by side as one
program, and it is told what came of them. Needs the extra optuna.
ALGORITHM is any that fedjax-rl run takes, and so are the options: what is not searched is as of
a run.

  fedjax-rl search fednpg --random step_size=loguniform:1e-3:1 --trials 64 --batch 8 --out runs/o
  fedjax-rl resume runs/o
  fedjax-rl best runs/o
  fedjax-rl plot runs/o

fedjax-rl search ALGORITHM --help explains every option.
"""
DESCRIPTION = """Search settings of an algorithm with Optuna, a batch of trials at a time.

Real-valued settings share one compiled program for all batches; a choice between counts or names
makes one each. Every trial is run with --seeds seeds, and judged by the mean over them.
"""


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """What a search has beside the settings of a run."""

    random: Repeated = ()
    """NAME=loguniform:LOW:HIGH, uniform:LOW:HIGH or choice:A|B|C; may be given again."""
    trials: int = 64
    """How many combinations are tried, in all."""
    batch: int = 8
    """How many are asked for at a time, and run side by side."""
    metric: str | None = None
    """A column of sweep.csv, of which the smallest is best; unless given, what the algorithm is
    judged by: average_gap, reward or last accuracy."""
    maximize: bool = False
    """The largest is best."""
    subject_to: Repeated = ()
    """METRIC<=NUMBER, or >=, <, >, ==: what must hold as well; may be given again."""
    feasible_seeds: float = 1.0
    """Share of a trial's seeds that must keep every budget."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Who chooses: a tree-structured Parzen estimator, or chance."""
    sample_seed: int = 0
    """Seed of the sampler."""
    chunk: str = "auto"
    """Most members side by side in one program: a number, or auto: as many as fit memory, dealt to
    the cores."""
    workers: Literal["auto"] | int = "auto"
    """Processes that run chunks, whose bits are the same; auto: one to a core, or this one alone
    for little work, on an accelerator, and beside --devices."""
    out: Path | None = None
    """Directory for config.yaml, study.db, sweep.csv, curves.npz and chunks/."""
    overwrite: bool = False
    """Replace the search or sweep that is in --out."""
    checkpoints: Annotated[CheckpointSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=CheckpointSettings
    )
    devices: Annotated[DeviceSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=DeviceSettings
    )


def main(arguments: list[str]) -> int:
    """Runs a search; exit status 1 when every trial diverged.

    Raises:
        InvalidInput: options that cannot be used, or no such algorithm.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    algorithm, argv = arguments[0], arguments[1:]
    family = family_of(algorithm)
    settings, _ = base(family, algorithm, argv, [named_lists(family.named, argv)])
    kind = made(family, type(settings), ("sweep", Annotated[SearchOptions, tyro.conf.arg(name="")]))
    default = kind(settings=settings, sweep=SearchOptions())
    options = parse(kind, argv, f"search {algorithm}", default=default, description=DESCRIPTION)
    own = options.sweep
    check_has_out(own.out, arguments)

    from fedjax_rl.records.output import Destination
    from fedjax_rl.sweeps.objective import objective_of
    from fedjax_rl.sweeps.request import SweepRequest
    from fedjax_rl.sweeps.search import search_and_record
    from fedjax_rl.sweeps.search_request import search_of
    from fedjax_rl.sweeps.space import LAWS, entries, space_of

    if not own.random:
        raise InvalidInput("--random", "nothing", f"--random NAME={LAWS}")
    check_count("--trials", own.trials, least=1)
    settings = options.settings
    laws = entries("--random", own.random)
    request = SweepRequest(
        algorithm=algorithm,
        base=settings,
        space=space_of(type(settings), {}, laws, own.trials, own.sample_seed),
        chunk=chunk_of(own.chunk),
        destination=Destination(own.out, own.overwrite, own.checkpoints),
        devices=own.devices,
        workers=own.workers,
    )
    conditions = conditions_of(own.metric, own.maximize, own.subject_to)
    wanted = own.metric, own.maximize, conditions, own.feasible_seeds
    objective = objective_of(family.headline, *wanted)
    diverged = search_and_record(search_of(request, objective, own.batch, own.sampler))
    sys.stdout.flush()
    return 1 if diverged else 0
