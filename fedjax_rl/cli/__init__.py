"""The command line: ``fedjax-rl run | resume | compare | sweep | report | solve | …``."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
from collections.abc import Sequence

from fedjax_rl.backend import check_variables
from fedjax_rl.errors import InvalidInput, SolverFailure, Stopped
from fedjax_rl.records.programs import keep_programs
from fedjax_rl.terminal.streams import abandon, spelled

COMMANDS = {
    "run": "fedjax_rl.cli.run",
    "resume": "fedjax_rl.cli.resume",
    "compare": "fedjax_rl.cli.compare",
    "solve": "fedjax_rl.cli.solve",
    "sweep": "fedjax_rl.cli.sweep",
    "search": "fedjax_rl.cli.search",
    "best": "fedjax_rl.cli.best",
    "plot": "fedjax_rl.cli.plot",
    "report": "fedjax_rl.cli.report",
    "eval": "fedjax_rl.cli.evaluate",
    "list": "fedjax_rl.cli.listing",
}

NO_CACHE = "--no-compilation-cache"
SPREAD = ("run", "resume", "compare", "sweep")
"""Commands that several processes can carry out together."""

HELP = """\
usage: fedjax-rl COMMAND [OPTIONS]

Federated, constrained policy optimisation, measured against exact truth.

commands:
  run fednpg      train FedNPG on a finite problem and say how far it is from the optimum
  run fedppo      train networks on a constrained task; run fednatural: by natural gradients
  run gepo        learn from responses that were written long ago; run gspo, run grpo, …
  resume DIR      go on with a run that was stopped or killed
  compare fednpg  learners, local steps, corrections and merges, side by side
  compare --losses A,B    losses on stale data, side by side
  sweep ALGORITHM every combination of settings and seeds, side by side in few programs
  search ALGORITHM  settings that learn from those before; needs the extra optuna
  best DIR        the best configuration of a sweep or search, ready to run
  plot DIR        heat maps, curves and parallel coordinates of a sweep
  report DIR…     one HTML page about runs, comparisons and sweeps, that needs no network
  solve PROBLEM   the exact optimum, its multipliers and a certificate
  eval DIR        play episodes with a saved policy, and film one
  list            problems, tasks, learners, merges, losses and laws that can be named

first steps:
  fedjax-rl run fednpg                                   four agents on a windy cliff
  fedjax-rl run fednpg --local-steps 10 --out runs/e10   fewer merges; keep table and plots
  fedjax-rl run fednpg --reference no-communication      what happens if nobody talks
  fedjax-rl compare fednpg --local-steps 1,5,20          what fewer merges cost
  fedjax-rl run fedppo --compare --out runs/cartpole     networks, and what references reach
  fedjax-rl run gepo --seeds 4 --window 32               one learner, samplers far away
  fedjax-rl sweep fednpg --grid step_size=0.01,0.1 --grid local_steps=1,5   what settings do
  fedjax-rl solve icu-sepsis                             four hospitals; needs the extra icu
  fedjax-rl run fednpg --problem my_problem.npz          a problem of your own

fedjax-rl COMMAND --help explains every option. Wherever a name is taken, module:factory is too.
Compiled programs are kept in ~/.cache/fedjax_rl for the next start; --no-compilation-cache, with
any command, does without.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: without the program's name; those of the process unless given.

    Returns:
        Exit status: 0; 1 when a run diverged, a solver gave up or a file could not be written;
        2 for bad input; 130 and 143 after SIGINT and SIGTERM. What went wrong is told in one
        line on stderr. 1 when nobody reads standard output any more, as behind ``| head -1``.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    with spelled():
        try:
            try:
                return _run(argv)
            finally:
                # Here and not at exit, where nobody could catch that the reader is gone.
                sys.stdout.flush()
        except BrokenPipeError:
            abandon()
            return 1
        except OSError as error:  # standard output cannot be written: a full disk behind it
            print(f"fedjax-rl: {' '.join(str(error).split())}", file=sys.stderr)
            abandon()
            return 1


def _run(argv: list[str]) -> int:
    """Exit status of the command, as `main` has it, with BrokenPipeError let through."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if argv[0] == "--version":
        from fedjax_rl import __version__

        print(__version__)
        return 0
    if "" not in sys.path:
        sys.path.insert(0, "")  # so that module:factory finds a module of the current directory
    try:
        for word in argv:
            _check_text(word)
        check_variables()
        command = choose("command", argv[0], COMMANDS)
        if NO_CACHE in argv:
            argv = [word for word in argv if word != NO_CACHE]
        else:
            keep_programs()
        with _team(argv) if command in SPREAD else contextlib.nullcontext():
            status: int = importlib.import_module(COMMANDS[command]).main(argv[1:])
    except InvalidInput as error:
        print(f"fedjax-rl: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:
        print(f"fedjax-rl: {stop}", file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        print("fedjax-rl: interrupted; what was written so far is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except (OSError, SolverFailure) as error:
        print(f"fedjax-rl: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return status


def _team(argv: list[str]) -> contextlib.AbstractContextManager[None]:
    from fedjax_rl.cli.execution import hosts_in
    from fedjax_rl.cluster.hosts import joined

    return joined(hosts_in(argv))


def _check_text(word: str) -> None:
    """Raises InvalidInput for bytes that are no text here: no file of ours could name them."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "arguments", ascii(word), "text in this locale's encoding; PYTHONUTF8=1 makes it UTF-8"
        ) from None


def choose(field: str, word: str, choices: Sequence[str] | dict[str, str]) -> str:
    """The word, if it is one of the choices.

    Raises:
        InvalidInput: it is not; names the nearest.
    """
    if word in choices:
        return word
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.0)[0]
    raise InvalidInput(
        field, repr(word), f"did you mean {near!r}? one of {', '.join(choices)}; see --help"
    )
