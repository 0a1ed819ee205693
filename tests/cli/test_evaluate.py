"""``fedjax-rl eval`` as a user meets it, on run directories written without any training."""

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from PIL import Image

from fedjax_rl.cli import main
from fedjax_rl.families.networks.assembly import prepare
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.networks.policy_file import policy_arrays
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.settings.files import settings_to_yaml
from fedjax_rl.sources.problems import save_problem
from tests import support
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(200)

CHAIN = "fedjax_rl.envs.known:chain"


def written(path, algorithm="fedppo", scale=1.0, **settings):
    """A run directory with untrained policies."""
    plain = {"envs": 4, "rollout": 8, "hidden": (8,), "rounds": 1, "scale_observations": "none"}
    settings = plain | settings
    config = DeepConfig(**settings)
    prepared = prepare(algorithm, config)
    policies = prepared.num_agents if config.reference == "no-communication" else 1
    keys = jax.random.split(jax.random.key(3), (config.seeds, policies))
    actor = jax.vmap(jax.vmap(prepared.design.actor.init))(keys)
    actor = jax.tree.map(lambda leaf: scale * leaf, actor)
    directory = RunDirectory(path)
    text = settings_to_yaml(algorithm, dataclasses.asdict(config), {})
    directory.write_text("config.yaml", text)
    directory.write_arrays("policy.npz", policy_arrays(DeepShared(actor, None, None, None, None)))
    return path


def evaluate(path, *flags):
    """The exit status, and what was recorded."""
    status = main(["eval", str(path), *map(str, flags)])
    recorded = path / "evaluation.json"
    return status, json.loads(recorded.read_text()) if recorded.exists() else None


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory):
    """Two seeds' policies, in dynamics that differ between agents."""
    folder = tmp_path_factory.mktemp("cartpole") / "run"
    return written(folder, problem="cartpole-pos2", seeds=2, seed=7, vary=("length=0.5,0.9",))


FILMED = ("--episodes", 101, "--member", 1, "--agent", 1)


@pytest.fixture(scope="module")
def played(cartpole):
    """What an evaluation with a film recorded, and the film."""
    status, figures = evaluate(cartpole, *FILMED)
    assert status == 0
    return figures, (cartpole / "episode.gif").read_bytes()


@pytest.mark.slow
def test_figures_have_intervals_and_budgets(played):
    figures, _ = played
    assert figures["episodes"] == 102, "as many in each agent's dynamics"
    assert figures["seeds"] == [7, 8] and figures["eval_seed"] == 1000
    assert figures["budgets"] == {"position-1": 20.0, "position-2": 20.0}
    assert np.shape(figures["reward_by_policy"]) == (2, 1)
    for prefix in ("", "mode_"):
        reward = figures[f"{prefix}reward"]
        assert reward == pytest.approx(np.mean(figures[f"{prefix}reward_by_policy"]))
        assert reward == pytest.approx(figures[f"{prefix}length"]), "1 for every step"
        low, high = figures[f"{prefix}reward_interval"]
        assert low < reward < high and high - reward == pytest.approx(reward - low)
        for name, cost in figures[f"{prefix}costs"].items():
            low, high = figures[f"{prefix}cost_intervals"][name]
            assert low <= cost <= high


def test_an_episode_is_filmed(played):
    figures, content = played
    film = figures["film"]
    assert (film["seed"], film["agent"]) == (8, 1)
    assert film["reward"] == film["steps"]
    gif = Image.open(io.BytesIO(content))
    assert gif.n_frames == film["steps"] <= 200
    frames = []
    for index in (0, gif.n_frames - 1):
        gif.seek(index)
        frames.append(np.asarray(gif.convert("RGB")))
    assert (frames[0] != frames[1]).any()


def test_the_same_seed_plays_the_same_episodes_and_another_others(cartpole, played, capsys):
    figures, content = played
    again = "--overwrite"
    assert evaluate(cartpole, *FILMED, again)[1] == figures
    assert (cartpole / "episode.gif").read_bytes() == content
    (cartpole / "episode.gif").unlink()
    other = evaluate(cartpole, *FILMED, "--no-film", "--eval-seed", 4, again)[1]
    assert not (cartpole / "episode.gif").exists() and "film" not in other
    low, high = figures["reward_interval"]
    assert 0 < abs(other["reward"] - figures["reward"]) < 3 * (high - low)
    printed = capsys.readouterr().out
    for text in ("102 episodes of each of 2 policies", "position-2", "±", "seed 8: reward"):
        assert text in printed


def test_an_evaluation_is_replaced_only_when_asked(tmp_path, capsys):
    path = written(tmp_path / "run")
    for there, flags in (
        ("evaluation.json", ["--no-film"]),
        ("evaluation.json", []),
        ("episode.gif", []),
    ):
        (path / there).write_text("kept")
        capsys.readouterr()
        assert main(["eval", str(path), *flags]) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line == f"fedjax-rl: directory: got {path}; it has {there}: --overwrite replaces it"
        assert (path / there).read_text() == "kept"
        (path / there).unlink()


def test_agents_that_never_communicate_are_played_each_in_its_own_dynamics(tmp_path, capsys):
    """With a pole that falls at once and one that hardly moves, whose is whose is plain."""
    vary = ("force_mag=0.01,100",)
    settings = {"problem": "cartpole-pos2", "reference": "no-communication", "vary": vary}
    path = written(tmp_path / "run", **settings)
    figures = evaluate(path, "--no-film")[1]
    assert figures["policies_per_seed"] == 2
    ((slow, quick),) = figures["reward_by_policy"]
    assert slow > 2 * quick
    assert "seed 0, agent 1: reward" in capsys.readouterr().out


def test_a_finite_problem_has_an_exact_gap(tmp_path, capsys):
    problem = support.random_problem(0)
    save_problem(tmp_path / "problem.npz", problem)
    path = written(tmp_path / "run", problem=str(tmp_path / "problem.npz"), scale=4.0)
    status, figures = evaluate(path, "--episodes", 1000)
    stored = np.load(path / "policy.npz")
    layers = [
        [stored[f"actor/Dense_{layer}/{part}"][0, 0].astype(float) for part in ("kernel", "bias")]
        for layer in range(2)
    ]
    hidden = np.tanh(layers[0][0] + layers[0][1])
    policy = support.softmax(hidden @ layers[1][0] + layers[1][1])
    value = problem.initial @ support.value(problem, policy, problem.reward)
    assert figures["gap"] == pytest.approx(figures["optimal_value"] - value, abs=1e-4)
    excess = support.returns(problem, policy) - problem.budgets
    assert figures["violation"] == pytest.approx(excess.max(), abs=1e-4)
    low, high = figures["reward_interval"]
    assert low - (high - low) < value < high + (high - low), "episodes agree with the algebra"
    printed = capsys.readouterr().out
    assert status == 0 and "below V* = " in printed and "has no picture" in printed
    assert not (path / "episode.gif").exists()


BAD_FLAGS = {
    "--episodes 50": "--episodes: got 50; a whole number of at least 100",
    "--eval-seed -1": "--eval-seed: got -1; a whole number of at least 0",
    "--member 2": "--member: got 2; 0 to 1: the run has 2 seeds",
    "--agent 2": "--agent: got 2; 0 to 1: the run has 2 agents",
    "--agent -1": "--agent: got -1; a whole number of at least 0",
    "--episodes x": "--episodes: got 'x'; expected --episodes INT",
    "--films": "options: got --films",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_a_bad_flag_is_told_in_one_line(cartpole, capsys, flags):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in cartpole.iterdir())
    assert main(["eval", str(cartpole), *flags.split()]) == 2
    output = capsys.readouterr()
    assert BAD_FLAGS[flags] in output.err and output.err.count("\n") == 1 and not output.out
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in cartpole.iterdir())


def spoil_policy(path, change):
    arrays = dict(np.load(path / "policy.npz"))
    change(arrays)
    np.savez(path / "policy.npz", **arrays)


def rename(arrays):
    arrays["actor/Dense_7/bias"] = arrays.pop("actor/Dense_0/bias")


def of_nan(arrays):
    arrays["actor/Dense_0/bias"] = np.full_like(arrays["actor/Dense_0/bias"], np.nan)


def of_words(arrays):
    arrays["actor/Dense_0/bias"] = arrays["actor/Dense_0/bias"].astype(str)


def of_other_widths(arrays):
    arrays["actor/Dense_0/bias"] = np.zeros((1, 1, 9), np.float32)


def of_other_seeds(arrays):
    for name, array in arrays.items():
        arrays[name] = np.concatenate([array, array])


SPOILED = {
    "no policy": (lambda path: (path / "policy.npz").unlink(), "policy: got", "no such file"),
    "cut off": (
        lambda path: (path / "policy.npz").write_bytes((path / "policy.npz").read_bytes()[:200]),
        "policy: got",
        "a readable npz file of plain arrays",
    ),
    "text": (
        lambda path: (path / "policy.npz").write_text("hello"),
        "policy: got",
        "a readable npz file of plain arrays",
    ),
    "one array": (
        lambda path: np.save((path / "policy.npz").open("wb"), np.zeros(3)),
        "policy: got",
        "a readable npz file of plain arrays",
    ),
    "renamed": (
        lambda path: spoil_policy(path, rename),
        "array 'actor/Dense_0/bias' of shape (1, 1, 8)",
        "it is missing",
    ),
    "nan": (lambda path: spoil_policy(path, of_nan), "policy: got", "of finite float32 numbers"),
    "words": (lambda path: spoil_policy(path, of_words), "policy: got", "finite float32 numbers"),
    "widths": (
        lambda path: spoil_policy(path, of_other_widths),
        "array 'actor/Dense_0/bias' of shape (1, 1, 8)",
        "it is of shape (1, 1, 9)",
    ),
    "seeds": (
        lambda path: spoil_policy(path, of_other_seeds),
        "array 'actor/Dense_0/bias' of shape (1, 1, 8)",
        "it is of shape (2, 1, 8)",
    ),
    "no config": (
        lambda path: (path / "config.yaml").unlink(),
        "directory: got",
        "a run directory, with a config.yaml",
    ),
    "fednpg": (
        lambda path: (path / "config.yaml").write_text("algorithm: fednpg"),
        "directory: got",
        "of fednpg; a run of networks or of policies over tokens",
    ),
    "no mapping": (
        lambda path: (path / "config.yaml").write_text("- 1"),
        "directory: got",
        "a YAML mapping of settings",
    ),
    "no yaml": (
        lambda path: (path / "config.yaml").write_text("a: ["),
        "directory: got",
        "valid YAML",
    ),
    "bad setting": (
        lambda path: (path / "config.yaml").write_text("algorithm: fedppo\nenvs: 0"),
        "--envs: got 0",
        "a whole number of at least 1",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_directory_that_cannot_be_used_is_told_in_one_line(tmp_path, capsys, case):
    spoil, *messages = SPOILED[case]
    path = written(tmp_path / "run", problem=CHAIN)
    spoil(path)
    assert main(["eval", str(path)]) == 2
    output = capsys.readouterr()
    assert output.err.count("\n") == 1 and not output.out
    for message in messages:
        assert message in output.err
    assert not (path / "evaluation.json").exists()


def test_no_directory_is_told_in_one_line(tmp_path, capsys):
    for arguments in ([], [str(tmp_path / "nowhere")]):
        assert main(["eval", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1


TOKENS = """
    run gepo --task-args length=3 modulus=3 --steps 3 --prompts 2 --group-size 3 --held-out 16
    --on-policy 2 --warm-start 0.3 --seeds 2
"""


@pytest.mark.slow
def test_policies_over_tokens_answer_held_out_prompts(tmp_path, capsys):
    """The same prompts to all of them, anew for each --eval-seed; as accurate as by hand."""
    out = tmp_path / "gepo"
    assert main([*TOKENS.split(), "--out", str(out)]) == 0
    assert main(["eval", str(out), "--episodes", "400"]) == 0
    found = json.loads((out / "evaluation.json").read_text())
    low, high = found["accuracy_interval"]
    assert found["seeds"] == [0, 1] and found["prompts"] == 400
    assert found["accuracy"] == pytest.approx(np.mean(found["accuracy_by_seed"]))
    # Wilson (1927): where 95 % of normal errors around the interval's own ends would lie.
    for end in (low, high):
        distance = 1.959964 * (end * (1 - end) / 800) ** 0.5
        assert abs(found["accuracy"] - end) == pytest.approx(distance, rel=1e-6)
    # A policy of three steps is still about what it began as.
    assert 0.15 < found["accuracy"] < 0.55
    assert "accuracy" in capsys.readouterr().out
    assert main(["eval", str(out), "--episodes", "400"]) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    again = ["eval", str(out), "--episodes", "400", "--overwrite"]
    assert main(again) == 0
    assert json.loads((out / "evaluation.json").read_text()) == found
    assert main([*again, "--eval-seed", "7"]) == 0
    other = json.loads((out / "evaluation.json").read_text())
    assert other["accuracy_by_seed"] != found["accuracy_by_seed"]
    capsys.readouterr()
    for option in (["--member", "1"], ["--agent", "1"], ["--no-film"], ["--episodes", "9"]):
        assert main([*again, *option]) == 2
        assert option[0] in capsys.readouterr().err
    arrays = dict(np.load(out / "policy.npz"))
    np.savez(out / "policy.npz", **{name: leaf[:1] for name, leaf in arrays.items()})
    assert main(again) == 2
    assert "policy: got" in capsys.readouterr().err
