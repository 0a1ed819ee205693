"""Every loss and its gradient against a case worked out token by token, and by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.hetero.losses import Batch, LossChoices, default_settings, losses
from tests.hetero.judging import ALL, judge, settings_with
from tests.hetero.loss_reference import REFERENCES, Case, Variant, kl_term, slope, two_prompts

pytestmark = pytest.mark.timeout(120)

CASE = two_prompts()
SEQUENCE_LOSSES = ("gspo", "gepo", "gepo+", "eqp", "ds-gspo", "topr")
WITH_DENOMINATOR = ("gepo", "gepo+", "eqp")

VARIANTS = (
    [(name, Variant()) for name in REFERENCES]
    + [(name, Variant(sequence_weight="product")) for name in SEQUENCE_LOSSES]
    + [(name, Variant(denominator="plain")) for name in WITH_DENOMINATOR]
    + [(name, Variant("product", "plain")) for name in WITH_DENOMINATOR]
    + [
        ("grpo", Variant(clip_low=0.05, clip_high=0.45)),
        ("gspo", Variant(clip_low=0.05, clip_high=0.02)),
        ("delta_ln", Variant(length_exponent=1.5)),
        ("cispo", Variant(cispo_cap=1.45)),
        ("tis", Variant(tis_cap=1.3)),
        ("v-trace", Variant(trace_rho=1.3, trace_c=0.95, baseline=0.2)),
        ("gmpo", Variant(gmpo_clip=0.1)),
        ("gepo+", Variant(kl_threshold=0.09)),
        ("ds-gspo", Variant("product", defensive=0.3)),
    ]
)


def batch_of(case: Case) -> Batch:
    single = jnp.float32
    return Batch(
        jnp.asarray(case.log_p, single),
        jnp.asarray(case.log_q, single),
        jnp.asarray(case.mask),
        jnp.asarray(case.rewards, single),
    )


def evaluated(name: str, how: Variant, case: Case, kl: str = "none"):
    """Settings that a variant does not change stay the package's own, which are so tested."""
    changes = {k: v for k, v in how._asdict().items() if v != getattr(Variant(), k)}
    choices = LossChoices(how.sequence_weight, how.denominator, kl)
    settings = settings_with(**{k: v for k, v in changes.items() if k in ALL._fields})
    return judge(name, batch_of(case), choices, settings)


def test_every_registered_loss_of_the_package_has_a_reference():
    own = {name for name in losses if losses.resolve(name).__module__.startswith("fedjax_rl.")}
    assert own == set(REFERENCES)
    assert all(losses.describe(name) for name in own)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_loss_says_whether_it_takes_a_groups_mean(name: str):
    """Those that do tell one denominator from the other; nothing is compiled."""
    batch, texts = batch_of(CASE), set()
    for denominator in ("weighted", "plain"):
        loss = losses.make(name, LossChoices("product", denominator))
        texts.add(str(jax.make_jaxpr(loss.judge)(batch, default_settings(loss))))
        assert loss.group_mean == (name in WITH_DENOMINATOR)
    assert len(texts) == 1 + (name in WITH_DENOMINATOR)


def test_the_case_visits_every_side_of_every_clip():
    ratios = [(CASE.ratios[i][t], CASE.rewards[i[:2]]) for i, t in present(CASE)]
    for low, high in [(0.8, 1.2), (math.exp(-0.4), math.exp(0.4))]:
        for reward in (0.0, 1.0):
            assert any(r > high for r, x in ratios if x == reward)
            assert any(low < r < high for r, x in ratios if x == reward)
            assert any(r < low for r, x in ratios if x == reward)


def present(case: Case):
    return [(tuple(index[:2]), index[2]) for index in np.argwhere(case.mask)]


def label(name: str, how: Variant) -> str:
    changed = [f"{k}={v}" for k, v in how._asdict().items() if v != getattr(Variant(), k)]
    return "-".join([name, *changed])


@pytest.mark.parametrize(("name", "how"), VARIANTS, ids=[label(*one) for one in VARIANTS])
def test_loss_and_gradient_of_two_prompts(name: str, how: Variant):
    reference = REFERENCES[name]
    frozen = CASE.log_p
    expected = reference(CASE, frozen, frozen, how)
    expected_slope = slope(lambda live: reference(CASE, live, frozen, how), frozen)
    outcome, gradient = evaluated(name, how, CASE)
    assert float(outcome.loss) == pytest.approx(expected, rel=2e-5, abs=1e-6)
    np.testing.assert_allclose(gradient, expected_slope, rtol=1e-4, atol=2e-6)
    assert np.abs(expected_slope).max() > 1e-3
    assert not gradient[~CASE.mask].any()


# --- By hand: one prompt-independent number each, from fractions ---------------------------------

HAND = Case(
    ratios=np.array([[[1.5, 1.0, 0.5], [1.1, 0.6, 7.0]], [[0.5, 7.0, 7.0], [2.0, 0.9, 1.0]]]),
    q=np.array([[[0.5, 0.5, 0.5], [0.5, 0.5, 0.1]], [[0.2, 0.1, 0.1], [0.4, 0.5, 0.5]]]),
    mask=np.array(
        [[[True, True, True], [True, True, False]], [[True, False, False], [True, True, True]]]
    ),
    rewards=np.array([[1.0, 0.0], [0.0, 1.0]]),
)
"""Centred advantages are ± 1/2; lengths 3, 2, 1, 3.

Σ_t S of each response: (1.2 + 1 + .5)/2 = 1.35, −(1.1 + .8)/2 = −.95, −.8/2 = −.4,
(1.2 + .9 + 1)/2 = 1.55. Products: q = 1/8, 1/4, 1/5, 1/10; p/q = 3/4, .66, 1/2, 9/5.
"""

DEVIATION = math.sqrt(0.5)
SCALE = 1.0 / (DEVIATION + 1e-4)
PRODUCT = Variant(sequence_weight="product")
BY_HAND = [
    ("dr_grpo", Variant(), -(1.35 - 0.95 - 0.4 + 1.55) / 12),
    ("grpo", Variant(), -SCALE * (1.35 / 3 - 0.95 / 2 - 0.4 + 1.55 / 3) / 4),
    ("bnpo_trl", Variant(), -SCALE * 1.55 / 9),
    ("bnpo", Variant(), 0.0),
    # ω ∝ 1/3, 1/2, 1, 1/3, which sum to 13/6.
    ("delta_ln", Variant(length_exponent=1), -(1.35 / 3 - 0.475 - 0.4 + 1.55 / 3) * 6 / 13 / 3),
    # S = .75/2, −.8/2, −.8/2, 1.2/2.
    ("gspo", PRODUCT, -SCALE * (0.375 - 0.4 - 0.4 + 0.6) / 4),
    # E = (1/64 + 1/16)/(3/8) = 5/24 and (1/25 + 1/100)/(3/10) = 1/6; p = 3/32, .165, 1/10, .18;
    # w = .45, .792, .6, 1.08.
    ("gepo", PRODUCT, -(0.45 - 0.8 - 0.8 + 1.08) / 2 / 4),
    # Means 3/16 and 3/20: w = .5, .88, 2/3, 1.2.
    ("gepo", Variant("product", "plain"), -(0.5 - 0.88 - 0.8 + 1.2) / 2 / 4),
    # Σ q̂ p = (3/32 + 2·.165)/3 = .14125 and (2·.1 + .18)/3 = .38/3: w = .6637, 1.168, .7895, 1.42.
    ("eqp", PRODUCT, -(3 / 32 / 0.14125 - 0.165 / 0.14125 - 0.8 + 1.2) / 2 / 4),
    # k = 1, .66, .5, 1.
    (
        "topr",
        PRODUCT,
        -(math.log(3 / 32) - 0.66 * math.log(0.165) - 0.5 * math.log(0.1) + math.log(0.18)) / 8,
    ),
    # min(w, 1) A log p: log p = log .75, .5, .25; .55, .3; .1; .8, .45, .5.
    (
        "tis",
        Variant(),
        -(
            (math.log(0.75) + math.log(0.5) + 0.5 * math.log(0.25))
            - (math.log(0.55) + 0.6 * math.log(0.3))
            - 0.5 * math.log(0.1)
            + (math.log(0.8) + 0.9 * math.log(0.45) + math.log(0.5))
        )
        / 18,
    ),
    # Traces: .5, .5, .5; .6, .6; .5; .9, .9, 1 (each the product of min(w, 1) from here on).
    (
        "v-trace",
        Variant(),
        -(
            0.5 * (math.log(0.75) + math.log(0.5) + math.log(0.25))
            - 0.6 * (math.log(0.55) + math.log(0.3))
            - 0.5 * math.log(0.1)
            + (0.9 * (math.log(0.8) + math.log(0.45)) + math.log(0.5))
        )
        / 18,
    ),
    # Winners' ratios end at 1.25, losers' at .8: 1.25 · .5, √(1.1 · .8), .8, 1.25 · .9.
    (
        "gmpo",
        Variant(gmpo_clip=math.log(1.25)),
        -(0.625 ** (1 / 3) - math.sqrt(0.88) - 0.8 + 1.125 ** (1 / 3)) / 8,
    ),
]


@pytest.mark.parametrize(
    ("name", "how", "expected"), BY_HAND, ids=[label(*one[:2]) for one in BY_HAND]
)
def test_fractions_by_hand(name: str, how: Variant, expected: float):
    assert float(evaluated(name, how, HAND)[0].loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "how", "clipped"),
    [
        ("grpo", Variant(), 4 / 9),  # 1.5 up, .6 down, .5 down, 2 up
        ("gspo", PRODUCT, 3 / 4),  # .66 down, .5 down, 1.8 up
        ("gepo", PRODUCT, 2 / 4),  # .792 and .6 down
        ("topr", PRODUCT, 0.0),  # no loser has p > q
        ("tis", Variant(), 3 / 9),  # 1.5, 1.1, 2
        ("cispo", Variant(cispo_cap=1.6), 1 / 9),
        ("v-trace", Variant(), 3 / 9),
        ("gmpo", Variant(gmpo_clip=math.log(1.25)), 4 / 9),
    ],
)
def test_fraction_clipped(name: str, how: Variant, clipped: float):
    assert float(evaluated(name, how, HAND)[0].clipped) == pytest.approx(clipped)


def test_weights_are_told_before_clipping():
    tokens = evaluated("grpo", Variant(), HAND)[0].weights
    np.testing.assert_allclose(tokens, np.where(HAND.mask, HAND.ratios, 1.0), rtol=1e-5)
    sequences = evaluated("gepo", PRODUCT, HAND)[0].weights
    np.testing.assert_allclose(sequences, [[[0.45], [0.792]], [[0.6], [1.08]]], rtol=1e-5)
    traces = evaluated("v-trace", Variant(), HAND)[0].weights
    np.testing.assert_allclose(traces[0], [[0.75, 0.5, 0.5], [0.66, 0.6, 1.0]], rtol=1e-5)


@pytest.mark.parametrize("name", ["grpo", "gepo", "bnpo"])
def test_advantages(name: str):
    advantages = evaluated(name, Variant(), CASE)[0].advantages
    deviation = math.sqrt(1 / 3)  # of (1, 0, 0), ddof 1: (4/9 + 1/9 + 1/9) / 2
    first = {
        "grpo": 2 / 3 / (deviation + 1e-4),
        "gepo": 2 / 3,
        # m = 1/2, v = 1/36, s = 8, a = b = 4, α = β = 7/3: pdf(1/3) of Beta(7/3, 7/3).
        "bnpo": 2 / 3 * math.gamma(7 / 3) ** 2 / math.gamma(14 / 3) * (2 / 9) ** (-4 / 3),
    }
    assert float(advantages[0, 0]) == pytest.approx(first[name], rel=1e-5)
    np.testing.assert_allclose(advantages.sum(-1), 0.0, atol=1e-5)


# --- KL terms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kl", "term"),
    [
        ("code", lambda d: math.exp(-d) + d - 1),
        ("true", lambda d: math.exp(d) * (math.exp(-d) + d - 1)),
    ],
)
def test_kl_terms(kl: str, term):
    bare, bare_slope = evaluated("gepo", Variant(), CASE)
    penalised, gradient = evaluated("gepo", Variant(), CASE, kl)
    expected = 0.005 * kl_term(CASE, CASE.log_p, term)
    expected_slope = 0.005 * slope(lambda live: kl_term(CASE, live, term), CASE.log_p)
    assert expected > 1e-5
    assert float(penalised.loss - bare.loss) == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(gradient - bare_slope, expected_slope, rtol=1e-3, atol=1e-6)


def test_what_the_kl_terms_estimate():
    """Exact means over a single token of q: KL(p‖q), not KL(q‖p); χ²(q‖p) − KL(q‖p)."""
    q, p = np.array([0.8, 0.1, 0.1]), np.array([0.3, 0.3, 0.4])
    drawn = np.repeat([0, 1, 2], [8, 1, 1])  # ten responses in the proportions of q
    logs = (jnp.asarray(np.log(x)[drawn][None, :, None], jnp.float32) for x in (p, q))
    batch = Batch(*logs, jnp.ones((1, 10, 1), bool), jnp.zeros((1, 10)))

    def added(kl: str) -> float:
        return float(judge("gepo", batch, LossChoices("geometric", kl=kl))[0].loss) / 0.005

    forward, backward = p @ np.log(p / q), q @ np.log(q / p)
    assert abs(forward - backward) > 0.05
    assert added("true") == pytest.approx(forward, rel=1e-4)
    assert added("code") == pytest.approx(q @ (q / p) - 1 - backward, rel=1e-4)
    assert added("none") == 0.0
