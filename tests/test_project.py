"""The files around the package agree with one another."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
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
    extras = [requirements for extra, requirements in EXTRAS.items() if extra != "cuda13"]
    wanted = [*PROJECT["dependencies"], *(name for extra in extras for name in extra)]
    assert {normalised(name) for name in wanted} <= {normalised(line) for line in LOCK}


def test_the_tests_are_run_with_every_extra_that_needs_no_device() -> None:
    """None of them is skipped where a package is missing."""
    (extras,) = re.findall(r"-e '\.\[(.*?)\]'", first_commands()[1])
    assert set(extras.split(",")) == set(EXTRAS) - {"cuda13"}


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
    assert developer.rstrip().endswith('-m pytest -n 2 --dist loadfile -m "not slow"')


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    printed = subprocess.run(
        [REPOSITORY / ".ci" / "run", "--show"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert printed.stdout == first_commands()[1]


def newest(path: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Which interpreter tests the newest jax, where these programs and no others are at hand."""
    return subprocess.run(
        [REPOSITORY / ".ci" / "newest", "--show"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={"HOME": str(path), "PATH": f"{path}:{os.defpath}"},
    )


def stand_in(path: pathlib.Path, number: str) -> None:
    """An interpreter that says to be of that version."""
    minor = number.split(".")[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = (3, {minor}, 0)\nexec(sys.argv[2])\n"
    )
    path.chmod(0o755)


def test_the_newest_jax_is_tested_by_an_interpreter_that_answers(tmp_path: pathlib.Path) -> None:
    """A shim whose version was not chosen is passed over, and so is one of another version."""
    (tmp_path / "python3.13").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.13").chmod(0o755)
    stand_in(tmp_path / "python3.12", "3.12")
    assert newest(tmp_path).stdout.strip() == str(tmp_path / "python3.12")
    there = tmp_path / ".pyenv" / "versions" / "3.13.2" / "bin" / "python"
    stand_in(there, "3.13")
    assert newest(tmp_path).stdout.strip() == str(there)
    stand_in(there, "3.14")
    assert newest(tmp_path).stdout.strip() == str(tmp_path / "python3.12")


def test_every_supported_version_of_python_is_said_to_be_one() -> None:
    """In the classifiers, the README and the quickstart alike."""
    prefix = "Programming Language :: Python :: 3."
    minors = [name[len(prefix) :] for name in PROJECT["classifiers"] if name.startswith(prefix)]
    versions = [f"3.{minor}" for minor in minors]
    sentence = f"Python {', '.join(versions[:-1])} or {versions[-1]}"
    for page in ("README.md", "docs/quickstart.md"):
        assert sentence in (REPOSITORY / page).read_text(), page
