"""The options that the README names exist; `test_pages` runs what it shows."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()


def test_the_api_section_shows_code() -> None:
    section = re.search(r"<!-- api -->(.*?)<!-- /api -->", README, re.S)
    assert section is not None
    assert "```python" in section[1]


@pytest.mark.parametrize(
    "command",
    [
        *("run fednpg", "run fedppo", "run gepo", "eval", "compare fednpg"),
        *("compare --losses gepo", "sweep fednpg", "search fednpg", "best", "plot", "solve"),
        *("list", "resume", "report"),
    ],
)
def test_options_of_the_readme_exist(command: str, run_cli: Callable) -> None:
    section = re.search(rf"<!-- {command} -->(.*?)<!-- /{command} -->", README, re.S)
    assert section is not None
    helped = run_cli(*command.split(), "--help")
    assert helped.returncode == 0, helped.stderr
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", section[1]))
    offered = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", helped.stdout))
    assert named <= offered, f"not offered: {', '.join(sorted(named - offered))}"


def test_the_first_example_is_under_ten_lines() -> None:
    block = README.split("<!-- api -->")[1].split("```python\n")[1].split("```")[0]
    assert len([line for line in block.splitlines() if line.strip()]) < 10
