"""Files of problems as other programs write them, and hints that know the current folder."""

import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.sources.problems import load_problem, save_problem
from fedjax_rl.sources.tasks import load_task
from tests import support
from tests.sources.test_problems import message_of

pytestmark = pytest.mark.timeout(60)
CMDP = support.random_problem(0)


def arrays(**changes):
    names = ("transition", "reward", "costs", "budgets", "initial", "discount", "support")
    return {name: getattr(CMDP, name) for name in names} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {name: np.asarray(getattr(CMDP, name), ">f8") for name in ("transition", "discount")},
        {"support": np.asarray(CMDP.support, np.int64)},
        {"support": np.asarray(CMDP.support, ">u2")},
        {"constraint_names": np.array([name.encode() for name in CMDP.constraint_names])},
    ],
    ids=["byte order", "0 and 1", "0 and 1 of two bytes", "bytes"],
)
def test_what_other_programs_write_is_the_same_problem(tmp_path, changes):
    names = {"constraint_names": CMDP.constraint_names}
    np.savez(tmp_path / "p.npz", **arrays(**names | changes))
    found = load_problem(str(tmp_path / "p.npz")).cmdp
    for name, value in arrays().items():
        mine = getattr(found, name)
        np.testing.assert_array_equal(mine, value)
        assert mine.dtype == value.dtype and mine.dtype.isnative
    assert found.constraint_names == CMDP.constraint_names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"support": np.asarray(CMDP.support, float)}, "support: got float64 of shape"),
        ({"support": 2 * np.asarray(CMDP.support, int)}, "support: got int64 of shape"),
        ({"transition": CMDP.transition.astype(">f4")}, "transition: got dtype >f4; float64"),
        ({"constraint_names": np.array([b"\xff"] * CMDP.num_constraints)}, "names in UTF-8"),
    ],
)
def test_what_is_something_else_is_still_refused(tmp_path, changes, message):
    np.savez(tmp_path / "p.npz", **arrays(**changes))
    assert message in message_of(load_problem, str(tmp_path / "p.npz"))


def test_endings_in_capitals(tmp_path):
    save_problem(tmp_path / "P.NPZ", CMDP)
    assert load_problem(str(tmp_path / "P.NPZ")).cmdp.num_constraints == CMDP.num_constraints
    assert load_task(str(tmp_path / "P.NPZ")).problem is not None
    with (tmp_path / "A.NPZ").open("wb") as file:
        np.savez(file, access=np.eye(CMDP.num_constraints))
    access = load_problem(str(tmp_path / "P.NPZ"), access=tmp_path / "A.NPZ").access
    np.testing.assert_array_equal(access, np.eye(CMDP.num_constraints))


@pytest.mark.parametrize("load", [load_problem, load_task])
@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("wards", "wards.npz"),
        ("ward.npz", "wards.npz"),
        ("my_factory_file", "my_factory_file:one_room"),
        ("one_rom", "my_factory_file:one_room"),
        ("windy-clif", "windy-cliff"),
    ],
)
def test_hints_know_files_and_factories(tmp_path, monkeypatch, load, reference, meant):
    monkeypatch.chdir(tmp_path)
    save_problem(tmp_path / "wards.npz", CMDP)
    (tmp_path / "my_factory_file.py").write_text("def _own(): ...\ndef one_room(size=3): ...\n")
    (tmp_path / "broken.py").write_text("def (\n")
    if load is load_task and meant == "windy-cliff":
        meant = None  # whose tasks are called otherwise
    with pytest.raises(InvalidInput) as caught:
        load(reference)
    message = str(caught.value)
    assert "\n" not in message and (meant is None or f"did you mean {meant!r}? " in message), (
        message
    )
