"""The documentation as a site: formulas are drawn, nothing is fetched, flags are found."""

from __future__ import annotations

import html
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import unquote, urlparse

import pytest
from fontTools.ttLib import TTFont

from tests.browser import Browser, Page, launched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
NARROW, WIDE = 390, 1280
FORMULAS = {"concepts": 100, "stale": 30, "leakage": 30, "glossary": 80, "results": 10}
"""Pages with formulas, and how many they have at least."""
LEGIBLE = 4.5
"""Contrast of text that WCAG 2 asks for."""
PROBES = (REPOSITORY / "tests" / "report" / "probes.js").read_text(encoding="utf-8")
NO_PROSE = r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|!\[.*?\]"
"""Code, formulas, and what pictures say to those who do not see them."""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOUND = """
[...document.querySelectorAll('.md-search-result__link')].map(link => link.getAttribute('href'))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The site as it is built for readers."""
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    finished = subprocess.run(
        [*command, "--site-dir", built], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return built


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launched(tmp_path_factory.mktemp("browser") / "profile") as found:
        yield found


def text_of(page: pathlib.Path) -> str:
    """A page without its code."""
    return re.sub(r"<(pre|code)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)


def formulas(page: pathlib.Path) -> list[str]:
    return re.findall(r"<math.*?</math>", page.read_text(encoding="utf-8"), re.S)


@pytest.mark.slow
def test_formulas_are_typeset(site: pathlib.Path) -> None:
    for name, least in FORMULAS.items():
        assert len(formulas(site / f"{name}.html")) >= least, name
    for page in site.rglob("*.html"):
        assert "arithmatex" not in page.read_text(encoding="utf-8"), page.name
        assert not re.search(r"\\[a-z]+[{_^ ]", re.sub(r"<script.*?</script>", "", text_of(page)))


def test_no_formula_is_left_as_plain_text() -> None:
    """Greek letters with an index, sums and roots stand in formulas, if not in code."""
    for name in FORMULAS:
        page = (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8")
        prose = re.sub(
            r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|!\[.*?\]", "", page, flags=re.S
        )
        assert re.findall(r"[ηγλθπτε]_\w|[ΣΠ√]|^    [^ ].* = ", prose, re.M) == [], name


def test_the_font_has_every_character_of_a_formula(site: pathlib.Path) -> None:
    characters = TTFont(site / "style" / "stix-two-math.woff").getBestCmap()
    used = {
        one
        for page in site.rglob("*.html")
        for formula in formulas(page)
        for one in html.unescape(re.sub(r"<[^>]*>", "", formula))
    }
    assert len(used) > 60
    assert {one for one in used if one.strip() and ord(one) not in characters} == set()


def test_no_page_loads_anything_from_another_server(site: pathlib.Path) -> None:
    loads = r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\s\">]+)"
    for page in site.rglob("*.html"):
        assert re.findall(loads, page.read_text(encoding="utf-8")) == [], page.name
    for style in site.rglob("*.css"):
        assert re.findall(r"url\(\"?(?:https?:)?//", style.read_text(encoding="utf-8")) == []


def complaints(page: Page) -> list[str]:
    """What is wrong with a page as it is shown."""
    found = page.complaints()
    if (wide := page.evaluate(SIDEWAYS)) > 0:
        found.append(f"{wide} pixels to the side")
    return found + [url for url in page.requests() if url.startswith("http")]


def test_every_page_fits_a_small_screen(site: pathlib.Path, browser: Browser) -> None:
    wrong = {}
    for path in sorted(site.rglob("*.html")):
        page = browser.open(path, NARROW)
        if path.name != "404.html" and (found := complaints(page)):
            wrong[path.name] = found
        page.ask("Page.close")
    assert wrong == {}


def test_formulas_are_drawn_with_the_font_of_the_site(site: pathlib.Path, browser: Browser) -> None:
    page = browser.open(site / "concepts.html", WIDE)
    assert page.evaluate("document.fonts.ready.then(() => [...document.fonts].map(f => f.status))")
    loaded = "[...document.fonts].filter(f => f.family.includes('STIX')).map(f => f.status)"
    assert page.evaluate(loaded) == ["loaded"]
    fraction = "document.querySelector('.formula mfrac').getBoundingClientRect().height"
    assert page.evaluate(fraction) > 1.5 * page.evaluate(
        "parseFloat(getComputedStyle(document.querySelector('math')).fontSize)"
    )


def test_a_wide_formula_is_scrolled_by_itself(site: pathlib.Path, browser: Browser) -> None:
    page = browser.open(site / "concepts.html", NARROW)
    boxes = page.evaluate(
        "[...document.querySelectorAll('.formula')].map(e => [e.scrollWidth, e.clientWidth])"
    )
    assert max(width for width, _ in boxes) > NARROW, "none is wide enough to show it"
    assert all(room <= NARROW for _, room in boxes)


@pytest.mark.parametrize("dark", [False, True])
def test_the_site_is_as_dark_as_the_system_and_legible(
    site: pathlib.Path, dark: bool, tmp_path: pathlib.Path
) -> None:
    with launched(tmp_path / "profile") as fresh:
        page = fresh.open(site / "quickstart.html", WIDE, dark=dark)
        page.evaluate(PROBES)
        pale = [text.strip() for _, text, _ in page.evaluate(f"paleText({LEGIBLE})")]
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert page.evaluate("document.querySelectorAll('[data-md-color-media]').length") >= 3
    # What is not seen until it is reached by keys, and what the probe takes for white on white.
    assert [text for text in pale if "Skip to" not in text and "Material for" not in text] == []
    light = [int(part) for part in re.findall(r"\d+", ground)][:3]
    assert (max(light) < 64) == dark and (min(light) > 240) != dark, ground


@pytest.mark.slow
def test_an_option_is_found_by_its_flag(site: pathlib.Path, browser: Browser) -> None:
    page = browser.open(site / "index.html", WIDE)
    page.evaluate("document.querySelector('[data-md-component=search-query]').focus()")
    page.ask("Input.insertText", text="--local-steps")
    page.press("End")  # the search waits for a key
    page.wait(f"{FOUND}.length > 1")
    links = [urlparse(unquote(link)) for link in page.evaluate(FOUND)]
    places = [f"{pathlib.Path(link.path).name}#{link.fragment}" for link in links]
    assert "cli.html#run-fednpg--local-steps" in places[:3]
    assert page.complaints() == []
