"""What a search is asked for, from options and from the ``config.yaml`` of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fedjax_rl.checks import check_choice, check_count
from fedjax_rl.errors import InvalidInput
from fedjax_rl.sweeps.question import Question, condition
from fedjax_rl.sweeps.request import Asked
from fedjax_rl.sweeps.space import Law, law_of

SAMPLERS = ("tpe", "random")


class Search(NamedTuple):
    """What a search is to do.

    Attributes:
        asked: its algorithm, settings and destination; of its space the laws are searched in,
            ``samples`` is the number of trials and ``sample_seed`` that of the sampler.
        question: what is best.
        batch: trials side by side.
        sampler: one of `SAMPLERS`.
    """

    asked: Asked
    question: Question
    batch: int
    sampler: str = "tpe"

    @property
    def trials(self) -> int:
        return self.asked.space.samples or 0

    @property
    def laws(self) -> dict[str, tuple[str, Law]]:
        """The laws by setting, as text and read."""
        kind = type(self.asked.base)
        laws = self.asked.space.random
        return {name: (law, law_of(kind, name, law)) for name, law in laws.items()}

    def document(self) -> dict[str, Any]:
        """All of it but the devices, as ``config.yaml`` holds it."""
        return self._asked_in(self.asked.document())

    def identity(self) -> dict[str, Any]:
        """The document without the folders of files, which may be moved."""
        return self._asked_in(self.asked.identity())

    def _asked_in(self, whole: dict[str, Any]) -> dict[str, Any]:
        conditions = [
            f"{one.metric}{one.relation}{one.bound!r}" for one in self.question.conditions
        ]
        asked = self.question._asdict() | {"conditions": conditions}
        asked |= {"batch": self.batch, "sampler": self.sampler}
        document = whole | {"search": asked}
        del document["feasible_seeds"]  # it is the question's: what is asked depends on it
        if self.question.feasible is None:
            del asked["feasible_seeds"]
        return document


def search_of(asked: Asked, question: Question | None, batch: int, sampler: str) -> Search:
    """A checked search; the question is the algorithm's headline unless there is one.

    Raises:
        InvalidInput: more trials in a batch than there are, or an unknown sampler.
    """
    check_count("--batch", batch, least=1)
    if batch > (asked.space.samples or 0):
        raise InvalidInput("--batch", batch, f"at most --trials {asked.space.samples}")
    check_choice("--sampler", sampler, SAMPLERS)
    return Search(asked, question or asked.question, batch, sampler)


def search_again(asked: Asked, document: Mapping[str, Any]) -> Search:
    """What the ``config.yaml`` of a search asked for.

    Raises:
        InvalidInput: its trials were told whether they keep the budgets, and not how nearly.
    """
    conditions = tuple(condition(text) for text in document["conditions"])
    if document["feasible"] is not None and "feasible_seeds" not in document:
        raise InvalidInput(
            "run directory",
            asked.destination.out,
            "a search that was told by how much budgets are broken, which this one was not: "
            "start anew with search --overwrite",
        )
    question = Question(
        metric=document["metric"],
        maximize=document["maximize"],
        conditions=conditions,
        feasible=document["feasible"],
        feasible_seeds=asked.feasible_seeds,
    )
    return search_of(asked, question, document["batch"], document["sampler"])
