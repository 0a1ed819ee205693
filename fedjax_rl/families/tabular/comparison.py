"""Variants of FedNPG side by side, at equal rounds and at equal local steps."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.algorithm import aggregators
from fedjax_rl.cmdp.solve import problem_digest
from fedjax_rl.columns import Columns
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.tabular.assembly import Prepared, load_configured, prepare
from fedjax_rl.families.tabular.comparison_budgets import POLICIES, judged, judged_after
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.programs import settings_type, tabular_learner
from fedjax_rl.families.tabular.training import FedNPGResult, run
from fedjax_rl.ranking import EVERY_SEED
from fedjax_rl.records.directory import RunDirectory, made_with
from fedjax_rl.settings.files import settings_to_yaml
from fedjax_rl.settings.paths import absolute
from fedjax_rl.sources.problems import PROBLEM_FILES
from fedjax_rl.sources.solutions import certify
from fedjax_rl.terminal.drawing import import_matplotlib

COMPARED = ("learner", "local_steps", "correction", "merge", "reference")
"""Settings that differ between variants; all others are common."""
CURVES = ("round", "value", "average_gap", "average_violation", "strong_violation")
FIGURES = ("average_gap", "average_violation", "strong_violation", "gap", "violation")
MEASURES = (
    *("round", *FIGURES, "bytes_exchanged", "seconds", "feasible"),
    *(f"feasible_{policy}" for policy in POLICIES),
    *(f"relative_violation_{policy}" for policy in POLICIES),
    *(f"feasible_share_{policy}" for policy in POLICIES),
)
VIEWS = ("equal_rounds", "equal_local_steps")
Measures = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is compared: every combination of one entry of each list.

    Attributes:
        learners: registered names or module:factory.
        local_steps: values of E.
        corrections: ``none`` or ``control-variate``.
        merges: ``auto``, registered names or module:factory.
        references: ``fed``, ``omniscient`` or ``no-communication``.
    """

    learners: tuple[str, ...] = ("npg",)
    local_steps: tuple[int, ...] = (1,)
    corrections: tuple[str, ...] = ("none",)
    merges: tuple[str, ...] = ("auto",)
    references: tuple[str, ...] = ("fed",)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """The values of the compared settings, in the order of the lists."""
        lists = dataclasses.astuple(self)
        for values in itertools.product(*(dict.fromkeys(entries) for entries in lists)):
            yield dict(zip(COMPARED, values, strict=True))


class Variant(NamedTuple):
    """One combination that makes sense.

    Attributes:
        name: the compared settings in a few words, unique in a comparison.
        prepared: the run.
        equal_round: the round nearest to ``equal_steps``, at least 1.
        equal_steps: local steps in the shortest variant, T times the smallest E.
    """

    name: str
    prepared: Prepared
    equal_round: int
    equal_steps: int


class Finished(NamedTuple):
    """A variant that ran.

    Attributes:
        variant: what ran.
        result: its history; ends early when it diverged.
        clock: [C, 2], a round and the seconds since the start, at each visit of the host.
        feasible_seeds: share of the seeds that must keep every budget.
    """

    variant: Variant
    result: FedNPGResult
    clock: np.ndarray
    feasible_seeds: float = EVERY_SEED


def plan(settings: FedNPGConfig, grid: Grid) -> tuple[list[Variant], list[str]]:
    """The variants, and one line for each combination that is left out.

    Raises:
        InvalidInput: an unknown name, a setting that fits no variant, or nothing is left.
    """
    for name in grid.learners:
        tabular_learner(name, "exact")
    for name in grid.merges:
        if name != "auto":
            aggregators.make(name)
    problem = load_configured(settings)
    certify(problem.cmdp)
    kept: dict[str, Prepared] = {}
    left_out: dict[str, str] = {}
    for chosen in grid.combinations():
        name = variant_name(chosen)
        try:
            _check_reference(chosen, grid)
            prepared = prepare(_variant(settings, chosen), problem)
        except InvalidInput as error:
            left_out[name] = str(error)
            continue
        same = [other for other, known in kept.items() if known.config == prepared.config]
        if same:
            left_out[name] = f"the same as {same[0]}"
        else:
            kept[name] = prepared
    if not kept:
        raise _nothing_left(list(dict.fromkeys(left_out.values())))
    steps = settings.rounds * min(prepared.config.local_steps for prepared in kept.values())
    variants = [
        Variant(name, prepared, max(1, round(steps / prepared.config.local_steps)), steps)
        for name, prepared in kept.items()
    ]
    return variants, [f"Left out: {name}: {why}" for name, why in left_out.items()]


def _common(settings: FedNPGConfig) -> dict[str, Any]:
    """The settings that all variants share."""
    known = dataclasses.fields(settings)
    return {
        field.name: getattr(settings, field.name) for field in known if field.name not in COMPARED
    }


def _variant(settings: FedNPGConfig, chosen: dict[str, Any]) -> FedNPGConfig:
    """The settings of a variant: its own, and those common ones that it reads."""
    kind = settings_type(chosen)
    known = {field.name for field in dataclasses.fields(kind)}
    common = {name: value for name, value in _common(settings).items() if name in known}
    return kind(**common, **chosen)


def _check_reference(chosen: dict[str, Any], grid: Grid) -> None:
    """A reference merges nothing, so one correction and one merge stand for all."""
    for field, entries in (("correction", grid.corrections), ("merge", grid.merges)):
        if chosen["reference"] != "fed" and chosen[field] != entries[0]:
            raise InvalidInput(f"--{field}s", chosen[field], "a reference runs with the first only")


def _nothing_left(reasons: list[str]) -> InvalidInput:
    """The error when every combination is left out, in the words of the first reason."""
    more = f" (and {len(reasons) - 1} other reasons)" if len(reasons) > 1 else ""
    return InvalidInput("the lists", "no combination that makes sense", f"{reasons[0]}{more}")


def variant_name(chosen: dict[str, Any]) -> str:
    """``npg E=5 control-variate``: learner, local steps, and what is not the default."""
    defaults = {"correction": "none", "merge": "auto", "reference": "fed"}
    special = [chosen[field] for field, usual in defaults.items() if chosen[field] != usual]
    return " ".join([chosen["learner"], f"E={chosen['local_steps']}", *special])


def opening(variants: Sequence[Variant]) -> str:
    """What is about to run, and the optimum it will be measured against."""
    prepared = variants[0].prepared
    certificate = prepared.certificate
    return (
        f"Comparing {len(variants)} variant{'s' * (len(variants) > 1)} of FedNPG on "
        f"{prepared.problem.name}, {prepared.config.rounds} rounds each\n"
        f"exact optimum V* = {certificate.optimal_value:.6g} "
        f"(certified to {certificate.certified_gap:.1e})"
    )


def run_variant(variant: Variant, feasible_seeds: float = EVERY_SEED) -> Finished:
    """Trains one variant and notes the time whenever rows arrive."""
    begun, clock = time.perf_counter(), [(0.0, 0.0)]

    def on_rows(rows: Columns) -> None:
        clock.append((float(rows["round"][-1]), time.perf_counter() - begun))

    return Finished(variant, run(variant.prepared, on_rows), np.array(clock), feasible_seeds)


def measures(finished: Finished, round: int) -> Measures:
    """What is reported of a variant after a round; None when it diverged before.

    Seconds contain compilation; between two visits of the host they are interpolated.
    ``feasible`` is whether any of the two policies, averaged or last, keeps every budget; before
    the end the worst of several seeds decides, whatever share of them was asked for.
    """
    history, summary = finished.result.history, finished.result.summary
    if round >= len(history["round"]):
        return dict.fromkeys(MEASURES) | {"round": round}
    taken: Measures = {name: float(history[name][round]) for name in FIGURES}
    if round == summary["rounds"]:
        kept = judged(finished.result, finished.feasible_seeds)
    else:
        learner = tabular_learner(finished.result.config.learner, "exact")
        kept = judged_after(finished.result, round, learner.counts is not None)
    return {
        "round": round,
        **taken,
        "bytes_exchanged": int(history["bytes_exchanged"][round]),
        "seconds": float(np.interp(round, *finished.clock.T)),
        "feasible": any(kept[f"feasible_{policy}"] for policy in POLICIES),
        **kept,
    }


def views(finished: Finished) -> tuple[Measures, Measures]:
    """The measures after all rounds, and at equal local steps."""
    return (
        measures(finished, finished.result.config.rounds),
        measures(finished, finished.variant.equal_round),
    )


def csv_text(finished: Sequence[Finished]) -> str:
    """One row for each variant; ``equal_rounds/…`` and ``equal_local_steps/…`` columns."""
    table = StringIO()
    columns = [f"{view}/{name}" for view in VIEWS for name in MEASURES]
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["variant", *COMPARED, "failed_round", *columns])
    for one in finished:
        config, failed = one.result.config, one.result.outcome.failed_round
        cells = [view[name] for view in views(one) for name in MEASURES]
        chosen = [getattr(config, field) for field in COMPARED]
        writer.writerow([one.variant.name, *chosen, failed, *cells])
    return table.getvalue()


def configuration(
    settings: FedNPGConfig,
    grid: Grid,
    variants: Sequence[Variant],
    left_out: Sequence[str],
    feasible_seeds: float,
) -> str:
    """The text of ``config.yaml``: lists, common settings, and every variant by name."""
    lists = {name: list(entries) for name, entries in dataclasses.asdict(grid).items()}
    chosen = [
        {"variant": variant.name}
        | {field: getattr(variant.prepared.config, field) for field in COMPARED}
        for variant in variants
    ]
    document = lists | _common(absolute(settings, PROBLEM_FILES))
    document |= {"feasible_seeds": feasible_seeds}
    document |= {"variants": chosen, "left_out": list(left_out)}
    digest = problem_digest(variants[0].prepared.problem.cmdp)
    return settings_to_yaml("compare fednpg", document, made_with(digest))


def record_curves(directory: RunDirectory, finished: Sequence[Finished]) -> None:
    """Writes curves.npz, whose arrays are named ``variant/curve``, and comparison.png."""
    import_matplotlib(directory.path)
    from fedjax_rl.families.tabular.plots import plot_comparison

    curves: dict[str, np.ndarray] = {}
    for one in finished:
        history, every = one.result.history, one.result.config.log_every
        last = history["round"][-1]
        logged = (history["round"] % every == 0) | (history["round"] == last)
        curves |= {f"{one.variant.name}/{name}": history[name][logged] for name in CURVES}
    directory.write_arrays("curves.npz", curves)
    plot_comparison({one.variant.name: one.result for one in finished}, directory.path)
