"""Commands where there is no home, no known user, no cache and no folder for temporary files."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

from fedjax_rl.cli import main
from fedjax_rl.records import cache
from tests.conftest import REPOSITORY, fresh_environment

pytestmark = pytest.mark.slow

NOBODY = 12345
"""A user whom no machine knows."""
DRAWN = {"value.png", "costs.png", "multipliers.png", "summary.json"}
NO_TEMPORARY_FOLDER = """
import sys, tempfile

def missing():
    raise FileNotFoundError("No usable temporary directory found")

tempfile.gettempdir = missing
from fedjax_rl.cli import main
sys.exit(main(sys.argv[1:]))
"""


def homeless(home=None):
    """The environment of a container: hardly anything is set."""
    prefixes = ("JAX_", "PYTHON", "TF_", "XLA_")
    environment = fresh_environment(compiled_quickly=True)
    environment = {name: text for name, text in environment.items() if name.startswith(prefixes)}
    known = {} if home is None else {"HOME": str(home)}
    return {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY), **environment, **known}


def assert_runs(arguments, environment, out, cwd, before=()):
    """A run that draws, without a word on stderr but of what it is doing."""
    completed = subprocess.run(
        [*before, sys.executable, *arguments, "run", "fednpg", "--rounds", "2", "--out", str(out)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert all(line.endswith(" …") for line in completed.stderr.splitlines()), completed.stderr
    assert {path.name for path in out.iterdir()} >= DRAWN


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can become somebody else, and with setpriv",
)
def test_a_user_whom_the_machine_does_not_know():
    with tempfile.TemporaryDirectory() as folder:  # of pytest's own, only their owner sees any
        out = pathlib.Path(folder) / "run"
        os.chown(folder, NOBODY, NOBODY)
        os.chmod(folder, 0o755)
        environment = homeless() | {"JAX_ENABLE_COMPILATION_CACHE": "0"}
        before = ["setpriv", "--reuid", str(NOBODY), "--clear-groups"]
        seen = [*before, sys.executable, "-c", "import fedjax_rl"]
        if subprocess.run(seen, env=environment, capture_output=True, check=False).returncode:
            pytest.skip("others may not read this checkout or its interpreter")
        assert_runs(["-m", "fedjax_rl"], environment, out, folder, before)


def test_a_home_that_is_no_folder_and_nowhere_to_put_temporary_files(tmp_path):
    home = tmp_path / "home"
    home.write_text("")
    assert_runs(["-c", NO_TEMPORARY_FOLDER], homeless(home), tmp_path / "run", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "run"}
    hidden = [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    assert [*hidden, *(tmp_path / "run").glob("tmp*")] == []


@pytest.fixture
def no_home(monkeypatch):
    """As of a user without an entry in the table of users, and without HOME."""

    def unknown(self):
        raise RuntimeError("Could not determine home directory.")

    for name in ("FEDJAX_RL_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pathlib.Path, "home", classmethod(unknown))


def test_without_a_home_there_is_no_cache_and_no_complaint(no_home, capsys):
    assert cache.cache_directory() is None
    cache.keep("solutions", "ab", {"number": 1})
    assert cache.cached("solutions", "ab") is None
    assert main(["solve", "windy-cliff"]) == 0
    assert "optimal value V*      23.837234" in capsys.readouterr().out


def test_what_stands_in_a_cache_is_found_by_its_key(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDJAX_RL_CACHE", str(tmp_path))
    key, other = cache.key_of(1, "cpu"), cache.key_of(1, "gpu")
    cache.keep("starts", key, {"number": 1})
    assert key != other and cache.cached("starts", other) is None
    found = cache.cached("starts", key)
    assert found is not None and found["number"] == 1
    shutil.rmtree(tmp_path)
    assert cache.cached("starts", key) is None


@pytest.mark.parametrize("name", ["FEDJAX_RL_CACHE", "XDG_CACHE_HOME", "HOME"])
def test_a_place_that_cannot_be_made_is_no_obstacle(no_home, monkeypatch, name, capsys):
    monkeypatch.undo()
    for other in ("FEDJAX_RL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "/proc/nothing/here")
    assert main(["solve", "windy-cliff"]) == 0
