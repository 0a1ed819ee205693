"""``python -m bench.reference`` renews the options on docs/cli.md from what the commands declare.

What an option means stands under its field, what it may be in its annotation; here both are only
put on a page, between the marks ``<!-- options: … -->``. All else on the page is written by hand.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import pathlib
import re
import textwrap
import typing
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

import fedjax_rl.federation.aggregate
import fedjax_rl.learners.tabular  # noqa: F401  registers
from fedjax_rl.algorithm import aggregators, learners
from fedjax_rl.checks import Rule
from fedjax_rl.cli import best, compare, evaluate, listing, plot, report, resume, search, solve
from fedjax_rl.cli.execution import Execution
from fedjax_rl.cli.run import options_of
from fedjax_rl.cli.sweep import SweepOptions
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.cluster.hosts import HostSettings
from fedjax_rl.families.networks.config import OWN as NETWORKS
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.protocol import Family
from fedjax_rl.families.registry import family_of
from fedjax_rl.hetero.latency import latencies
from fedjax_rl.hetero.losses import losses
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.settings.fields import declared
from fedjax_rl.settings.own import extended
from fedjax_rl.sweeps.space import OF_RUNS, OWN

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "cli.md"
PLUGINS = {
    "learner": learners,
    "merge": aggregators,
    "kl": ("code", "true"),
    "latency": latencies,
}
"""What settings that name a plug-in may name."""


class Option(NamedTuple):
    """An option of a command.

    Attributes:
        flag: ``--local-steps``, or ``DIRECTORY`` of an argument without a flag.
        help_text: its help.
        allowed: what it may be, in words; empty where the help says all.
        default: what it is unless given, as it would be typed; None where it must be given.
        swept: whether it may be an axis of a sweep.
        only: other options with which it has an effect; none where it always has one.
        owners: plug-ins, by how they are named, with one of which it is there; none where it
            always is.
    """

    flag: str
    help_text: str
    allowed: str
    default: str | None
    swept: bool = False
    only: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()


def options(kind: Any, *, swept: bool = False) -> list[Option]:
    """The options of a dataclass in the order of its fields; those within it are not looked at."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = []
    for field in dataclasses.fields(kind):
        marks = typing.get_args(hints[field.name])[1:]
        mark_names = {str(mark) for mark in marks}
        if "Suppress" in mark_names or any(getattr(mark, "name", None) == "" for mark in marks):
            continue
        named = flag(f"no_{field.name}" if field.default is True else field.name)
        found.append(
            Option(
                flag=field.name.upper() if "Positional" in mark_names else named,
                help_text=help_text_of(kind, field.name, marks),
                allowed="" if "UseAppendAction" in mark_names else allowed(kind, field),
                default=default(field),
                swept=swept and field.name not in (*OWN, *OF_RUNS),
                only=company(kind, field.name),
            )
        )
    return found


def flag(name: str) -> str:
    """``--local-steps`` of ``local_steps``."""
    return f"--{name.replace('_', '-')}"


def help_text_of(kind: Any, name: str, marks: Sequence[Any] = ()) -> str:
    """The help of a field: said in its annotation, or the text under it, also in a base."""
    said = [mark.help for mark in marks if getattr(mark, "help", None)]
    under = (texts(base).get(name) for base in kind.__mro__ if dataclasses.is_dataclass(base))
    return next(filter(None, [*said, *under]))


@functools.cache
def texts(kind: Any) -> dict[str, str]:
    """The texts under the fields of a class, by name; none of one that was not written down."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError):
        return {}
    found = {}
    assert isinstance(tree, ast.ClassDef)
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and text:
            found[field.target.id] = inspect.cleandoc(after.value.value)  # type: ignore[attr-defined]
    return found


def allowed(kind: Any, field: dataclasses.Field[Any]) -> str:
    """What a field may be, in words; empty where its help says all."""
    annotation = declared(kind)[field.name]
    if annotation.kind is bool:
        return "switches this off" if field.default is True else "a switch"
    literal = typing.get_origin(annotation.kind) is typing.Literal
    choices = typing.get_args(annotation.kind) if literal else annotation.choices
    alternatives = [f"`{word}`" for word in choices]
    if annotation.kind is pathlib.Path:
        alternatives.append("a path")
    elif annotation.kind in (int, float):
        alternatives.append(annotation.allowed.removeprefix(" or ".join([*annotation.choices, ""])))
    many = ["several with spaces between"] if annotation.many else []
    return ", ".join([*([" or ".join(alternatives)] if alternatives else []), *many])


def company(kind: Any, name: str) -> tuple[str, ...]:
    """With what a field has an effect; nothing where it always has one."""
    algorithms = tuple(f"run {one}" for one, own in NETWORKS.items() if name in own)
    if issubclass(kind, DeepConfig) and algorithms:
        return algorithms
    others = declared(kind)[name].company
    return tuple(
        f"{flag(other)} ({value.allowed})" if isinstance(value, Rule) else f"{flag(other)} {value}"
        for other, values in others
        for value in values
    )


def default(field: dataclasses.Field[Any]) -> str | None:
    """What a field is unless given, as it would be typed; empty for nothing."""
    value = field.default
    if value is dataclasses.MISSING:
        return None
    if isinstance(value, bool) or value is None:
        return ""
    entries = value if isinstance(value, tuple) else (value,)
    return " ".join(
        re.sub(r"e\+?(-?)0*", r"e\1", f"{one:g}") if isinstance(one, float) else str(one)
        for one in entries
    )


def settings(family: Family, algorithms: Sequence[str]) -> list[Option]:
    """The settings of algorithms of one family, and those that plug-ins have of their own."""
    owners: dict[Option, list[str]] = {}
    for owner, option in of_plugins(family, algorithms):
        owners.setdefault(option, []).append(owner)
    own = [option._replace(owners=tuple(names)) for option, names in owners.items()]
    return options(family.settings, swept=True) + own


def of_plugins(family: Family, algorithms: Sequence[str]) -> Iterator[tuple[str, Option]]:
    """Every option that an algorithm or another plug-in has of its own, by how that is named."""

    def own(algorithm: str, **named: tuple[str, ...]) -> list[Option]:
        kinds = family.own(algorithm, {**dict.fromkeys(family.named, ()), **named})
        return options(extended(Only, *kinds), swept=True)

    for algorithm in algorithms:
        yield from ((f"run {algorithm}", option) for option in own(algorithm))
    first = algorithms[0]
    for setting in family.named:
        for name in PLUGINS[setting]:
            more = [
                option for option in own(first, **{setting: (name,)}) if option not in own(first)
            ]
            yield from ((f"{flag(setting)} {name}", option) for option in more)


@dataclasses.dataclass(frozen=True)
class Only:
    """No settings, so that those of plug-ins are all that there are."""


def rendered(section: str, option: Option) -> str:
    """An option as Markdown: a heading that can be linked to, its help, and what it may be."""
    identifier = anchor(section, option.flag)
    name = f'<h4 id="{identifier}"><a href="#{identifier}"><code>{option.flag}</code></a></h4>'
    facts = [option.allowed] if option.allowed else []
    if option.default is None:
        facts.append("must be given")
    elif option.default:
        facts.append(f"unless given `{option.default}`")
    if needed := option.only + option.owners:
        facts.append(f"only with {', '.join(f'`{one}`' for one in needed)}")
    if option.swept:
        facts.append("can be swept")
    # A word with _ or * in it is no emphasis, and a name no tag.
    meaning = escape(" ".join(option.help_text.split()), quote=False)
    meaning = re.sub(r"([_*])", r"\\\1", meaning)
    meaning = re.sub(r"(?<![\w=-])--[a-z][a-z-]*", r"`\g<0>`", meaning)
    return "\n\n".join([name, meaning, *([f"*{' · '.join(facts)}*"] if facts else [])])


def anchor(section: str, flag: str) -> str:
    """Where an option is on the page: ``run-fednpg--local-steps``."""
    return re.sub(r"[ -]+", "-", section) + ("" if flag.startswith("--") else "-") + flag.lower()


def of_networks() -> list[Option]:
    """What ``run fedppo`` and ``run fednatural`` have beside what every run has."""
    family = family_of("fedppo")
    (preset, others) = (
        option
        for option in options(options_of(family, family.settings))
        if option.flag in ("--preset", "--compare")
    )
    presets = " or ".join(f"`{name}`" for name in family.presets)
    return [
        preset._replace(allowed=presets),
        others,
        *settings(family, ("fedppo", "fednatural")),
    ]


def of_every_run() -> list[Option]:
    """What every ``run`` has beside its settings: where it starts from and is written."""
    family = family_of("fednpg")
    own = options(options_of(family, family.settings))
    return [*own, *options(Execution)]


@functools.cache
def sections() -> dict[str, list[Option]]:
    """The options of every part of the page."""
    return {
        "run": of_every_run(),
        "saving": options(CheckpointSettings),
        "devices": options(DeviceSettings),
        "processes": options(HostSettings),
        "run fednpg": settings(family_of("fednpg"), ("fednpg",)),
        "run fedppo": of_networks(),
        "run gepo": settings(family_of("gepo"), list(losses)),
        "resume": options(resume.Resume),
        "compare fednpg": options(compare.CompareFedNPG),
        "compare losses": options(compare.CompareLosses),
        "sweep": options(SweepOptions),
        "search": options(search.SearchOptions),
        "best": options(best.Best),
        "plot": options(plot.Plot),
        "report": options(report.Report),
        "eval": options(evaluate.Evaluate),
        "solve": options(solve.Solve),
        "list": options(listing.List),
    }


def flags() -> str:
    """Every flag, in the order of the alphabet, and where it is."""
    links_of: dict[str, list[str]] = {}
    for section, found in sections().items():
        for option in found:
            if option.flag.startswith("--"):
                link = f"[{section}](#{anchor(section, option.flag)})"
                links_of.setdefault(option.flag, []).append(link)
    rows = [f"| `{flag}` | {', '.join(links)} |" for flag, links in sorted(links_of.items())]
    return "\n".join(["| flag | of |", "|---|---|", *rows])


def page(text: str | None = None) -> str:
    """The page with its options made anew; what was written by hand stays."""
    text = PAGE.read_text(encoding="utf-8") if text is None else text
    parts = {
        section: "\n\n".join(rendered(section, option) for option in found)
        for section, found in sections().items()
    }
    for mark, part in {**parts, "every flag": flags()}.items():
        begin, end = f"<!-- options: {mark} -->", f"<!-- /options: {mark} -->"
        before, opened, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        assert opened and closed, f"{PAGE} has no marks {mark}"
        text = f"{before}{begin}\n\n{part}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
