"""The policy that a run of networks recommends: a candidate that fresh episodes confirm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.families.networks.assembly import DeepPrepared
from fedjax_rl.families.networks.confidence import (
    ATTEMPTS,
    CONFIDENCE,
    interval,
    level,
    upper_bound,
)
from fedjax_rl.federation.candidates import Candidates
from fedjax_rl.learners.deep.evaluation import Episodes, play
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.precision import precision

STREAM = 2**32 - 1
"""Folded into a seed's key where rounds are for theirs; larger than any round can be."""


class Attempt(NamedTuple):
    """A candidate in fresh episodes.

    Attributes:
        round: after which it was the merged policy.
        reward: mean over the episodes.
        reward_interval: 95 %, two-sided.
        costs: [M], means in the unit of each budget.
        bounds: [M], one-sided upper confidence bounds of these.
        confirmed: whether every bound keeps its budget and every episode ended.
    """

    round: int
    reward: float
    reward_interval: tuple[float, float]
    costs: np.ndarray
    bounds: np.ndarray
    confirmed: bool


class Recommended(NamedTuple):
    """The policies that a run recommends.

    Attributes:
        attempts: of each of the K seeds, in turn; the last one is confirmed or none is.
        episodes: of an attempt.
        seeds: [R], the seeds that have a policy.
        policy: `DeepShared` of these, leading axes [R, 1], on the host; None where R = 0.
    """

    attempts: tuple[tuple[Attempt, ...], ...]
    episodes: int
    seeds: np.ndarray
    policy: DeepShared | None


Played = Callable[[int, list[int]], Episodes]
"""(place, seeds) -> episodes of these seeds' candidates of that place, leading axes [K, episodes]
with anything for other seeds."""


@precision(False)
def recommended(candidates: Candidates, prepared: DeepPrepared) -> Recommended:
    """Plays each seed's candidates in turn until one of them is confirmed, or none is left.

    Args:
        candidates: on the host, leading axes [K, C].
        prepared: the run.
    """
    config = prepared.config
    assert config.confirm_episodes != "none"
    episodes = -(-config.confirm_episodes // prepared.num_agents) * prepared.num_agents
    seeds = config.seed + np.arange(config.seeds)
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), np.uint32(STREAM)))(seeds)
    together: Any = jax.jit(
        jax.vmap(partial(play, design=prepared.design, episodes=episodes), (0, 0, None))
    )

    def played(place: int, left: list[int]) -> Episodes:
        # Others play what is known to end: an untrained policy may go on until it is given up.
        whose = np.array([seed if seed in left else left[0] for seed in range(config.seeds)])
        policy = jax.tree.map(lambda leaf: leaf[whose, place], candidates.policy)
        each = jax.vmap(jax.random.fold_in, (0, None))(keys, place)
        found: Episodes = jax.tree.map(np.asarray, together(each, policy, prepared.agents.params))
        return found

    attempts = attempted(candidates.round, played, prepared.task.budgets)
    which = np.array([bool(own) and own[-1].confirmed for own in attempts])
    chosen = np.flatnonzero(which)
    places = np.array([len(attempts[seed]) - 1 for seed in chosen], int)
    policy: DeepShared | None = None
    if len(chosen):
        policy = jax.tree.map(lambda leaf: leaf[chosen, places][:, None], candidates.policy)
    return Recommended(attempts, episodes, seeds[chosen], policy)


def attempted(
    rounds: np.ndarray, played: Played, budgets: np.ndarray
) -> tuple[tuple[Attempt, ...], ...]:
    """The attempts of every seed, the best candidate first, up to the first that is confirmed.

    All seeds' candidates of one place are played together, so that there is one program; episodes
    of those that need none are not looked at.

    Args:
        rounds: [K, C], of the candidates; −1 for none, behind all others.
        played: plays those of a place, with keys of its own.
        budgets: [M].
    """
    seeds, count = rounds.shape
    attempts: list[list[Attempt]] = [[] for _ in range(seeds)]
    for place in range(min(count, ATTEMPTS)):
        left = [
            seed
            for seed, own in enumerate(attempts)
            if rounds[seed, place] >= 0 and not (own and own[-1].confirmed)
        ]
        if not left:
            break
        episodes: Any = played(place, left)
        for seed in left:
            own: Any = jax.tree.map(lambda leaf, seed=seed: leaf[seed], episodes)
            attempts[seed].append(judged(int(rounds[seed, place]), own, budgets))
    return tuple(map(tuple, attempts))


def judged(round: int, episodes: Episodes, budgets: np.ndarray) -> Attempt:
    """One candidate's episodes against the budgets.

    Args:
        round: of the candidate.
        episodes: [n] of it, as it acts.
        budgets: [M], in the units of the costs.
    """
    played: Any = episodes
    error = level(len(budgets))
    bounds = np.array([upper_bound(cost, error) for cost in played.costs.T])
    reward = played.reward[None, None]
    return Attempt(
        round=round,
        reward=float(reward.mean(dtype=np.float64)),
        reward_interval=interval(reward),
        costs=played.costs.mean(0, dtype=np.float64),
        bounds=bounds,
        # What a cost that was cut short would have come to is not known.
        confirmed=bool((bounds <= budgets).all() and not played.unfinished.any()),
    )


def recommendations(found: Recommended | None, prepared: DeepPrepared) -> dict[str, Any]:
    """What ``summary.json`` holds of them; nothing where none was asked for."""
    if found is None:
        return {}
    names = prepared.task.constraint_names
    return {
        "recommended": [
            _by_name(prepared.config.seed + seed, own, found.episodes, names)
            for seed, own in enumerate(found.attempts)
        ],
        "recommendation": {
            "confidence": CONFIDENCE,
            "attempts_at_most": ATTEMPTS,
            "episodes_per_attempt": found.episodes,
            "error_of_a_bound": level(len(names)),
        },
    }


def _by_name(
    seed: int, attempts: tuple[Attempt, ...], episodes: int, names: tuple[str, ...]
) -> dict[str, Any]:
    tried = [
        {
            "round": one.round,
            "reward": one.reward,
            "reward_interval": one.reward_interval,
            "costs": dict(zip(names, one.costs, strict=True)),
            "cost_bounds": dict(zip(names, one.bounds, strict=True)),
        }
        for one in attempts
    ]
    confirmed = bool(attempts) and attempts[-1].confirmed
    nothing = dict.fromkeys(("round", "reward", "reward_interval", "costs", "cost_bounds"))
    why = None
    if not confirmed:
        why = "no evaluated policy kept every budget"
        if attempts:
            why = f"fresh episodes did not confirm any of {len(attempts)} candidates"
    return {
        "seed": seed,
        **(tried[-1] if confirmed else nothing),
        "episodes": episodes * len(attempts),
        "why_none": why,
        "attempts": tried,
    }
