"""The request of a search, from options or from the ``config.yaml`` of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fedjax_rl.checks import check_choice, check_count
from fedjax_rl.errors import InvalidInput
from fedjax_rl.sweeps.objective import Objective, condition
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.space import Law, law_of

SAMPLERS = ("tpe", "random")


class Search(NamedTuple):
    """The request of a search: a sweep's request, its objective, sampler and batch size.

    Attributes:
        request: its algorithm, settings and destination; of its space the laws are searched in,
            ``samples`` is the number of trials and ``sample_seed`` that of the sampler.
        objective: what is best.
        batch: trials side by side.
        sampler: one of `SAMPLERS`.
    """

    request: SweepRequest
    objective: Objective
    batch: int
    sampler: str = "tpe"

    @property
    def trials(self) -> int:
        return self.request.space.samples or 0

    @property
    def laws(self) -> dict[str, tuple[str, Law]]:
        """The laws by setting, as text and read."""
        kind = type(self.request.base)
        laws = self.request.space.random
        return {name: (law, law_of(kind, name, law)) for name, law in laws.items()}

    def document(self) -> dict[str, Any]:
        """The content of ``config.yaml``: the whole request but for the devices."""
        return self._with_search(self.request.document())

    def identity(self) -> dict[str, Any]:
        """The document without the folders of files, which may be moved."""
        return self._with_search(self.request.identity())

    def _with_search(self, whole: dict[str, Any]) -> dict[str, Any]:
        conditions = [
            f"{one.metric}{one.relation}{one.bound!r}" for one in self.objective.conditions
        ]
        request = self.objective._asdict() | {"conditions": conditions}
        request |= {"batch": self.batch, "sampler": self.sampler}
        document = whole | {"search": request}
        del document["feasible_seeds"]  # it is the question's: what is asked depends on it
        if self.objective.feasible is None:
            del request["feasible_seeds"]
        return document


def search_of(
    request: SweepRequest, objective: Objective | None, batch: int, sampler: str
) -> Search:
    """A checked search; the question is the algorithm's headline unless there is one.

    Raises:
        InvalidInput: more trials in a batch than there are, or an unknown sampler.
    """
    check_count("--batch", batch, least=1)
    if batch > (request.space.samples or 0):
        raise InvalidInput("--batch", batch, f"at most --trials {request.space.samples}")
    check_choice("--sampler", sampler, SAMPLERS)
    return Search(request, objective or request.objective, batch, sampler)


def search_again(request: SweepRequest, document: Mapping[str, Any]) -> Search:
    """The request recorded in the ``config.yaml`` of a search.

    Raises:
        InvalidInput: its trials were told whether they keep the budgets, and not how nearly.
    """
    conditions = tuple(condition(text) for text in document["conditions"])
    if document["feasible"] is not None and "feasible_seeds" not in document:
        raise InvalidInput(
            "run directory",
            request.destination.out,
            "a search that was told by how much budgets are broken, which this one was not: "
            "start anew with search --overwrite",
        )
    objective = Objective(
        metric=document["metric"],
        maximize=document["maximize"],
        conditions=conditions,
        feasible=document["feasible"],
        feasible_seeds=request.feasible_seeds,
    )
    return search_of(request, objective, document["batch"], document["sampler"])
