"""What leaks: the closed forms behind bench/leakage.py, and that its page says what it measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bench import leakage
from tests import support

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "leakage.md").read_text(encoding="utf-8")
FIGURES = json.loads((ROOT / "bench" / "results" / "leakage.json").read_text(encoding="utf-8"))


def watched(number, steps, fraction=leakage.BUDGET_FRACTION, rounds=60):
    problems = leakage.drawn(number, 4, fraction)
    return problems, leakage.watch(problems, leakage.STEP, steps, rounds)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_one_local_step_gives_the_cost_advantage_away(number):
    problems, view = watched(number, 1)
    cell = leakage.of_messages(problems, view, leakage.STEP, 1)
    assert cell["problems"] == 4
    assert cell["largest_gap_to_one"] < 1e-9


def test_the_residual_is_the_multiplier_times_the_advantage():
    """Against plain NumPy, so that the attack does not lean on what it attacks."""
    problems, view = watched(2, 1)
    _, reward, _ = leakage.advantages(problems, view)
    left = leakage.residuals(view, reward, leakage.STEP, 1, problems.cmdps[0].discount)
    for member, cmdp in enumerate(problems.cmdps):
        policy = support.softmax(view.before[-1, member])
        np.testing.assert_allclose(
            reward[-1, member], support.advantage(cmdp, policy, cmdp.reward), atol=1e-12
        )
        for agent, cost in enumerate(cmdp.costs):
            expected = view.multipliers[-1, member, agent] * support.advantage(cmdp, policy, cost)
            np.testing.assert_allclose(left[-1, member, agent], expected, atol=1e-10)


def test_more_local_steps_blur_it():
    cosines = [
        leakage.of_messages(*watched(4, steps), leakage.STEP, steps)["cosine"]
        for steps in (1, 5, 20)
    ]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[0] - cosines[-1] > 1e-3


def test_a_secure_sum_hides_an_agent_among_others():
    loose = leakage.LOOSE_FRACTION
    cosines = [
        leakage.of_sum(*watched(number, 1, loose), leakage.STEP)["cosine"] for number in (2, 4, 8)
    ]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[-1] < 0.6


def test_messages_of_several_rounds_give_the_multipliers_away():
    found = leakage.of_multipliers(*watched(4, 1), leakage.STEP)
    assert found["agents"] > 4
    assert found["largest_relative_error"] < 1e-6


def test_advantages_do_not_see_potential_shaping():
    cmdp = leakage.drawn(2, 4, leakage.BUDGET_FRACTION).cmdps[0]
    rng = np.random.default_rng(0)
    potential = rng.normal(size=cmdp.num_states)
    policy = rng.dirichlet(np.ones(cmdp.num_actions), size=cmdp.num_states)
    shaped = cmdp.costs[0] + potential[:, None] - cmdp.discount * cmdp.transition @ potential
    np.testing.assert_allclose(
        support.advantage(cmdp, policy, shaped),
        support.advantage(cmdp, policy, cmdp.costs[0]),
        atol=1e-12,
    )


def rows_of_tables():
    """Cells of the page's table rows, without heads and rules."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] not in ("step", "$N$")]


def test_every_number_of_the_tables_is_that_of_the_figures():
    assert FIGURES["quick"] is False
    expected = []
    for name, label in (("fixed_step", r"$\eta = 0.1$"), ("fixed_product", r"$\eta E = 1$")):
        for number, row in FIGURES[name].items():
            expected.append([label, number, *(f"{cell['cosine']:.4f}" for cell in row.values())])
    for number, cell in FIGURES["secure_sum"].items():
        low, high = (f"{value:.3f}" for value in cell["quartiles"])
        counts = [number, f"{cell['active_agents']:.1f}", f"{cell['cosine']:.3f}"]
        expected.append([*counts, f"{low} to {high}", f"{cell['stranger']:.3f}"])
    assert rows_of_tables() == expected
    assert all(table in PAGE for table in leakage.tables(FIGURES))


def test_every_number_of_the_sentences_is_that_of_the_figures():
    text = re.sub(r"\s+", " ", PAGE)
    for phrase in leakage.phrases(FIGURES):
        assert phrase in text, phrase


def test_the_figure_is_drawn_from_the_json(tmp_path, monkeypatch):
    out = tmp_path / "leakage.png"
    source = ROOT / "bench" / "results" / "leakage.json"
    monkeypatch.setattr("sys.argv", ["leakage", str(source), str(out)])
    assert leakage.main() == 0
    assert out.read_bytes().startswith(b"\x89PNG")
