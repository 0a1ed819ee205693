"""Every code block of README, CONTRIBUTING and docs runs, in the order of its page.

A page's blocks share a directory, as they would for a reader who follows it; a run that several
pages show is run once. Python runs as it
stands; a block with a title is also kept as a file of that name; commands run at small sizes,
which `SMALL` appends. What cannot run here is fenced as text, and `test_text_holds_no_code` says
what that may be.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import pathlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from typing import NamedTuple

import matplotlib
import pytest

from bench.diagrams import DIAGRAMS, FIGURES
from fedjax_rl import algorithm
from fedjax_rl.cli import main
from fedjax_rl.hetero.latency import latencies
from fedjax_rl.hetero.losses import losses
from fedjax_rl.hetero.tasks import tasks
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(600)

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
REGISTRIES = (
    *(algorithm.problems, algorithm.environments, algorithm.learners, algorithm.aggregators),
    *(losses, tasks, latencies),
)

NETWORKS = """
    --rounds 1 --envs 4 --rollout 8 --hidden 4 --epochs 1 --minibatches 2 --episodes 100
"""
STALE = """
    --task-args length=3 modulus=3 --steps 3 --prompts 2 --group-size 3 --held-out 16
    --on-policy 2 --warm-start 0
"""
SMALL = {
    "run fednpg": "--rounds 20",
    "run fedppo": NETWORKS,
    "run fednatural": NETWORKS,
    "run": STALE,
    "compare fednpg": "--rounds 20",
    "compare": STALE,
    "sweep": "--rounds 20",
    "sweep --file": "--rounds 20 --samples 1 --seeds 2",
    "sweep tempered:tempered": STALE,
    "search": "--rounds 20 --trials 2 --batch 2",
    "eval": "--episodes 100 --no-film",
}
"""What makes a command small, by its longest beginning; flags that come later win."""
COUNTS = {"--seeds": "2", "--samples": "1", "--windows": "0,4"}
"""Values that are small wherever a command has their option."""
AS_THEY_ARE = ("best", "list", "plot", "report", "resume", "solve")
"""Commands that read what others wrote, or that need not be smaller."""
SET_UP = r"python3 -m venv |\S+/python -m (pip install|pytest) "
"""Parts of the two commands that open the README; CI runs them (`tests/test_project.py`)."""


class Block(NamedTuple):
    """A fenced block: where it is, its language, its title if it has one, and its text."""

    location: str
    language: str
    title: str
    text: str


def blocks(page: pathlib.Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    source = page.read_text()
    found = re.finditer(r"^( *)```(\w*)(.*)\n((?:.*\n)*?)\1```$", source, re.M)
    return [
        Block(
            f"{page.relative_to(REPOSITORY)}:{source[: match.start(4)].count(chr(10)) + 1}",
            match[2],
            (re.findall(r'title="(.*?)"', match[3]) or [""])[0],
            match[4],
        )
        for match in found
    ]


WITH_CODE = [
    page for page in PAGES if any(block.language in ("python", "bash") for block in blocks(page))
]


def identify(page: pathlib.Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


@pytest.fixture(scope="module")
def runs_cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where runs lie that other pages may show, too."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def reader(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty directory; what a page imports and registers is forgotten afterwards."""
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    yield
    for registry in REGISTRIES:
        ours = registry._entries.items()
        registry._entries = {
            name: made for name, made in ours if made.__module__.startswith("fedjax_rl.")
        }
    for name in set(sys.modules) - modules:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=identify)
def test_blocks_run_in_order(page: pathlib.Path, runs_cache: pathlib.Path, reader: None) -> None:
    opening = 2 if page.name == "README.md" else 0
    for block in blocks(page):
        if block.title:
            pathlib.Path(block.title).write_text(block.text)
            importlib.invalidate_caches()
        if block.language == "python" and not block.title:
            exec(compile(block.text, block.location, "exec"), {"__name__": "__main__"})
        elif block.language == "python":
            importlib.import_module(pathlib.Path(block.title).stem)
        elif block.language == "bash":
            for line in lines(block.text):
                run_line(line, block.location, runs_cache, may_set_up=opening > 0)
            opening -= 1


def lines(shell: str) -> list[str]:
    """The commands of a block, without comments; lines that go on are joined."""
    joined = shell.replace("\\\n", " ").splitlines()
    return [line for line in joined if shlex.split(line, comments=True)]


def run_line(line: str, location: str, runs_cache: pathlib.Path, *, may_set_up: bool) -> None:
    """Runs the commands of a line in this process."""
    for part in line.split("&&"):
        if may_set_up and re.match(SET_UP, part.strip()):
            continue
        arguments = shlex.split(part, comments=True)
        target = arguments[arguments.index(">") + 1] if ">" in arguments else None
        arguments = arguments[: arguments.index(">")] if target else arguments
        assert pathlib.Path(arguments[0]).name == "fedjax-rl", f"{location}: {part} cannot run here"
        output = io.StringIO()
        with contextlib.redirect_stdout(output), matplotlib.rc_context({"figure.dpi": 40}):
            status = run_once(small(arguments[1:]), runs_cache)
        assert status == 0, f"{location}: {part}\n{output.getvalue()}"
        if target:
            pathlib.Path(target).write_text(output.getvalue())


def run_once(arguments: list[str], runs_cache: pathlib.Path) -> int:
    """The status of a command; a run that another page has shown is copied from there."""
    alone = arguments[0] in ("run", "compare") and "--out" in arguments
    if not alone or any(re.search(r":|\.npz$|\.yaml$", word) for word in arguments):
        return main(arguments)
    out = arguments[arguments.index("--out") + 1]
    copy = runs_cache / hashlib.sha256(" ".join(arguments).encode()).hexdigest()
    if copy.exists():
        shutil.copytree(copy, out)
        return 0
    if (status := main(arguments)) == 0:
        shutil.copytree(out, copy)
    return status


def small(arguments: list[str]) -> list[str]:
    """The command at a small size."""
    if arguments[0] in AS_THEY_ARE:
        # What 20 rounds reach keeps hardly any bound; that bounds are read is what is shown.
        return [re.sub(r"<=[\d.e-]+$", "<=1e9", word) for word in arguments]
    begins = [arguments[0], " ".join(arguments[:2])]
    suffix = [SMALL[begin] for begin in begins if begin in SMALL]
    assert suffix, f"SMALL says nothing of {' '.join(arguments)}"
    arguments = [*arguments, *suffix[-1].split()]
    for flag, count in COUNTS.items():
        arguments += [flag, count] if flag in arguments else []
    return arguments


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_every_block_is_one_that_runs_or_text(page: pathlib.Path) -> None:
    """Nothing is passed over: other languages, files nobody uses, text that could run."""
    found = blocks(page)
    assert page.read_text().count("```") == 2 * len(found), "a fence that was not recognised"
    for block in found:
        runs = block.language in ("python", "bash") or (block.language == "yaml" and block.title)
        assert runs or block.language == "text", (
            f"{block.location}: {block.language or 'no language'}"
        )
    indented = re.findall(r"^    (?:fedjax-rl|python|pip) .*$", page.read_text(), re.M)
    assert not [line for line in indented if line not in "".join(block.text for block in found)]


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_text_holds_no_code(page: pathlib.Path) -> None:
    """Commands in text set up an environment, or need several hosts, and say so themselves."""
    for block in blocks(page):
        for line in lines(block.text) if block.language == "text" else ():
            if "fedjax-rl " in line.split("#")[0]:
                assert "--coordinator" in line, f"{block.location}: {line} can run here"
            assert not re.match(r"(import|from|def|print) ", line), f"{block.location}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_pictures_are_there_small_and_described(page: pathlib.Path) -> None:
    for description, place in re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text()):
        assert description, f"{place} has no alternative text"
        assert (page.parent / place).stat().st_size < 150_000


@pytest.mark.parametrize("name", DIAGRAMS)
def test_diagrams_are_those_of_the_bench(name: str) -> None:
    drawn = (FIGURES / f"{name}.svg").read_text(encoding="utf-8")
    assert drawn == DIAGRAMS[name]()


@pytest.mark.parametrize(
    "arguments",
    [
        "run fednpg --rounds 5000 --seeds 8 --out a",
        "compare --losses gepo,gspo --seeds 8",
        "sweep fednpg --grid step_size=1 --samples 16",
    ],
)
def test_small_sizes_come_last_and_counts_only_where_they_are(arguments: str) -> None:
    made = small(arguments.split())
    assert made[: len(arguments.split())] == arguments.split()
    assert [made.count(flag) for flag in COUNTS] == [2 * arguments.count(flag) for flag in COUNTS]
