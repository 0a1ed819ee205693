"""How many rounds of FedNPG a second, what an agent costs, and how soon the first row is there."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from bench.fednpg_peers import bare_rounds, numpy_rounds
from bench.harness import interleaved, rates, ratio
from fedjax_rl.cmdp.access import default_access
from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.execution.train import _run_rounds, start, train
from fedjax_rl.families.tabular.assembly import settings, span_rounds
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.history import Layout, columns, no_sums, rows_of
from fedjax_rl.families.tabular.programs import fednpg_algorithm
from fedjax_rl.precision import precision
from fedjax_rl.sources.problems import load_problem

PUBLISHED_ROUNDS_PER_SECOND = 5.7
"""The authors' NumPy code on windy-cliff, with two baselines and evaluation, on another machine."""
AGENTS = (1, 4, 16, 64, 256, 1024)


def measure(quick: bool) -> dict[str, Any]:
    """Runs every question and prints a table for each."""
    repeats = 2 if quick else 7
    figures: dict[str, Any] = {"problems": {}, "agents": {}}
    for name, arguments, rounds in problems(quick):
        cmdp = load_problem(name, agents=4, arguments=arguments).cmdp
        figures["problems"][name] = against_peers(name, cmdp, rounds, repeats)
    for agents in AGENTS[: 3 if quick else None]:
        figures["agents"][str(agents)] = cost_of_agents(agents, quick, repeats)
    figures["first_row_seconds"] = first_row_seconds(1 if quick else 5)
    print(f"first row after {figures['first_row_seconds']['median']:.2f} s")
    return figures


def problems(quick: bool) -> list[tuple[str, dict[str, Any], int]]:
    """Name, arguments and rounds of each problem."""
    small = [("windy-cliff", {}, 20_000), ("random-mdp", {"states": 5, "actions": 5}, 50_000)]
    if quick:
        return [(name, arguments, 200) for name, arguments, _ in small]
    return [*small, ("icu-sepsis", {}, 100)]


def against_peers(name: str, cmdp: CMDP, rounds: int, repeats: int) -> dict[str, Any]:
    """Rounds per second of ours, the bare scan and plain NumPy, interleaved."""
    step, dual_step = 0.01, 0.001
    plain = max(2, rounds // 100) if cmdp.num_states < 100 else 2
    competitors = {
        "fedjax_rl": ours(cmdp, step, dual_step, rounds),
        "bare_scan": bare_rounds(cmdp, step, dual_step, rounds),
        "numpy": lambda: numpy_rounds(cmdp, step, dual_step, plain),
    }
    units = {"fedjax_rl": rounds, "bare_scan": rounds, "numpy": plain}
    seconds = interleaved(competitors, repeats)
    figures = {
        "rounds_per_second": rates(seconds, units),
        "over_bare_scan": ratio(seconds, units, "fedjax_rl", "bare_scan"),
        "over_numpy": ratio(seconds, units, "fedjax_rl", "numpy"),
    }
    figures["over_published"] = (
        figures["rounds_per_second"]["fedjax_rl"]["median"] / PUBLISHED_ROUNDS_PER_SECOND
        if name == "windy-cliff"
        else None
    )
    medians = {peer: f"{rate['median']:.0f}" for peer, rate in figures["rounds_per_second"].items()}
    print(
        f"{name}: rounds/s {medians}; over bare scan {figures['over_bare_scan']:.3f}, "
        f"over NumPy {figures['over_numpy']:.0f}"
    )
    return figures


def ours(cmdp: CMDP, step: float, dual_step: float, rounds: int) -> Callable[[], object]:
    """FedNPG as `fedjax-rl run` trains it: guarded spans, every round's columns on the host."""
    algorithm, hparams, layout, length = assembled(cmdp, step, dual_step, rounds)
    key = jax.random.key(0)

    def work() -> object:
        state, _ = start(algorithm, key, hparams)
        sums, tables = no_sums(1, cmdp.num_constraints), []
        for span in train(algorithm, key, state, hparams, rounds=rounds, span_rounds=length):
            table, sums = columns(span.first_round, rows_of(span.info), sums, layout)
            tables.append(table)
        return tables

    return work


def assembled(
    cmdp: CMDP, step: float, dual_step: float, rounds: int
) -> tuple[Any, Any, Layout, int]:
    """Algorithm, settings on the device, columns and spans, without solving the problem."""
    num_agents = cmdp.num_constraints
    config = FedNPGConfig(rounds=rounds, step_size=step, dual_step_size=dual_step)
    hparams = settings(config, cmdp, default_access(num_agents, num_agents), 10.0, pace=1.0)
    algorithm = fednpg_algorithm("npg", "exact", "none", "logits", "fed", num_agents, 1, None)
    agents = hparams.federation.agents
    watched = tuple((agent, 0, agent) for agent in range(num_agents))
    layout = Layout(0.0, cmdp.budgets, cmdp.constraint_names, watched, 0)
    with precision(True):
        length = span_rounds(config, hparams.federation.learner.model, agents.costs.shape)
        return algorithm, jax.device_put(hparams), layout, length


def cost_of_agents(agents: int, quick: bool, repeats: int) -> dict[str, Any]:
    """Microseconds per agent and round, and compiled memory, on 20 states and 5 actions."""
    arguments = {"states": 20, "actions": 5, "infeasible": "keep"}
    cmdp = load_problem("random-mdp", agents=agents, arguments=arguments).cmdp
    rounds = 50 if quick else max(200, 20_000 // agents)
    algorithm, hparams, _, length = assembled(cmdp, 0.01, 0.001, rounds)
    key = jax.random.key(0)
    state, _ = start(algorithm, key, hparams)

    def work() -> object:
        return list(train(algorithm, key, state, hparams, rounds=rounds, span_rounds=length))

    seconds = interleaved({"ours": work}, repeats)["ours"]
    with precision(True):
        span = np.array([1, rounds])
        lowered = _run_rounds.lower(
            algorithm,
            1,
            guarded=False,
            key=key,
            span=span,
            state=state,
            failed=np.array(-1),
            hparams=hparams,
        )
        memory = lowered.compile().memory_analysis()
    per_agent = statistics.median(seconds) / rounds / agents * 1e6
    used = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    print(
        f"{agents:5d} agents: {per_agent:8.3f} µs per agent and round, {used / agents:9.0f} bytes"
    )
    return {
        "microseconds_per_agent_round": per_agent,
        "bytes": used,
        "bytes_per_agent": used / agents,
    }


def first_row_seconds(repeats: int) -> dict[str, float]:
    """From the command to the row of round 1 or later, in a fresh process without any cache."""
    command = [sys.executable, "-m", "fedjax_rl", "run", "fednpg"]
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        with (
            tempfile.TemporaryDirectory() as empty,
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "FEDJAX_RL_CACHE": empty},
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                first = line.split()
                if len(first) > 6 and first[0].isdigit() and int(first[0]) > 0 and "." in first[1]:
                    break
            times.append(time.perf_counter() - begun)
            process.kill()
    return {"median": statistics.median(times), "least": min(times), "most": max(times)}
