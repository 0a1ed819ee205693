"""Nearly all of the time here is compilation; XLA may leave its optimisations out."""

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
