"""The contract: what an algorithm, a learner and an aggregator are, and how names find them.

Everything that trains is an `Algorithm`. A `Learner` says what one agent does between two
communications; an `Aggregator` says how the agents' messages become one. `federation.federate`
turns a learner and an aggregator into an algorithm, `execution.train` runs any algorithm.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fedjax_rl.errors import InvalidInput

Pytree = Any
Array = Any
"""A `jax.Array`, or the host array that becomes one when it is traced."""


def no_observation(state: Pytree, hparams: Pytree) -> tuple[()]:
    """The observation of an algorithm that has nothing to say of a state at rest."""
    return ()


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
        float64: whether init, trace and calls run in float64.
        members: B when the algorithm is a sweep, whose keys, state and info have a leading
            axis of members; None otherwise.
    """

    init: Callable[[Any, Pytree], Pytree]
    step: Callable[[Any, Any, Pytree, Pytree], tuple[Pytree, Pytree]]
    observe: Callable[[Pytree, Pytree], Pytree] = no_observation
    agent_axes: Callable[[Pytree], Pytree] | None = None
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
    """One crossing between agents ahead of their local steps: send, merge, receive.

    Attributes:
        send: (key, time, shared, local, agent, hparams) -> (value, kept). Only ``value`` leaves
            the agent; what it ``kept`` waits there for the answer.
        receive: (local, kept, merged) -> local.
        merge: (values, weights) -> merged, from a leading axis of agents to none; the
            `ops.means.weighted_mean` where it is None.
    """

    send: Callable[[Any, Time, Pytree, Pytree, Pytree, Pytree], tuple[Pytree, Pytree]]
    receive: Callable[[Pytree, Pytree, Pytree], Pytree]
    merge: Callable[[Pytree, Array], Pytree] | None = None


class Learner(NamedTuple):
    """What one agent does between two communications; written for one agent, vmapped outside.

    Only ``message`` ever leaves an agent. What is the agent's own (multipliers, optimiser
    moments, cost critics) lives in ``local``; what was merged lives in ``shared``.

    Attributes:
        init: (key, agent, hparams) -> (shared, local).
        step: (key, time, shared, local, agent, hparams) -> (shared, local, info), one local step.
        message: (shared, local) -> the pytree an aggregator may see.
        adopt: (shared, local, merged, hparams) -> (shared, local), after a merge. The new shared
            part may depend on the merged message alone: it is stored once, not per agent.
        message_kind: what a message is (``logits``, ``parameters``, …); an aggregator states
            the kinds it can merge.
        exchanges: before the local steps of a round, in this order.
        weight: (shared, local) -> scalar, at least 0: how much the agent's message counts, a
            factor on the weight it has anyway; None where all count alike. It crosses, too.
        merges_every_step: whether more than one local step would have no meaning.
        averages_feasible_rounds: whether averages are over the rounds whose policy satisfied
            every budget, as CRPO's theory has it, and not over all.
        float64: whether the learner runs in float64.
    """

    init: Callable[[Any, Pytree, Pytree], tuple[Pytree, Pytree]]
    step: Callable[[Any, Time, Pytree, Pytree, Pytree, Pytree], tuple[Pytree, Pytree, Pytree]]
    message: Callable[[Pytree, Pytree], Pytree]
    adopt: Callable[[Pytree, Pytree, Pytree, Pytree], tuple[Pytree, Pytree]]
    message_kind: str
    exchanges: tuple[Exchange, ...] = ()
    weight: Callable[[Pytree, Pytree], Array] | None = None
    merges_every_step: bool = False
    averages_feasible_rounds: bool = False
    float64: bool = False


class Aggregator(NamedTuple):
    """How the agents' messages become one.

    Attributes:
        init: (message) -> state carried between merges, from the initial message.
        merge: (messages, weights, state) -> (merged, state). ``messages`` has a leading axis of
            N agents, and ``weights`` [N] says how much each counts: at least 0, not all 0, and 0
            for an agent that is absent, whose message is to have no influence, finite or not.
            `ops.means.weighted_mean` is what most merges are made of.
        accepts: the message kinds it can merge; empty accepts every kind.
    """

    init: Callable[[Pytree], Pytree]
    merge: Callable[[Pytree, Array, Pytree], tuple[Pytree, Pytree]]
    accepts: tuple[str, ...] = ()


def check_merge(learner: Learner, merge: str, aggregator: Aggregator) -> None:
    """Raises InvalidInput when the aggregator cannot merge what the learner sends."""
    if aggregator.accepts and learner.message_kind not in aggregator.accepts:
        raise InvalidInput(
            "merge",
            repr(merge),
            f"this learner sends {learner.message_kind}, and that merge takes "
            f"{' or '.join(aggregator.accepts)}",
        )


class Registry:
    """Names for plug-ins of one kind; wherever a name is taken, ``module:factory`` is too."""

    def __init__(self, kind: str, product: type | None = None):
        self.kind = kind
        self.product = product
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str, factory: Callable[..., Any]) -> Callable[..., Any]:
        """Adds a factory under a name and returns it.

        Raises:
            InvalidInput: the name is taken by another factory or contains a colon.
        """
        if ":" in name:
            raise InvalidInput(self.kind, repr(name), "a name has no colon")
        if self._entries.get(name, factory) is not factory:
            raise InvalidInput(self.kind, repr(name), "that name is taken")
        self._entries[name] = factory
        return factory

    def resolve(self, name: str) -> Callable[..., Any]:
        """The factory behind a registered name or a ``module:factory`` reference.

        Raises:
            InvalidInput: no such name (with the nearest one), module or attribute.
        """
        if ":" in name:
            return self._load(name)
        if name in self._entries:
            return self._entries[name]
        near = difflib.get_close_matches(name, self._entries, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(sorted(self._entries))
        raise InvalidInput(
            self.kind, repr(name), f"{hint}known: {known}; or module:factory of your own"
        )

    def make(self, name: str, *arguments: Any) -> Any:
        """Calls the factory behind a name.

        Raises:
            InvalidInput: no such factory, it does not take these arguments, or what it returns
                is of another kind.
        """
        factory = self.resolve(name)
        try:
            inspect.signature(factory).bind(*arguments)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                self.kind, repr(name), f"a factory of {len(arguments)} arguments ({error})"
            ) from None
        made = factory(*arguments)
        if self.product is not None and not isinstance(made, self.product):
            wanted = self.product.__name__
            raise InvalidInput(
                self.kind, repr(name), f"a factory of {wanted}, not of {type(made).__name__}"
            )
        return made

    def _load(self, reference: str) -> Callable[..., Any]:
        module_name, _, attribute = reference.partition(":")
        try:
            factory = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
            raise InvalidInput(
                self.kind, repr(reference), f"an importable module:factory ({error})"
            ) from None
        if not callable(factory):
            raise InvalidInput(self.kind, repr(reference), "the factory must be callable")
        return factory

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def describe(self, name: str) -> str:
        """The first line of the factory's docstring, for lists."""
        return (self._entries[name].__doc__ or "").strip().split("\n")[0]


problems = Registry("problem")
environments = Registry("problem")
learners = Registry("learner", Learner)
aggregators = Registry("merge", Aggregator)

register_problem = problems.register
register_environment = environments.register
register_learner = learners.register
register_aggregator = aggregators.register
