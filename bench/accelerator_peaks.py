"""Rows e: what the card can do, and which share of it every row before reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.accelerator_programs import Turns, rate, taking_turns, turns_of
from bench.accelerator_rows import MEASURED, NotNeeded, Row
from fedjax_rl.precision import precision

PEAKS = "peaks"
KINDS: dict[str, tuple[Any, str]] = {
    "float32": (jnp.float32, "default"),
    "float32, highest": (jnp.float32, "highest"),
    "bfloat16": (jnp.bfloat16, "default"),
    "float64": (jnp.float64, "highest"),
}
"""Of matrix products: type and precision. The default of a card may be TensorFloat-32."""


def rows(quick: bool) -> list[Row]:
    """Peaks, then shares."""
    return [
        Row(
            PEAKS,
            10.0,
            lambda _: peaks(*((64, 2**12) if quick else (8192, 2**28)), turns_of(quick)),
        ),
        Row("shares of the peaks", 0.5, shares),
    ]


def peaks(size: int, numbers: int, turns: Turns) -> dict[str, Any]:
    """Products and bytes per second of programs that do nothing else.

    Args:
        size: of square matrices.
        numbers: float32, that are read, and as many that are written.
        turns: of the clock.
    """
    found, errors = {}, {}
    for name, (dtype, level) in KINDS.items():
        with precision(dtype is jnp.float64), jax.default_matmul_precision(level):
            work, errors[name] = products(size, dtype)
            seconds = taking_turns({"product": work}, turns)["product"]
        found[name] = rate(2.0 * size**3, seconds)
    with precision(False):
        streaming = taking_turns({"stream": stream(numbers)}, turns)["stream"]
    bandwidth = rate(8.0 * numbers, streaming)
    rates = ", ".join(f"{name} {own['median'] / 1e12:.3g}" for name, own in found.items())
    say = f"10¹² per second: {rates}; {bandwidth['median'] / 1e9:,.0f} GB/s"
    return {
        "size": size,
        "flops_per_second": found,
        "bytes_per_second": bandwidth,
        "product_errors": errors,
        "say": say,
    }


def products(size: int, dtype: Any) -> tuple[Callable[[int], object], float]:
    """Repeated products of a matrix, and the relative error of one of them: it tells TF32."""
    values = np.random.default_rng(0).normal(size=(size, size)) / np.sqrt(size)
    matrix = jnp.asarray(values, dtype)

    @jax.jit
    def repeated(matrix: jax.Array, times: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, times, lambda _, product: product @ matrix, matrix)

    first = np.asarray(repeated(matrix, np.int32(1))[:1], np.float64)
    exact = np.asarray(matrix[:1], np.float64) @ np.asarray(matrix, np.float64)
    error = float(np.abs(first - exact).max() / np.abs(exact).max())
    return lambda times: jax.block_until_ready(repeated(matrix, np.int32(times))), error


def stream(numbers: int) -> Callable[[int], object]:
    """Reads and writes so many numbers, again and again."""
    values = jnp.ones(numbers, jnp.float32)

    @jax.jit
    def repeated(values: jax.Array, times: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, times, lambda _, own: 0.5 * own + 1.0, values)

    return lambda times: jax.block_until_ready(repeated(values, np.int32(times)))


def shares(done: dict[str, Any]) -> dict[str, Any]:
    """Of every row with a program: its share of the product rate and of the bandwidth.

    Raises:
        NotNeeded: there are no peaks to compare with.
    """
    known = done.get(PEAKS)
    if known is None or known["status"] != MEASURED:
        raise NotNeeded("there are no peaks to compare with")
    limits = known["figures"]
    found: dict[str, dict[str, float]] = {}
    for name, row in done.items():
        figures = row.get("figures", {})
        for part, own in {"": figures, **figures.get("parts", {})}.items():
            if isinstance(own, dict) and {"seconds", "flops", "bytes_moved"} <= own.keys():
                label = f"{name}, {part}" if part else name
                found[label] = share(own, limits)
    return {"rows": found, "say": f"of {len(found)} rows"}


def share(own: dict[str, Any], limits: dict[str, Any]) -> dict[str, float]:
    """Of the rate of products in the type of a program, and of the bandwidth."""
    seconds = own["seconds"]["median"]
    peak = limits["flops_per_second"][own["precision"]]["median"]
    return {
        "products": own["flops"] / seconds / peak,
        "bandwidth": own["bytes_moved"] / seconds / limits["bytes_per_second"]["median"],
    }
