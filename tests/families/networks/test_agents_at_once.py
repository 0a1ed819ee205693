"""How many agents and members are computed side by side is a matter of speed."""

import re

import jax
import jax.numpy as jnp
import pytest

from fedjax_rl.families.networks.assembly import agents_map, members_at_once
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.federation.grouped import in_groups
from fedjax_rl.sweeps.plan import plan_of
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.space import space_of


def widest(agent_map, agents):
    """The most agents that a program has side by side: the largest axis of what it computes."""
    program = jax.make_jaxpr(agent_map(jnp.sin, in_axes=(0,)))(jnp.ones(agents))
    return max(map(int, re.findall(r"f32\[(\d+)\] = sin", str(program))))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"envs": 16}, 6),
        ({"envs": 32}, 4),
        ({"envs": 1024}, 2),
        ({"envs": 16, "agents_at_once": 6}, 6),
        ({"envs": 16, "agents_at_once": 100}, 12),
    ],
)
def test_so_many_fit_a_cache(settings, expected):
    assert widest(agents_map(DeepConfig(**settings)), 12) == expected


@pytest.mark.parametrize(
    ("envs", "agents", "members", "expected"),
    [
        (16, 2, 32, 4),  # four members of two agents with sixteen environments each are 128
        (16, 2, 1, 1),
        (16, 2, 7, 1),  # groups are even: what was left over would be compiled by itself
        (32, 1, 6, 3),
        (1024, 8, 32, 1),
    ],
)
def test_so_many_members_fit_it_with_all_their_agents(envs, agents, members, expected):
    assert members_at_once(DeepConfig(envs=envs), agents, members) == expected


def test_members_of_a_group_leave_less_room_for_agents():
    assert widest(agents_map(DeepConfig(envs=16), members=2), 12) == 4


@pytest.mark.parametrize("seeds", [1, 4])
def test_a_sweep_computes_its_members_in_groups(monkeypatch, seeds):
    """That they compute the same is tested beside `in_groups`."""
    asked = []

    def watched(size):
        asked.append(size)
        return in_groups(size)

    monkeypatch.setattr("fedjax_rl.training.members.in_groups", watched)
    grid = {"learning_rate": [0.001 * (1 + index) for index in range(8 // seeds)]}
    base = DeepConfig(envs=16, rounds=2, seeds=seeds)
    [(assembler, group)] = plan_of(
        SweepRequest("fedppo", base, space_of(DeepConfig, grid, {}, None), chunk=8)
    ).work
    group.program(assembler)
    assert asked == [2]


def test_an_accelerator_takes_all_at_once(monkeypatch):
    monkeypatch.setattr("fedjax_rl.families.networks.assembly.platform", lambda: "gpu")
    assert agents_map(DeepConfig(envs=1024)) is jax.vmap
    assert members_at_once(DeepConfig(envs=1024), 8, 32) == 32
