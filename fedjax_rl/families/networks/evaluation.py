"""A saved policy at play: episodes with keys of their own, figures with intervals, a film."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.checks import check_count
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks import messages
from fedjax_rl.families.networks.assembly import DeepPrepared, prepare
from fedjax_rl.families.networks.confidence import interval
from fedjax_rl.families.networks.film import Film, filmed
from fedjax_rl.families.networks.policy_file import RECOMMENDED, read_policy, read_recommended
from fedjax_rl.families.networks.summary import FEASIBILITY_TOLERANCE, exact_figures, feasible
from fedjax_rl.families.protocol import EvaluationRequest
from fedjax_rl.families.registry import settings_in
from fedjax_rl.learners.deep.evaluation import Episodes, play
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.precision import precision
from fedjax_rl.records.directory import plain, write_atomically
from fedjax_rl.settings.files import read_run_file
from fedjax_rl.sources.content import digest_of_task
from fedjax_rl.terminal.drawing import import_matplotlib
from fedjax_rl.terminal.live import working

FIGURES, FILM = "evaluation.json", "episode.gif"
"""What an evaluation writes."""


class Episodic(NamedTuple):
    """Episodes of every policy, leading axes [K, P, episodes], as it acts and of its mode.

    Attributes:
        sampled: of the policy as it acts.
        mode: when the most likely action is always taken.
    """

    sampled: Episodes
    mode: Episodes


def evaluate_and_record(directory: Path, request: EvaluationRequest) -> dict[str, Any]:
    """Plays, prints, and writes ``evaluation.json`` and ``episode.gif``.

    Returns:
        What ``evaluation.json`` holds.

    Raises:
        InvalidInput: before anything is written; no such run, its files cannot be used, or an
            earlier evaluation is there and not to be overwritten.
    """
    check_request(request)
    with working(f"reading {directory}"):
        prepared, policy, seeds = load(directory, request.policy)
    check_filmed(request, prepared, seeds)
    check_new(directory, film=request.film, overwrite=request.overwrite)
    with working("playing episodes"):
        played = play_all(policy, prepared, request)
    figures = summarise(played, policy, prepared, request, seeds)
    print(messages.evaluation(figures), flush=True)
    written = [FIGURES]
    if request.film and prepared.task.picture is not None:
        figures["film"] = _record_film(directory, prepared, policy, request, seeds)
        written.append(FILM)
        if not figures["film"]["ended"]:
            steps = figures["film"]["steps"]
            print(f"The film stops after {steps} steps, before the episode's end.")
    elif request.film:
        print(f"No film: {prepared.config.problem} has no picture.")
    text = json.dumps(plain(figures), indent=2, allow_nan=False) + "\n"
    write_atomically(directory / FIGURES, text.encode())
    print(f"Written to {directory}: {', '.join(written)}", flush=True)
    return figures


def check_request(request: EvaluationRequest) -> None:
    """Raises InvalidInput unless the numbers can be used."""
    check_count("--episodes", request.episodes, least=100)
    for field in ("seed", "member", "agent"):
        name = "--eval-seed" if field == "seed" else f"--{field}"
        check_count(name, getattr(request, field), least=0)


def check_new(directory: Path, *, film: bool, overwrite: bool) -> None:
    """Raises InvalidInput where an earlier evaluation would be replaced and need not be."""
    for name in (FIGURES, FILM) if film else (FIGURES,):
        if not overwrite and (directory / name).exists():
            raise InvalidInput("directory", directory, f"it has {name}: --overwrite replaces it")


def check_filmed(request: EvaluationRequest, prepared: DeepPrepared, seeds: np.ndarray) -> None:
    """Raises InvalidInput unless the run has that member, with a policy, and that agent."""
    for flag, index, count, what in (
        ("--member", request.member, prepared.config.seeds, "seeds"),
        ("--agent", request.agent, prepared.num_agents, "agents"),
    ):
        if index >= count:
            raise InvalidInput(flag, index, f"0 to {count - 1}: the run has {count} {what}")
    if request.film and request.member not in seeds:
        known = ", ".join(map(str, seeds))
        raise InvalidInput("--member", request.member, f"with --policy recommended {known}")


def load(directory: Path, which: str = "last") -> tuple[DeepPrepared, DeepShared, np.ndarray]:
    """The settings of a run directory, and saved policies with indices [S] of their seeds.

    Args:
        directory: of the run.
        which: ``last``, of all its seeds and, without communication, agents, leading axes [K, P];
            or ``recommended``, of the seeds that have such a policy, [S, 1].

    Raises:
        InvalidInput: not a directory of a run of networks, its files cannot be used, or it has no
            such policy.
    """
    run = read_run_file(directory / "config.yaml", "directory")
    _, algorithm, config = settings_in(run, directory)
    prepared = prepare(algorithm, config)
    if run.made_with.get("problem_sha256", digest := digest_of_task(prepared.loaded)) != digest:
        raise InvalidInput(
            "--config", config.problem, "the problem's content is not what that run was made with"
        )
    if which == "recommended":
        if not (directory / RECOMMENDED).is_file():
            raise InvalidInput("--policy", which, f"last: {directory} has no {RECOMMENDED}")
        return (prepared, *read_recommended(directory / RECOMMENDED, prepared))
    return prepared, read_policy(directory / "policy.npz", prepared), np.arange(config.seeds)


@precision(False)
def play_all(policy: DeepShared, prepared: DeepPrepared, request: EvaluationRequest) -> Episodic:
    """Episodes of every policy of a run, each with keys of its own.

    Args:
        policy: leading axes [K, P].
        prepared: the run.
        request: how many episodes, and from which seed.
    """
    params = dynamics(prepared)
    dealt = jax.tree.leaves(params)[0].shape[1]
    episodes = -(-request.episodes // dealt) * dealt
    seeds, policies = jax.tree.leaves(policy)[0].shape[:2]
    key_episodes, _ = jax.random.split(jax.random.key(request.seed))
    keys = jax.random.split(key_episodes, (seeds, policies, 2))

    def both(keys: jax.Array, shared: DeepShared, params: Pytree) -> Episodic:
        start = partial(
            play, shared=shared, params=params, design=prepared.design, episodes=episodes
        )
        return Episodic(start(keys[0], mode=False), start(keys[1], mode=True))

    every = jax.jit(jax.vmap(jax.vmap(both), (0, 0, None)))
    played: Episodic = jax.tree.map(np.asarray, every(keys, policy, params))
    return played


def dynamics(prepared: DeepPrepared) -> Pytree:
    """The dynamics that each policy is played in, leading axes [P, agents].

    A policy that was merged is played in those of all agents in turn, one of an agent that
    never communicated in its own.
    """
    alone = prepared.config.reference == "no-communication"
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf)[:, None] if alone else jnp.asarray(leaf)[None],
        prepared.agents.params,
    )


def summarise(
    played: Episodic,
    policy: DeepShared,
    prepared: DeepPrepared,
    request: EvaluationRequest,
    seeds: np.ndarray,
) -> dict[str, Any]:
    """Everything ``evaluation.json`` holds but the film.

    Means are over policies, intervals over episodes: they say how well these policies are
    known, not how much another seed would differ. ``seeds`` [S] are indices of the policies'.
    """
    task, names = prepared.task, prepared.task.constraint_names
    arrays: Any = played
    costs = arrays.sampled.costs.mean((0, 1, 2), dtype=np.float64)
    within = feasible(costs, task.budgets, _mean(arrays.sampled.unfinished))
    figures: dict[str, Any] = {
        "algorithm": prepared.name,
        "reference": prepared.config.reference,
        "problem": prepared.config.problem,
        "policy": request.policy,
        "eval_seed": request.seed,
        "episodes": played.sampled.reward.shape[2],
        "seeds": (prepared.config.seed + seeds).tolist(),
        "policies_per_seed": played.sampled.reward.shape[1],
        "budgets": dict(zip(names, task.budgets, strict=True)),
        "budget_kinds": dict(zip(names, task.kinds, strict=True)),
        "feasible": bool(within.all()),
        "feasibility_tolerance": FEASIBILITY_TOLERANCE,
    }
    for prefix, episodes in (("", arrays.sampled), ("mode_", arrays.mode)):
        rewards, costs = episodes.reward, np.moveaxis(episodes.costs, -1, 0)
        figures[f"{prefix}reward"] = _mean(rewards)
        figures[f"{prefix}reward_interval"] = interval(rewards)
        figures[f"{prefix}reward_by_policy"] = rewards.mean(2, dtype=np.float64)
        by_name = dict(zip(names, costs, strict=True))
        figures[f"{prefix}costs"] = {name: _mean(cost) for name, cost in by_name.items()}
        figures[f"{prefix}cost_intervals"] = {
            name: interval(cost) for name, cost in by_name.items()
        }
        figures[f"{prefix}costs_by_policy"] = {
            name: cost.mean(2, dtype=np.float64) for name, cost in by_name.items()
        }
        figures[f"{prefix}length"] = _mean(episodes.length)
        figures[f"{prefix}unfinished_episodes"] = _mean(episodes.unfinished)
    return {**figures, **exact_figures(policy, prepared)}


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64))


def _record_film(
    directory: Path,
    prepared: DeepPrepared,
    policy: DeepShared,
    request: EvaluationRequest,
    seeds: np.ndarray,
) -> dict[str, Any]:
    import_matplotlib(directory)
    from fedjax_rl.families.networks.pictures import gif

    with working("filming an episode"):
        film = film_of(prepared, policy, request, int(np.flatnonzero(seeds == request.member)[0]))
        write_atomically(directory / FILM, gif(film, prepared.task))
    names = prepared.task.constraint_names
    return {
        "seed": prepared.config.seed + request.member,
        "agent": request.agent,
        "steps": film.length,
        "ended": film.ended,
        "reward": film.signals[:, 0].sum(dtype=np.float64),
        "costs": dict(zip(names, film.signals[:, 1:].sum(0, dtype=np.float64), strict=True)),
    }


@precision(False)
def film_of(
    prepared: DeepPrepared, policy: DeepShared, request: EvaluationRequest, place: int = 0
) -> Film:
    """One episode of one policy as it acts, in one agent's dynamics.

    Args:
        prepared: the run.
        policy: leading axes [S, P].
        request: whose dynamics, and from which seed.
        place: of the policy's seed on the first axis.
    """
    which = request.agent if jax.tree.leaves(policy)[0].shape[1] > 1 else 0
    shared = jax.tree.map(lambda leaf: leaf[place, which], policy)
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[request.agent], prepared.agents.params)
    _, key_film = jax.random.split(jax.random.key(request.seed))
    return filmed(key_film, shared, params, prepared.design)
