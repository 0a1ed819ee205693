"""Every field of a CMDP is checked, and the message says which entry is wrong."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from fedjax_rl.cmdp.model import from_arrays, with_settings
from fedjax_rl.errors import InvalidInput

pytestmark = pytest.mark.timeout(30)


def arrays():
    """Three states, two actions, two constraints."""
    transition = np.zeros((3, 2, 3))
    transition[:, 0] = np.eye(3)
    transition[:, 1] = [0.25, 0.25, 0.5]
    return dict(
        transition=transition,
        reward=np.arange(6.0).reshape(3, 2),
        costs=np.ones((2, 3, 2)),
        budgets=np.array([1.0, 2.0]),
        initial=np.array([0.5, 0.5, 0.0]),
        discount=0.9,
    )


def changed(field, index, value):
    array = arrays()[field].copy()
    array[index] = value
    return {field: array}


def test_fields_are_float64_copies():
    given = arrays()
    problem = from_arrays(**given, notes="made by hand")
    for name in ("transition", "reward", "costs", "budgets", "initial", "discount"):
        field = getattr(problem, name)
        assert field.dtype == np.float64
        np.testing.assert_array_equal(field, given[name])
    given["reward"][0, 0] = 99.0
    assert problem.reward[0, 0] == 0.0
    assert (problem.num_states, problem.num_actions, problem.num_constraints) == (3, 2, 2)
    assert problem.support.all()
    assert problem.constraint_names == ("constraint-0", "constraint-1")
    assert problem.notes == "made by hand"


def test_lists_and_integers_are_welcome():
    problem = from_arrays([[[1]]], [[2]], [[[3]]], [4], [1], 0)
    assert problem.costs.dtype == np.float64
    assert float(problem.discount) == 0.0


def test_a_problem_is_a_pytree_with_static_names():
    problem = from_arrays(**arrays(), constraint_names=["a", "b"])
    doubled = jax.tree.map(lambda leaf: leaf, problem)
    assert len(jax.tree.leaves(problem)) == 7
    assert doubled.constraint_names == ("a", "b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            changed("transition", (1, 0, 1), 0.5),
            r"^transition: got row sum 0\.5 at state 1, action 0; .*1 of 6 rows do not",
        ),
        (changed("transition", (2, 1, 2), 0.5 + 2e-8), "row sum 1.00000002 at state 2, action 1"),
        (
            changed("transition", (2, 1), [1.25, -0.25, 0.0]),
            r"^transition: got -0\.25 at state 2, action 1, next state 1; .*at least 0",
        ),
        (
            changed("transition", (0, 1, 2), np.nan),
            r"^transition: got nan at index \(0, 1, 2\); finite",
        ),
        (dict(transition=np.ones((3, 2, 2)) / 2), r"^transition: got shape \(3, 2, 2\); .*\[S, A"),
        (dict(transition=np.eye(3)), r"^transition: got shape \(3, 3\); an array of rank 3"),
        (dict(transition=[[[1.0], [1.0, 2.0]]]), "^transition: got a ragged list"),
        (
            dict(transition=arrays()["transition"].astype(np.float32)),
            "^transition: got dtype float32; float64 is needed",
        ),
        (dict(transition=np.zeros((0, 2, 0))), "^transition: got shape"),
        (dict(reward=np.ones((2, 3))), r"^reward: got shape \(2, 3\); expected .*\(3, 2\)"),
        (changed("reward", (2, 1), np.inf), r"^reward: got inf at index \(2, 1\)"),
        (dict(reward=np.ones((3, 2), np.float16)), "^reward: got dtype float16"),
        (dict(reward=np.full((3, 2), "high")), "^reward: got dtype <U4"),
        (dict(reward=np.ones((3, 2), complex)), "^reward: got dtype complex128"),
        (dict(reward=np.full((3, 2), None)), "^reward: got dtype object"),
        (dict(costs=np.ones((3, 2))), r"^costs: got shape \(3, 2\); an array of rank 3"),
        (dict(costs=np.ones((2, 2, 3))), r"^costs: got shape \(2, 2, 3\); .*\[M, S, A\]"),
        (dict(costs=np.ones((3, 2, 2))), r"^costs: got .*\[M, S, A\] = \(2, 3, 2\)$"),
        (dict(costs=np.ones((0, 3, 2)), budgets=[]), "^costs: got shape .*at least one constraint"),
        (changed("costs", (1, 2, 0), -np.inf), r"^costs: got -inf at index \(1, 2, 0\)"),
        (dict(budgets=[1.0]), r"^budgets: got shape \(1,\); expected \[M\], one per constraint"),
        (dict(budgets=1.0), r"^budgets: got shape \(\)"),
        (dict(budgets=[[1.0], [1.0, 2.0]]), "^budgets: got a ragged list"),
        (changed("budgets", 1, np.nan), r"^budgets: got nan at index \(1,\)"),
        (dict(initial=[0.5, 0.5]), r"^initial: got shape \(2,\); expected \[S\] = \(3,\)"),
        (dict(initial=[0.5, 0.4, 0.0]), r"^initial: got sum 0\.9; the distribution must sum to 1"),
        (dict(initial=[1.5, -0.5, 0.0]), r"^initial: got -0\.5 at state 1; .*at least 0"),
        (dict(discount=1.0), r"^discount: got 1; a number in \[0, 1\)"),
        (dict(discount=-0.1), r"^discount: got -0\.1"),
        (dict(discount=np.nan), r"^discount: got nan"),
        (dict(discount=[0.9]), r"^discount: got shape \(1,\)"),
        (dict(discount="0.9"), "^discount: got dtype"),
        (dict(discount=np.float32(0.9)), "^discount: got dtype float32"),
        (dict(support=np.ones((2, 3), bool)), r"^support: got bool of shape \(2, 3\)"),
        (dict(support=np.ones((3, 2))), "^support: got float64"),
        (
            dict(support=np.array([[1, 1], [0, 0], [1, 1]], bool)),
            "^support: got no action in state 1; every state needs",
        ),
        (dict(constraint_names=["one"]), "^constraint_names: .*2 distinct names are needed"),
        (dict(constraint_names=["one", "one"]), "^constraint_names: .*2 distinct names"),
        (dict(constraint_names=["a", "b", "c"]), "^constraint_names: .*2 distinct names"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(InvalidInput, match=message) as raised:
        from_arrays(**{**arrays(), **changes})
    assert "\n" not in str(raised.value)


def test_rounding_in_a_row_is_accepted():
    from_arrays(**{**arrays(), **changed("transition", (2, 1, 2), 0.5 + 5e-9)})


def test_settings_replace_budgets_and_discount_only():
    problem = from_arrays(**arrays())
    other = with_settings(problem, budgets=[3, 4], discount=0.5)
    np.testing.assert_array_equal(other.budgets, [3.0, 4.0])
    assert other.budgets.dtype == np.float64
    assert float(other.discount) == 0.5
    assert other.transition is problem.transition
    assert float(problem.discount) == 0.9
    np.testing.assert_array_equal(with_settings(problem).budgets, problem.budgets)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(budgets=[1.0]), r"^budgets: got shape \(1,\)"),
        (dict(budgets=[1.0, np.nan]), "^budgets: got nan"),
        (dict(discount=1.0), "^discount: got 1"),
    ],
)
def test_settings_are_checked_again(settings, message):
    with pytest.raises(InvalidInput, match=message):
        with_settings(from_arrays(**arrays()), **settings)


DOUBLE_NEEDED = "float64 is needed: finite problems are exact to 1e-12, build the array in float64"


@pytest.mark.parametrize("field", ["transition", "reward", "costs", "budgets", "initial"])
@pytest.mark.parametrize(
    ("dtype", "allowed"),
    [
        ("float32", DOUBLE_NEEDED),
        ("float16", DOUBLE_NEEDED),
        ("complex128", "real numbers in float64 are needed"),
        ("<U3", "real numbers in float64 are needed"),
        ("object", "real numbers in float64 are needed"),
    ],
)
def test_a_wrong_type_is_named_and_never_cast(field, dtype, allowed):
    with pytest.raises(InvalidInput) as raised:
        from_arrays(**{**arrays(), field: arrays()[field].astype(dtype)})
    assert str(raised.value) == f"{field}: got dtype {dtype}; {allowed}"


WHOLE_MESSAGES = {
    "rows": (
        changed("transition", (1, slice(None), 0), 0.75),
        "transition: got row sum 1.75 at state 1, action 0; "
        "each row [s, a, :] must sum to 1 (2 of 6 rows do not)",
    ),
    "negative": (
        changed("transition", (2, 1), [1.25, -0.25, 0.0]),
        "transition: got -0.25 at state 2, action 1, next state 1; probabilities are at least 0",
    ),
    "nan": (
        changed("transition", (0, 1, 2), np.nan),
        "transition: got nan at index (0, 1, 2); finite numbers are needed",
    ),
    "no-constraint": (
        dict(costs=np.ones((0, 3, 2)), budgets=[]),
        "costs: got shape (0, 3, 2); at least one constraint is needed",
    ),
    "budgets": (
        dict(budgets=[1.0]),
        "budgets: got shape (1,); expected [M], one per constraint of costs = (2,)",
    ),
    "initial": (
        dict(initial=[0.5, 0.25, 0.0]),
        "initial: got sum 0.75; the distribution must sum to 1",
    ),
    "discount": (dict(discount=1), "discount: got 1; a number in [0, 1) is needed"),
    "discount-nan": (dict(discount=np.nan), "discount: got nan; finite numbers are needed"),
    "support-type": (
        dict(support=np.full((3, 2), 2)),
        "support: got int64 of shape (3, 2); booleans [S, A] = (3, 2)",
    ),
    "support-row": (
        dict(support=[[True, False], [False, False], [True, True]]),
        "support: got no action in state 1; every state needs at least one allowed action",
    ),
    "support-ragged": (
        dict(support=[[True, False], [True], [True, True]]),
        "support: got a ragged list; booleans [S, A] = (3, 2)",
    ),
    "names-twice": (
        dict(constraint_names=["one", "one"]),
        "constraint_names: got ['one', 'one']; 2 distinct names are needed",
    ),
    "one-string-is-not-two-names": (
        dict(constraint_names="ab"),
        "constraint_names: got 'ab'; a list of 2 names is needed",
    ),
    "a-number-of-names": (
        dict(constraint_names=2),
        "constraint_names: got 2; a list of 2 names is needed",
    ),
    "ragged": (
        dict(costs=[[[1.0, 2.0], [1.0]]]),
        "costs: got a ragged list; an array of rank 3",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WHOLE_MESSAGES.values(), ids=WHOLE_MESSAGES)
def test_a_refusal_is_one_line_with_the_field_the_value_and_what_is_allowed(changes, message):
    with pytest.raises(InvalidInput) as raised:
        from_arrays(**{**arrays(), **changes})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "field", ["transition", "reward", "costs", "budgets", "initial", "support"]
)
def test_a_problem_does_not_change_with_the_arrays_it_was_built_from(field):
    given = {**arrays(), "support": np.ones((3, 2), bool)}
    problem = from_arrays(**given)
    before = getattr(problem, field).copy()
    given[field][...] = 0
    np.testing.assert_array_equal(getattr(problem, field), before)


def test_names_and_notes_are_no_leaves_but_part_of_the_structure():
    problem = from_arrays(**arrays(), constraint_names=["a", "b"], notes="by hand")
    structure = jax.tree.structure(problem)
    renamed = from_arrays(**arrays(), constraint_names=["a", "c"], notes="by hand")
    assert jax.tree.structure(renamed) != structure
    assert jax.tree.structure(with_settings(problem, budgets=[0, 0])) == structure

    second = jax.jit(lambda given: given.budgets[given.constraint_names.index("b")])
    assert float(second(problem)) == 2.0
