"""The README is short, and says a line of every command; `test_pages` runs what it shows."""

from __future__ import annotations

import pathlib
import re

from fedjax_rl.cli import COMMANDS

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()


def test_it_is_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 170


def test_it_shows_every_command() -> None:
    section = README.split("## The command line")[1].split("```bash\n")[1].split("```")[0]
    documented = [line.split()[1] for line in section.splitlines()]
    assert set(documented) == set(COMMANDS)


def test_it_shows_three_figures() -> None:
    assert len(re.findall(r"!\[.*?\]\(docs/figures/.*?\)", README)) == 3


def test_the_api_section_shows_one_example_of_less_than_ten_lines() -> None:
    section = re.search(r"<!-- api -->(.*?)<!-- /api -->", README, re.S)
    assert section is not None
    (block,) = re.findall(r"```python\n(.*?)```", section[1], re.S)
    assert len([line for line in block.splitlines() if line.strip()]) < 10
