"""FedPPO and federated natural gradients, as a sweep sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.backend import platform
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.runs.deep.assembly import (
    ALONE,
    ENVIRONMENTS_AT_ONCE,
    LEARNERS,
    DeepPrepared,
    algorithm_of,
    choices_of,
    prepare,
    settings_of,
)
from fedjax_rl.runs.deep.config import DeepConfig
from fedjax_rl.runs.deep.history import columns, evaluations_of, shaped
from fedjax_rl.runs.deep.session import task_digest
from fedjax_rl.runs.deep.summary import summarise
from fedjax_rl.runs.deep.training import DeepResult
from fedjax_rl.runs.session import resolved
from fedjax_rl.runs.sweeps.family import Assembled, Figures, Headline, thinned
from fedjax_rl.runs.tasks import Chosen, load_task
from fedjax_rl.settings.fields import PROBLEM, TRACED, names
from fedjax_rl.settings.values import named_values


class Networks:
    """The family of `fedppo` and `fednatural`; see `Family`. Tasks are loaded once."""

    config: type = DeepConfig
    headline = Headline("reward", True, "feasible")
    problem: tuple[str, ...] = names(DeepConfig, PROBLEM)

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._chosen: dict[Any, Chosen] = {}
        self._prepared: dict[Any, DeepPrepared] = {}

    def resolved(self, config: DeepConfig) -> DeepConfig:
        """The settings with absolute file names."""
        absolute: DeepConfig = resolved(config)
        return absolute

    def assemble(self, config: DeepConfig) -> Assembled:
        """A member; only what differs from members on the same task is made anew.

        Raises:
            InvalidInput: a reference whose one merge is at the end of a run.
        """
        if config.reference == "one-shot":
            raise InvalidInput(
                "--reference", "'one-shot'", "another in a sweep: its one merge is a run's end"
            )
        choices = choices_of(config)
        defaults = {name: getattr(DeepConfig, name) for name in names(DeepConfig, TRACED)}
        likewise = dataclasses.replace(config, **defaults), choices
        if likewise not in self._prepared:
            self._prepared[likewise] = prepare(self.algorithm, config, self._task(config))
        prepared = self._prepared[likewise]
        federation = prepared.hparams.federation
        federation = federation._replace(learner=settings_of(config, prepared.task))
        hparams = prepared.hparams._replace(federation=federation)
        return Assembled(
            program=(
                *(self.algorithm, choices, config.problem, config.problem_args, config.merge),
                *(config.reference in ALONE, prepared.num_agents, config.agents_at_once),
                *(config.local_steps, config.episodes, config.evaluate_every, config.rounds),
            ),
            algorithm=prepared.algorithm,
            hparams=hparams,
            prepared=prepared._replace(config=config, hparams=hparams),
            rounds=config.rounds,
            chunk_rounds=prepared.chunk_rounds,
        )

    def _task(self, config: DeepConfig) -> Chosen:
        content = *(getattr(config, name) for name in self.problem), config.access
        if content not in self._chosen:
            self._chosen[content] = load_task(
                config.problem,
                agents=config.agents,
                arguments=named_values("--problem-args", config.problem_args),
                budgets=config.budgets,
                access=config.access,
            )
        return self._chosen[content]

    def agents(self, prepared: DeepPrepared) -> int:
        """N."""
        return prepared.num_agents

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """The algorithm of one, with as many agents at once as fit a cache beside the others."""
        prepared: DeepPrepared = members[0].prepared
        config, design = prepared.config, prepared.design
        if config.agents_at_once is None and platform() == "cpu":
            beside = config.envs * max(1, size // placement.devices)
            at_once = max(2, ENVIRONMENTS_AT_ONCE // beside)
            config = dataclasses.replace(config, agents_at_once=at_once)
        learner = LEARNERS[self.algorithm](design)
        return algorithm_of(learner, config, design, prepared.task, prepared.num_agents, placement)

    def kept(self, state: Pytree) -> Pytree:
        """What is merged: policy, critic and moments."""
        return state.shared

    def figures(self, prepared: DeepPrepared, rows: Pytree, kept: Pytree, failed: int) -> Figures:
        """Figures of a member, from rows up to the round that failed."""
        last = failed if failed >= 0 else len(rows.reward)
        rows = shaped(jax.tree.map(lambda leaf: leaf[:last], rows), prepared)
        alive = np.ones((last, 1), bool)
        history, _ = columns(0, rows, 0, prepared, alive)
        evaluations = evaluations_of(0, rows, history["environment_steps"], alive)
        policy = jax.tree.map(
            lambda leaf: leaf.reshape(1, prepared.policies, *leaf.shape[prepared.member_axes :]),
            kept,
        )
        result = DeepResult(prepared, history, evaluations, policy, {}, np.array([failed]))
        names = prepared.task.constraint_names
        costs = evaluations.costs.mean((1, 2))
        curves = {
            "round": evaluations.round,
            "environment_steps": evaluations.environment_steps,
            "reward": evaluations.reward.mean((1, 2)),
            "mode_reward": evaluations.mode_reward.mean((1, 2)),
            **{f"cost/{name}": costs[:, index] for index, name in enumerate(names)},
        }
        at = thinned(len(evaluations.round))
        return Figures(summarise(result, {}), {name: curve[at] for name, curve in curves.items()})

    def digest(self, prepared: DeepPrepared) -> str:
        """SHA-256 of what is known of the task."""
        return task_digest(prepared)
