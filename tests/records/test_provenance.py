"""The commit is that of the package, and of nobody else."""

import shutil
import subprocess

import pytest

from fedjax_rl.records import provenance
from fedjax_rl.records.directory import made_with

pytestmark = pytest.mark.timeout(60)


def git(where, *arguments):
    completed = subprocess.run(
        ["git", "-C", where, "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return completed.stdout.strip()


@pytest.fixture
def package(tmp_path):
    """A package at the top of a checkout."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    path = tmp_path / "package"
    path.mkdir()
    (path / "code.py").write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "v1")
    return path


def test_the_commit_is_the_whole_hash_and_says_when_files_differ(package):
    commit = git(package, "rev-parse", "HEAD")
    assert len(commit) == 40 and provenance.commit(package) == commit
    (package / "code.py").write_text("2\n")
    assert provenance.commit(package) == f"{commit}-dirty"


def test_a_package_within_somebody_elses_checkout_has_none(package):
    installed = package.parent / "site-packages" / "package"
    installed.mkdir(parents=True)
    assert provenance.commit(installed) is None


def test_without_git_or_a_commit_there_is_none_and_no_complaint(package, tmp_path, monkeypatch):
    empty = tmp_path / "empty" / "package"
    empty.mkdir(parents=True)
    git(empty.parent, "init", "-q")
    assert provenance.commit(empty) is None
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(package) is None


def test_git_that_hangs_is_not_waited_for(package, tmp_path, monkeypatch):
    (tmp_path / "git").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(provenance, "SECONDS_FOR_GIT", 0.2)
    assert provenance.commit(package) is None


def test_a_run_is_made_with_devices_and_the_commit_if_there_is_one():
    found = made_with("ab12")
    assert found["devices"] == provenance.devices() and found["problem_sha256"] == "ab12"
    assert found.get("commit") == provenance.commit()
    assert all(isinstance(value, str) for value in found.values())
