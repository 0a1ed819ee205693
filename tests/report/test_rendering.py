"""The page is one file that asks nobody for anything, and what files say never becomes markup."""

import hashlib
import html
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from importlib import resources

import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.figures.numbers import brief, exactly, in_bytes, seconds
from fedjax_rl.report import page_of, write_report
from fedjax_rl.report.markup import Html, join, tag
from fedjax_rl.report.rendering import SCRIPTS, html_of
from tests.report import made

pytestmark = pytest.mark.timeout(120)

EVIL = '</script><script>evil()</script><img src=x onerror="evil()">'
LARGEST = 2_000_000


class Elements(HTMLParser):
    """Every element with its attributes, and what is still open at the end."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.found.append((name, dict(attributes)))
        if name not in ("meta", "link", "br"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


def rendered(*paths):
    return html_of(page_of(list(paths)))


def figures_of(text):
    return json.loads(re.search(r'id="figures">(.*?)</script>', text, re.S)[1])


def test_markup_escapes_what_is_not_markup():
    assert tag("p", "<b>", Html("<i></i>"), class_='"x"', hidden=True, id=None) == (
        '<p class="&quot;x&quot;" hidden>&lt;b&gt;<i></i></p>'
    )
    assert join(["a&", [Html("<br>")]], None) == "a&amp;<br>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "–"), (float("nan"), "–"), (True, "yes"), (0.123456, "0.1235")),
        *((19192773, "19,192,773"), (12345.6, "12,346"), (1e9, "1e+09"), ([1.0, None], "[1, –]")),
    ],
)
def test_values_are_shown_briefly(value, text):
    assert brief(value) == text


def test_settings_are_shown_exactly():
    assert exactly({"a": [1e9, None, True]}) == "a: [1000000000.0, null, true]"
    assert (seconds(90.0), seconds(600.0), seconds(9000.0)) == ("90 s", "10 min", "2.5 h")
    assert (in_bytes(999.0), in_bytes(4_096_000.0), in_bytes(2e15)) == (
        "999 B",
        "4.1 MB",
        "2e+03 TB",
    )


@pytest.mark.parametrize("kind", made.KINDS)
def test_the_page_is_well_formed_and_asks_nobody(kind, tmp_path):
    text = rendered(made.KINDS[kind](tmp_path / kind))
    page = Elements(text)
    assert page.open == []
    for name, attributes in page.found:
        assert "src" not in attributes
        assert attributes.get("href", "data:,").startswith(("data:,", "#"))
        assert name not in ("iframe", "object", "embed", "base")
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert "@import" not in text and "url(" not in text


def test_only_the_pages_own_script_may_run(tmp_path):
    text = rendered(made.finite(tmp_path / "run"))
    script = re.search(r"<script>(.*)</script>", text, re.S)[1]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for n, a in Elements(text).found if "http-equiv" in a)
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_names_from_files_are_text_wherever_they_are_from(tmp_path):
    run = made.finite(tmp_path / "run", names=(EVIL, "right"))
    made.config(run, algorithm="fednpg", problem=EVIL, rounds=4, **{EVIL: EVIL})
    other = made.networks(tmp_path / "<script>evil()<script>", reference=EVIL)
    text = rendered(run, other)
    page = Elements(text)
    assert [name for name, _ in page.found].count("script") == 2
    assert not [a for n, a in page.found if n == "img" or "onerror" in a]
    assert html.unescape(text).count(EVIL) > 5, "it is shown"
    names = [s["name"] for f in figures_of(text) for v in f["views"] for s in v["series"]]
    assert EVIL in names


def test_numbers_of_figures_are_short_and_finite(tmp_path):
    path = made.networks(tmp_path / "run")
    views = [view for figure in figures_of(rendered(path)) for view in figure["views"]]
    other = next(view for view in views if view["name"] == "reward")
    assert other["series"][0]["y"] == [None, 2, 3]
    assert other["abscissas"] == [[0, 100, 200], [0, 1, 2]]


def test_a_page_without_javascript_still_has_its_tables_and_bars(tmp_path):
    text = re.sub(r"<script.*?</script>", "", rendered(made.finite(tmp_path / "run")), flags=re.S)
    page_text = " ".join(Elements(text).text)
    for word in ("exceeded by 25 %", "averaged", "7.5", "hill", "0.10.1", "JavaScript"):
        assert word in page_text


def test_maps_need_no_script(tmp_path):
    """Every cell has its number, and says where it is; the text stands out from the colour."""
    page = Elements(rendered(made.sweep(tmp_path / "run")))
    cells = [given for name, given in page.found if name == "td" and "title" in given]
    assert cells[2]["title"] == "step_size 0.1, local_steps 1: 1.1"
    assert {"background:rgb(68 1 84);color:#fff", "background:rgb(253 231 37);color:#000"} <= {
        cell["style"] for cell in cells
    }


def test_a_long_run_of_many_columns_makes_a_page_of_sensible_size(tmp_path):
    text = rendered(made.finite(tmp_path / "run", rounds=10_000, columns=60))
    assert len(text.encode()) < LARGEST
    assert len([v for f in figures_of(text) for v in f["views"]]) > 60, "every column is there"


def test_a_large_sweep_makes_a_page_of_sensible_size(tmp_path):
    steps, local = [0.001 * (n + 1) for n in range(40)], range(1, 26)
    text = rendered(made.sweep(tmp_path / "run", steps=steps, local=local, seeds=4, points=201))
    assert len(text.encode()) < LARGEST
    assert "of 4,000; sweep.csv has all." in text and "The best 100 of 1,000" in text


def test_the_page_is_beside_the_run_unless_told_otherwise(tmp_path):
    path = made.finite(tmp_path / "run")
    assert write_report([path]) == path / "report.html"
    with pytest.raises(InvalidInput, match="--overwrite"):
        write_report([path])
    assert write_report([path], overwrite=True).read_text().startswith("<!doctype html>")
    assert write_report([path], tmp_path / "deep" / "page.html").exists()


@pytest.mark.parametrize(
    ("directories", "out", "message"),
    [
        ([], None, "directory: got none; at least one"),
        (["run", "other"], None, "--out: got none; a file for the page of several"),
        (["run", "run"], "page.html", "run twice; every directory once"),
        (["run"], "other", "this is a directory"),
        (["run"], "run/config.yaml/page.html", "--out: got .*; a writable place"),
        (["missing"], None, "there is no such directory"),
    ],
)
def test_what_cannot_be_written_is_refused_and_changes_nothing(tmp_path, directories, out, message):
    for name in ("run", "other"):
        made.finite(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidInput, match=message) as raised:
        write_report([tmp_path / d for d in directories], out and tmp_path / out, overwrite=True)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_files_of_the_page_are_in_the_package():
    folder = resources.files("fedjax_rl.report")
    for name in ("page.html", "page.css", *SCRIPTS):
        assert (folder / name).is_file()
