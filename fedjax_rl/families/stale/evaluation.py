"""Saved policies over tokens, judged on held-out prompts with keys of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.stats import binomtest

from fedjax_rl.algorithm import Pytree
from fedjax_rl.checks import check_count
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.protocol import EvaluationRequest
from fedjax_rl.families.registry import settings_in
from fedjax_rl.families.stale.assembly import policy_of, task_of
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.starts import content_digest
from fedjax_rl.hetero.evaluation import accuracy
from fedjax_rl.hetero.rollout import sampling
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.hetero.tasks.task import TokenTask
from fedjax_rl.precision import precision
from fedjax_rl.records.directory import UNREADABLE, plain, write_atomically
from fedjax_rl.settings.files import read_run_file
from fedjax_rl.terminal.live import working

FIGURES = "evaluation.json"


def evaluate_and_record(directory: Path, request: EvaluationRequest) -> dict[str, Any]:
    """Lets every seed's policy answer held-out prompts, prints, and writes ``evaluation.json``.

    Returns:
        What ``evaluation.json`` holds.

    Raises:
        InvalidInput: before anything is written; an option of films, no such run, its files cannot
            be used, or an earlier evaluation is there and not to be overwritten.
    """
    _check(directory, request)
    run = read_run_file(directory / "config.yaml", "directory")
    _, algorithm, config = settings_in(run, directory)
    with working(f"reading {directory}"):
        task = task_of(config)
        if run.made_with.get("problem_sha256", known := content_digest(config, task)) != known:
            raise InvalidInput(
                "--config", config.task, "the problem's content is not what that run was made with"
            )
        policies = read_policies(directory / "policy.npz", config, task)
    with working("answering prompts"):
        shares = answered(config, task, policies, request)
    figures = summarise(algorithm, config, shares, request)
    print(evaluation_as_text(figures), flush=True)
    text = json.dumps(plain(figures), indent=2, allow_nan=False) + "\n"
    write_atomically(directory / FIGURES, text.encode())
    print(f"Written to {directory}: {FIGURES}", flush=True)
    return figures


def _check(directory: Path, request: EvaluationRequest) -> None:
    check_count("--episodes", request.episodes, least=100)
    check_count("--eval-seed", request.seed, least=0)
    if request.policy != "last":
        raise InvalidInput("--policy", request.policy, "last: of networks alone one is recommended")
    for name in ("member", "agent"):
        if getattr(request, name):
            raise InvalidInput(f"--{name}", getattr(request, name), "0: tokens are not filmed")
    if not request.film:
        raise InvalidInput("--no-film", "given", "nothing: tokens are not filmed")
    if not request.overwrite and (directory / FIGURES).exists():
        raise InvalidInput("directory", directory, f"it has {FIGURES}: --overwrite replaces it")


@precision(False)
def read_policies(path: Path, config: HeteroConfig, task: TokenTask) -> Pytree:
    """Parameters of all seeds, leading axis K.

    Raises:
        InvalidInput: the file cannot be read or is of another policy.
    """
    shapes = jax.eval_shape(policy_of(config, task).init, jax.random.key(0))
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
    except FileNotFoundError:
        raise InvalidInput("policy", path, "no such file") from None
    except (*UNREADABLE, AttributeError, TypeError):
        raise InvalidInput("policy", path, "a readable npz file of plain arrays") from None
    named, structure = jax.tree_util.tree_flatten_with_path(shapes)
    leaves = []
    for key, leaf in named:
        name, shape = jax.tree_util.keystr(key) or "table", (config.seeds, *leaf.shape)
        if name not in arrays or arrays[name].shape != shape:
            raise InvalidInput("policy", path, f"array {name!r} of shape {shape}")
        leaves.append(arrays[name])
    return jax.tree.unflatten(structure, leaves)


@precision(False)
def answered(
    config: HeteroConfig, task: TokenTask, policies: Pytree, request: EvaluationRequest
) -> np.ndarray:
    """[K], share of right answers of each seed's policy to as many held-out prompts.

    All policies are asked the same prompts; prompts and responses have keys of their own.
    """
    key_prompts, key_responses = jax.random.split(jax.random.key(request.seed))
    prompts = jax.vmap(split(task).held_out)(jax.random.split(key_prompts, request.episodes))
    right = accuracy(task, policy_of(config, task), config.top_k)
    how = sampling(config.temperature, config.top_p)
    every = jax.jit(jax.vmap(right, (0, 0, None, None)))
    keys = jax.random.split(key_responses, config.seeds)
    return np.asarray(every(keys, policies, prompts, how), np.float64)


def summarise(
    algorithm: str, config: HeteroConfig, shares: np.ndarray, request: EvaluationRequest
) -> dict[str, Any]:
    """The content of ``evaluation.json``: the mean over seeds, and 95 % of it over responses.

    The interval is Wilson's, of all seeds' responses together.

    Args:
        algorithm: the loss.
        config: of the run.
        shares: [K], as of `answered`.
        request: how many prompts, and from which seed.
    """
    right = binomtest(round(float(shares.sum()) * request.episodes), len(shares) * request.episodes)
    low, high = right.proportion_ci(method="wilson")
    return {
        "algorithm": algorithm,
        "task": config.task,
        "policy": config.policy,
        "eval_seed": request.seed,
        "prompts": request.episodes,
        "seeds": [config.seed + index for index in range(len(shares))],
        "accuracy": float(shares.mean()),
        "accuracy_interval": (float(low), float(high)),
        "accuracy_by_seed": shares,
    }


def evaluation_as_text(figures: dict[str, Any]) -> str:
    """The lines that ``fedjax-rl eval`` prints: accuracy and its interval, then each seed."""
    low, high = figures["accuracy_interval"]
    lines = [
        f"{figures['algorithm']} on {figures['task']} with a {figures['policy']}: one response to "
        f"each of {figures['prompts']} held-out prompts, seed {figures['eval_seed']}",
        f"accuracy {figures['accuracy']:.3f} [{low:.3f}, {high:.3f}], 95 % over responses",
    ]
    pairs = zip(figures["seeds"], figures["accuracy_by_seed"], strict=True)
    each = [f"  seed {seed}: {share:.3f}" for seed, share in pairs]
    return "\n".join([*lines, *(each if len(each) > 1 else [])])
