"""Problems by name, from files and from factories of one's own; and who watches what in them."""

from __future__ import annotations

import itertools
import random
import sys
import zipfile

import numpy as np
import pytest

from fedjax_rl.cmdp.model import from_arrays
from fedjax_rl.cmdp.problems import garnet, random_mdp, windy_cliff
from fedjax_rl.errors import InvalidInput, MissingExtra
from fedjax_rl.sources import problems as sources
from fedjax_rl.sources.problems import (
    load_problem,
    problem_from_cmdp,
    read_problem,
    save_problem,
)

pytestmark = pytest.mark.timeout(60)

FIELDS = ("transition", "reward", "costs", "budgets", "initial", "discount", "support")
KNOWN = "transition, reward, costs, budgets, initial, discount, constraint_names, access, support"


def assert_same(first, second):
    for name in FIELDS:
        ours, theirs = getattr(first, name), getattr(second, name)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes(), name
    assert first.constraint_names == second.constraint_names


def awkward_problem():
    """Three states, two actions, two constraints; thirds, tenths, a denormal and a minus zero."""
    transition = np.full((3, 2, 3), 1 / 3)
    transition[1, 0] = [0.1, 0.2, 0.7]
    return from_arrays(
        transition,
        [[0.1, -0.0], [5e-324, 1e300], [np.pi, -1 / 7]],
        np.arange(12.0).reshape(2, 3, 2) / 11,
        [1 / 3, 2.0],
        [0.1, 0.2, 0.7],
        0.99,
        support=[[True, False], [True, True], [False, True]],
        constraint_names=["dégât", "wear"],
    )


def arrays_of(problem, **changes):
    names = (*FIELDS, "constraint_names")
    arrays = {name: np.asarray(getattr(problem, name)) for name in names}
    arrays |= {name: np.asarray(value) for name, value in changes.items()}
    return {name: value for name, value in arrays.items() if value.shape != (0,)}


@pytest.fixture
def stored(tmp_path):
    """Writes an npz file of the awkward problem with some arrays replaced, and names it."""
    counter = itertools.count()

    def write(**changes):
        path = tmp_path / f"stored-{next(counter)}.npz"
        np.savez(path, **arrays_of(awkward_problem(), **changes))
        return str(path)

    return write


@pytest.fixture
def factories(tmp_path, monkeypatch):
    """A module of one's own on the path, that nothing imported before."""
    (tmp_path / "my_factories.py").write_text(
        """
from fedjax_rl.cmdp.problems import windy_cliff

SIZE = 3
TAKEN = []

def fixed():
    return windy_cliff(3)

def shared(agents=2, discount=0.5):
    return windy_cliff(agents, discount)

def anything(**settings):
    TAKEN.append(settings)
    return windy_cliff(2)

def nothing():
    return None
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_factories"
    sys.modules.pop("my_factories", None)


def message_of(function, *arguments, **settings):
    with pytest.raises(InvalidInput) as caught:
        function(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "factory"),
    [("windy-cliff", windy_cliff), ("random-mdp", random_mdp), ("garnet", garnet)],
)
def test_a_name_is_the_factory_of_that_name(name, factory):
    loaded = load_problem(name)
    assert loaded.name == name
    assert_same(loaded.cmdp, factory())
    np.testing.assert_array_equal(loaded.access, np.eye(4, dtype=bool))


def test_an_unknown_name_suggests_the_nearest():
    assert message_of(load_problem, "windycliff") == (
        "--problem: got 'windycliff'; did you mean 'windy-cliff'? "
        "known: admission-queue, cliff-walking, forest, frozen-lake, garnet, icu-sepsis, "
        "inventory, random-mdp, taxi, windy-cliff; or module:factory of your own"
    )
    assert "did you mean 'icu-sepsis'?" in message_of(load_problem, "sepsis")


def test_arguments_reach_the_factory():
    loaded = load_problem("garnet", arguments={"states": 6, "branching": 2, "seed": 3})
    assert_same(loaded.cmdp, garnet(states=6, branching=2, seed=3))


def test_a_factory_is_not_handed_the_callers_own_mapping():
    arguments = {"discount": 0.5}
    load_problem("windy-cliff", agents=3, arguments=arguments)
    assert arguments == {"discount": 0.5}


ARGUMENTS = {
    "unknown": ({"size": 3}, "--problem-args: got size; windy-cliff takes agents, discount"),
    "wrong": ({"agents": 7}, "agents: got 7; windy-cliff has room for 1 to 6 segments"),
    "wrong-type": (
        {"discount": "high"},
        "discount: got dtype <U4; real numbers in float64 are needed",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    assert message_of(load_problem, "windy-cliff", arguments=arguments) == message


def test_a_module_and_factory_is_as_good_as_a_name(factories):
    loaded = load_problem(f"{factories}:fixed")
    assert loaded.name == "my_factories:fixed"
    assert_same(loaded.cmdp, windy_cliff(3))


def test_a_factory_that_takes_anything_gets_it(factories):
    load_problem(f"{factories}:anything", arguments={"whatever": 1})
    assert sys.modules["my_factories"].TAKEN == [{"whatever": 1}]


FACTORIES = {
    "unknown-argument": (
        "my_factories:fixed",
        {"arguments": {"size": 3}},
        "--problem-args: got size; my_factories:fixed takes none",
    ),
    "type-error": (
        "my_factories:shared",
        {"arguments": {"agents": "two", "discount": {}}},
        "agents: got two; windy-cliff has room for 1 to 6 segments",
    ),
    "no-problem": (
        "my_factories:nothing",
        {},
        "--problem: got my_factories:nothing; a factory of a CMDP, not NoneType",
    ),
    "not-callable": (
        "my_factories:SIZE",
        {},
        "--problem: got 'my_factories:SIZE'; the factory must be callable",
    ),
    "no-attribute": (
        "my_factories:absent",
        {},
        "--problem: got 'my_factories:absent'; an importable module:factory "
        "(module 'my_factories' has no attribute 'absent')",
    ),
    "no-module": (
        "no_such_module:make",
        {},
        "--problem: got 'no_such_module:make'; an importable module:factory "
        "(No module named 'no_such_module')",
    ),
    "no-signature": (
        "builtins:dict",
        {},
        "--problem: got builtins:dict; a factory with a signature",
    ),
}


@pytest.mark.parametrize(("reference", "settings", "message"), FACTORIES.values(), ids=FACTORIES)
def test_a_factory_that_cannot_be_used_is_told(factories, reference, settings, message):
    assert message_of(load_problem, reference, **settings) == message


@pytest.mark.parametrize("reference", [":make", "my_factories:", ".relative:make", "a:b:c"])
def test_half_a_reference_is_told_in_one_line(factories, reference):
    start = f"--problem: got {reference!r}; an importable module:factory ("
    assert message_of(load_problem, reference).startswith(start)


def test_agents_are_constraints_of_a_generator(factories):
    for reference in ("windy-cliff", f"{factories}:shared"):
        loaded = load_problem(reference, agents=5)
        assert loaded.cmdp.num_constraints == 5
        np.testing.assert_array_equal(loaded.access, np.eye(5, dtype=bool))


def test_arguments_say_how_many_constraints_when_agents_are_to_share_them():
    loaded = load_problem("windy-cliff", agents=2, arguments={"agents": 3})
    assert loaded.cmdp.num_constraints == 3
    assert loaded.access.tolist() == [[True, False, True], [False, True, False]]


def test_a_generator_chooses_budgets_that_suit_the_discount(stored):
    assert_same(load_problem("garnet", discount=0.5).cmdp, garnet(discount=0.5))
    assert not np.allclose(garnet(discount=0.5).budgets, garnet().budgets)
    both = load_problem("garnet", arguments={"discount": 0.5}, discount=0.6).cmdp
    assert float(both.discount) == 0.6
    np.testing.assert_array_equal(both.budgets, garnet(discount=0.5).budgets)
    np.testing.assert_array_equal(
        load_problem(stored(), discount=0.5).cmdp.budgets, awkward_problem().budgets
    )


def test_agents_share_the_constraints_of_a_fixed_problem(factories, stored):
    for reference in (f"{factories}:fixed", stored(), "icu-sepsis"):
        alone = load_problem(reference)
        constraints = alone.cmdp.num_constraints
        np.testing.assert_array_equal(alone.access, np.eye(constraints, dtype=bool))
        one = load_problem(reference, agents=1)
        assert one.cmdp.num_constraints == constraints
        np.testing.assert_array_equal(one.access, np.ones((1, constraints), bool))
        crowd = load_problem(reference, agents=7)
        watched = crowd.access.argmax(1).tolist()
        assert watched == [agent % constraints for agent in range(7)]
        np.testing.assert_array_equal(crowd.access.sum(1), np.ones(7))


@pytest.mark.parametrize("agents", [0, -1, 2.5, True])
def test_agents_are_a_whole_number_whatever_the_problem(stored, agents):
    expected = f"--agents: got {agents}; a whole number of at least 1"
    assert message_of(load_problem, stored(), agents=agents) == expected
    assert message_of(problem_from_cmdp, awkward_problem(), agents=agents) == expected
    assert message_of(load_problem, "windy-cliff", agents=agents).startswith("agents: got ")


def test_budgets_and_discount_replace_the_problems_own(stored):
    for reference in ("windy-cliff", stored()):
        own = load_problem(reference, agents=2).cmdp
        other = load_problem(reference, agents=2, budgets=[5, 6.5], discount=0.25).cmdp
        assert (other.budgets.tolist(), float(other.discount)) == ([5.0, 6.5], 0.25)
        np.testing.assert_array_equal(other.costs, own.costs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"budgets": [1.0, 2.0, 3.0]},
            "--budgets: got shape (3,); expected [M], one per constraint = (4,)",
        ),
        ({"budgets": 2.0}, "--budgets: got shape (); an array of rank 1 [M] is needed"),
        ({"discount": 1.0}, "--discount: got 1; a number in [0, 1) is needed"),
    ],
)
def test_replacements_are_validated(settings, message):
    assert message_of(load_problem, "windy-cliff", **settings) == message


MATRIX = [[True, True, False, False], [False, True, True, True]]


def access_as(kind, directory):
    yaml_path, npz_path = directory / "access.yaml", directory / "access.npz"
    match kind:
        case "list":
            return [[int(entry) for entry in row] for row in MATRIX]
        case "array":
            return np.array(MATRIX)
        case "yaml-matrix":
            yaml_path.write_text("- [1, 1, 0, 0]\n- [false, true, true, true]\n")
            return str(yaml_path)
        case "yaml-names":
            yaml_path.write_text(
                "north: [segment-0, segment-1]\nsouth: [segment-3, segment-1, segment-2]\n"
            )
            return yaml_path
        case "npz":
            np.savez(npz_path, access=MATRIX, of="windy-cliff")
            return npz_path


@pytest.mark.parametrize("kind", ["list", "array", "yaml-matrix", "yaml-names", "npz"])
def test_access_may_be_written_in_many_ways(kind, tmp_path):
    access = access_as(kind, tmp_path)
    for loaded in (
        load_problem("windy-cliff", access=access),
        load_problem("windy-cliff", agents=2, arguments={"agents": 4}, access=access),
        problem_from_cmdp(windy_cliff(), access=access),
        problem_from_cmdp(windy_cliff(), agents=2, access=access),
    ):
        assert loaded.access.dtype == np.bool_
        assert loaded.access.tolist() == MATRIX


def test_an_agent_that_watches_one_constraint_need_not_list_it(tmp_path):
    path = tmp_path / "access.yml"
    path.write_text("south: segment-1\nnorth: segment-0\nauditor: []\n")
    loaded = load_problem("windy-cliff", arguments={"agents": 2}, access=path)
    assert loaded.access.tolist() == [[False, True], [True, False], [False, False]]


def test_access_in_a_file_holds_unless_another_is_given(stored):
    path = stored(access=[[1, 1], [0, 1], [1, 0]])
    assert load_problem(path).access.tolist() == [[True, True], [False, True], [True, False]]
    assert load_problem(path, agents=3).access.shape == (3, 2)
    assert load_problem(path, access=np.eye(2)).access.tolist() == [[True, False], [False, True]]


def test_agents_and_access_must_agree(stored):
    path = stored(access=[[1, 1], [0, 1], [1, 0]])
    assert message_of(load_problem, path, agents=2) == (
        "--agents: got 2; the access matrix has 3 rows; leave it out, or give --access"
    )
    assert message_of(load_problem, "windy-cliff", agents=3, access=np.ones((2, 3), bool)) == (
        "--agents: got 3; the access matrix has 2 rows; leave it out, or give --access"
    )
    assert message_of(problem_from_cmdp, awkward_problem(), agents=3, access=np.eye(2)) == (
        "--agents: got 3; the access matrix has 2 rows; leave it out, or give --access"
    )


YAML_REFUSALS = {
    "unknown-name": (
        "a: [segment-0]\nb: [segment-9]\n",
        "--access: got 'segment-9'; names of constraints: segment-0, segment-1",
    ),
    "no-name": ("a:\n", "--access: got None; names of constraints: segment-0, segment-1"),
    "unwatched": (
        "a: [segment-0]\n",
        "--access: got no agent that watches segment-1; every constraint needs at least one owner",
    ),
    "ragged": (
        "- [1, 1]\n- [1]\n",
        "--access: got a ragged list; a matrix [N, M] of booleans",
    ),
    "too-wide": (
        "- [1, 1, 1]\n",
        "--access: got int64 of shape (1, 3); a matrix [N, M] of booleans with M = 2 is needed",
    ),
    "empty": (
        "",
        "--access: got object of shape (); a matrix [N, M] of booleans with M = 2 is needed",
    ),
    "scalar": (
        "true",
        "--access: got bool of shape (); a matrix [N, M] of booleans with M = 2 is needed",
    ),
}


@pytest.mark.parametrize(("text", "message"), YAML_REFUSALS.values(), ids=YAML_REFUSALS)
def test_a_yaml_access_that_does_not_fit_is_told(tmp_path, text, message):
    path = tmp_path / "access.yaml"
    path.write_text(text)
    assert message_of(load_problem, "windy-cliff", agents=2, access=path) == message


def test_access_files_that_cannot_be_read_are_named(tmp_path):
    broken, binary, other = (tmp_path / name for name in ("b.yaml", "c.yaml", "d.npz"))
    broken.write_text("a: [segment-0\nb: ]]")
    binary.write_bytes(b"\xff\xfe\x00\x80")
    np.savez(other, matrix=np.eye(2))

    def message(path):
        return message_of(load_problem, "windy-cliff", agents=2, access=path)

    absent = tmp_path / "absent.yaml"
    assert message(broken).startswith(f"--access: got {broken}; valid YAML (")
    wide = "a readable YAML file in UTF-8; it is UTF-16"
    assert message(binary) == f"--access: got {binary}; {wide}"
    assert message(absent) == f"--access: got {absent}; a readable YAML file"
    assert message(tmp_path) == f"--access: got {tmp_path}; a readable YAML file"
    assert message(other) == f"--access: got {other}; array 'access' is missing"
    gone = tmp_path / "gone.npz"
    assert message(gone) == f"--access: got {gone}; no such file"


@pytest.mark.parametrize("access", [None, [[1, 0], [1, 1], [0, 0]]])
def test_a_saved_problem_is_read_back_bit_for_bit(tmp_path, access):
    problem = awkward_problem()
    save_problem(tmp_path / "problem.npz", problem, access)
    again, watched = read_problem(tmp_path / "problem.npz")
    assert_same(again, problem)
    assert again.constraint_names == ("dégât", "wear")
    assert np.signbit(again.reward[0, 1])
    if access is None:
        assert watched is None
    else:
        assert watched.dtype == np.bool_
        assert watched.tolist() == [[True, False], [True, True], [False, False]]
    assert [path.name for path in tmp_path.iterdir()] == ["problem.npz"]


def test_support_names_and_access_are_optional_in_a_file(stored):
    loaded = load_problem(stored(support=[], constraint_names=[]))
    assert loaded.cmdp.support.all()
    assert loaded.cmdp.constraint_names == ("constraint-0", "constraint-1")
    np.testing.assert_array_equal(loaded.cmdp.transition, awkward_problem().transition)


def test_saving_refuses_what_could_not_be_read_back(tmp_path):
    problem = awkward_problem()
    assert message_of(save_problem, tmp_path / "problem.npy", problem) == (
        f"path: got {tmp_path / 'problem.npy'}; a file name that ends in .npz"
    )
    assert message_of(save_problem, tmp_path / "problem.npz", problem, [[1, 0]]) == (
        "access: got no agent that watches wear; every constraint needs at least one owner"
    )
    nowhere = tmp_path / "absent" / "problem.npz"
    assert message_of(save_problem, nowhere, problem) == (
        f"path: got {nowhere}; a writable place (No such file or directory)"
    )
    assert list(tmp_path.iterdir()) == []


ARRAY_REFUSALS = {
    "float32": (
        {"reward": np.zeros((3, 2), np.float32)},
        "reward: got dtype float32; float64 is needed: finite problems are exact to 1e-12, "
        "build the array in float64",
    ),
    "nan": (
        {"budgets": [1.0, np.nan]},
        "budgets: got nan at index (1,); finite numbers are needed",
    ),
    "shape": (
        {"initial": [0.5, 0.5]},
        "initial: got shape (2,); expected [S] = (3,)",
    ),
    "one-name": (
        {"constraint_names": "wear"},
        "constraint_names: got array('wear', dtype='<U4'); a list of 2 names is needed",
    ),
    "access": (
        {"access": np.eye(3)},
        "access: got float64 of shape (3, 3); a matrix [N, M] of booleans with M = 2 is needed",
    ),
}


@pytest.mark.parametrize(("changes", "message"), ARRAY_REFUSALS.values(), ids=ARRAY_REFUSALS)
def test_arrays_in_a_file_are_validated(stored, changes, message):
    assert message_of(load_problem, stored(**changes)) == message


def test_a_missing_array_is_named_beside_those_that_are_there(stored):
    path = stored(budgets=[], support=[])
    assert message_of(load_problem, path) == (
        f"--problem: got {path}; array 'budgets' is missing; "
        "it has constraint_names, costs, discount, initial, reward, transition"
    )


def test_an_array_too_many_is_named(stored):
    path = stored(rewards=np.zeros((3, 2)))
    assert message_of(load_problem, path) == (
        f"--problem: got {path}; array 'rewards' is not one of {KNOWN}"
    )


def test_a_file_takes_no_arguments(stored):
    assert message_of(load_problem, stored(), arguments={"states": 3}) == (
        "--problem-args: got states; a file takes no arguments"
    )


def test_no_such_file(tmp_path):
    path = tmp_path / "absent.npz"
    assert message_of(load_problem, str(path)) == f"--problem: got {path}; no such file"


def unreadable_file(kind, path):
    content = path.with_suffix(".whole")
    save_problem(path, awkward_problem())
    path.rename(content)
    whole = content.read_bytes()
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("transition: [[1.0]]")
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "damaged":
            name_length, extra_length = (
                int.from_bytes(whole[at : at + 2], "little") for at in (26, 28)
            )
            begin = 30 + name_length + extra_length
            path.write_bytes(whole[:begin] + b"\xff" * 8 + whole[begin + 8 :])
        case "single-array":
            with path.open("wb") as file:
                np.save(file, np.zeros((3, 2)))
        case "objects":
            np.savez(path, transition=np.array([None, 1], object))
        case "unknown-compression":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("transition.npy", b"")
            path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x02\xff\xff\xff"))
        case "directory":
            path.mkdir()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "No data left in file"),
        ("text", "pickled"),
        ("truncated", "not a zip file"),
        ("damaged", "decompressing"),
        ("single-array", "a single array"),
        ("objects", "Object arrays cannot be loaded"),
        ("unknown-compression", ""),
        ("directory", "Is a directory"),
    ],
)
def test_a_file_that_is_no_whole_npz_file_is_told(tmp_path, kind, reason):
    path = tmp_path / "problem.npz"
    unreadable_file(kind, path)
    message = message_of(load_problem, str(path))
    start, _, explanation = message.partition(" (")
    assert start == f"--problem: got {path}; a readable npz file of plain arrays"
    assert reason in explanation


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_is_told_or_harmless(tmp_path, seed):
    """Fifty files with one to four bytes overwritten: an error of ours, or the same problem."""
    path = tmp_path / "problem.npz"
    problem = awkward_problem()
    save_problem(path, problem)
    whole, rng, refusals = path.read_bytes(), random.Random(seed), 0
    for _ in range(50):
        damaged = bytearray(whole)
        for index in rng.sample(range(len(whole)), rng.randint(1, 4)):
            damaged[index] ^= rng.randint(1, 255)
        path.write_bytes(damaged)
        try:
            again, _ = read_problem(path)
        except InvalidInput as error:
            assert "\n" not in str(error)
            refusals += 1
            continue
        for name in FIELDS:
            if name != "support" or "support.npy" in zipfile.ZipFile(path).namelist():
                assert getattr(again, name).tobytes() == getattr(problem, name).tobytes()
    assert refusals > 25


def test_nothing_in_a_file_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (sys.exit, ("unpickled",))

    path = tmp_path / "problem.npz"
    np.savez(path, transition=np.array([Bomb()], object))
    assert "Object arrays cannot be loaded" in message_of(load_problem, str(path))


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    for load in (lambda: load_problem("icu-sepsis"), sources.clinicians_policy):
        with pytest.raises(MissingExtra) as caught:
            load()
        assert str(caught.value) == (
            "--problem icu-sepsis: got no installed package 'icu-sepsis'; "
            "install it with: pip install 'fedjax_rl[icu]'"
        )
