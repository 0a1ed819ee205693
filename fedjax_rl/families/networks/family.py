"""FedPPO and federated natural gradients: runs, members of sweeps, messages, files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.families.networks import messages
from fedjax_rl.families.networks.assembly import (
    ALONE,
    ENVIRONMENTS_ON_A_CORE,
    LEARNERS,
    DeepPrepared,
    algorithm_of,
    members_at_once,
    prepare,
)
from fedjax_rl.families.networks.config import (
    NAMED,
    DeepConfig,
    own_settings,
    unread,
    without_recommendation,
)
from fedjax_rl.families.networks.files import write, write_comparison
from fedjax_rl.families.networks.history import (
    columns,
    evaluations_of,
    shaped,
    violations_summed,
)
from fedjax_rl.families.networks.presets import PRESETS, preset
from fedjax_rl.families.networks.result import DeepResult
from fedjax_rl.families.networks.summary import summarise
from fedjax_rl.families.networks.traced import choices_of, merge_settings, settings_of, sized
from fedjax_rl.families.networks.training import run
from fedjax_rl.families.protocol import (
    Experiment,
    Family,
    Headline,
    References,
    Result,
    own_type,
    with_effect,
)
from fedjax_rl.records.checkpointer import Checkpointer
from fedjax_rl.records.sinks.log import LogSchedule
from fedjax_rl.settings.fields import PROBLEM, TRACED, by_name, check_effect, names
from fedjax_rl.settings.values import named_values
from fedjax_rl.sources.content import digest_of_task
from fedjax_rl.sources.problems import PROBLEM_FILES
from fedjax_rl.sources.tasks import LoadedTask, load_task
from fedjax_rl.training.loop import OnRows
from fedjax_rl.training.protocol import Assembled, MemberResult, thinned


def _prepare(algorithm: str, settings: DeepConfig, devices: DeviceSettings) -> Experiment:
    prepared = prepare(algorithm, settings, devices=devices)
    return Experiment(
        settings=settings,
        digest=digest_of_task(prepared.loaded),
        logged=LogSchedule("round", settings.rounds, settings.log_every, settings.seeds),
        opening=messages.opening(prepared),
        header=messages.HEADER,
        cells=partial(messages.cells, prepared=prepared),
        run=partial(_run, prepared),
    )


def _run(
    prepared: DeepPrepared, on_rows: OnRows, checkpointer: Checkpointer, span: Callable[[int], int]
) -> Result:
    prepared = prepared._replace(span_rounds=span(prepared.span_rounds))
    result = run(prepared, on_rows, checkpointer)
    return Result(
        summary=result.summary,
        diverged=bool((result.failed_seeds >= 0).any()),
        closing=messages.closing(result),
        write=partial(write, result),
        own=result,
    )


def _as_reference(algorithm: str, settings: DeepConfig, reference: str) -> DeepConfig:
    """The settings of a reference; what it does not read is as if it had not been given."""
    kind = type(settings)
    known = {**by_name(settings), "reference": reference}
    return own_type(FAMILY, algorithm, kind(**with_effect(FAMILY, algorithm, kind, known)[0]))


def _table(results: Mapping[str, Result]) -> str:
    return messages.comparison({who: result.summary for who, result in results.items()})


class Networks:
    """The `Assembler` of ``fedppo`` and ``fednatural``. Tasks are loaded once."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._loaded: dict[Any, LoadedTask] = {}
        self._prepared: dict[Any, DeepPrepared] = {}

    def assemble(self, config: DeepConfig) -> Assembled:
        """A member; only what differs from members on the same task is made anew.

        Raises:
            InvalidInput: a reference whose one merge is at the end of a run, or episodes that
                would confirm a policy.
        """
        if config.reference == "one-shot":
            raise InvalidInput(
                "--reference", "'one-shot'", "another in a sweep: its one merge is a run's end"
            )
        check_effect(config, unread(self.algorithm, by_name(config)))
        config = without_recommendation(config)
        config = sized(config, self._task(config).task)
        choices = choices_of(config)
        kind = type(config)
        defaults = {name: getattr(kind, name) for name in names(kind, TRACED)}
        likewise = dataclasses.replace(config, **defaults), choices
        if likewise not in self._prepared:
            self._prepared[likewise] = prepare(self.algorithm, config, self._task(config))
        prepared = self._prepared[likewise]
        federation = prepared.hparams.federation
        federation = federation._replace(
            learner=settings_of(config, prepared.task), aggregator=merge_settings(config)
        )
        hparams = prepared.hparams._replace(federation=federation)
        return Assembled(
            # All that shapes the program. What is in `Choices` is here with it; any other setting
            # that is not traced must be named, or members that differ in it would share one.
            program=(
                *(self.algorithm, choices, config.problem, config.problem_args, config.merge),
                *(config.reference in ALONE, prepared.num_agents, config.agents_at_once),
                *(config.local_steps, config.episodes, config.evaluate_every, config.rounds),
            ),
            algorithm=prepared.algorithm,
            hparams=hparams,
            prepared=prepared._replace(config=config, hparams=hparams),
            rounds=config.rounds,
            span_rounds=prepared.span_rounds,
        )

    def _task(self, config: DeepConfig) -> LoadedTask:
        content = *(getattr(config, name) for name in names(DeepConfig, PROBLEM)), config.access
        if content not in self._loaded:
            self._loaded[content] = load_task(
                config.problem,
                agents=config.agents,
                arguments=named_values("--problem-args", config.problem_args),
                budgets=config.budgets,
                access=config.access,
            )
        return self._loaded[content]

    def agents(self, prepared: DeepPrepared) -> int:
        """The number of agents N."""
        return prepared.num_agents

    def at_once(self, prepared: DeepPrepared, members: int) -> int:
        """As many as fit a core's cache."""
        environments = ENVIRONMENTS_ON_A_CORE
        return members_at_once(prepared.config, prepared.num_agents, members, environments)

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """The algorithm of one, with as many agents at once as fit a cache beside the others."""
        prepared: DeepPrepared = members[0].prepared
        config, design = prepared.config, prepared.design
        learner = LEARNERS[self.algorithm](design)
        task, agents = prepared.task, prepared.num_agents
        return algorithm_of(learner, config, design, task, agents, placement, size)

    def outcome(self, algorithm: Algorithm, state: Pytree) -> Pytree:
        """The policy that is reported, with critic and moments."""
        return algorithm.report(state).policy

    def result(
        self, prepared: DeepPrepared, rows: Pytree, outcome: Pytree, failed: int
    ) -> MemberResult:
        """Figures of a member, from rows up to the round that failed."""
        last = failed if failed >= 0 else len(rows.reward)
        rows = shaped(jax.tree.map(lambda leaf: leaf[:last], rows), prepared)
        alive = np.ones((last, 1), bool)
        task = prepared.task
        none = np.zeros((1, prepared.num_agents, task.num_constraints))
        violations = violations_summed(rows.agent_costs, none, task.budgets, alive)
        history, _ = columns(0, rows, 0, prepared, alive, violations)
        evaluations = evaluations_of(0, rows, history["environment_steps"], alive)
        policy = jax.tree.map(
            lambda leaf: leaf.reshape(1, prepared.policies, *leaf.shape[prepared.member_axes :]),
            outcome,
        )
        result = DeepResult(
            *(prepared, history, evaluations, policy, violations[-1]), {}, np.array([failed])
        )
        names = task.constraint_names
        costs = evaluations.costs.mean((1, 2))
        curves = {
            "round": evaluations.round,
            "environment_steps": evaluations.environment_steps,
            "reward": evaluations.reward.mean((1, 2)),
            "mode_reward": evaluations.mode_reward.mean((1, 2)),
            **{f"cost/{name}": costs[:, index] for index, name in enumerate(names)},
        }
        at = thinned(len(evaluations.round))
        return MemberResult(
            summarise(result, {}), {name: curve[at] for name, curve in curves.items()}
        )

    def digest(self, prepared: DeepPrepared) -> str:
        """SHA-256 of what is known of the task."""
        return digest_of_task(prepared.loaded)


FAMILY = Family(
    name="networks",
    settings=DeepConfig,
    algorithms={
        "fedppo": "proximal policy optimisation with networks, for constrained gymnax tasks",
        "fednatural": "natural policy gradient with networks, in a trust region",
    },
    about="""Train networks on a task with costs that no agent sees all of.

Every agent acts in its own environments, measures its own costs, improves its policy on its own
Lagrangian for E local steps and keeps its multipliers to itself; then the policies are merged. T
such rounds make a run. The table shows reward and violations in the agents' own rollouts, their
multipliers, and what the merged policy does in episodes of its own.""",
    headline=Headline("reward", True, "feasible"),
    problem="problem",
    named=NAMED,
    own=own_settings,
    unread=unread,
    files=PROBLEM_FILES,
    prepare=_prepare,
    assembler=Networks,
    section="fedjax_rl.report.networks:networks_section",
    evaluate="fedjax_rl.families.networks.evaluation:evaluate_and_record",
    presets=tuple(PRESETS),
    preset=preset,
    presets_help=(
        "default: ours, chosen on cartpole-pos2; paper: of the experiments of arXiv 2405.03236."
    ),
    references=References(
        ("fed", "omniscient", "no-communication", "unconstrained"),
        _as_reference,
        _table,
        write_comparison,
    ),
)
