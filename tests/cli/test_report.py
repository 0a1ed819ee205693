"""``fedjax-rl report`` on what the other commands really write, at the smallest size."""

import pytest

from fedjax_rl.cli import main
from fedjax_rl.figures import png
from fedjax_rl.figures.description import Figure, meanings
from fedjax_rl.report import page_of
from fedjax_rl.report.page import read_section
from fedjax_rl.sources.problems import save_problem
from tests import support
from tests.browser import launched
from tests.figures.compared import assert_same
from tests.quick import quick_compilation  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DEEP = """
    --problem fedjax_rl.envs.known:chain --agents 2 --envs 4 --rollout 8 --hidden 4 --rounds 2
    --episodes 100 --epochs 1 --minibatches 2 --seeds 2
"""
STALE = """
    --task-args length=3 modulus=3 --steps 4 --prompts 2 --group-size 3 --held-out 16
    --on-policy 2 --warm-start 0 --evaluate-every 2 --seeds 2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One of every kind, with the runs' own programs."""
    base = tmp_path_factory.mktemp("directories")
    problem = base / "problem.npz"
    save_problem(problem, support.random_problem(0))
    small = ["--problem", str(problem), "--rounds", "20"]
    commands = {
        "npg": ["run", "fednpg", *small],
        "variants": ["compare", "fednpg", *small, "--local-steps", "1,2"],
        "sweep": ["sweep", "fednpg", *small, "--grid", "step_size=0.1,0.2", "--seeds", "2"],
        "solution": ["solve", str(problem)],
        "ppo": ["run", "fedppo", *DEEP.split(), "--reference", "no-communication"],
        "gepo": ["run", "gepo", *STALE.split()],
        "losses": ["compare", "--losses", "grpo", "--windows", "0,2", *STALE.split()],
    }
    drawn: dict[str, tuple[Figure, ...]] = {}
    write = png.write

    def recorded(figures, directory, heading=""):
        drawn[directory.name] = tuple(figures)
        return write(drawn[directory.name], directory, heading)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "write", recorded)
        for name, arguments in commands.items():
            assert main([*arguments, "--out", str(base / name)]) == 0, name
        assert main(["plot", str(base / "sweep")]) == 0
    return {name: base / name for name in commands}, drawn


@pytest.fixture(scope="module")
def directories(made):
    return made[0]


FILES = {
    "npg": {"value.png", "costs.png", "multipliers.png"},
    "variants": {"comparison.png"},
    "sweep": {"parallel.png"},
    "ppo": {"reward.png", "costs.png", "multipliers.png"},
    "gepo": {"accuracy.png", "diagnostics.png", "staleness.png"},
}


@pytest.mark.parametrize("name", FILES)
def test_files_and_the_page_have_the_same_figures(made, name):
    """What was drawn from memory as the run ended is what the page reads out of its files."""
    directories, drawn = made
    files = [one for one in drawn[name] if one.file in FILES[name]]
    page = [one for one in read_section(directories[name], name).figures if one.file]
    on_page = [one for one in page if one.file in FILES[name]]
    assert {one.file for one in files} == FILES[name]
    assert_same(tuple(files), tuple(on_page))


@pytest.mark.parametrize("name", ["npg", "variants", "sweep", "ppo", "gepo", "losses"])
def test_every_band_is_named_in_its_legend(made, name):
    """In the legend of the file, and in what the page's legend is made of."""
    directories, drawn = made
    section, bands = read_section(directories[name], name), 0
    for figure in (*drawn[name], *section.figures):
        drawing = png.drawn([figure._replace(views=figure.views[:1])])
        legends = [
            one for one in (*drawing.legends, *(a.get_legend() for a in drawing.axes)) if one
        ]
        texts = [text.get_text() for legend in legends for text in legend.get_texts()]
        legend_texts = {" ".join(text.split()) for text in texts}
        for view in figure.views:
            for series in getattr(view, "series", ()):
                if series.band is not None:
                    (meaning,) = {m.text for m in meanings([series])}
                    assert "over" in meaning and meaning.startswith(series.band.name)
                    assert any(m.text.startswith(meaning) for m in meanings(view.series))
                    bands += 1
        wanted = {m.text for m in meanings(getattr(figure.views[0], "series", ()))}
        assert wanted <= legend_texts, figure.title
    assert bands or name in ("npg", "variants"), "a single seed has none"


def test_every_kind_that_is_written_can_be_read(directories):
    page = page_of(list(directories.values()))
    sections = dict(zip(directories, page.sections, strict=True))
    for name, section in sections.items():
        assert [state.text for state in section.states] == ["finished"], name
        assert section.environment["devices"] != "not recorded"
        assert section.verdict and section.tables and section.key_figures
        assert bool(section.figures) == (name != "solution")
    for name in ("npg", "sweep", "solution", "ppo"):
        assert all(bar.verdict != "unknown" for s in sections[name].satisfaction for bar in s.bars)
        assert sections[name].satisfaction, name
    assert {"value", "judged by"} & set(sections["npg"].glance)
    curves = {name: set(section.curves) for name, section in sections.items()}
    assert {key[0] for key in curves["ppo"]} >= {"reward"} and len(curves["ppo"]) > 1
    titles = [figure.title for figure in sections["npg"].figures]
    assert titles[:4] == ["Value", "Distance from the optimum", "Costs and budgets", "Multipliers"]


def test_the_page_of_all_of_them_has_nothing_to_complain_of(directories, tmp_path, capsys):
    out = tmp_path / "all.html"
    assert main(["report", *map(str, directories.values()), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"Written to {out} (")
    with launched(tmp_path / "profile") as browser:
        for width in (390, 1440):
            page = browser.open(out, width)
            assert page.complaints() == [] and len(page.requests()) == 1
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("document.querySelectorAll('path.line').length") > 20


def test_one_directory_keeps_its_page_and_loses_it_with_the_run(directories, capsys):
    run = directories["solution"]
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_size > 10_000
    assert main(["report", str(run)]) == 2
    assert "the file exists" in capsys.readouterr().err
    assert main(["report", str(run), "--overwrite"]) == 0
    problem = str(run.parent / "problem.npz")
    assert main(["solve", problem, "--out", str(run), "--overwrite"]) == 0
    assert not (run / "report.html").exists(), "it was about another run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "directory: got missing; a directory that fedjax-rl run"),
        (["."], "with its config.yaml"),
        ([], "directory: got none; at least one directory of a run"),
        (["a", "b"], "--out: got none; a file for the page of several directories"),
        (["a", "--metric", "b"], "see: fedjax-rl report --help"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
