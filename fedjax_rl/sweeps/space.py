"""The space of a sweep: lists of values, laws to sample from, and their product."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.checks import check_count
from fedjax_rl.errors import InvalidInput
from fedjax_rl.settings.fields import value_under
from fedjax_rl.settings.values import UNREADABLE, number, parse

LAWS = "loguniform:LOW:HIGH, uniform:LOW:HIGH or choice:A|B|C"
OWN = ("seed", "seeds")
"""Settings that a sweep has options of its own for."""
ALGORITHM = "algorithm"
"""An axis of the grid that is no setting: several algorithms with the same settings."""
OF_RUNS = ("log_every", "confirm_episodes")
"""Settings of the rows of a run, and of what it recommends; a sweep does neither."""

Combination = dict[str, Any]
"""Swept settings by name: one value of every axis."""


@dataclasses.dataclass(frozen=True)
class Space:
    """Every combination of the lists, with every sample of the laws.

    Attributes:
        grid: values of each setting.
        random: law of each setting, as `LAWS` has it.
        samples: how many draws of all laws together; None without laws.
        sample_seed: of the draws. A setting's draws depend on this and its own name alone.
    """

    grid: dict[str, tuple[Any, ...]]
    random: dict[str, str]
    samples: int | None = None
    sample_seed: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.grid, *self.random)

    def renamed(self, config: type, change: Callable[[str, str], str]) -> Space:
        """The space with every name that is listed, or that a choice has, as ``change`` has it."""

        def word(name: str, read: Law, text: str) -> str:
            value = read.value(config, name, text)
            return change(name, value) if isinstance(value, str) else text

        def law(name: str, text: str) -> str:
            read = law_of(config, name, text)
            options = "|".join(word(name, read, one) for one in read.options)
            return f"choice:{options}" if options else text

        grid = {
            name: tuple(change(name, one) if isinstance(one, str) else one for one in values)
            for name, values in self.grid.items()
        }
        laws = {name: law(name, text) for name, text in self.random.items()}
        return dataclasses.replace(self, grid=grid, random=laws)

    def combinations(self, config: type) -> Iterator[Combination]:
        """Swept settings by name: the lists' product, and for each of it every sample.

        Raises:
            InvalidInput: a law cannot be read or draws what is no value of its setting.
        """
        draws = {
            name: drawn(config, name, law, self.samples or 0, self.sample_seed)
            for name, law in self.random.items()
        }
        for values in itertools.product(*self.grid.values()):
            listed = dict(zip(self.grid, values, strict=True))
            for sample in range(self.samples or 1):
                yield listed | {name: values[sample] for name, values in draws.items()}


def space_of(
    config: type,
    grid: Mapping[str, Sequence[Any]],
    random: Mapping[str, str],
    samples: int | None,
    sample_seed: int = 0,
) -> Space:
    """A checked space of settings of a configuration's type.

    Raises:
        InvalidInput: an unknown setting (with the nearest one), one that is named twice, a value
            of the wrong type, an empty list, laws without samples or samples without laws.
    """
    if not grid and not random:
        raise InvalidInput("--grid", "nothing", f"--grid NAME=A,B or --random NAME={LAWS}")
    lists = {
        name if name == ALGORITHM else _axis("--grid", config, name): values
        for name, values in spelled("--grid", grid).items()
    }
    laws = {_axis("--random", config, n): law for n, law in spelled("--random", random).items()}
    if twice := sorted(set(lists) & set(laws)):
        raise InvalidInput("--random", twice[0], "a setting that is not in --grid as well")
    if laws and samples is None:
        raise InvalidInput("--samples", "none", "how many samples to draw with --random")
    if samples is not None and not laws:
        raise InvalidInput("--samples", samples, "only with --random")
    if samples is not None:
        check_count("--samples", samples, least=1)
    check_count("--sample-seed", sample_seed, least=0)
    checked = {name: _values(config, name, values) for name, values in lists.items()}
    space = Space(checked, laws, samples, sample_seed)
    next(space.combinations(config))  # reads the laws
    return space


def spelled(option: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, ``step-size`` as ``step_size``.

    Raises:
        InvalidInput: a name is given in both spellings.
    """
    found: dict[str, Any] = {}
    for name, value in named.items():
        if (plain := str(name).replace("-", "_")) in found:
            raise InvalidInput(option, repr(name), f"{plain} once; - and _ are the same")
        found[plain] = value
    return found


def entries(option: str, texts: Sequence[str]) -> dict[str, str]:
    """``("step_size=1,2",)`` as ``{"step_size": "1,2"}``.

    Raises:
        InvalidInput: an entry is not NAME=…, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise InvalidInput(option, repr(text), "NAME=…")
        if name in found:
            raise InvalidInput(option, repr(text), f"{name} once, with all its values")
        found[name] = values.strip()
    return found


def listed(name: str, text: str) -> list[Any]:
    """``1e-3,1e-2`` as a list; entries read as YAML, so that ``[64,64],[32]`` are lists too.

    Raises:
        InvalidInput: an empty list or entry, or not YAML.
    """
    try:
        values = parse(f"[{text}]")
    except UNREADABLE:
        values = None
    if not isinstance(values, list) or text.rstrip().endswith(","):
        raise InvalidInput("--grid", repr(f"{name}={text}"), "NAME=A,B,C with no empty entry")
    return values


def setting(option: str, config: type, name: str) -> str:
    """The name, if it is that of a setting that can be swept.

    Raises:
        InvalidInput: it is not; names the nearest.
    """
    name = str(name).replace("-", "_")
    known = [field.name for field in dataclasses.fields(config) if field.name not in OWN]
    if name in OWN:
        raise InvalidInput(option, repr(name), "--seed and --seeds K say which seeds there are")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise InvalidInput(
            option, repr(name), f"did you mean {near!r}? one of {', '.join(sorted(known))}"
        )
    return name


def _axis(option: str, config: type, name: str) -> str:
    """The name, if another value of that setting makes another member; see `setting`."""
    name = setting(option, config, name)
    if name in OF_RUNS:
        raise InvalidInput(option, repr(name), "a setting that changes what a run computes")
    return name


def drawn(config: type, name: str, law: str, samples: int, seed: int) -> list[Any]:
    """Samples of one setting from its law.

    Raises:
        InvalidInput: not a law, bounds that are none, or draws of another type.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    read = law_of(config, name, law)
    if read.options:
        drawn = [read.options[index] for index in rng.integers(len(read.options), size=samples)]
    elif read.log:
        drawn = np.exp(rng.uniform(math.log(read.low), math.log(read.high), samples)).tolist()
    else:
        drawn = rng.uniform(read.low, read.high, samples).tolist()
    return [read.value(config, name, one) for one in drawn]


class Law(NamedTuple):
    """A sampling law of a setting: a range of numbers or a choice.

    Attributes:
        options: options as they were written; empty unless the law is a choice.
        low: the lower bound of a number.
        high: the upper one.
        log: whether the logarithm of the number is uniform.
    """

    options: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    def value(self, config: type, name: str, drawn: str | float) -> Any:
        """The value of a setting: the number, or what an option of a choice stands for.

        Raises:
            InvalidInput: it is no value of that setting.
        """
        value = parse(str(drawn)) if self.options else drawn
        return value_under("--random", config, name, value)


def law_of(config: type, name: str, law: str) -> Law:
    """A law parsed from its text, one of `LAWS`.

    Raises:
        InvalidInput: not a law, bounds that are none, or an option that is no value.
    """
    kind, _, rest = str(law).partition(":")
    entry = repr(f"{name}={law}")
    if kind != "choice":
        return Law((), *_bounds(entry, kind, rest), kind == "loguniform")
    read = Law(tuple(rest.split("|")))
    if not all(read.options):
        raise InvalidInput("--random", entry, f"NAME={LAWS}")
    for word in read.options:
        read.value(config, name, word)
    return read


def _bounds(entry: str, kind: str, rest: str) -> tuple[float, float]:
    try:
        low, high = map(number, rest.split(":"))
    except UNREADABLE:
        raise InvalidInput("--random", entry, f"NAME={LAWS}") from None
    if kind not in ("uniform", "loguniform"):
        raise InvalidInput("--random", entry, f"NAME={LAWS}")
    if not low < high:
        raise InvalidInput("--random", entry, "LOW below HIGH")
    if kind == "loguniform" and low <= 0:
        raise InvalidInput("--random", entry, "a positive LOW for loguniform")
    return low, high


def _values(config: type, name: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple) or not values:
        raise InvalidInput("--grid", f"{name}={values}", "a list of at least one value")
    found: list[Any] = []
    for value in values:
        one = str(value) if name == ALGORITHM else value_under("--grid", config, name, value)
        if one not in found:
            found.append(one)
    return tuple(found)
