"""Rules for single values, which every room shares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.checks import (
    at_least,
    check_count,
    checked,
    in_range,
    is_number,
    is_whole,
    not_negative,
    one_line,
    plain,
    positive,
)
from fedjax_rl.errors import InvalidInput

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize(
    ("ends", "inside", "outside"),
    [
        ("[]", (0, 0.5, 1), (-0.1, 1.1)),
        ("[)", (0, 0.5), (-0.1, 1, 1.1)),
        ("(]", (0.5, 1), (0, 1.1)),
        ("()", (0.5,), (0, 1)),
    ],
)
def test_ranges(ends, inside, outside):
    rule = in_range(0, 1, ends)
    assert all(checked("x", value, rule) == value for value in inside)
    for value in outside:
        with pytest.raises(InvalidInput) as caught:
            checked("x", value, rule)
        assert str(caught.value) == f"x: got {value}; a number in {ends[0]}0, 1{ends[1]}"


def test_counts():
    for value in (3, np.int8(3), np.array(3), jnp.int32(3), np.uint64(3)):
        found = checked("n", value, at_least(3))
        assert found == 3 and type(found) is int
    with pytest.raises(InvalidInput, match="n: got 2; a whole number of at least 3"):
        check_count("n", np.int8(2), least=3)
    with pytest.raises(InvalidInput, match="n: got 2147483648; a whole number of at most 21474836"):
        check_count("n", 2**31, least=3)
    check_count("n", 2**70, least=3, most=None)


@pytest.mark.parametrize(
    "value", [True, np.True_, "1", None, [1], 1j, float("nan"), np.inf, 10**400]
)
def test_what_is_no_number(value):
    assert not is_number(value)
    for rule in (positive, not_negative):
        with pytest.raises(InvalidInput):
            checked("x", value, rule)


def test_what_is_whole():
    assert is_whole(np.int64(1)) and is_whole(jnp.int32(1)) and is_whole(10**400)
    assert not any(map(is_whole, (True, 1.0, np.float64(1), "1", None)))


def test_values_without_numbers_stay_as_they_are():
    key = jax.random.key(0)
    assert plain(key) is key
    found = []
    jax.make_jaxpr(lambda x: found.append(plain(x) is x) or x)(1.0)
    assert found == [True]
    assert plain("a") == "a" and plain(np.arange(2)) == [0, 1]


def test_values_are_shown_in_one_short_line():
    assert one_line("many") == "many" and one_line("many", quoted=True) == "'many'"
    assert one_line("") == "''" and one_line("a\nb") == "a b"
    assert len(one_line(list(range(10_000)))) == 200
