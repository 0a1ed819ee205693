"""How many agents are simulated side by side is a matter of speed."""

import re

import jax
import jax.numpy as jnp
import pytest

from fedjax_rl.families.networks.assembly import agents_map
from fedjax_rl.families.networks.config import DeepConfig


def widest(agent_map, agents):
    """The most agents that a program has side by side: the largest axis of what it computes."""
    program = jax.make_jaxpr(agent_map(jnp.sin, in_axes=(0,)))(jnp.ones(agents))
    return max(map(int, re.findall(r"f32\[(\d+)\] = sin", str(program))))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"envs": 16}, 8),
        ({"envs": 32}, 4),
        ({"envs": 1024}, 2),
        ({"envs": 16, "seeds": 2}, 4),
        ({"envs": 16, "agents_at_once": 6}, 6),
        ({"envs": 16, "agents_at_once": 100}, 12),
    ],
)
def test_so_many_fit_a_cache(settings, expected):
    assert widest(agents_map(DeepConfig(**settings)), 12) == expected


def test_an_accelerator_takes_all_at_once(monkeypatch):
    monkeypatch.setattr("fedjax_rl.families.networks.assembly.platform", lambda: "gpu")
    assert agents_map(DeepConfig(envs=1024)) is jax.vmap
