"""The page in a headless Chromium: nothing is complained of, all is there, and it is legible."""

import pathlib

import pytest

from fedjax_rl.report import write_report
from tests.browser import launched
from tests.report import made
from tests.report.test_rendering import EVIL

pytestmark = pytest.mark.timeout(300)

WIDTHS = (390, 1440)
SMALLEST = 14
"""CSS pixels that text has at least."""
LEGIBLE = 4.5
"""Contrast of text that WCAG 2 asks for."""

PROBES = pathlib.Path(__file__).with_name("probes.js").read_text()
OVERFLOW = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
CHART = "figure svg.chart"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with launched(tmp_path_factory.mktemp("browser") / "profile") as found:
        yield found


def opened(browser, path, width, **more):
    """The page, with the probes beside it."""
    page = browser.open(path, width, **more)
    page.evaluate(PROBES)
    return page


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of every kind, and one of them all."""
    base = tmp_path_factory.mktemp("pages")
    paths = {kind: make(base / kind) for kind, make in made.KINDS.items()}
    written = {kind: write_report([path]) for kind, path in paths.items()}
    compared = made.networks(
        base / "compared", compare=True, failed_seeds=[{"seed": 4, "round": 2}]
    )
    written["compared"] = write_report([compared])
    stopped = made.finite(base / "stopped", finished=False)
    written["all"] = write_report([*paths.values(), compared, stopped], base / "all.html")
    return written


KINDS = (*made.KINDS, "compared", "all")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_whole_and_legible(browser, pages, kind, width):
    page = opened(browser, pages[kind], width)
    assert page.complaints() == []
    assert len(page.requests()) == 1, "the page itself, and nothing else"
    content_width, room = page.evaluate(OVERFLOW)
    assert room == width and content_width <= width, "the page never scrolls sideways"
    assert page.evaluate(f"smallText({SMALLEST})") == []
    figures = page.evaluate("figuresDrawn()")
    assert (len(figures) > 0) == (kind != "solution")
    for title, drawn, wide, high in figures:
        assert drawn > 0 and wide > 250 and high > 80, title
    tables = page.evaluate("[...document.querySelectorAll('.scroll')].map(e => e.clientWidth)")
    assert all(0 <= table <= width for table in tables)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", ["sweep", "compared"])
def test_text_stands_out_in_light_and_in_the_dark(browser, pages, kind, dark):
    page = opened(browser, pages[kind], 1440, dark=dark)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")
    assert page.evaluate(f"paleText({LEGIBLE})") == []


def test_values_are_read_under_the_mouse_and_with_keys(browser, pages):
    page = opened(browser, pages["finite"], 1440)
    readout = "document.querySelector('figure .readout').textContent"
    value = "document.querySelector('figure .legend .value').textContent"
    assert (page.evaluate(readout), page.evaluate(value)) == ("last values", "8.4")
    x, y = page.middle(CHART)
    page.move(x, y)
    assert (page.evaluate(readout), page.evaluate(value)) == ("at round 2", "7.333")
    page.move(1, 1)
    assert page.evaluate(readout) == "last values"
    page.evaluate(f"document.querySelector('{CHART}').focus()")
    for _ in range(2):
        page.press("ArrowRight")
    assert (page.evaluate(readout), page.evaluate(value)) == ("at round 1", "6")
    assert page.complaints() == []


def test_values_are_read_by_touch(browser, pages):
    page = opened(browser, pages["finite"], 390)
    x, y = page.middle(CHART)
    point = [{"x": x, "y": y}]
    page.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    page.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=point)
    readout = page.evaluate("document.querySelector('figure .readout').textContent")
    assert readout == "at round 2"


def test_the_legend_hides_curves_and_their_references(browser, pages):
    page = opened(browser, pages["finite"], 1440)
    costs = "[...document.querySelectorAll('figure')][2].querySelectorAll"
    count = f"[{costs}('path.line').length, {costs}('line.reference').length]"
    assert page.evaluate(count) == [2, 2]
    page.click("figure:nth-of-type(3) .legend button")
    assert page.evaluate(count) == [1, 1]
    pressed = f"{costs}('.legend button')[0].getAttribute('aria-pressed')"
    assert page.evaluate(pressed) == "false"
    page.click("figure:nth-of-type(3) .legend button")
    assert page.evaluate(count) == [2, 2]


def test_axes_can_be_chosen(browser, pages):
    page = opened(browser, pages["finite"], 1440)
    assert page.evaluate("ticks(0)")[-1] == "round"
    page.evaluate("choose(0, 1, 1)")
    assert page.evaluate("ticks(0)")[-1] == "bytes exchanged" and "400" in page.evaluate("ticks(0)")
    page.evaluate("choose(0, 0, 1)")
    assert {"2", "5", "10"} <= set(page.evaluate("ticks(0)"))
    assert page.complaints() == []


def test_both_axes_can_be_logarithmic(browser, pages):
    """Distances begin so; round 0 has no place there, and comes back with a linear axis."""
    page = opened(browser, pages["finite"], 1440)
    dots = "document.querySelectorAll('figure')[1].querySelectorAll('circle.dot.c1').length"
    assert "2" in page.evaluate("ticks(1)") and page.evaluate(dots) == 4
    page.evaluate("choose(1, 0, 1)")
    assert page.evaluate(dots) == 5
    assert page.complaints() == []


def test_the_legend_says_what_a_band_is(browser, pages):
    page = opened(browser, pages["networks"], 390)
    script = (
        "[...document.querySelectorAll('figure:first-of-type .meaning')].map(e => e.textContent)"
    )
    assert page.evaluate(script) == ["95 % interval of the interquartile mean over 5 seeds"]
    aside = page.evaluate("document.querySelector('.legend .aside').textContent")
    assert aside.startswith("95 % interval ")
    assert page.evaluate("document.querySelectorAll('figure:first-of-type path.band').length") == 2


def test_parallel_axes_have_a_line_for_each_configuration(browser, pages):
    page = opened(browser, pages["sweep"], 390)
    lines = "[...document.querySelectorAll('svg.parallel path.line')]"
    assert page.evaluate(f"{lines}.map(e => e.style.strokeWidth)") == ["1.5px"] * 3 + ["4px"]
    names = page.evaluate(
        "[...document.querySelectorAll('svg.parallel text')].map(e => e.textContent)"
    )
    assert {"step_size", "local_steps", "average_gap", "0.1", "5"} <= set(names)


def test_nothing_positive_is_said_on_a_logarithmic_axis(browser, pages):
    """The violation 1 − t is positive at t = 0 alone; gap is positive everywhere."""
    page = opened(browser, pages["finite"], 1440)
    last = page.evaluate("document.querySelectorAll('figure').length") - 1
    page.evaluate(f"choose({last}, 0, 1)")
    page.evaluate(f"choose({last}, 1, 1)")
    assert (
        page.evaluate(
            f"document.querySelectorAll('figure')[{last}].querySelectorAll('circle.dot').length"
        )
        == 1
    )
    page.click(f"figure:nth-of-type({last + 1}) .legend button")
    assert "nothing to show" in page.evaluate(f"ticks({last})")
    assert page.complaints() == []


def test_tables_are_sorted_by_a_click(browser, pages):
    page = opened(browser, pages["sweep"], 1440)
    table = "document.querySelectorAll('table:not(.map)')[1]"
    heading = f"{table}.tHead.rows[0].cells[5]"
    assert page.evaluate(f"{heading}.textContent") == "average_gap"
    gaps = list(map(float, page.evaluate("column(1, 5)")))
    assert gaps == sorted(gaps) and len(gaps) == 12
    for order in ("ascending", "descending"):
        page.evaluate(f"{heading}.querySelector('button').click()")
        assert page.evaluate(f"{heading}.getAttribute('aria-sort')") == order
        sorted_gaps = list(map(float, page.evaluate("column(1, 5)")))
        assert sorted_gaps == sorted(gaps, reverse=order == "descending")


def test_one_map_is_seen_at_a_time_and_its_cells_tell_their_value(browser, pages):
    page = opened(browser, pages["sweep"], 1440)
    cells = "[...document.querySelectorAll('.map-box:not([hidden]) tbody td')]"
    titles = page.evaluate(f"{cells}.map(c => c.title)")
    assert titles[2:] == ["step_size 0.1, local_steps 1: 1.1", "step_size 1, local_steps 1: 2"]
    assert page.evaluate(f"{cells}.map(c => c.textContent)") == ["1.5", "6", "1.1", "2"]
    count = page.evaluate("document.querySelectorAll('.map-box').length")
    assert count == page.evaluate("figures[0].views.length") > 1
    page.evaluate("choose(0, 0, 1)")
    assert page.evaluate("document.querySelectorAll('.map-box:not([hidden])').length") == 1
    assert page.evaluate(f"{cells}[0].title").endswith(": 1"), "the share of feasible seeds"


def test_what_was_closed_fits_when_it_opens(browser, pages):
    page = opened(browser, pages["compared"], 390)
    page.click("details.part > summary")
    page.wait("document.querySelectorAll('details.part[open] path.line').length > 0")
    box = "document.querySelector('details.part svg.chart').getBoundingClientRect()"
    assert 250 < page.evaluate(f"{box}.width") < 390
    assert page.evaluate(OVERFLOW)[0] <= 390
    assert page.complaints() == []


@pytest.mark.slow
def test_nothing_in_files_is_executed(browser, tmp_path):
    run = made.finite(tmp_path / "run", names=(EVIL, "right"))
    made.config(run, algorithm="fednpg", problem=EVIL, rounds=4, **{EVIL: EVIL})
    page = opened(browser, write_report([run]), 390)
    assert page.complaints() == [], "not even a refusal: nothing tried to run"
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert EVIL in page.evaluate(
        "document.querySelector('.legend').parentElement.parentElement.parentElement.parentElement.textContent"
    )
    assert page.evaluate(OVERFLOW)[0] <= 390
