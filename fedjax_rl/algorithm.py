"""The contract: what an algorithm, a learner and an aggregator are, and how names find them.

Everything that trains is an `Algorithm`. A `Learner` says what one agent does between two
communications, a `Channel` what happens to what it sends on the way, and an `Aggregator` how the
agents' updates become one. `federation.federate` turns these into an algorithm,
`execution.train` runs any algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fedjax_rl.errors import InvalidInput
from fedjax_rl.plugins import NoSettings
from fedjax_rl.registry import Registry as Registry

Pytree = Any
Array = Any
"""A `jax.Array`, or the host array that becomes one when it is traced."""


def no_observation(state: Pytree, hparams: Pytree) -> tuple[()]:
    """The observation of an algorithm that has nothing to say of a state at rest."""
    return ()


class Report(NamedTuple):
    """Policy and multipliers of a learner at rest, for evaluation; no agent or aggregator sees it.

    Attributes:
        policy: what is evaluated, from the shared part alone. Those who evaluate say what they
            read of it: on finite problems it is a `TabularPolicy`.
        multipliers: [K], λ_ij in the agent's own order; zeros where a learner has none.
    """

    policy: Pytree
    multipliers: Array


def no_report(state: Pytree) -> Report:
    """The report of an algorithm that is not made of learners."""
    return Report((), ())


class Algorithm(NamedTuple):
    """Pure functions that train; static choices are captured by the builder.

    Attributes:
        init: (key, hparams) -> state.
        step: (key, round, state, hparams) -> (state, info). The round comes from the caller's
            scan and never from the state, so that a sweep does not batch it. ``info`` of round t
            describes the state after round t.
        observe: (state, hparams) -> what is known of a state without stepping; for the row of
            round 0. Its structure is that of ``info``.
        agent_axes: (state) -> a pytree like state, with 0 where the leading axis of a leaf is the
            agents and None elsewhere, so that placement need not know the algorithm.
        report: (state) -> `Report`, the policy once and the multipliers of all agents [N, K].
        float64: whether init, trace and calls run in float64.
        members: B when the algorithm is a sweep, whose keys, state and info have a leading
            axis of members; None otherwise.
    """

    init: Callable[[Any, Pytree], Pytree]
    step: Callable[[Any, Any, Pytree, Pytree], tuple[Pytree, Pytree]]
    observe: Callable[[Pytree, Pytree], Pytree] = no_observation
    agent_axes: Callable[[Pytree], Pytree] | None = None
    report: Callable[[Pytree], Report] = no_report
    float64: bool = False
    members: int | None = None


class Time(NamedTuple):
    """When an agent acts. It comes from the caller's loops, so that a sweep does not batch it.

    Attributes:
        round: t = 1, 2, …
        local_step: e = 0 … E − 1 within the round; 0 in an exchange before the local steps.
    """

    round: Array
    local_step: Array


class Exchange(NamedTuple):
    """One message to the server and its answer, before the local steps: send, merge, receive.

    Attributes:
        send: (key, time, shared, local, agent, hparams) -> (value, retained). Only ``value``
            leaves the agent; ``retained`` waits there for the answer.
        receive: (local, retained, merged) -> local. Until the local step it may hold more than
            between rounds where a learner merges after every step: the step puts it right.
        merge: (values, weights) -> merged, from a leading axis of agents to none; the
            `ops.means.weighted_mean`, which needs no more than a sum, where it is None.
    """

    send: Callable[[Any, Time, Pytree, Pytree, Pytree, Pytree], tuple[Pytree, Pytree]]
    receive: Callable[[Pytree, Pytree, Pytree], Pytree]
    merge: Callable[[Pytree, Array], Pytree] | None = None


class Learner(NamedTuple):
    """The local algorithm of one agent between two communications; vmapped over agents outside.

    What is the agent's own (multipliers, optimiser moments, cost critics) lives in ``local``,
    which neither ``message`` nor ``adopt`` is handed, and which is () where it keeps nothing; what
    was merged lives in ``shared``. At the end of a round an agent sends an update: how its
    message has changed since the round began, and a weight.

    Attributes:
        init: (key, agent, hparams) -> (shared, local).
        step: (key, time, shared, local, agent, hparams) -> (shared, local, info), one local step.
        message: (shared) -> the pytree that is merged.
        adopt: (shared, merged, hparams) -> shared: the shared part before the round and the
            merged message make the one after it. The server does it once for all agents.
        report: (shared, local) -> `Report`, for the laboratory.
        message_kind: what a message is (``logits``, ``parameters``, …); an aggregator states
            the kinds it can merge.
        exchanges: before the local steps of a round, in this order.
        weight: (shared, local) -> scalar, at least 0: how much the agent's update counts, a
            factor on the weight it has anyway; None where all count alike. It crosses, too.
        merges_every_step: whether more than one local step would have no meaning.
        counts: (costs, budgets, hparams) -> whether a policy of these costs [M] counts in
            averages, as CRPO's theory has it; None where all rounds do.
        settings: what it has of its own among the settings of a run, a NamedTuple of real
            numbers (see `fedjax_rl.plugins`); ``hparams.own`` holds their values.
        multipliers: whether it has any; of one that has none, their step size and their cap are
            refused.
        float64: whether the learner runs in float64.
    """

    init: Callable[[Any, Pytree, Pytree], tuple[Pytree, Pytree]]
    step: Callable[[Any, Time, Pytree, Pytree, Pytree, Pytree], tuple[Pytree, Pytree, Pytree]]
    message: Callable[[Pytree], Pytree]
    adopt: Callable[[Pytree, Pytree, Pytree], Pytree]
    report: Callable[[Pytree, Pytree], Report]
    message_kind: str
    exchanges: tuple[Exchange, ...] = ()
    weight: Callable[[Pytree, Pytree], Array] | None = None
    merges_every_step: bool = False
    counts: Callable[[Array, Array, Pytree], Array] | None = None
    settings: Any = NoSettings
    multipliers: bool = True
    float64: bool = False


class Update(NamedTuple):
    """The message an agent sends at the end of a round; stacked over agents, a leading axis N.

    Attributes:
        value: how its message has changed since the round began, or what the aggregator's
            ``encode`` makes of both. Not multiplied by the weight.
        weight: scalar, at least 0, how much it counts.
    """

    value: Pytree
    weight: Array


def unchanged_on_the_way(key: Any, value: Pytree) -> Pytree:
    """Sends a value unchanged; the default of `Channel.send`."""
    return value


def received_as_sent(sent: Pytree) -> Pytree:
    """Returns a value as it was sent; the default of `Channel.receive`."""
    return sent


class Channel(NamedTuple):
    """A transformation of values between an agent and the server; written for one agent.

    Every exchange and the value of every update pass it; weights do not.

    Attributes:
        send: (key, value) -> sent, at the agent, before anything leaves it: clips, adds noise,
            quantises, masks. What was sent may have other types and shapes.
        receive: (sent) -> value, at the server, in the types and shapes of what was to be sent.
            For an engine that adds up what agents sent without seeing it, it must be linear.
    """

    send: Callable[[Any, Pytree], Pytree] = unchanged_on_the_way
    receive: Callable[[Pytree], Pytree] = received_as_sent


DIRECT = Channel()
"""On which nothing happens."""

SUM, MESSAGES = "sum", "messages"
"""What an aggregator can need."""


class Aggregator(NamedTuple):
    """A rule that merges the agents' updates into one change of the message.

    Attributes:
        init: (message, settings) -> state carried between merges, from the initial message and
            from values of the settings below.
        merge: (values, weights, state) -> (merged, state). What it is handed depends on
            ``needs``. With ``messages`` it is the values of the updates with a leading axis of
            N agents, and ``weights`` [N] says how much each counts: at least 0, not all 0, and 0
            for an agent that is absent, whose value is to have no influence, finite or not.
            With ``sum`` it is Σ_i w_i x_i and the scalar Σ_i w_i.
        accepts: the message kinds it can merge; empty accepts every kind.
        needs: ``messages``, each agent's for itself, or ``sum``, which is all that a secure sum
            gives.
        encode: (message, received) -> value, at one agent, from its message after the local
            steps and before them; None for their difference.
        decode: (merged, received) -> message, at the server; None to add ``merged`` to what was
            received. It undoes ``encode``.
        settings: what it has of its own among the settings of a run, as of a `Learner`.
    """

    init: Callable[[Pytree, Any], Pytree]
    merge: Callable[[Pytree, Array, Pytree], tuple[Pytree, Pytree]]
    accepts: tuple[str, ...] = ()
    needs: str = MESSAGES
    encode: Callable[[Pytree, Pytree], Pytree] | None = None
    decode: Callable[[Pytree, Pytree], Pytree] | None = None
    settings: Any = NoSettings


def check_merge(learner: Learner, merge: str, aggregator: Aggregator) -> None:
    """Raises InvalidInput when the aggregator cannot merge what the learner sends."""
    if aggregator.accepts and learner.message_kind not in aggregator.accepts:
        raise InvalidInput(
            "--merge",
            repr(merge),
            f"this learner sends {learner.message_kind}, and that merge takes "
            f"{' or '.join(aggregator.accepts)}",
        )


problems = Registry("problem")
environments = Registry("problem")
learners = Registry("learner", Learner)
aggregators = Registry("merge", Aggregator)

register_problem = problems.register
register_environment = environments.register
register_learner = learners.register
register_aggregator = aggregators.register
