"""What a program multiplies and moves at least, counted from its jaxpr: nothing is compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from bench.counting import inner

MOVING = ("dot_general", "gather", "scatter", "scatter-add", "lu", "triangular_solve")
"""Operations whose operands and results go through memory, whatever is fused around them."""


class Products(NamedTuple):
    """Work of a program.

    Attributes:
        flops: of its matrix products, two for each multiplied pair.
        bytes: of operands and results of `MOVING`, and of what loops are fed and leave behind.
    """

    flops: float
    bytes: float


def products_of(function: Callable[..., Any], *arguments: Any) -> Products:
    """Matrix products and the bytes that a call moves at least.

    The bodies of scans count as often as they run. Of two branches the first counts, which is
    the one of a round without an evaluation; a loop that ends on a condition counts once.

    Args:
        function: traceable.
        arguments: of it.
    """
    return _counted(jax.make_jaxpr(function)(*arguments).jaxpr)


def _counted(program: Jaxpr) -> Products:
    flops = moved = 0.0
    for equation in program.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            flops += _product(equation)
        if name in MOVING:
            moved += sum(map(_bytes, (*equation.invars, *equation.outvars)))
        times, bodies = 1, list(inner(equation))
        if name == "scan":
            times = equation.params["length"]
            rows = equation.params["num_consts"] + equation.params["num_carry"]
            fed = equation.invars[rows:], equation.outvars[equation.params["num_carry"] :]
            moved += sum(_bytes(each) for side in fed for each in side)
        elif name == "cond":
            bodies = [_open(equation.params["branches"][0])]
        for body in bodies:
            within = _counted(body)
            flops, moved = flops + times * within.flops, moved + times * within.bytes
    return Products(flops, moved)


def _product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    summed = math.prod(shape[axis] for axis in contracted)
    return 2.0 * summed * math.prod(equation.outvars[0].aval.shape)


def _bytes(variable: Any) -> float:
    shape, dtype = variable.aval.shape, variable.aval.dtype
    return float(math.prod(shape)) * getattr(dtype, "itemsize", 0)


def _open(program: Any) -> Jaxpr:
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program
