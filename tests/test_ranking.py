"""One order for everything that calls a result the best: budgets first, then the metric."""

import csv
import io
import itertools
import json
import math
import re

import numpy as np
import optuna
import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.summary import Evaluated, recommended
from fedjax_rl.ranking import (
    Standing,
    best_first,
    check_share,
    deciding_seed,
    excess_of,
    relative_violation,
    seeds_needed,
    worth_of,
)
from fedjax_rl.records.output import Destination
from fedjax_rl.report.page import read_section
from fedjax_rl.runs.resume import resume
from fedjax_rl.sweeps import figures as sweep_figures
from fedjax_rl.sweeps import messages
from fedjax_rl.sweeps.best import best_configuration, candidates, ordered
from fedjax_rl.sweeps.comparison import csv_text, layout_of, verdicts
from fedjax_rl.sweeps.execution import Done
from fedjax_rl.sweeps.objective import Objective, objective_of, recorded_objective
from fedjax_rl.sweeps.results import SweepDirectory, read_chunks, read_rows
from fedjax_rl.sweeps.search import outcome
from fedjax_rl.sweeps.space import law_of
from fedjax_rl.sweeps.study import NAME, Study

pytestmark = pytest.mark.timeout(240)

BUDGET, TOLERANCE = 2.0, 0.02
FEASIBLE = {
    0.1: [(-7.0, 9.0), (-7.0, 9.0)],  # earns most, and breaks its budget most
    0.2: [(3.0, 1.5), (3.0, 1.0)],
    0.3: [(-0.02, 2.03), (-0.02, 2.03)],  # within tolerance, and so a little better than V*
    0.4: [(0.5, 2.0), (0.5, 2.0)],
    0.5: [(-0.3, 3.0), (0.4, 1.0)],  # one seed of two keeps its budget
    0.6: [(-99.0, 0.0), None],  # a seed diverged
}
"""Gap and cost of every seed, by step size."""
BROKEN = {
    0.1: [(-7.0, 9.0), (-7.0, 9.0)],
    0.2: [(-9.0, 2.2), (-9.0, 8.0)],  # its worst seed is worse than that of 0.3, its best better
    0.3: [(-1.0, 3.0), (-2.0, 2.5)],
}
CASES = {
    "every seed": (FEASIBLE, 1.0, [0.3, 0.4, 0.2, 0.5, 0.1]),
    "half of the seeds": (FEASIBLE, 0.5, [0.3, 0.5, 0.4, 0.2, 0.1]),
    "nobody": (BROKEN, 1.0, [0.3, 0.2, 0.1]),
    "nobody in half of the seeds": (BROKEN, 0.5, [0.2, 0.3, 0.1]),
}
"""Members, the share of seeds that must be feasible, and the order that is right."""


def rows_of(members):
    rows = []
    for configuration, (step_size, seeds) in enumerate(members.items()):
        for seed, values in enumerate(seeds):
            gap, cost = values or (None, None)
            row = {"member": len(rows), "configuration": configuration, "step_size": step_size}
            row |= {"seed": seed, "status": "diverged" if values is None else "finished"}
            row |= {"failed_round": 1 if values is None else None, "average_gap": gap}
            keeps = values is not None and cost <= BUDGET * (1 + TOLERANCE)
            row |= {"feasible_average": keeps, "budgets/left": BUDGET}
            row |= {"occupancy_costs/left": cost, "reference": "fed"}
            violation = None if values is None else (cost - BUDGET) / BUDGET
            rows.append(row | {"relative_violation_average": violation})
    return rows


def sweep_of(path, rows, share=1.0):
    """A directory as a sweep leaves it."""
    document = {"algorithm": "sweep fednpg", "random": {}, "samples": None, "sample_seed": 0}
    document |= {"grid": {"step_size": list(dict.fromkeys(row.get("step_size") for row in rows))}}
    document |= {"feasible_seeds": share, "settings": {"problem": "windy-cliff", "seeds": 2}}
    document |= {"made_with": {"problem_sha256": "ab"}}
    curves = {"round": np.arange(3.0), "average_gap": np.ones(3), "average_violation": np.ones(3)}
    done = [Done(row["member"], row, curves) for row in rows]
    with SweepDirectory(Destination(path), document) as directory:
        directory.add(done)
        directory.write(done)
    return path


def by_sweep(path):
    """The line that a sweep ends with, and says after every chunk."""
    line = messages.best(read_rows(path), recorded_objective(path))
    return [float(re.search(r"step_size ([\d.]+)", line)[1])]


def by_best(path):
    text, sentence = best_configuration(path, None)
    winner = yaml.safe_load(text)["step_size"]
    assert f"step_size {winner}" in sentence
    return [winner]


def by_best_of_a_metric(path):
    """A metric of one's own does not set the budgets aside."""
    text, _ = best_configuration(path, recorded_objective(path, "average_gap"))
    return [yaml.safe_load(text)["step_size"]]


def by_curves(path):
    found, objective = candidates(read_rows(path)), recorded_objective(path)
    arguments = found, read_chunks(path), objective, "average_gap"
    (figure,) = sweep_figures.curves_of_best(*arguments, "curves.png")
    return [float(one.name.removeprefix("step_size ")) for one in figure.views[0].series]


def by_parallel(path):
    """The first line stands in front; its height on the first axis says of which setting it is."""
    found, objective = candidates(read_rows(path)), recorded_objective(path)
    (figure,) = sweep_figures.parallel(found, objective)
    sizes = sorted(one.combination["step_size"] for _, one in ordered(found, objective))
    return [sizes[rank] for rank in np.argsort(np.argsort(figure.views[0].heights[:, 0]))]


def by_report(path):
    section = read_section(path, "")
    (table,) = [one for one in section.tables if one.title == "Configurations"]
    diverged = table.headings.index("diverged")
    assert f"step_size {table.rows[0][1]}" in section.verdict[0]
    return [row[1] for row in table.rows if not row[diverged]]


def by_search(path):
    return [size for _, _, size in sorted(optuna_order(path)[0])]


def by_optuna(path):
    """Whom Optuna calls the best; it calls nobody so where no trial is feasible."""
    trials, best = optuna_order(path)
    return [best] if trials[0][0] == 0 else by_search(path)


def optuna_order(path):
    """(excess, value, step size) as a study is told them, sorted; and the best of the study."""
    found, objective = candidates(read_rows(path)), recorded_objective(path)
    laws = {
        "step_size": (
            "uniform:0:1",
            law_of(family_of("fednpg").settings, "step_size", "uniform:0:1"),
        )
    }
    sizes, trials = [], []
    with Study(path / "study.db", laws, False, "random", 0) as study:
        for one in found:
            study.ask()
            value, excesses = outcome(objective, one)
            study.tell(study.trials()[-1], value, excesses)
            sizes.append(one.combination["step_size"])
            if value is not None:
                trials.append((*excesses, value, sizes[-1]))
    seen = optuna.load_study(study_name=NAME, storage=f"sqlite:///{path / 'study.db'}")
    trials.sort()
    return trials, sizes[seen.best_trial.number] if trials[0][0] == 0 else None


CONSUMERS = (
    *(by_sweep, by_best, by_best_of_a_metric, by_curves, by_parallel, by_report, by_search),
    by_optuna,
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda one: one.__name__)
def test_everyone_has_the_same_order(consumer, case, tmp_path):
    members, share, expected = CASES[case]
    path = sweep_of(tmp_path / "sweep", rows_of(members), share)
    found = consumer(path)
    assert found == expected[: len(found)]


def test_members_of_a_report_are_ordered_alike(tmp_path):
    path = sweep_of(tmp_path / "sweep", rows_of(FEASIBLE))
    (table,) = [t for t in read_section(path, "").tables if t.title.startswith("Members")]
    # [gap]+ of the feasible ones, equals as they were; then the relative violation; then diverged.
    assert [row[0] for row in table.rows] == [4, 5, 10, 9, 6, 7, 2, 3, 8, 0, 1, 11]


@pytest.mark.parametrize("known", [True, False])
def test_tables_from_before_violations_were_recorded_are_read(known, tmp_path, capsys):
    """From costs and budgets; of agents that do not communicate these are means, and no help."""
    rows = rows_of(BROKEN)
    for row in rows:
        del row["relative_violation_average"]
        row["reference"] = "fed" if known else "no-communication"
    path = sweep_of(tmp_path / "sweep", rows)
    if known:
        assert all(consumer(path)[0] == 0.3 for consumer in CONSUMERS)
        return
    assert main(["best", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "made before that was recorded" in error
    assert "by how much is not known" in messages.best(read_rows(path), recorded_objective(path))
    assert "by how much is not on record" in read_section(path, "").verdict[0]
    assert main(["plot", str(path)]) == 0


def test_it_is_said_where_episodes_were_given_up(tmp_path, capsys):
    """Nobody knows what these cost, whatever version made the table."""
    rows = [
        {**row, "relative_violation_average": None, "unfinished_episodes": 0.2}
        for row in rows_of(BROKEN)
    ]
    assert main(["best", str(sweep_of(tmp_path / "sweep", rows))]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "some were given up" in error


def test_a_share_that_is_given_comes_before_the_one_of_the_sweep(tmp_path, capsys):
    path = sweep_of(tmp_path / "sweep", rows_of(BROKEN), 0.5)
    assert main(["best", str(path), "--feasible-seeds", "1"]) == 0
    output = capsys.readouterr()
    assert yaml.safe_load(output.out)["step_size"] == 0.3
    assert "none of 3 configurations keeps every budget in every seed; closest" in output.err
    assert main(["best", str(path)]) == 0
    output = capsys.readouterr()
    assert yaml.safe_load(output.out)["step_size"] == 0.2
    assert "in at least 1 of 2 seeds" in output.err and "0 of 2 seeds feasible" in output.err


def test_words_say_what_is_kept_and_show_the_true_gap(tmp_path):
    path = sweep_of(tmp_path / "sweep", rows_of(FEASIBLE))
    line = messages.best(read_rows(path), recorded_objective(path))
    assert line == (
        "best average_gap -0.02 (mean of 2 seeds) with step_size 0.3; 2 of 2 seeds feasible"
    )
    _, sentence = best_configuration(path, None)
    assert sentence == (
        "average_gap -0.02, mean over 2 seeds, the smallest of 3 configurations that qualify and "
        "keep every budget in every seed (2 of 2 seeds feasible): step_size 0.3"
    )
    rows = rows_of(BROKEN)
    assert messages.best(rows, recorded_objective(path)) == (
        "none keeps every budget in every seed; closest: step_size 0.3, relative violation 0.5; "
        "average_gap -1.5 (mean of 2 seeds), 0 of 2 seeds feasible"
    )
    section = read_section(path, "")
    (table,) = [one for one in section.tables if one.title == "Configurations"]
    shares = dict(zip(*(table.headings, table.rows[3]), strict=True))
    assert (shares["feasible seeds"], shares["seeds"]) == (1, 2)
    assert shares["relative violation"] == 0.5
    assert "3 of 6" in [one.value for one in section.key_figures]


def test_metrics_of_the_last_policy_go_with_its_budgets():
    fednpg, fedppo, gepo = (family_of(name).headline for name in ("fednpg", "fedppo", "gepo"))
    for headline, metric, column in (
        (fednpg, None, "feasible_average"),
        (fednpg, "strong_violation", "feasible_average"),
        (fednpg, "last_gap", "feasible_last"),
        (fedppo, None, "feasible"),
        (fedppo, "last_reward", "feasible"),
        (gepo, None, None),
        (gepo, "best", None),
    ):
        assert objective_of(headline, metric).feasible == column


POLICIES = {
    # by variant: feasible, relative violation and gap of the averaged and of the last policy
    "crpo": [(False, 3.5, -7.0), (False, 2.0, -9.0)],
    "npg": [(True, 0.0, 0.5), (False, 0.1, -1.0)],
    "optimistic": [(False, 0.2, -2.0), (True, 0.01, -0.1)],
    "regularized": [(True, -0.2, 0.0), (True, -0.2, 4.0)],
}
COMPARISONS = [
    (["crpo", "npg", "optimistic", "regularized"], ("regularized", "optimistic")),
    (["regularized", "optimistic"], ("regularized", "optimistic")),
    (["crpo", "npg"], ("npg", "npg")),
    (["crpo"], ("crpo", "crpo")),
]
"""Variants, and the first of them by their averaged and by their last policies."""


def compared(names):
    """Members of a comparison of learners of these names, after 3 rounds."""
    rows = []
    for index, name in enumerate(names):
        row = {"member": index, "configuration": index, "learner": name, "seed": 0}
        row |= {"status": "finished", "failed_round": None, "equal_rounds/round": 3}
        row |= {"local_steps": 1}
        for policy, gap, measured in zip(
            ("average", "last"), ("average_gap", "gap"), POLICIES[name], strict=True
        ):
            columns = f"feasible_{policy}", f"relative_violation_{policy}", gap
            row |= {f"equal_rounds/{n}": value for n, value in zip(columns, measured, strict=True)}
        rows.append(row)
    return rows


@pytest.mark.parametrize(("names", "expected"), COMPARISONS)
def test_variants_are_ordered_alike(names, expected, tmp_path):
    """In the verdicts of ``compare``, in its table, and in the report on its directory."""
    rows = compared(names)
    layout = layout_of(family_of("fednpg"), [FedNPGConfig(rounds=3)], 1.0)
    verdict_lines = verdicts(layout, rows, "equal_rounds")
    lines = list(csv.DictReader(io.StringIO(csv_text(layout, rows))))
    for line, first, policy_index in zip(verdict_lines, expected, (0, 1), strict=True):
        keeps = any(POLICIES[name][policy_index][0] for name in names)
        assert (f" with {first};" if keeps else f"closest: {first}, ") in line
        assert ("none keeps every budget" in line) == (not keeps)
    assert {line["rank"]: line["variant"] for line in lines}["1"] == expected[0]
    assert [line["equal_rounds/feasible"] for line in lines] == [
        str(any(feasible for feasible, _, _ in POLICIES[name])) for name in names
    ]
    path = sweep_of(tmp_path / "sweep", rows)
    config = yaml.safe_load((path / "config.yaml").read_text())
    config |= {"grid": {"learner": names}, "compare": True}
    config["settings"] = {"rounds": 3}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    section = read_section(path, "")
    assert section.tables[0].note == f"{'; '.join(verdict_lines)}."


@pytest.mark.parametrize(
    ("name", "expected"),
    list(zip(POLICIES, ("last", "averaged", "last", "averaged"), strict=True)),
)
def test_the_recommended_policy_is_the_first_of_the_two(name, expected):
    policies = [
        Evaluated(
            *(np.array([figure]) for figure in (gap, 0.0, violation, feasible)), np.zeros((1, 1))
        )
        for feasible, violation, gap in POLICIES[name]
    ]
    assert recommended(*policies) == expected


def test_relative_violations_by_hand():
    costs = np.array([[3.0, 1.0], [1.0, 0.5], [2.0, 0.0]])
    np.testing.assert_allclose(relative_violation(costs, np.array([2.0, 0.0])), [1.0, 0.5, 0.0])
    np.testing.assert_allclose(relative_violation(costs, np.array([-2.0, 4.0])), [2.5, 1.5, 2.0])
    assert relative_violation(np.zeros((2, 0)), np.zeros(0)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("violations", "share", "expected"),
    [
        ([0.0, -0.5], 1.0, 0.0),
        ([0.3, 0.7, -0.1], 1.0, 0.7),
        ([0.3, 0.7, -0.1], 2 / 3, 0.3),
        ([0.3, 0.7, -0.1], 0.1, 0.0),
        ([0.3, math.nan], 1.0, math.inf),
        ([0.3, math.nan], 0.5, 0.3),
        ([], 1.0, math.inf),
    ],
)
def test_excesses_by_hand(violations, share, expected):
    assert excess_of([violation <= 0 for violation in violations], violations, share) == expected


def test_a_violation_that_is_not_known_decides_last():
    feasible, violations = [False, True, False], [float("nan"), -0.1, 0.3]
    assert [deciding_seed(feasible, violations, share) for share in (0.3, 0.6, 1.0)] == [1, 2, 0]
    assert excess_of(feasible, violations, 1.0) == float("inf")


def test_an_excess_is_zero_exactly_where_the_share_is_feasible():
    for feasible in itertools.product((True, False), repeat=4):
        for share in (0.25, 0.3, 0.5, 0.75, 0.9, 1.0):
            excess = excess_of(feasible, [0.0 if keeps else 1e-300 for keeps in feasible], share)
            assert (excess == 0) == (sum(feasible) >= share * 4)


def test_shares_of_seeds_are_rounded_up():
    assert [seeds_needed(share, 10) for share in (0.01, 0.1, 0.11, 0.7, 1.0)] == [1, 1, 2, 7, 10]
    for share in (0, -1, 1.01, math.nan, math.inf, True, "all", None):
        with pytest.raises(InvalidInput, match=r"--feasible-seeds: got .*; a share of seeds"):
            check_share(share)


def test_gaps_below_zero_count_as_zero_where_less_is_better():
    assert worth_of("average_gap", False, [-5.0, 3.0]) == 1.5
    assert worth_of("gap", False, [-5.0]) == 0.0
    assert worth_of("gap", True, [-5.0]) == 5.0, "who asks for the largest gets it"
    assert worth_of("strong_violation", False, [-5.0, 3.0]) == -1.0
    assert worth_of("reward", True, [2.0, 4.0]) == -3.0
    assert math.isnan(worth_of("gap", False, [math.nan, 1.0]))
    order = best_first([Standing(0.1, -9.0), Standing(0.0, math.nan), Standing(0.0, 1.0)])
    assert order == [2, 0]


SHARED = ["sweep", "fednpg", "--grid", "step_size=0.01,0.1", "--seeds", "2", "--rounds", "50"]


@pytest.fixture(scope="module")
def windy_cliff(tmp_path_factory):
    """After 50 rounds no step size keeps the four budgets of 2, and the smaller one breaks more."""
    out = tmp_path_factory.mktemp("sweeps") / "windy"
    assert main([*SHARED, "--out", str(out)]) == 0
    return out


def test_where_nothing_keeps_its_budgets_the_closest_is_named(windy_cliff, capsys):
    rows = read_rows(windy_cliff)
    gaps = {row["step_size"]: row["average_gap"] for row in rows}
    assert gaps[0.01] < gaps[0.1] < 0 and not any(row["feasible_average"] for row in rows)
    for row in rows:
        costs = [row[f"occupancy_costs/segment-{index}"] for index in range(4)]
        assert row["relative_violation_average"] == pytest.approx((max(costs) - 2) / 2, abs=1e-12)
    capsys.readouterr()
    assert not resume(windy_cliff)
    printed = capsys.readouterr().out
    assert "none keeps every budget in every seed; closest: step_size 0.1, relative " in printed
    assert "best average_gap" not in printed
    for consumer in CONSUMERS:
        assert consumer(windy_cliff)[0] == 0.1
    assert main(["best", str(windy_cliff), "--metric", "last_gap"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["step_size"] == 0.1


def test_a_sweep_goes_on_with_another_share(windy_cliff, capsys):
    """Members do not depend on it; ``config.yaml`` says which one it is."""
    config = windy_cliff / "config.yaml"
    text = config.read_text()
    assert yaml.safe_load(text)["feasible_seeds"] == 1.0
    config.write_text(text.replace("feasible_seeds: 1.0", "feasible_seeds: 0.5"))
    assert not resume(windy_cliff)
    config.write_text(text)
    assert "none keeps every budget in at least 1 of 2 seeds" in capsys.readouterr().out


def test_a_search_records_its_share_and_holds_to_it(tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--random", "step_size=uniform:0.1:0.2", "--trials", "2", "--batch", "2"]
    flags += ["--seeds", "2", "--rounds", "3", "--feasible-seeds", "0.5", "--out", str(out)]
    assert main(["search", "fednpg", *flags]) == 0
    printed = capsys.readouterr().out
    assert (
        "for the smallest average_gap, subject to every budget kept in at least 1 of 2" in printed
    )
    config = out / "config.yaml"
    document = yaml.safe_load(config.read_text())
    assert document["search"]["feasible_seeds"] == 0.5 and "feasible_seeds" not in document
    assert recorded_objective(out).feasible_seeds == 0.5
    trials = optuna.load_study(study_name=NAME, storage=f"sqlite:///{out}/study.db").trials
    for trial, one in zip(trials, candidates(read_rows(out)), strict=True):
        (excess,) = trial.system_attrs["constraints"]
        worst = min(row["relative_violation_average"] for row in one.rows)
        assert excess == pytest.approx(worst) and worst > 0.02, "graded, and not kept"
        assert trial.value == np.maximum([row["average_gap"] for row in one.rows], 0).mean()
    text = config.read_text()
    config.write_text(text.replace("feasible_seeds: 0.5", "feasible_seeds: 1.0"))
    with pytest.raises(InvalidInput, match=r"members of the sweep that config\.yaml describes"):
        resume(out)
    config.write_text(text.replace("  feasible_seeds: 0.5\n", ""))
    with pytest.raises(InvalidInput, match="told by how much budgets are broken"):
        resume(out)


@pytest.mark.slow
def test_a_comparison_counts_the_seeds(tmp_path, capsys):
    """Sampled evaluation, so that seeds differ; from summaries alone the same follows by hand."""
    flags = ["--rounds", "30", "--seeds", "4", "--evaluation", "sampled", "--rollouts", "2"]
    flags += ["--step-size", "0.3", "--budgets", *["3.6"] * 4, "--learners", "npg"]
    out = tmp_path / "out"
    assert main(["compare", "fednpg", *flags, "--feasible-seeds", "0.5", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load((out / "config.yaml").read_text())["feasible_seeds"] == 0.5
    with (out / "comparison.csv").open() as file:
        (row,) = csv.DictReader(file)
    run = tmp_path / "npg"
    assert main(["run", "fednpg", *flags[:-2], "--learner", "npg", "--out", str(run)]) == 0
    summary = json.loads((run / "summary.json").read_text())
    for policy in ("average", "last"):
        feasible = summary[f"feasible_{policy}_by_seed"]
        share = float(row[f"equal_rounds/feasible_share_{policy}"])
        assert share == sum(feasible) / 4
        assert (row[f"equal_rounds/feasible_{policy}"] == "True") == (share >= 0.5)
        violations = sorted(summary[f"relative_violation_{policy}_by_seed"])
        recorded = float(row[f"equal_rounds/relative_violation_{policy}"])
        assert recorded == pytest.approx(violations[1], abs=1e-9)
        assert summary[f"feasible_{policy}"] == all(feasible)
        worst = summary[f"relative_violation_{policy}"]
        assert worst == pytest.approx(violations[-1], abs=1e-12)
    assert " of 4" in printed and "of 4 seeds feasible" in printed


@pytest.mark.parametrize("share", ["0", "1.5", "nan", "-1"])
@pytest.mark.parametrize(
    "command",
    [
        SHARED,
        [
            "search",
            "fednpg",
            "--random",
            "step_size=uniform:0.1:1",
            "--trials",
            "1",
            "--batch",
            "1",
        ],
        ["compare", "fednpg", "--rounds", "3"],
        ["best", "DIR"],
        ["plot", "DIR"],
    ],
    ids=lambda command: command[0],
)
def test_what_is_no_share_is_refused_in_one_line(command, share, tmp_path, capsys):
    path, out = tmp_path / "sweep", tmp_path / "out"
    if "DIR" in command:
        sweep_of(path, rows_of(BROKEN))
    command = [str(path) if word == "DIR" else word for word in command]
    to = [] if path.exists() else ["--out", str(out)]
    assert main([*command, *to, "--feasible-seeds", share]) == 2
    error = capsys.readouterr().err
    assert "--feasible-seeds: got" in error and error.count("\n") == 1 and not out.exists()


def test_a_share_without_budgets_is_refused(capsys):
    arguments = ["sweep", "gepo", "--grid", "window=0,2", "--feasible-seeds", "0.5"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "these runs have no budgets" in error and error.count("\n") == 1


def test_a_file_of_a_sweep_may_say_the_share(tmp_path, capsys):
    for share, message in ((0.5, None), ("half", "--feasible-seeds: got half")):
        document = {"algorithm": "fednpg", "grid": {"step_size": [0.1]}, "feasible_seeds": share}
        document["settings"] = {"rounds": 2}
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(document))
        out = tmp_path / str(share)
        status = main(["sweep", "--file", str(tmp_path / "sweep.yaml"), "--out", str(out)])
        assert status == (0 if message is None else 2)
        if message is None:
            assert yaml.safe_load((out / "config.yaml").read_text())["feasible_seeds"] == share
        else:
            assert message in capsys.readouterr().err


def test_who_asks_for_no_budgets_gets_the_metric_alone():
    rows = rows_of(BROKEN)
    first = ordered(candidates(rows), Objective("average_gap", maximize=True))[0]
    assert first[1].combination == {"step_size": 0.3}
