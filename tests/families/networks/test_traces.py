"""A run compiles once: rounds, seeds and settings are data."""

import chex
import jax
import numpy as np
import pytest

from fedjax_rl.execution.train import start, train
from fedjax_rl.families.networks.assembly import prepare
from fedjax_rl.families.networks.config import DeepConfig

SMALL = {"envs": 2, "rollout": 20, "epochs": 1, "minibatches": 2, "hidden": (4,), "seeds": 2}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["fedppo", "fednatural"])
def test_one_trace_for_all_rounds_seeds_and_settings(algorithm):
    chex.clear_trace_counter()
    prepared = prepare(algorithm, DeepConfig(**SMALL))
    counted = chex.assert_max_traces(prepared.algorithm.step, n=1)
    federation = prepared.algorithm._replace(step=counted)
    policies = []
    for seed, rate in ((0, 1e-3), (5, 1e-2)):
        own = {"clip": 0.1 + rate} if algorithm == "fedppo" else {"radius": rate}
        config = DeepConfig(**SMALL, **own, learning_rate=rate, rounds=3, seed=seed)
        keys = jax.vmap(jax.random.key)(seed + np.arange(2))
        hparams = prepare(algorithm, config, prepared.loaded).hparams
        state, _ = start(federation, keys, hparams)
        for span in train(federation, keys, state, hparams, rounds=3, span_rounds=2):
            assert (span.failed_members < 0).all()
        policies.append(np.asarray(jax.tree.leaves(span.state)[0]))
    assert (policies[0] != policies[1]).any()
