"""Text becomes values by the core rules of YAML 1.2, and the text of values is read back."""

import math

import pytest
import yaml

from fedjax_rl.errors import InvalidInput
from fedjax_rl.settings.values import UNREADABLE, dump, named_values, number, parse

pytestmark = pytest.mark.timeout(30)

SAME = {
    **{"1e-3": 1e-3, "9e-1": 0.9, "28e0": 28.0, "1e0": 1.0, "1E+3": 1e3, "-2e-5": -2e-5},
    **{".5": 0.5, "5.": 5.0, "+1.5": 1.5, "1.": 1.0, "0.0": 0.0, "1.5e3": 1500.0},
    **{"010": 10, "-7": -7, "+7": 7, "0o10": 8, "0x1F": 31, "0": 0, "00": 0},
    **{"true": True, "False": False, "TRUE": True, "null": None, "~": None, "": None},
    **{word: word for word in ("yes", "no", "on", "off", "y", "n", "Yes", "NO", "tRue", "nULL")},
    **{word: word for word in ("2024-01-02", "12:30", "1_000", "0b11", "1e", "e1", ".", "-", "=")},
    **{word: word for word in ("inf", "nan", "1.2.3", "0o8", "0xG", "+-1", "a b", "<<")},
    **{"'1e-3'": "1e-3", '"010"': "010", "[1e0, no]": [1.0, "no"], "{a: 1e1}": {"a": 10.0}},
}


@pytest.mark.parametrize("text", SAME)
def test_core_rules(text):
    if text == "-":
        return  # the start of a list, which is no scalar
    found = parse(text)
    assert found == SAME[text] and type(found) is type(SAME[text])


def test_what_is_not_finite():
    assert parse(".inf") == math.inf and parse("-.INF") == -math.inf
    assert math.isnan(parse(".NaN"))
    assert parse("-.nan") == "-.nan"


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "{b: 1, b: 2}", "c:\n  - {d: 1, 'd': 1}"])
def test_a_key_is_given_once(text):
    with pytest.raises(yaml.YAMLError, match="given twice, in line"):
        parse(text)


@pytest.mark.parametrize(
    "value", [*SAME, *SAME.values(), 1e-5, 1e300, 12345, [()], {"1e-3": "1e5"}]
)
def test_what_is_written_is_read_back(value):
    document = {"key": value, "list": [value, value]}
    text = dump(document)
    plain = [[]] if value == [()] else value
    assert parse(text) == {"key": plain, "list": [plain, plain]}
    assert parse(dump(document, ascii_only=True)) == parse(text)


@pytest.mark.parametrize("word", ["1e5", "12e7", "no", "2024-01-02", "010", "0o7", "1_000", "~"])
def test_words_are_words_to_readers_of_either_version(word):
    assert parse(dump([word])) == yaml.safe_load(dump([word])) == [word]


def test_lists_that_are_there_twice_are_written_twice():
    shared = (1, 2)
    assert "&" not in dump({"a": shared, "b": shared})


def test_entries():
    read = named_values("--problem-args", ("discount=9e-1", "budget-fraction=7e-1", "n=010", "a="))
    assert read == {"discount": 0.9, "budget_fraction": 0.7, "n": 10, "a": None}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (("a",), "--problem-args: got 'a'; NAME=VALUE"),
        (("=1",), "--problem-args: got '=1'; NAME=VALUE"),
        ((3,), "--problem-args: got 3; NAME=VALUE"),
        (("x=[1",), "--problem-args: got 'x=[1'; a VALUE that reads as YAML"),
        (("a=1", "a=1"), "--problem-args: got 'a=1'; a once; it is also 'a=1'"),
        (("a={b: 1, b: 2}",), "--problem-args: got 'a={b: 1, b: 2}'; a VALUE that reads as YAML"),
    ],
)
def test_entries_that_make_no_sense(entries, message):
    with pytest.raises(InvalidInput) as caught:
        named_values("--problem-args", entries)
    assert str(caught.value) == message


def test_numbers():
    assert number("1e0") == 1.0 and type(number("3")) is float
    for text in ("inf", ".inf", "true", "", "x", "[1]", "9" * 5000, "'1'"):
        with pytest.raises(UNREADABLE):
            number(text)
