"""For tests whose time is nearly all compilation: XLA may compile the shorter way."""

import contextlib

import jax
import pytest


@contextlib.contextmanager
def compiled_quickly(quickly=True):
    """Most of XLA's optimisations are left out, or none where much is computed.

    Whoever shares compiled functions with others must share this setting with them.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", quickly)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Imported by a module of tests, it holds for all of them."""
    with compiled_quickly():
        yield
