"""Every setting of every type: what Python, NumPy and JAX hand over becomes one plain value."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.checks import Rule
from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.settings.fields import PROBLEM, START, TRACED, declared, names, static_names

pytestmark = pytest.mark.timeout(60)

KINDS = (FedNPGConfig, DeepConfig, HeteroConfig, CheckpointSettings)
SETTINGS = [(kind, field.name) for kind in KINDS for field in dataclasses.fields(kind)]
SAMPLES = {
    "access": "who.yaml",
    "agents": 3,
    "agents_at_once": 2,
    "budgets": (1.0, 2.5),
    "checkpoint_every": 5,
    "discount": 0.5,
    "dual_step_size": 0.25,
    "kl_limit": 0.5,
    "learning_rate": 0.125,
    "merge_weights": (1.0, 2.0),
    "multiplier_cap": 4.0,
    "pacing": 3,
    "participants": 2,
    "problem_args": ("states=20",),
    "step_size": 0.5,
    "task_args": ("length=4",),
    "vary": ("gain=1,2",),
}
"""Values of settings whose default is empty, or a word in place of a number."""


def sample(kind, name):
    return SAMPLES.get(name, getattr(kind(), name))


def named(case):
    return f"{case[0].__name__}-{case[1]}"


def in_numpy(value):
    """The value as NumPy has it; texts as an array of its own, too."""
    return np.array(value) if isinstance(value, tuple) else np.array([value])[0]


def company_of(kind, name):
    """Settings without which that one has no effect."""
    firsts = {other: values[0] for other, values in declared(kind)[name].company}
    return {other: 5 if isinstance(one, Rule) else one for other, one in firsts.items()}


def versions(value):
    """What else should mean the same."""
    yield in_numpy(value)
    yield np.array(value)
    if isinstance(value, tuple):
        yield list(value)
    if isinstance(value, str):
        yield value.encode()
        yield Path(value)
    if isinstance(value, float):
        yield np.longdouble(value)
    if isinstance(value, bool | int):
        yield jnp.asarray(value)
    if isinstance(value, int) and not isinstance(value, bool):
        yield from (np.uint8(value % 256), np.int64(value % 256))[: 2 * (value < 256)]
    if isinstance(value, tuple) and value and isinstance(value[0], int):
        yield jnp.asarray(value)


def nested_types(value):
    return type(value), *(map(type, value) if isinstance(value, tuple) else ())


@pytest.mark.parametrize("case", SETTINGS, ids=named)
def test_scalars_arrays_and_paths_are_plain_values(case):
    kind, name = case
    value = sample(kind, name)
    for version in versions(value):
        found = getattr(kind(**{name: version}, **company_of(kind, name)), name)
        assert found == value and nested_types(found) == nested_types(value), repr(version)


@pytest.mark.parametrize("case", SETTINGS, ids=named)
def test_single_precision_is_the_number_it_stands_for(case):
    kind, name = case
    value = sample(kind, name)
    if isinstance(value, float):
        for scalar in (np.float32(value), jnp.float32(value), np.array(value, np.float32)):
            found = getattr(kind(**{name: scalar}, **company_of(kind, name)), name)
            assert type(found) is float and found == float(np.float32(value))
        whole = 0 if declared(kind)[name].rule.holds(0) else 1
        if declared(kind)[name].rule.holds(whole):  # some hold of neither 0 nor 1
            found = getattr(kind(**{name: whole}, **company_of(kind, name)), name)
            assert type(found) is float and found == whole


class Something:
    """An object that is no value of any setting, on two lines."""

    def __repr__(self):
        return "an\nobject"


LESS = -1.5  # of which a budget may be
WRONG = (
    *({}, {"a": 1}, set(), 1j, Something(), np.array(1j), b"\xff", object, np.zeros((2, 2))),
    *(np.array("NaT", "datetime64[s]"), np.array([None]), lambda: 1),
)
WRONG_BY_KIND = {
    bool: (0, 1, "yes", "true", None, np.int64(1), 1.0),
    int: (True, np.True_, "1", 1.5, -1, np.float64(2.0), 2**31, 10**400, float("nan"), [1]),
    float: (True, np.True_, "0.1", "fast", LESS, float("nan"), np.inf, jnp.nan, 10**400, [0.5]),
    str: (1, 0.5, True, "", [1], np.array(["a", "b"])),
}


@pytest.mark.parametrize("case", SETTINGS, ids=named)
def test_what_does_not_fit_is_one_line_under_its_flag(case):
    kind, name = case
    one = declared(kind)[name]
    wrong = [*WRONG, *WRONG_BY_KIND.get(None if one.many else one.kind, ("nope", 1, ["pid"]))]
    wrong += [] if one.optional else [None]
    if one.many:
        wrong = [w for w in wrong if not isinstance(w, list)]
        each = [
            value for value in WRONG_BY_KIND[one.kind] if name != "budgets" or value is not LESS
        ]
        wrong += [0, "a", True, *([value] for value in each)]
    for value in wrong:
        with pytest.raises(InvalidInput) as caught:
            kind(**{name: value})
        message = str(caught.value)
        assert (
            message.startswith(f"{flag(name)}: got ") and "\n" not in message and len(message) < 400
        )
        assert caught.value.allowed


def test_words_in_place_of_numbers():
    assert FedNPGConfig(step_size=np.array("auto")).step_size == "auto"
    with pytest.raises(InvalidInput) as caught:
        FedNPGConfig(step_size="automatic")
    assert str(caught.value) == "--step-size: got automatic; auto or a positive number"
    with pytest.raises(
        InvalidInput, match="--duals: got 'pod'; one of multiplicative, pid, gradient, crpo"
    ):
        DeepConfig(duals="pod")


def test_a_name_is_given_once():
    for kind, name in ((FedNPGConfig, "problem_args"), (HeteroConfig, "task_args")):
        with pytest.raises(InvalidInput) as caught:
            kind(**{name: ("kind-of=1", "b=2", "kind_of=3")})
        allowed = "kind_of once; it is also 'kind-of=1'"
        assert str(caught.value) == f"{flag(name)}: got 'kind_of=3'; {allowed}"
    with pytest.raises(InvalidInput, match="--vary: got 'gain=2'; gain once"):
        DeepConfig(vary=("gain=1", "gain=2"))


def test_no_layer_at_all():
    with pytest.raises(InvalidInput, match="--hidden: got nothing; the width of at least one"):
        DeepConfig(hidden=())


def test_marks_are_read_from_annotations():
    assert names(HeteroConfig, PROBLEM) == ("task", "task_args", "latency")
    assert names(HeteroConfig, START)[-2:] == ("dtype", "warm_start")
    assert {"step_size", "seed"} <= {*names(FedNPGConfig, TRACED)}
    for kind in KINDS:
        every = {field.name for field in dataclasses.fields(kind)}
        assert {*names(kind, TRACED)} ^ {*static_names(kind)} == every


def test_settings_are_hashable_whatever_they_were_made_from():
    config = DeepConfig(hidden=np.array([8, 8]), budgets=jnp.ones(2))
    assert config == DeepConfig(hidden=(8, 8), budgets=(1.0, 1.0))
    assert hash(config) == hash(DeepConfig(hidden=[8, 8], budgets=[1, 1]))


def test_a_setting_without_effect_is_refused_unless_it_is_at_its_default():
    assert FedNPGConfig(rollouts=10).rollouts == 10
    with pytest.raises(InvalidInput) as refused:
        FedNPGConfig(rollouts=3)
    assert str(refused.value) == "--rollouts: got 3; only with --evaluation sampled; else 10"
    with pytest.raises(
        InvalidInput, match="only with --duals multiplicative or pid or gradient; else auto"
    ):
        DeepConfig(duals="crpo", multiplier_cap=0.5)


def test_what_a_setting_needs_is_a_value_of_another():
    for kind in KINDS:
        for name, annotation in declared(kind).items():
            for other, values in annotation.company:
                needed = declared(kind)[other]
                if isinstance(values[0], Rule):
                    assert len(values) == 1 and values[0].whole == (needed.kind is int), name
                else:
                    assert values and set(values) < {*needed.choices}, name
                # What a setting needs may need others, which are asked first.
                assert [*declared(kind)].index(other) < [*declared(kind)].index(name) or (
                    not needed.company
                ), name
