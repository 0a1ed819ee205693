"""Nearly all of the time here is compilation."""

import pytest

from tests.quick import compiled_quickly


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Also forgets what a module built: the programs behind it are gone with the module."""
    from tests.learners.deep import harness

    with compiled_quickly():
        yield
    harness.federation.cache_clear()
    harness.single_step.cache_clear()
