"""Every setting on every route has an effect, or is refused in one line that names its flag.

Routes are flags, a config.yaml, Python with a name, and Python with an object. The first three must
give the same settings, and what is prepared from them must differ from what the base gives: in the
program that a round is, or in a number that this program reads. What a program does not read is cut
away before it is compared, so that a setting that is merely handed over does not count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.interpreters.partial_eval import dce_jaxpr

from fedjax_rl import runs
from fedjax_rl.cli.parse import parse
from fedjax_rl.cli.run import base as read_base
from fedjax_rl.cli.run import options_of
from fedjax_rl.cluster.devices import ONE
from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.families.networks import training as of_networks
from fedjax_rl.families.networks.config import OWN, DeepConfig
from fedjax_rl.families.protocol import Experiment, Family
from fedjax_rl.families.registry import family_of
from fedjax_rl.families.stale import training as of_stale_data
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.tabular import training as of_finite_problems
from fedjax_rl.hetero.tasks import tasks
from fedjax_rl.precision import precision
from fedjax_rl.settings.fields import PROBLEM, TRACED, names, static_names, value_of
from fedjax_rl.settings.values import dump
from fedjax_rl.sources.objects import GIVEN
from fedjax_rl.sources.problems import load_problem
from fedjax_rl.sweeps.space import listed
from tests.quick import quick_compilation  # noqa: F401
from tests.sweeps import axes

pytestmark = pytest.mark.timeout(300)

(EVERY_LOSS,) = axes.STALE.algorithms
ALGORITHMS = ("fednpg", "fedppo", "fednatural", "gepo", EVERY_LOSS)
CALLS = {
    "fednpg": runs.fednpg,
    "fedppo": runs.fedppo,
    "fednatural": runs.fednatural,
    "gepo": lambda task, **settings: runs.hetero_rl("gepo", task, **settings),
    EVERY_LOSS: lambda task, **settings: runs.hetero_rl(EVERY_LOSS, task, **settings),
}


def fields_of(settings: Any) -> dict[str, Any]:
    """Settings by name."""
    names = (field.name for field in dataclasses.fields(settings))
    return {name: getattr(settings, name) for name in names}


TRANSFORMER = ("layers", "width", "heads", "dtype")
ALONE = {"access": None, "vary": ()}
"""What a single agent has not, and the base has."""
SEEN = ("duals", "dual_units", "cost_gae", "cost_surrogate")
"""What an agent that sees no cost does not read."""
PID = ("proportional_gain", "integral_gain", "derivative_gain", "dual_smoothing")
MULTIPLICATIVE = ("penalty_share", "insistence", "multiplier_floor")
NEEDED: dict[str, dict[str, dict[str, Any]]] = {
    "tabular": {
        "problem_args": {"problem": "random-mdp", "access": None},
        "agents": {"access": None},
        "rollouts": {"evaluation": "sampled"},
        "regularization": {"learner": "regularized"},
        "tolerance": {"learner": "crpo"},
    },
    "networks": {
        "problem": {"vary": ()},  # which sets all that the two tasks differ in
        "problem_args": {"problem": "tests.sweeps.axes:slower"},
        "agents": {"access": None, "vary": ()},
        "minibatches": {"rollout": 12},
        "dual_step_size": {"duals": "gradient"},
        "tolerance": {"duals": "crpo"},
        **{name: {"duals": "pid"} for name in ("derivative_gain", "dual_units")},
    },
    "stale data": {
        **{name: {"policy": "transformer"} for name in TRANSFORMER},
        "task": {"task_args": ("length=3",)},
        "latency": axes.UNFITTED,
        "discard": {"window": 2},
    },
}
"""What a setting needs beside the base to have its effect, by family."""
OF_DUALS: dict[str, dict[str, Any]] = {
    "dual_step_size": {"duals": "pid"},
    **{name: {"duals": "gradient"} for name in PID},
    **{name: {"duals": "pid"} for name in MULTIPLICATIVE},
    "dual_units": {},
    **{name: {"duals": "crpo"} for name in ("budget_margin", "multiplier_cap")},
    "tolerance": {"duals": "gradient"},
}
USELESS: dict[str, dict[str, dict[str, Any]]] = {
    "fednpg": {
        "rollouts": {},
        "regularization": {"learner": "crpo"},
        "tolerance": {"learner": "regularized"},
        **{name: {"learner": "crpo"} for name in ("dual_step_size", "multiplier_cap")},
        **{name: {"reference": "omniscient"} for name in ("correction", "merge", "participants")},
        "merge_weights": {"reference": "no-communication"},
    },
    "fedppo": {
        **OF_DUALS,
        **{name: {"reference": "omniscient", **ALONE} for name in ("access", "vary")},
        **{name: {"reference": "unconstrained", **ALONE} for name in SEEN},
        **{name: {"reference": "one-shot"} for name in ("merge_by", "confirm_episodes")},
        **{name: {} for name in OWN["fednatural"]},
    },
    "fednatural": {**OF_DUALS, "merge_by": {}, **{name: {} for name in OWN["fedppo"]}},
    "gepo": {
        **{name: {} for name in TRANSFORMER},
        **{name: {"window": 0} for name in ("pacing", "discard")},
    },
    EVERY_LOSS: {
        "kl_weight": {"kl": "none"},
        **{name: {**axes.UNFITTED, "latency": "trace.csv"} for name in axes.UNFITTED},
        "latency_high": {**axes.UNFITTED, "latency": "constant"},
    },
}
"""Beside which settings one has no effect, and is refused."""

STATIC = static_names(HeteroConfig)
WALKED = {
    "fednatural": (
        *(*OWN["fednatural"], *names(DeepConfig, TRACED)),
        *("epochs", "minibatches", "standardize", "problem_args", "access", "vary"),
    ),
    "gepo": (*STATIC, "seed"),
    EVERY_LOSS: tuple(n for n in fields_of(axes.STALE.base) if n not in STATIC),
}
"""What is walked where it is not all. Settings that two algorithms share are walked once where they
shape programs, which take long to trace, and numbers of losses with the one that reads them all."""

KEYS_AND_ROWS = {"seed": "the keys of all rounds", "log_every": "which rows are written"}
ELSEWHERE: dict[str, dict[str, str]] = {
    "tabular": KEYS_AND_ROWS,
    "networks": {**KEYS_AND_ROWS, "window": "how many evaluations the summary averages"},
    "stale data": KEYS_AND_ROWS,
}
"""Settings that no program reads, and what they change, by family."""
OF_OBJECTS = ("access", "vary")
"""What depends on the content of the problem beside the settings that are marked so."""


class Walk(NamedTuple):
    """What is walked for an algorithm.

    Attributes:
        algorithm: its name.
        family: its family.
        base: settings that leave every setting the room for an effect.
        values: another value of every setting of its type, by name.
        read: the settings that the algorithm reads.
    """

    algorithm: str
    family: Family
    base: Any
    values: Mapping[str, Any]
    read: tuple[str, ...]

    def needed(self, name: str) -> dict[str, Any]:
        """What the setting needs to have its effect."""
        return dict(NEEDED[self.family.name].get(name, {}))

    def given(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """All settings that are not at their defaults, by name."""
        merged = {**fields_of(self.base), **changes}
        kind = type(self.base)
        return {name: value for name, value in merged.items() if value != getattr(kind, name)}


def walk_of(algorithm: str) -> Walk:
    """The base and the values of the tables that sweeps are tested with."""
    family, table = (
        family_of(algorithm),
        axes.table_of(EVERY_LOSS if algorithm == "gepo" else algorithm),
    )
    whole = axes.whole_table_of(table.algorithms[0])
    values: dict[str, Any] = {"seed": 5, "seeds": 2, "log_every": 2}
    for variant in reversed(whole.variants):
        values |= variant
    values |= {name: listed(name, axis.values)[-1] for name, axis in whole.data.items()}
    kind = type(table.base)
    values |= {"confirm_episodes": 200} if "confirm_episodes" in fields_of(table.base) else {}
    plain = {n: value_of(flag(n), kind, n, value) for n, value in values.items()}
    others = [name for one, own in OWN.items() if one != algorithm for name in own]
    read = tuple(name for name in plain if algorithm not in OWN or name not in others)
    read = tuple(name for name in read if name in WALKED.get(algorithm, read))
    return Walk(algorithm, family, table.base, plain, read)


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """What tables name is in the working directory, and nothing is trained."""
    axes.make_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for module in (of_finite_problems, of_networks, of_stale_data):
        monkeypatch.setattr(module, "run", lambda prepared: prepared)


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings as flags."""
    arguments: list[str] = []
    for name, value in settings.items():
        if isinstance(value, bool):
            arguments.append(flag(name) if value else "--no-" + name.replace("_", "-"))
        else:
            each = value if isinstance(value, tuple) else (value,)
            arguments += [flag(name), *map(str, each)]
    return arguments


def by_flags(walk: Walk, changes: Mapping[str, Any]) -> Any:
    arguments = words_of(walk.given(changes))
    settings, _ = read_base(walk.family, walk.algorithm, arguments)
    kind = options_of(walk.family, type(settings))
    options = parse(kind, arguments, f"run {walk.algorithm}", default=kind(settings=settings))
    return walk.family.prepare(walk.algorithm, options.settings, ONE)


def by_file(walk: Walk, changes: Mapping[str, Any]) -> Any:
    with open("config.yaml", "w") as file:
        file.write(dump({"algorithm": walk.algorithm, **walk.given(changes)}))
    settings, _ = read_base(walk.family, walk.algorithm, ["--config", "config.yaml"])
    return walk.family.prepare(walk.algorithm, settings, ONE)


def by_name(walk: Walk, changes: Mapping[str, Any]) -> Any:
    settings = walk.given(changes)
    name = settings.pop(walk.family.problem)
    return CALLS[walk.algorithm](name, **settings)


def by_object(walk: Walk, changes: Mapping[str, Any]) -> Any:
    """On the object that the base's problem is, with the base's other settings."""
    settings = walk.given(changes)
    settings.pop(walk.family.problem, None)
    if walk.family.name == "stale data":
        given = tasks.resolve("brackets")(length=5, kinds=2)
        if "task_args" not in changes:
            settings.pop("task_args", None)
    else:
        given = load_problem("a.npz").cmdp if walk.family.name == "tabular" else axes.walk()
    return CALLS[walk.algorithm](given, **settings)


Route = Callable[[Walk, Mapping[str, Any]], Any]
ROUTES = (by_flags, by_file, by_name, by_object)


def refused(route: Route, walk: Walk, changes: Mapping[str, Any], name: str) -> bool:
    """Whether a route refuses; in one line, and by the name of the setting."""
    try:
        route(walk, changes)
    except InvalidInput as error:
        assert flag(name) in str(error) or name in str(error).partition(";")[0], error
        assert "\n" not in str(error)
        return True
    return False


class Program(NamedTuple):
    """A program, with what it does not need cut away.

    Attributes:
        text: of it, and the numbers that are part of it.
        reads: of each traced setting, whether the program needs it.
    """

    text: tuple[Any, ...]
    reads: Any


def programs_of(prepared: Any) -> Iterator[Program]:
    """The start of a run, and a round of it."""
    algorithm, hparams, config = prepared.algorithm, prepared.hparams, prepared.config
    key = jax.random.key(0)
    if config.seeds > 1 or hasattr(prepared, "members"):
        key = jax.random.split(key, config.seeds)
    with precision(algorithm.float64):
        state = jax.eval_shape(algorithm.init, key, hparams)
        yield traced(algorithm.init, key, hparams)
        yield traced(algorithm.step, key, 1, state, hparams)


def traced(call: Any, *arguments: Any) -> Program:
    """A function of a key, others, and the traced settings."""
    closed = jax.make_jaxpr(call)(*arguments)
    needed, used = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    constants = [np.asarray(one).tobytes() for one in closed.consts]
    settings = len(jax.tree.leaves(arguments[-1]))
    return Program((str(needed), *constants), np.array(used[len(used) - settings :]))


def numbers(prepared: Any, reads: Any) -> list[Any]:
    """The traced settings that are read."""
    leaves = jax.tree.leaves(prepared.hparams)
    return [
        (leaf.shape, np.asarray(leaf).tobytes())
        for leaf, read in zip(leaves, reads, strict=True)
        if read
    ]


def has_effect(prepared: Any, base: Any, programs: Sequence[Program]) -> bool:
    """Whether what is run differs from the base: numbers that it reads, or else the program."""
    if jax.tree.structure(prepared.hparams) != jax.tree.structure(base.hparams):
        return True
    reads = programs[0].reads | programs[1].reads
    if numbers(prepared, reads) != numbers(base, reads):
        return True
    pairs = zip(programs_of(prepared), programs, strict=True)
    return any(one.text != other.text for one, other in pairs)


def prepared_by(route: Route, walk: Walk, changes: Mapping[str, Any]) -> Any:
    """What a run would start from: an experiment's part of `partial`, or what Python returns."""
    found = route(walk, changes)
    return found.run.args[0] if isinstance(found, Experiment) else found


class Bases:
    """What settings need beside the base, each prepared by one route and traced once."""

    def __init__(self, walk: Walk, route: Route) -> None:
        self.walk, self.route = walk, route
        self._known: dict[str, tuple[Any, Sequence[Program]]] = {}

    def with_settings(self, needed: Mapping[str, Any]) -> tuple[Any, Sequence[Program]]:
        key = repr(sorted(needed.items()))
        if key not in self._known:
            prepared = prepared_by(self.route, self.walk, needed)
            self._known[key] = prepared, tuple(programs_of(prepared))
        return self._known[key]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_setting_has_an_effect_on_every_route(algorithm):
    """An object may refuse what belongs to names."""
    walk = walk_of(algorithm)
    of_names, of_objects = Bases(walk, by_name), Bases(walk, by_object)
    for name in walk.read:
        needed = walk.needed(name)
        changes = {**needed, name: walk.values[name]}
        assert {**fields_of(walk.base), **needed}[name] != changes[name], name
        found, *alike = (prepared_by(route, walk, changes) for route in ROUTES[:3])
        assert all(one.config == found.config for one in alike), name
        if name in ELSEWHERE[walk.family.name]:
            assert getattr(found.config, name) == changes[name]
        else:
            assert has_effect(found, *of_names.with_settings(needed)), f"{name} has no effect"
        if name.endswith("_args"):
            assert refused(by_object, walk, changes, name)
        elif name != walk.family.problem:
            given = prepared_by(by_object, walk, changes)
            if name in (*names(walk.family.settings, PROBLEM), *OF_OBJECTS):
                assert has_effect(given, *of_objects.with_settings(needed)), f"{name} of an object"
            else:
                own = {walk.family.problem: GIVEN, "task_args": ()}
                assert fields_of(given.config) == fields_of(found.config) | {
                    key: value for key, value in own.items() if hasattr(walk.base, key)
                }


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_has_no_effect_is_refused_on_every_route(algorithm):
    walk = walk_of(algorithm)
    for name, others in USELESS[algorithm].items():
        for route in ROUTES:
            route(walk, others)
            message = f"{name} is taken by {route.__name__}"
            assert refused(route, walk, {**others, name: walk.values[name]}, name), message


BESIDE: list[tuple[str, dict[str, Any]]] = [
    *(("fednpg", {"learner": name}) for name in ("crpo", "optimistic", "regularized")),
    *(("fednpg", {"reference": name}) for name in ("omniscient", "no-communication")),
    ("fedppo", {"reference": "unconstrained", **ALONE}),
    ("gepo", {"window": 0}),
]
"""Settings beside which others have lost their effect."""


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "others"), BESIDE)
def test_a_number_is_read_or_refused_beside_others(algorithm, others):
    """Whether a program reads it is asked of the program, which is traced once."""
    walk = walk_of(algorithm)
    base, programs = Bases(walk, by_name).with_settings(others)
    reads, taken = programs[0].reads | programs[1].reads, 0
    for name in {*names(type(walk.base), TRACED)} - {*others, "seed", "window"}:
        try:
            found = prepared_by(by_name, walk, {**others, name: walk.values[name]})
        except InvalidInput:
            continue
        taken += 1
        same = jax.tree.structure(found.hparams) == jax.tree.structure(base.hparams)
        assert not same or numbers(found, reads) != numbers(base, reads), name
    assert taken


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_log_every_changes_which_rows_are_written(algorithm):
    walk = walk_of(algorithm)
    for route in (by_flags, by_file):
        assert route(walk, {"log_every": 2}).logged != route(walk, {}).logged


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_tables_know_every_setting(algorithm):
    """A new setting needs a value here or in `axes`, and nothing is said of one that is gone."""
    walk = walk_of(algorithm)
    known = {*fields_of(walk.base)}
    assert known == {*walk.values}
    assert {*NEEDED[walk.family.name], *USELESS[algorithm], *walk.read} <= known
