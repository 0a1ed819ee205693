"""Builds and runs a federation without the command line's settings."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from fedjax_rl.cmdp.dynamics import model_of
from fedjax_rl.cmdp.evaluate import evaluate_exactly
from fedjax_rl.execution.train import start, to_host, train
from fedjax_rl.federation.aggregate import logit_mean
from fedjax_rl.federation.observed import ObservedSettings, observed
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.learners.tabular.agent import TabularSettings, federated_agents
from fedjax_rl.learners.tabular.npg import npg
from fedjax_rl.precision import precision
from tests import support


class Trained(NamedTuple):
    policy: np.ndarray
    multipliers: np.ndarray
    info: object
    state: object


def build(
    problem,
    access,
    *,
    step,
    dual_step,
    local_steps=1,
    aggregator=None,
    evaluation=evaluate_exactly,
    cap=10.0,
    learner=npg,
    own=(),
    **federate_options,
):
    """The algorithm and its hparams."""
    learner = learner(evaluation)
    own = own or learner.settings()  # its defaults
    settings = TabularSettings(
        np.float64(step),
        np.float64(dual_step),
        np.float64(cap),
        model_of(problem),
        own,
    )
    hparams = ObservedSettings(
        FederationSettings(federated_agents(problem, access), settings),
        problem.costs,
        problem.budgets,
    )
    federation = federate(
        learner,
        aggregator or logit_mean(),
        num_agents=len(access),
        local_steps=local_steps,
        **federate_options,
    )
    return observed(federation, counts=learner.counts), hparams


def run(algorithm, hparams, rounds, span_rounds=1000, seed=0):
    key = jax.random.key(seed)
    state, _ = start(algorithm, key, hparams)
    infos = []
    for span in train(algorithm, key, state, hparams, rounds=rounds, span_rounds=span_rounds):
        infos.append(span.info)
        state = span.state
        assert span.failed_round is None
    host = to_host(state)
    with precision(algorithm.float64):
        report = to_host(algorithm.report(host))
    info = jax.tree.map(lambda *parts: np.concatenate(parts), *infos)
    return Trained(
        support.softmax(report.policy.logits),
        report.multipliers,
        info,
        host,
    )
