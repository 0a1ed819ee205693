"""Terminals and pipes: encodings that lack a character, narrow windows, readers that leave."""

import codecs
import io
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console

import fedjax_rl
from fedjax_rl.cli import COMMANDS, main
from fedjax_rl.families.tabular.table import HEADER
from fedjax_rl.terminal.live import bars, fitting, table_of
from fedjax_rl.terminal.streams import SPELLED, spelling

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ENCODINGS = ("ascii", "latin-1", "cp1252", "koi8-r")
PARSED = [
    *(["run", name] for name in ("fednpg", "fedppo", "fednatural", "gepo")),
    *(["compare", name] for name in ("fednpg", "--losses=gepo")),
    *(["sweep", name] for name in ("fednpg", "fedppo", "gepo")),
    *([name] for name in COMMANDS),
]
LISTED = ("problems", "tasks", "token-tasks", "learners", "merges", "losses", "latencies", "all")


def printed(monkeypatch, encoding, *arguments):
    """Exit status and the bytes that a command writes to a stream of this encoding."""
    raw = {name: io.BytesIO() for name in ("stdout", "stderr")}
    streams = {
        name: io.TextIOWrapper(buffer, encoding=encoding, errors="strict")
        for name, buffer in raw.items()
    }
    with monkeypatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        try:
            status = main(list(arguments))
        except SystemExit as stop:
            status = stop.code or 0
        assert [stream.errors for stream in streams.values()] == ["strict", "strict"]
        for stream in streams.values():
            stream.flush()
    return status, raw["stdout"].getvalue(), raw["stderr"].getvalue()


@pytest.mark.parametrize("command", [*PARSED, []], ids=" ".join)
def test_every_help_can_be_printed_in_ascii(monkeypatch, command):
    status, output, wrong = printed(monkeypatch, "ascii", *command, "--help")
    assert (status, wrong) == (0, b"")
    assert b"usage: fedjax-rl" in output and b"?" not in output.replace(b"what?", b"")


@pytest.mark.parametrize("kind", LISTED)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_list_can_be_printed(monkeypatch, encoding, kind):
    status, output, wrong = printed(monkeypatch, encoding, "list", kind)
    assert (status, wrong) == (0, b"")
    output.decode(encoding)


def test_every_kind_of_list_is_tried(capsys):
    assert main(["list", "nonsense"]) == 2
    assert f"one of {', '.join(LISTED[:-1])};" in capsys.readouterr().err


def test_errors_too_are_spelled(monkeypatch):
    status, _, errors = printed(monkeypatch, "ascii", "run", "fednpg", "--problem", "λ≤é")
    assert status == 2 and b"lambda<=e" in errors and errors.count(b"\n") == 1


def test_utf8_is_left_alone(monkeypatch):
    _, output, _ = printed(monkeypatch, "utf-8", "list", "losses")
    assert "Σ".encode() in output


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("V ≤ d, γ × 2 − 1 …", "V <= d, gamma x 2 - 1 ..."),
        ("λᵀ x² · θₖ ≈ ½ ± ε", "lambda^T x^2 * theta_k ~ 1/2 +- epsilon"),
        ("│─╭━┃┼", "|-+-|+"),
        ("ḡ ẋ é x̄", "g x e x"),
        ("学", "?"),
    ],
)
def test_spellings(text, ascii_text):
    assert text.encode("ascii", errors=SPELLED).decode() == ascii_text


def test_no_character_of_the_package_is_a_question_mark():
    sources = Path(fedjax_rl.__file__).parent.rglob("*.py")
    found = set().union(*(path.read_text(encoding="utf-8") for path in sources))
    found -= set("学")
    astray = {each for each in found if not each.isascii() and "?" in spelling(each)}
    assert not astray, [unicodedata.name(each) for each in astray]
    assert all(spelling(each).isascii() for each in found)


def test_bytes_of_file_names_stay_what_they_are():
    name = os.fsdecode(b"gr\xf6\xdfe")
    assert name.encode("utf-8", errors=SPELLED) == b"gr\xf6\xdfe"
    with pytest.raises(UnicodeDecodeError):
        codecs.decode(b"\xff", "utf-8", SPELLED)


def test_arguments_that_are_no_text_are_refused(capsys):
    assert main(["run", "fednpg", "--problem", os.fsdecode(b"gr\xf6\xdfe.npz")]) == 2
    errors = capsys.readouterr().err
    assert "PYTHONUTF8=1" in errors and errors.count("\n") == 1


def process(*arguments, **environment):
    """A fedjax-rl in another process, with its standard output in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "fedjax_rl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )


def test_the_c_locale():
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    output, wrong = (one := process("list", "losses", **plain)).communicate()
    assert (one.returncode, wrong) == (0, b"")
    assert output.isascii() and b"-sum" in output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [("--help",), ("list", "losses")])
def test_an_output_that_is_full_gets_one_line(arguments):
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "fedjax_rl", *arguments]
        one = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert one.returncode == 1
    assert one.stderr.count("\n") == 1 and "No space left" in one.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("list", "losses")])
def test_a_reader_that_leaves_gets_no_traceback(arguments):
    one = process(*arguments)
    one.stdout.close()
    assert one.stderr.read() == b""
    assert one.wait() == 1


def drawn(width, encoding="utf-8"):
    """A console that holds what it is told, as a terminal of this width."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(file=stream, width=width, force_terminal=True, color_system=None)


ROWS = [
    [str(round), "-0.9356", "+24.7728", " +5.946 -0.531", " 0.000  0.012", "+1.2230", "+5.8384"]
    for round in (0, 2, 1000)
]


@pytest.mark.parametrize("width", [5, 20, 40, 60, 80, 120])
def test_tables_fit_and_no_number_is_torn(width):
    console = drawn(width)
    with console.capture() as captured:
        console.print(table_of(HEADER, ROWS, console))
    lines = captured.get().splitlines()
    assert all(len(line) <= width for line in lines)
    fitted = fitting([HEADER, *ROWS], width)
    if width >= 20:
        numbers = [number for row in ROWS for cell in row[:fitted] for number in cell.split()]
        for number in numbers:
            assert any(number in line.split() for line in lines)
    assert ("columns" in captured.get()) == (fitted < len(HEADER) and width > 10)


def test_columns_that_fit():
    assert fitting([HEADER, *ROWS], 20) == 2
    assert fitting([HEADER, *ROWS], 1) == 1
    assert fitting([HEADER, *ROWS], 120) == len(HEADER)


def test_a_narrow_terminal_has_the_count_without_the_bar():
    assert len(bars(drawn(20))) == 1 and len(bars(drawn(80))) == 3


def test_a_pipe_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    status, output, wrong = printed(monkeypatch, "ascii", "run", "fednpg", "--rounds", "3")
    assert status == 0 and b"\x1b" not in output + wrong
    assert wrong in (b"", b"preparing windy-cliff ...\n"), "the notice comes after a second"
    rows = [line for line in output.decode().splitlines() if re.match(r" +[0-3] +-?\d", line)]
    assert len(rows) == 4 and len({len(row) for row in rows}) == 1
