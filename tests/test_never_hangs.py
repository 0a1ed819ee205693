"""The shapes that deadlock XLA on few-core CPUs, in fresh processes under a time limit.

Each program runs with the scheduler's flag that the package sets, and without: the structural
cure must hold on its own.
"""

import os
import pathlib
from importlib.metadata import version

import pytest

from fedjax_rl import backend

pytestmark = pytest.mark.timeout(400)

DEFENCES = {
    "as imported": "",
    "structure alone": """
import os
os.environ["XLA_FLAGS"] = "--xla_cpu_enable_concurrency_optimized_scheduler=true"
""",
}

SOLVES = """
import jax, jax.numpy as jnp, numpy as np
from fedjax_rl.cmdp.model import from_arrays
from tests.federation.harness import build
from tests import support

problem = support.random_problem(0, states=40)
MEMBERS = 64
for local_steps in (1, 3):
    algorithm, hparams = build(
        problem, np.eye(4, dtype=bool), step=0.1, dual_step=0.1, local_steps=local_steps
    )
    with jax.enable_x64(True):
        learner = hparams.federation.learner

        def member(key, step_size):
            own = learner._replace(step_size=step_size)
            own_hparams = hparams._replace(
                federation=hparams.federation._replace(learner=own)
            )
            state = algorithm.init(key, own_hparams)
            def round(state, index):
                return algorithm.step(key, index, state, own_hparams)
            return jax.lax.scan(round, state, jnp.arange(1, 6))[1].value

        keys = jax.random.split(jax.random.key(0), MEMBERS)
        sweep = jax.jit(jax.vmap(member))
        for repeat in range(10):
            values = sweep(keys, jnp.linspace(0.01, 0.5, MEMBERS) + repeat)
            assert np.isfinite(np.asarray(values)).all() and values.shape == (MEMBERS, 5)
print("finished")
"""

INITIALISATION = """
import flax.linen as nn
import jax, jax.numpy as jnp, numpy as np
from fedjax_rl.policies.initializers import orthogonal


class ActorCritic(nn.Module):
    @nn.compact
    def __call__(self, observation):
        heads = []
        for outputs, scale in ((4, 0.01), (1, 1.0), (3, 1.0)):
            hidden = observation
            for _ in range(2):
                hidden = nn.tanh(nn.Dense(64, kernel_init=orthogonal())(hidden))
            heads.append(nn.Dense(outputs, kernel_init=orthogonal(scale))(hidden))
        return heads


network = ActorCritic()
initialise = jax.jit(jax.vmap(lambda key: network.init(key, jnp.zeros(8))))
for repeat in range(10):
    parameters = initialise(jax.random.split(jax.random.key(repeat), 64))
    kernel = np.asarray(parameters["params"]["Dense_1"]["kernel"])
    identity = np.einsum("bij,bik->bjk", kernel, kernel) / 2.0
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(64), identity.shape), atol=1e-4)
print("finished")
"""


@pytest.mark.slow
@pytest.mark.parametrize("defence", DEFENCES)
@pytest.mark.parametrize(
    "program", [SOLVES, INITIALISATION], ids=["64 vmapped solves", "64 vmapped initialisations"]
)
def test_wide_programs_finish(run_python, program, defence):
    path = "import sys; sys.path.insert(0, {!r})\n".format(__file__.rsplit("/tests/", 1)[0])
    finished = run_python(path + DEFENCES[defence] + program, timeout=180)
    assert finished.stdout.strip() == "finished", finished.stderr


FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"
SHOW_FLAGS = "import os, fedjax_rl; print(os.environ.get('XLA_FLAGS', ''))"


def of_version(version):
    """An import by a process that believes to have that jaxlib, whichever it has."""
    return (
        "import os; os.environ.pop('XLA_FLAGS', None)\n"
        "import importlib.metadata as metadata\n"
        f"metadata.version = lambda name: {version!r}\n"
    )


@pytest.mark.parametrize("version", backend.CHECKED_JAXLIB)
def test_the_flag_is_set_on_import_of_a_checked_version(run_python, version):
    printed = run_python(of_version(version) + SHOW_FLAGS).stdout
    assert printed.strip() == f"{FLAG}=false"


def test_the_flag_is_set_for_the_installed_version_only_if_it_was_checked(run_python):
    clean = "import os; os.environ.pop('XLA_FLAGS', None)\n"
    printed = run_python(clean + SHOW_FLAGS).stdout
    assert (f"{FLAG}=false" in printed) == (version("jaxlib") in backend.CHECKED_JAXLIB)


def test_the_users_choice_of_flag_is_kept(run_python):
    script = f"import os; os.environ['XLA_FLAGS'] = '{FLAG}=true'\n"
    assert run_python(script + SHOW_FLAGS).stdout.strip() == f"{FLAG}=true"


def test_a_backend_that_started_unprotected_is_warned_about(run_python):
    started = "import jax; jax.devices()\n" + of_version("0.10.1") + "import fedjax_rl\n"
    assert "Import fedjax_rl first" in run_python(started).stderr


def test_an_unchecked_version_is_left_alone(run_python):
    assert run_python(of_version("99.0") + SHOW_FLAGS).stdout.strip() == ""


DEVICES = """
import os
from bench.sweep_parts import Planned, Study
from fedjax_rl.cluster.devices import DeviceSettings
import jax
assert len(jax.devices()) == 8
assert int(os.environ["NPROC"]) > 8
grid = {"step_size": [0.01 * n for n in range(1, 17)], "dual_step_size": [1e-3, 2e-3, 3e-3, 4e-3]}
study = Study("fednpg", {"problem": "windy-cliff", "rounds": 20}, grid)
planned = Planned(study, DeviceSettings("all", "members"))
for _ in range(5):
    assert len(planned.run()) == 64
print("finished")
"""


@pytest.mark.slow
def test_many_members_on_forced_devices(run_python):
    root = str(pathlib.Path(__file__).parent.parent)
    source = f"import sys; sys.path.insert(0, {root!r})\n{DEVICES}"
    finished = run_python(source, devices=8, timeout=180)
    assert finished.stdout.strip() == "finished", finished.stderr


def test_a_size_that_is_asked_for_is_left_alone(monkeypatch):
    monkeypatch.setattr(backend, "_backend_started", lambda: False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    monkeypatch.setenv("NPROC", "3")
    backend.enough_threads()
    assert os.environ["NPROC"] == "3"
    monkeypatch.delenv("NPROC")
    backend.enough_threads()
    assert int(os.environ["NPROC"]) == 4 + os.cpu_count()
    monkeypatch.delenv("NPROC")
    monkeypatch.setenv("XLA_FLAGS", "")
    backend.enough_threads()
    assert "NPROC" not in os.environ
