"""For tests whose time is nearly all compilation: XLA may compile the shorter way."""

import contextlib
from unittest import mock

import jax
import pytest
from jax._src import compiler

from tests.conftest import SHORTER


@contextlib.contextmanager
def compiled_quickly():
    """Optimisations are left out, and kernels emitted the shorter way.

    Whoever shares compiled functions with others must share this setting with them.
    """
    usual = compiler.get_compile_options
    before = jax.config.values["jax_disable_most_optimizations"]

    def shorter(*arguments, env_options_overrides=None, **options):
        overrides = SHORTER | (env_options_overrides or {})
        return usual(*arguments, env_options_overrides=overrides, **options)

    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with mock.patch.object(compiler, "get_compile_options", shorter):  # no setting is public
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Imported by a module of tests, it holds for all of them."""
    with compiled_quickly():
        yield
