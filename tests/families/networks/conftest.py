"""Nearly all of the time here is compilation; XLA may leave its optimisations out."""

from tests.learners.deep.conftest import quick_compilation  # noqa: F401
