"""Studies of several windows and rates as one program, and what the paper is about."""

import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.stale.assembly import Member, prepare
from fedjax_rl.families.stale.cells import finite_mean
from fedjax_rl.families.stale.config import HeteroConfig, settings_type
from fedjax_rl.families.stale.summary import by_seed
from fedjax_rl.families.stale.training import hetero_rl, run
from tests.quick import compiled_quickly, quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(400)

TINY = {
    "task_args": ("length=3", "modulus=3"),
    **{"steps": 6, "prompts": 2, "group_size": 3, "held_out": 16, "on_policy": 2},
    **{"warm_start": 0.0, "evaluate_every": 3},
}


def test_members_are_windows_then_rates_then_seeds():
    config = HeteroConfig(**TINY, seeds=2, seed=5)
    prepared = prepare("gepo", config, windows=(0, 2), learning_rates=(0.1, 0.2))
    assert prepared.members[:5] == (
        *(Member(0, 0.1, 5), Member(0, 0.1, 6), Member(0, 0.2, 5), Member(0, 0.2, 6)),
        Member(2, 0.1, 5),
    )
    cells = run(prepared).cells
    assert [(cell.window, cell.learning_rate) for cell in cells] == [
        *((0, 0.1), (0, 0.2), (2, 0.1), (2, 0.2))
    ]
    assert cells[0].values["staleness"][:, 1:].max() == 0
    # At one window, every rate gets the same batches at the same times.
    np.testing.assert_array_equal(cells[2].seconds, cells[3].seconds)
    np.testing.assert_array_equal(cells[2].values["staleness"], cells[3].values["staleness"])
    assert (cells[2].values["kl"] != cells[3].values["kl"]).any()


@pytest.mark.slow
def test_a_member_that_diverges_is_marked_and_the_others_go_on():
    config = settings_type("gepo", {"kl": "code"})(
        **TINY, window=2, kl="code", kl_weight=1e30, label_noise=0.5
    )
    cells = run(prepare("grpo", config, learning_rates=(0.1, 3e38))).cells
    assert cells[0].failed.tolist() == [-1]
    (failed,) = cells[1].failed
    assert 0 < failed <= 6
    assert np.isfinite(cells[1].values["loss"][0, 1:failed]).all()
    assert np.isnan(cells[1].values["loss"][0, failed:]).all()
    assert np.isfinite(cells[0].values["loss"][0, 1:]).all()
    assert np.isnan(by_seed(cells[1])["last"]).all()


def test_unknown_settings_are_named():
    with pytest.raises(InvalidInput, match="settings: got windows; known: "):
        hetero_rl("gepo", windows=3)


def test_means_leave_out_what_is_not_finite():
    rows = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.inf]])
    np.testing.assert_array_equal(finite_mean(rows), [2.0, np.nan])


@pytest.mark.slow
def test_gspo_collapses_on_stale_data_and_gepo_does_not():
    """Product weights, label noise, W = 32, eight seeds (arXiv 2508.17850, in small)."""
    config = HeteroConfig(seeds=8, steps=400, evaluate_every=200, on_policy=2)
    last = {}
    for loss in ("gepo", "gspo"):
        with compiled_quickly(False):
            fresh, stale = run(prepare(loss, config, windows=(0, 32))).cells
        last[loss] = by_seed(fresh)["last"].mean(), by_seed(stale)["last"]
        assert last[loss][0] > 0.95, "fresh data suits both"
    assert last["gepo"][1].mean() >= 0.95 * last["gepo"][0]
    assert (last["gspo"][1] < 0.1).sum() >= 3, "several seeds end with nothing"
    assert last["gspo"][1].mean() < 0.7 * last["gspo"][0]
