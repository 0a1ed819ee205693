"""Corrections of client drift, as transforms of a learner."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from fedjax_rl.algorithm import Array, Exchange, Learner, Pytree, Report, Time
from fedjax_rl.cmdp.evaluate import TabularPolicy, evaluated
from fedjax_rl.errors import InvalidInput
from fedjax_rl.ops.order import after


class CorrectedLocal(NamedTuple):
    """An agent's own part, with the correction of this round.

    Attributes:
        inner: the learner's own local part.
        correction: [S, A], ḡ(π̄) − g_i(π̄).
    """

    inner: Any
    correction: Array


def control_variate(learner: Learner) -> Learner:
    """Adds ḡ(π̄) − g_i(π̄) to every local increment g_i, π̄ being the last merged policy.

    As in SCAFFOLD (arXiv 1910.06378), on logit increments: at the merged policy all agents move
    alike, so they drift only as far as their increments change differently. Only the mean ḡ
    crosses between agents, in one more exchange per round; a secure sum suffices.

    Args:
        learner: one that sends ``logits`` and shares a `TabularPolicy`.

    Raises:
        InvalidInput: the learner has exchanges of its own, or does not send logits.

    Examples:
        >>> from fedjax_rl.learners.tabular.npg import npg
        >>> from fedjax_rl.learners.tabular.optimistic import optimistic
        >>> len(npg().exchanges), len(control_variate(npg()).exchanges)
        (0, 1)
        >>> control_variate(optimistic())
        Traceback (most recent call last):
        fedjax_rl.errors.InvalidInput: --correction: got control-variate; a learner that sends ...
    """
    if learner.message_kind != "logits" or learner.exchanges:
        raise InvalidInput(
            "--correction",
            "control-variate",
            "a learner that sends logits and has no exchange of its own: npg or regularized",
        )

    def init(
        key: jax.Array, agent: Pytree, hparams: Pytree
    ) -> tuple[TabularPolicy, CorrectedLocal]:
        policy, inner = learner.init(key, agent, hparams)
        return policy, CorrectedLocal(inner, jax.numpy.zeros_like(policy.logits))

    def send(
        key: jax.Array,
        time: Time,
        policy: TabularPolicy,
        local: CorrectedLocal,
        agent: Pytree,
        hparams: Pytree,
    ) -> tuple[jax.Array, jax.Array]:
        moved, _, _ = learner.step(key, time, policy, local.inner, agent, hparams)
        increment = moved.logits - policy.logits
        return increment, increment

    def receive(local: CorrectedLocal, own: jax.Array, mean: jax.Array) -> CorrectedLocal:
        return local._replace(correction=mean - own)

    def step(
        key: jax.Array,
        time: Time,
        policy: TabularPolicy,
        local: CorrectedLocal,
        agent: Pytree,
        hparams: Pytree,
    ) -> tuple[TabularPolicy, CorrectedLocal, Pytree]:
        # The exchange solves with these factors, too. The step waits for what came of it: two
        # solves that nothing puts in order may stand still.
        policy = policy._replace(factors=after(policy.factors, local.correction))
        moved, inner, info = learner.step(key, time, policy, local.inner, agent, hparams)
        # Factorised once, with the correction: nobody reads the factors of the step without it,
        # and the compiler leaves them out.
        logits = moved.logits + local.correction
        return evaluated(logits, hparams.model), local._replace(inner=inner), info

    def report(policy: TabularPolicy, local: CorrectedLocal) -> Report:
        return learner.report(policy, local.inner)

    def weight(policy: TabularPolicy, local: CorrectedLocal) -> jax.Array:
        assert learner.weight is not None
        return learner.weight(policy, local.inner)

    return learner._replace(
        init=init,
        step=step,
        report=report,
        exchanges=(Exchange(send, receive),),
        weight=None if learner.weight is None else weight,
    )
