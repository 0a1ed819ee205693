"""Compiled programs are kept for the next start, are bounded, and change no bit."""

import os
import subprocess
import sys
import zlib

import pytest

from fedjax_rl.records import programs
from tests.conftest import fresh_environment

RUN = ["run", "fednpg", "--rounds", "3", "--log-every", "1"]
FILES = ("metrics.csv", "policy.npz")


def started(tmp_path, name, *arguments, **variables):
    """A run by a process that knows nothing of the cache of these tests."""
    environment = {
        variable: value
        for variable, value in fresh_environment().items()
        if not variable.startswith("JAX_") and variable != "TF_CPP_MIN_LOG_LEVEL"
    }
    done = subprocess.run(
        [sys.executable, "-m", "fedjax_rl", *RUN, "--out", str(tmp_path / name), *arguments],
        env=environment | {"FEDJAX_RL_CACHE": str(tmp_path / "cache")} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(line.endswith(" …") for line in done.stderr.splitlines()), done.stderr
    return [(tmp_path / name / file).read_bytes() for file in FILES]


def cached_programs(tmp_path):
    """Times of writing, by entry."""
    found = (tmp_path / "cache" / "programs").glob("*/*-cache")
    return {entry: entry.stat().st_mtime_ns for entry in found}


@pytest.mark.slow
def test_a_second_start_compiles_nothing_and_computes_the_same(tmp_path):
    first = started(tmp_path, "first")
    entries = cached_programs(tmp_path)
    assert len(entries) > 3
    assert {entry.parent.name for entry in entries} == {programs.processor()}
    assert started(tmp_path, "second") == first
    assert cached_programs(tmp_path) == entries
    # One that a kill cut short is thrown away, and written again.
    damaged = max(entries, key=lambda entry: entry.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    os.utime(damaged, (1e9, 1e9))
    (damaged.parent / programs.CHECKED).unlink()
    assert started(tmp_path, "third") == first
    assert set(cached_programs(tmp_path)) == set(entries)
    programs.discard_damaged(damaged.parent, 9e9)
    assert set(cached_programs(tmp_path)) == set(entries)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--no-compilation-cache"], {}),
        ([], {"JAX_ENABLE_COMPILATION_CACHE": "0"}),
        ([], {"JAX_COMPILATION_CACHE_DIR": "elsewhere"}),
    ],
)
def test_whoever_decides_otherwise_is_heard(tmp_path, arguments, variables):
    variables = {
        name: str(tmp_path / value) if name.endswith("DIR") else value
        for name, value in variables.items()
    }
    started(tmp_path, "run", *arguments, **variables)
    assert cached_programs(tmp_path) == {}


def test_what_is_whole_is_looked_at_once(tmp_path):
    whole = zlib.compress(b"a program" * 100)
    for name, content, when in (
        *(("whole", whole, 100.0), ("short", whole[:-1], 100.0), ("other", b"no zlib", 100.0)),
        *(("bad", b"x" + whole, 100.0), ("young", whole[:-1], 1000.0)),
    ):
        (tmp_path / f"{name}-cache").write_bytes(content)
        os.utime(tmp_path / f"{name}-cache", (when, when))

    def left(now):
        programs.discard_damaged(tmp_path, now)
        return {entry.name.removesuffix("-cache") for entry in tmp_path.glob("*-cache")}

    assert left(1010.0) == {"whole", "other", "young"}
    # Behind the mark of the last look; a later one comes to what was too young then.
    (tmp_path / "short-cache").write_bytes(whole[:-1])
    os.utime(tmp_path / "short-cache", (200.0, 200.0))
    assert left(1020.0) == {"whole", "other", "young", "short"}
    assert left(1100.0) == {"whole", "other", "short"}


def test_the_longest_unused_go_first(tmp_path):
    for folder, name, used in (("a", "old", 1.0), ("b", "new", 3.0), ("a", "middle", 2.0)):
        entry = tmp_path / folder / f"{name}-cache"
        entry.parent.mkdir(exist_ok=True)
        entry.write_bytes(bytes(100))
        os.utime(entry, (used, 0.5))

    def left(limit):
        programs.discard_unused(tmp_path, limit)
        return {entry.name for entry in tmp_path.glob("*/*-cache")}

    assert left(300) == {"old-cache", "new-cache", "middle-cache"}
    assert left(299) == {"new-cache", "middle-cache"}
    assert left(100) == {"new-cache"}
    assert left(99) == set()
