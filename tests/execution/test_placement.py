"""Eight devices compute what one computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.placement import ONE_DEVICE, on_host, placement_of

FOREMOST = """
import dataclasses
import jax, numpy as np
from fedjax_rl.cluster.devices import DeviceSettings
assert len(jax.devices()) == 8

def equal(run, prepare, shard, tolerance):
    alone, spread = run(prepare()), run(prepare(devices=DeviceSettings("all", shard)))
    assert set(alone) == set(spread)
    for name in alone:
        np.testing.assert_allclose(
            spread[name], alone[name], rtol=tolerance, atol=tolerance, err_msg=name
        )

def leaves(tree):
    return {f"leaf {n}": np.asarray(leaf) for n, leaf in enumerate(jax.tree.leaves(tree))}
"""

FEDNPG = (
    FOREMOST
    + """
from functools import partial
from fedjax_rl.families.tabular.assembly import prepare
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.training import run as run_finite

def run(prepared):
    result = run_finite(prepared)
    kept = {name: value for name, value in result.outcome._asdict().items() if value is not None}
    return result.history | kept

for shard, settings in [
    ("agents", {"agents": 8}),
    ("agents", {"agents": 9, "local_steps": 3, "participants": 3}),
    ("agents", {"agents": 8, "reference": "no-communication"}),
    ("agents", {"agents": 4, "seeds": 2, "correction": "control-variate"}),
    ("members", {"seeds": 8, "evaluation": "sampled", "rollouts": 2}),
    ("members", {"seeds": 3}),
]:
    config = FedNPGConfig(problem="random-mdp", rounds=20, **settings)
    equal(run, partial(prepare, config), shard, 1e-12)
print("equal")
"""
)

FEDPPO = (
    FOREMOST
    + """
from functools import partial
from fedjax_rl.families.networks.assembly import prepare
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.networks.training import run as run_deep

def run(prepared):
    result = run_deep(prepared)
    return result.history | leaves(result.policy)

config = DeepConfig(
    problem="cartpole-pos2", envs=4, rollout=8, rounds=3, hidden=(4,), minibatches=1, epochs=1,
    episodes=100, evaluate_every=3, vary=("length=0.3,0.7",), **{settings!r},
)
equal(run, partial(prepare, "fedppo", config), {shard!r}, 1e-5)
print("equal")
"""
)

GEPO = (
    FOREMOST
    + """
from functools import partial
from fedjax_rl.families.stale.assembly import prepare
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.training import run as run_stale

def run(prepared):
    (cell,) = run_stale(prepared).cells
    return cell.values | leaves(cell.parameters)

config = HeteroConfig(
    task_args=("length=3", "modulus=3"), steps=3, prompts=2, group_size=3, seeds=10, held_out=16,
    on_policy=2, warm_start=0.0, evaluate_every=3,
)
equal(run, partial(prepare, "gepo", config), "members", 1e-5)
print("equal")
"""
)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(FEDNPG, id="fednpg"),
        pytest.param(
            FEDPPO.replace("{settings!r}", "{}").replace("{shard!r}", "'agents'"), id="fedppo"
        ),
        pytest.param(
            FEDPPO.replace("{settings!r}", "{'seeds': 3}").replace("{shard!r}", "'members'"),
            id="fedppo-members",
        ),
        pytest.param(GEPO, id="gepo"),
    ],
)
def test_eight_devices_equal_one(source, run_python):
    finished = run_python(source, devices=8, timeout=280, compiled_quickly=True)
    assert finished.stdout.strip() == "equal", finished.stderr


MERGE = """
import jax, re
from fedjax_rl.execution.train import _run_rounds
from fedjax_rl.precision import precision
from fedjax_rl.families.tabular.assembly import prepare
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.cluster.devices import DeviceSettings
import numpy as np
config = FedNPGConfig(problem="random-mdp", agents=8, rounds=9)
prepared = prepare(config, devices=DeviceSettings("all", "agents"))
algorithm, key = prepared.algorithm, jax.random.key(0)
with precision(True):
    state = jax.jit(algorithm.init)(key, prepared.hparams)
    compiled = _run_rounds.lower(
        algorithm, 4, guarded=False, key=key, span=np.array((1, 4)), state=state,
        failed=np.full((), -1), hparams=jax.device_put(prepared.hparams),
    ).compile()
print(" ".join(sorted(set(re.findall(r"(all-[a-z]+|collective-[a-z]+)\\\\(", compiled.as_text())))))
agents = jax.sharding.PartitionSpec("agents")
print({leaf.sharding.spec == agents for leaf in jax.tree.leaves(state.federation.local)})
"""


def test_the_merge_is_an_all_reduce_and_nothing_else_crosses(run_python):
    finished = run_python(MERGE.replace("\\\\", "\\"), devices=8)
    assert finished.stdout.split("\n")[:2] == ["all-reduce", "{True}"], finished.stderr


def test_what_cannot_be_placed_is_refused():
    here = len(jax.devices())
    with pytest.raises(InvalidInput, match=f"--devices: got {here + 1}; all, or 1"):
        placement_of(jax.devices(), here + 1, "auto", 2, 1)
    with pytest.raises(InvalidInput, match="--devices: got 0; all, or 1"):
        placement_of(jax.devices(), 0, "auto", 2, 1)
    with pytest.raises(InvalidInput, match="--shard: got 'hosts'; one of auto, agents, members"):
        placement_of(jax.devices(), 1, "hosts", 2, 1)


def test_one_device_needs_no_mesh():
    assert placement_of(jax.devices(), 1, "auto", 8, 8) == ONE_DEVICE
    assert ONE_DEVICE.map_of("agents") is jax.vmap
    assert ONE_DEVICE.description == "one device"


CHOICE = """
import jax
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.placement import ONE_DEVICE, dealt, placement_of
import numpy as np
placed = lambda *arguments: placement_of(jax.devices(), *arguments)
describe = lambda *arguments: placed(*arguments).description
assert describe(None, "auto", 16, 1) == "8 devices, agents dealt"
assert describe(None, "auto", 9, 1) == "5 devices, agents dealt"  # two each, as with eight
assert describe(None, "auto", 4, 8) == "8 devices, members dealt"
assert describe(2, "auto", 4, 3) == "2 devices, members dealt"
assert describe(8, "auto", 4, 3) == "4 devices, agents dealt"
assert placed(None, "auto", 1, 1) == ONE_DEVICE
try:
    placed(None, "agents", 1, 5)
except InvalidInput as error:
    assert "--shard: got 'agents'; an axis of several" in str(error)
else:
    raise AssertionError
mesh = placed(None, "agents", 8, 1).mesh
spread = dealt(mesh)(lambda a, b, c: (a + b["x"] * c, c), (0, {"x": 0}, None), (0, None))
for count in (1, 7, 8, 9):
    a, b = np.arange(count * 3.0).reshape(count, 3), {"x": np.arange(1.0 * count)}
    total, common = spread(a, b, np.float32(2))
    np.testing.assert_array_equal(total, a + 2 * b["x"][:, None])
    assert common == 2 and total.shape == (count, 3)
print("as said")
"""


def test_what_auto_means_and_how_uneven_shares_are_filled(run_python):
    finished = run_python(CHOICE, devices=8)
    assert finished.stdout.strip() == "as said", finished.stderr


def test_on_host_leaves_host_arrays_alone():
    tree = {"host": np.arange(3), "device": jnp.arange(2), "key": jax.random.key(1)}
    gathered = on_host(tree)
    assert isinstance(gathered["device"], np.ndarray)
    assert gathered["host"] is tree["host"]
