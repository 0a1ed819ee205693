"""Nearly all of the time here is compilation; XLA may leave its optimisations out."""

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
    """Also forgets what a module built: the programs behind it are gone with the module."""
    from tests.learners.deep import harness

    with compiled_quickly():
        yield
    harness.federation.cache_clear()
    harness.single_step.cache_clear()
