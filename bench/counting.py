"""What a program does by XLA's own count, where the bodies of loops count as often as they run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun


class Work(NamedTuple):
    """Operations of a program.

    Attributes:
        flops: floating-point additions and products, those of factorisations included.
        transcendentals: exponentials, logarithms, tangents and the like.
        bytes: read and written by fused operations, whether from memory or from a cache.
    """

    flops: float
    transcendentals: float
    bytes: float

    def scaled(self, factor: float) -> Work:
        """The same, so many times."""
        return Work(*(factor * value for value in self))

    def plus(self, other: Work) -> Work:
        """Both, one after the other."""
        return Work(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


NOTHING = Work(0.0, 0.0, 0.0)
KEYS = ("flops", "transcendentals", "bytes accessed")


def work_of(function: Callable[..., Any], *arguments: Any) -> Work:
    """What a call of a traceable function does.

    XLA's cost analysis of a compiled program counts the body of every loop once, and knows
    nothing of LAPACK. So the bodies of scans are compiled and counted for themselves, and
    factorisations are counted by the textbook (Golub, Van Loan, *Matrix Computations*, 2013).
    """
    program = jax.make_jaxpr(function)(*arguments)
    return _looped(program).plus(Work(_factorisations(program.jaxpr), 0.0, 0.0))


def _looped(program: ClosedJaxpr) -> Work:
    """Loops in full, whatever their depth."""
    total = _compiled(program)
    for length, body in _scans(program.jaxpr):
        total = total.plus(_looped(body).scaled(length)).plus(_compiled(body).scaled(-1.0))
    return total


def _compiled(program: ClosedJaxpr) -> Work:
    """XLA's count, in which every loop's body is there once."""
    shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in program.in_avals]
    analysis = jax.jit(jaxpr_as_fun(program)).lower(*shapes).compile().cost_analysis()
    counted: dict[str, float] = analysis[0] if isinstance(analysis, list) else analysis or {}
    return Work(*(max(0.0, counted.get(key, 0.0)) for key in KEYS))


def _scans(program: Jaxpr) -> Iterator[tuple[int, ClosedJaxpr]]:
    """Length and body of every scan that is not itself within one."""
    for equation in program.eqns:
        if equation.primitive.name == "scan":
            yield equation.params["length"], equation.params["jaxpr"]
        else:
            for program in inner(equation):
                yield from _scans(program)


def _factorisations(program: Jaxpr) -> float:
    """Floating-point operations of LU factorisations and of triangular solutions."""
    total = 0.0
    for equation in program.eqns:
        name = equation.primitive.name
        if name in ("lu", "triangular_solve"):
            *batch, rows, columns = equation.outvars[0].aval.shape
            each = 2 / 3 * rows**3 if name == "lu" else _solution(equation, rows, columns)
            total += math.prod(batch) * each
        times = equation.params["length"] if name == "scan" else 1
        total += times * sum(map(_factorisations, inner(equation)))
    return total


def _solution(equation: Any, rows: int, columns: int) -> float:
    """n² for each right-hand side; they are rows where the matrix stands on the right."""
    size, sides = (rows, columns) if equation.params["left_side"] else (columns, rows)
    return float(size**2 * sides)


def inner(equation: Any) -> Iterator[Jaxpr]:
    """Programs within an equation: calls, branches, bodies of loops."""
    for value in equation.params.values():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(each, ClosedJaxpr):
                yield each.jaxpr
            elif isinstance(each, Jaxpr):
                yield each
