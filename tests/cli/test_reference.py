"""docs/cli.md has every option that a command offers, and no other."""

from __future__ import annotations

import re

import pytest

from bench import reference
from fedjax_rl.cli import COMMANDS, NO_CACHE, main
from fedjax_rl.families.registry import family_of

FLAG = r"(?<![\w-])--[a-z][a-z-]*"
SHARED = ("saving", "devices", "processes")
RUN = ("run", *SHARED)
OF_A_RUN = {"--compare", "--log-to"}
"""Flags of ``run`` that sweeps and searches do without."""
STARTS = {"--config", "--preset"}
LISTED = {"--learner", "--correction", "--merge", "--reference"}
"""Flags of ``run fednpg`` that ``compare fednpg`` has lists for."""
SPACE = {"--grid", "--random", "--samples", "--sample-seed", "--file"}
OFFERED = [
    ("run fednpg --learner crpo", {*RUN, "run fednpg"}, {"--regularization"}),
    ("run fednpg --learner regularized", {*RUN, "run fednpg"}, {"--tolerance"}),
    ("run fedppo", {*RUN, "run fedppo"}, set()),
    ("run fednatural", {*RUN, "run fedppo"}, set()),
    ("resume", {"resume", "devices", "processes"}, set()),
    (
        "compare fednpg --learners crpo,regularized",
        {*SHARED, "compare fednpg", "run fednpg", "sweep"},
        LISTED | SPACE | {"--log-every"},
    ),
    ("sweep fedppo", {*RUN, "run fedppo", "sweep"}, OF_A_RUN),
    (
        "search fednpg --learner regularized",
        {"run", "saving", "devices", "run fednpg", "search"},
        {*OF_A_RUN, "--tolerance"},
    ),
    *((name, {name}, set()) for name in ("best", "plot", "report", "eval", "solve", "list")),
]
"""Commands, the parts of the page that have their options, and what these have too much."""


def documented(parts: set[str]) -> dict[str, reference.Option]:
    """Options of parts of the page, by flag."""
    return {option.flag: option for part in parts for option in reference.sections()[part]}


def offered(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Flags that ``--help`` shows as options: those at the beginning of a line."""
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    return set(re.findall(rf"^.{{0,2}}(?:-h, )?({FLAG})", text, re.M)) - {"--help"}


def test_the_page_is_that_of_the_declarations() -> None:
    text = reference.PAGE.read_text(encoding="utf-8")
    assert reference.page(text) == text, "python -m bench.reference renews it"


@pytest.mark.parametrize(
    ("command", "parts", "without"), OFFERED, ids=[command for command, *_ in OFFERED]
)
def test_every_option_that_is_offered_is_on_the_page(
    command: str, parts: set[str], without: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    named = {flag for flag in documented(parts) if flag.startswith("--")}
    assert offered(command, capsys) == named - without


def of_losses(parts: set[str], *ways: str) -> set[str]:
    """Flags of parts of the page that are there where plug-ins are named so."""
    family = family_of("gepo")
    all_ways = {*ways, *(f"--{name} {getattr(family.settings, name)}" for name in family.named)}
    found = documented(parts).items()
    return {flag for flag, one in found if not one.owners or all_ways & set(one.owners)}


@pytest.mark.parametrize("arguments", ["gepo", "v-trace --kl code", "tis", "gmpo"])
def test_every_option_of_a_loss_is_on_the_page(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its own a loss has those that the page says it has."""
    loss, *more = arguments.split(maxsplit=1)
    assert offered(f"run {arguments}", capsys) == of_losses(
        {*RUN, "run gepo"}, f"run {loss}", *more
    )


def test_every_option_of_a_comparison_of_losses_is_on_the_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = {*SHARED, "compare losses", "run gepo", "sweep"}
    there = of_losses(parts, "run gepo", "run tis") - SPACE - {"--window", "--log-every"}
    assert offered("compare --losses gepo,tis", capsys) == there


def test_prose_names_options_that_there_are() -> None:
    text = reference.PAGE.read_text(encoding="utf-8")
    prose = re.sub(r"<!-- options: (.*?) -->.*?<!-- /options: \1 -->", "", text, flags=re.S)
    named = set(re.findall(FLAG, re.sub(r"\(#.*?\)", "", prose)))
    assert "--losses" in named
    assert named <= {*documented(set(reference.sections())), "--help", NO_CACHE}


def test_every_command_has_a_heading() -> None:
    text = reference.PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^## `(\w+)`$", text, re.M)
    assert set(headings) == set(COMMANDS)


def test_an_option_says_what_it_may_be_and_with_what() -> None:
    options = documented({"run fednpg", "run fedppo"})
    assert options["--rollouts"].only == ("--evaluation sampled",)
    assert options["--no-standardize"].allowed == "switches this off"
    finite = {option.flag: option for option in reference.sections()["run fednpg"]}
    assert finite["--step-size"].allowed == "`auto` or a positive number"
    assert finite["--step-size"].default == "auto"
    assert finite["--step-size"].swept and not finite["--seeds"].swept
    assert finite["--tolerance"].owners == ("--learner crpo",)
