"""What is swept: lists, laws, their product, and what is refused."""

import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.sweeps.space import entries, listed, space_of

pytestmark = pytest.mark.timeout(60)


def combinations_of(grid=None, random=None, samples=None, config=FedNPGConfig, **options):
    space = space_of(config, grid or {}, random or {}, samples, **options)
    return list(space.combinations(config))


def test_lists_multiply_in_their_order():
    grid = {"step-size": listed("step_size", "1e-3,auto"), "local_steps": [1, 5, 5]}
    assert combinations_of(grid) == [
        {"step_size": 0.001, "local_steps": 1},
        {"step_size": 0.001, "local_steps": 5},
        {"step_size": "auto", "local_steps": 1},
        {"step_size": "auto", "local_steps": 5},
    ]


def test_every_combination_has_every_sample():
    random = {"dual_step_size": "loguniform:1e-4:1e-1", "learner": "choice:npg|crpo"}
    found = combinations_of({"local_steps": [1, 5]}, random, 50)
    assert len(found) == 100
    draws = [one["dual_step_size"] for one in found]
    assert draws[:50] == draws[50:] and len(set(draws)) == 50
    assert 1e-4 < min(draws) < 3e-4 and 3e-2 < max(draws) < 1e-1
    assert 0.3 < np.mean(np.array(draws[:50]) < 10**-2.5) < 0.7, "half below the geometric middle"
    assert {one["learner"] for one in found} == {"npg", "crpo"}


def test_draws_depend_on_the_seed_and_the_own_name_alone():
    law = {"multiplier_cap": "uniform:1:3"}
    alone = [one["multiplier_cap"] for one in combinations_of(random=law, samples=4)]
    more = combinations_of({"rounds": [5]}, {"step_size": "uniform:0:1", **law}, 4)
    assert [one["multiplier_cap"] for one in more] == alone
    assert alone != [one["step_size"] + 1 for one in more]
    other = combinations_of(random=law, samples=4, sample_seed=1)
    assert [one["multiplier_cap"] for one in other] != alone


def test_values_are_of_their_settings_type():
    grid = {
        "hidden": listed("hidden", "[64,64],[32]"),
        "kl_limit": listed("kl_limit", "none,0.1"),
        "standardize": listed("standardize", "true,false"),
        "problem_args": listed("problem_args", "[a=1,b=2],[]"),
    }
    first, *_, last = combinations_of(grid, config=DeepConfig)
    assert first == {
        **{"hidden": (64, 64), "kl_limit": "none", "standardize": True},
        "problem_args": ("a=1", "b=2"),
    }
    assert last == {
        **{"hidden": (32,), "kl_limit": 0.1, "standardize": False, "problem_args": ()},
    }
    for values in combinations_of(grid, config=DeepConfig):
        DeepConfig(**values)


@pytest.mark.parametrize(
    ("grid", "random", "samples", "message"),
    [
        ({"stepsize": [1]}, {}, None, "--grid: got 'stepsize'; did you mean 'step_size'"),
        ({"seed": [1]}, {}, None, "--seeds K"),
        ({"local_steps": [1.5]}, {}, None, "1.5 for --local-steps; a whole number"),
        (
            {"step-size": [1.0], "step_size": [2.0]},
            {},
            None,
            "--grid: got 'step_size'; step_size once",
        ),
        ({}, {"step_size": "uniform:0:1", "step_sizes": "uniform:0:1"}, 2, "did you mean"),
        (
            {},
            {"step_size": "uniform:0:1", "step-size": "uniform:0:1"},
            2,
            "--random: got 'step-size'; step_size once",
        ),
        ({"local_steps": ["many"]}, {}, None, "many for --local-steps; a whole number"),
        ({"local_steps": [True]}, {}, None, "True for --local-steps; a whole number"),
        (
            {"step_size": ["automatic"]},
            {},
            None,
            "automatic for --step-size; auto or a positive number",
        ),
        ({"reference": ["none"]}, {}, None, "one of fed, omniscient, no-communication"),
        ({"budgets": [3]}, {}, None, "3 for --budgets; a list of values"),
        ({"local_steps": []}, {}, None, "a list of at least one value"),
        ({"local_steps": 3}, {}, None, "a list of at least one value"),
        ({}, {}, None, "--grid: got nothing"),
        ({}, {"step_size": "uniform:0:1"}, None, "--samples: got none"),
        ({"rounds": [1]}, {}, 3, "--samples: got 3; only with --random"),
        ({}, {"step_size": "uniform:0:1"}, 0, "--samples: got 0"),
        ({}, {"step_size": "gaussian:0:1"}, 2, "gaussian:0:1'; NAME=loguniform:LOW:HIGH"),
        ({}, {"step_size": "uniform:0"}, 2, "uniform:0'; NAME=loguniform:LOW:HIGH"),
        ({}, {"step_size": "uniform:2:1"}, 2, "LOW below HIGH"),
        ({}, {"step_size": "loguniform:0:1"}, 2, "a positive LOW"),
        ({}, {"learner": "choice:npg||crpo"}, 2, "choice:npg..crpo'; NAME="),
        ({}, {"local_steps": "uniform:1:9"}, 2, "for --local-steps; a whole number"),
        ({"step_size": [0.1]}, {"step_size": "uniform:0:1"}, 2, "not in --grid as well"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(grid, random, samples, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        space_of(FedNPGConfig, grid, random, samples)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["1,,2", "1,", ",", "[1,2", "{", "a: b: c"])
def test_malformed_lists_are_refused(text):
    with pytest.raises(InvalidInput, match=r"--grid: got 'step_size=.*no empty entry"):
        listed("step_size", text)


def test_entries_are_name_and_values():
    assert entries("--grid", ["step-size=1,2", "merge=a=b"]) == {
        **{"step_size": "1,2", "merge": "a=b"},
    }
    for texts, message in ((["step_size"], "NAME="), (["=1"], "NAME="), (["a=1", "a=2"], "a once")):
        with pytest.raises(InvalidInput, match=f"--grid: .*{message}"):
            entries("--grid", texts)
