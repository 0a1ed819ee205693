"""The configuration of JAX while an algorithm is at work, whatever the session's is.

Above all the number type: float64 for finite problems, float32 for networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import jax

from fedjax_rl.backend import start_backend
from fedjax_rl.errors import InvalidInput

ENFORCED: tuple[tuple[Any, Any], ...] = (
    # Bits: products, types of mixed operands, random numbers.
    (jax.default_matmul_precision, None),
    (jax.numpy_dtype_promotion, "standard"),
    (jax.numpy_rank_promotion, "allow"),
    (jax.default_prng_impl, "threefry2x32"),
    (jax.threefry_partitionable, True),
    # A NaN is "not measured" in places, and a round that is not finite is noticed in any case.
    (jax.debug_nans, False),
    (jax.debug_infs, False),
    # These checks are of the session's own code: they trace our programs anew, or refuse them.
    (jax.check_tracer_leaks, False),
    (jax.debug_key_reuse, False),
    # Operation by operation the last bits differ, and a round takes seconds.
    (jax.disable_jit, False),
    # Settings are host arrays, and go to the device when they are used.
    (jax.transfer_guard, "allow"),
)
"""JAX's own defaults, by the context that sets each; the number type beside them."""

REFUSED = {"jax_random_seed_offset": 0, "jax_high_dynamic_range_gumbel": False}
"""Settings that change random numbers and that no context sets, with the only value taken."""


@contextmanager
def precision(float64: bool) -> Iterator[None]:
    """The context to initialise, trace and call an algorithm in.

    Precision and the other settings of `ENFORCED` hold per call and not for the process: both
    kinds of algorithm live in one, and the session's own code keeps what it has set. Enter it
    around single calls, never across a ``yield``; or decorate a function that does not yield.

    Raises:
        InvalidInput: JAX finds no device, or the session has a setting of `REFUSED`.
    """
    start_backend()
    for name, only in REFUSED.items():
        if (value := getattr(jax.config, name, only)) != only:
            raise InvalidInput(name.upper(), value, f"{only}: random numbers come of seeds alone")
    with ExitStack() as stack:
        stack.enter_context(jax.enable_x64(float64))
        for setting, value in ENFORCED:
            stack.enter_context(setting(value))
        yield
