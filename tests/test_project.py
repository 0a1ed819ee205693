"""The files around the package agree with one another."""

from __future__ import annotations

import pathlib
import re
import subprocess
import tomllib
from importlib.metadata import version

import fedjax_rl

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (REPOSITORY / "requirements.lock").read_text().splitlines()


def normalised(requirement: str) -> str:
    """The canonical name of ``Name[extra]>=1`` or ``Name==1``."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def first_commands() -> list[str]:
    """The first two shell blocks of the README."""
    readme = (REPOSITORY / "README.md").read_text()
    return re.findall(r"^```bash\n(.*?)^```$", readme, re.M | re.S)[:2]


def test_the_lock_is_names_and_versions_in_order() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[^ ]+", line) for line in LOCK)
    names = [normalised(line) for line in LOCK]
    assert names == sorted(set(names))


def test_the_lock_covers_every_direct_dependency() -> None:
    extras = [name for extra in ("icu", "optuna", "dev", "docs") for name in EXTRAS[extra]]
    wanted = [*PROJECT["dependencies"], *extras]
    assert {normalised(name) for name in wanted} <= {normalised(line) for line in LOCK}


def test_jax_is_bounded_alike_wherever_it_is_asked_for() -> None:
    wanted = [*PROJECT["dependencies"], *EXTRAS["cuda13"]]
    bounds = [re.sub(r"\[.*?\]", "", name) for name in wanted if normalised(name) == "jax"]
    assert len(bounds) == 2
    assert len(set(bounds)) == 1


def test_the_version_is_written_once() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert version("fedjax-rl") == fedjax_rl.__version__


def test_the_readme_opens_with_two_commands_of_one_line() -> None:
    user, developer = first_commands()
    for command in (user, developer):
        assert command.count("\n") == 1, "one line, so that it can be pasted"
        assert command.startswith("python3 -m venv ")
        assert " -c requirements.lock " in command
    assert "fedjax-rl run " in user
    assert developer.rstrip().endswith("-m pytest -n 2 --dist loadfile")


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    shown = subprocess.run(
        [REPOSITORY / ".ci" / "run", "--show"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert shown.stdout == first_commands()[1]
