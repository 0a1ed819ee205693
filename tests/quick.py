"""For tests whose time is nearly all compilation: XLA may leave its optimisations out."""

import contextlib

import jax
import pytest


@contextlib.contextmanager
def compiled_quickly():
    """Whoever shares compiled functions with others must share this setting with them."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Imported by a module of tests, it holds for all of them."""
    with compiled_quickly():
        yield
