"""A small causal transformer that remembers keys and values while it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.policies.networks import SMALL_GAIN
from fedjax_rl.policies.tokens import TokenPolicy

DTYPES = ("float32", "bfloat16")
MOST_LAYERS = 4
EMBEDDING_DEVIATION = 0.5
"""Of the initial embeddings, so that tokens and positions differ visibly from the start."""


class Memory(NamedTuple):
    """Keys and values of one layer, of n tokens.

    Attributes:
        keys: [H, n, D], H heads of D numbers.
        values: [H, n, D].
    """

    keys: Any
    values: Any


class Block(nn.Module):
    """A pre-norm layer: attention, then two dense layers, each added to its input.

    Attributes:
        width: W.
        heads: H, a divisor of W.
        depth: layers of the whole network; what is added shrinks with their number.
        dtype: of the computation; parameters are float32.
    """

    width: int
    heads: int
    depth: int
    dtype: Any

    def setup(self) -> None:
        """Creates the layers."""
        shrink = 1 / (2 * self.depth)
        self.norm_attention = nn.LayerNorm(dtype=self.dtype)
        self.norm_dense = nn.LayerNorm(dtype=self.dtype)
        self.project = _dense(3 * self.width, self.dtype)
        self.gather = _dense(self.width, self.dtype, shrink)
        self.widen = _dense(4 * self.width, self.dtype)
        self.narrow = _dense(self.width, self.dtype, shrink)

    def ask(self, features: jax.Array) -> tuple[jax.Array, Memory]:
        """[n, W] -> queries [H, n, D], and the keys and values to remember."""
        projected = self.project(self.norm_attention(features))
        split = projected.reshape(len(features), 3, self.heads, self.width // self.heads)
        queries, keys, values = jnp.moveaxis(split, 0, 2)
        return queries, Memory(keys, values)

    def answer(self, features: jax.Array, attended: jax.Array) -> jax.Array:
        """[n, W] and what attention found [H, n, D] -> [n, W]."""
        joined = jnp.moveaxis(attended, 0, 1).reshape(features.shape)
        features = features + self.gather(joined)
        return features + self.narrow(nn.gelu(self.widen(self.norm_dense(features))))


class Transformer(nn.Module):
    """Reads a prompt of P tokens, then writes L; learned positions (arXiv 1706.03762, 2002.04745).

    The response is written after a token of its own, V, which stands for its beginning.

    Attributes:
        vocabulary: V.
        prompt_length: P.
        response_length: L.
        layers, width, heads: of the blocks.
        dtype: of the computation; logits are float32.
    """

    vocabulary: int
    prompt_length: int
    response_length: int
    layers: int
    width: int
    heads: int
    dtype: Any

    def setup(self) -> None:
        """Creates the layers."""
        spread = nn.initializers.normal(EMBEDDING_DEVIATION)
        length = self.prompt_length + self.response_length
        self.tokens = self.param("tokens", spread, (self.vocabulary + 1, self.width))
        self.positions = self.param("positions", spread, (length, self.width))
        self.blocks = [
            Block(self.width, self.heads, self.layers, self.dtype) for _ in range(self.layers)
        ]
        self.norm = nn.LayerNorm(dtype=self.dtype)
        self.head = _dense(self.vocabulary, jnp.float32, SMALL_GAIN**2)

    def __call__(self, prompt: jax.Array, response: jax.Array) -> jax.Array:
        """Logits [L, V] of a response [L]; touches every parameter."""
        return self.logits(self.read(prompt), response)

    def read(self, prompt: jax.Array) -> list[Memory]:
        """The cached keys and values of each layer for a prompt [P]."""
        features = self._embed(prompt, self.positions[: self.prompt_length])
        earlier = _causal(self.prompt_length)
        memories = []
        for block in self.blocks:
            queries, memory = block.ask(features)
            features = block.answer(features, attend(queries, [(memory, earlier)]))
            memories.append(memory)
        return memories

    def logits(self, prefix: Sequence[Memory], response: jax.Array) -> jax.Array:
        """Logits [L, V] of every token of a response [L] given those before it."""
        shifted = jnp.concatenate([jnp.full((1,), self.vocabulary, jnp.int32), response[:-1]])
        features = self._embed(shifted, self.positions[self.prompt_length :])
        earlier = _causal(self.response_length)
        for block, memory in zip(self.blocks, prefix, strict=True):
            queries, own = block.ask(features)
            features = block.answer(features, attend(queries, [(memory, None), (own, earlier)]))
        return self.head(self.norm(features))

    def following(
        self, prefix: Sequence[Memory], cache: Sequence[Memory], response: Array, position: Array
    ) -> tuple[jax.Array, list[Memory]]:
        """Logits [V] of the token at a position, and the cache with the one before it.

        Args:
            prefix: what each layer remembers of the prompt.
            cache: what each layer remembers of the response so far, room for L tokens.
            response: [L]; of it only the token before the position is read.
            position: scalar, 0 to L − 1.
        """
        last = jnp.where(position == 0, self.vocabulary, response[jnp.maximum(position - 1, 0)])
        features = self._embed(last[None], self.positions[self.prompt_length + position][None])
        written = jnp.arange(self.response_length) <= position
        caches = []
        for block, memory, past in zip(self.blocks, prefix, cache, strict=True):
            queries, new = block.ask(features)
            own = _written(past, new, position)
            features = block.answer(features, attend(queries, [(memory, None), (own, written)]))
            caches.append(own)
        return self.head(self.norm(features))[0], caches

    def _embed(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        return (self.tokens[tokens] + positions).astype(self.dtype)


def attend(queries: jax.Array, segments: Sequence[tuple[Memory, jax.Array | None]]) -> jax.Array:
    """Softmax attention over several stretches of memory as if they were one.

    They are not joined into one array: a prompt's is shared by all responses, and a cache is
    written in place.

    Args:
        queries: [H, n, D].
        segments: memories of m tokens each, with booleans [n, m] or [m] of what each query may
            see, or None if everything.

    Returns:
        [H, n, D], in the type of the queries; the softmax is in float32.
    """
    precision = _precision(queries.dtype)
    scores = []
    for memory, visible in segments:
        products = jnp.einsum("hnd,hmd->hnm", queries, memory.keys, precision=precision)
        score = products.astype(jnp.float32) * queries.shape[-1] ** -0.5
        scores.append(score if visible is None else jnp.where(visible, score, -jnp.inf))
    weights = jax.nn.softmax(jnp.concatenate(scores, axis=-1)).astype(queries.dtype)
    attended, start = jnp.zeros_like(queries), 0
    for memory, _ in segments:
        end = start + memory.values.shape[1]
        attended = attended + jnp.einsum(
            "hnm,hmd->hnd", weights[..., start:end], memory.values, precision=precision
        )
        start = end
    return attended


def transformer(
    vocabulary: int,
    prompt_length: int,
    response_length: int,
    *,
    layers: int,
    width: int,
    heads: int,
    dtype: str,
) -> TokenPolicy:
    """A causal transformer for prompts of P tokens and responses of L.

    Args:
        vocabulary: V.
        prompt_length: P.
        response_length: L.
        layers: 1 to 4.
        width: W, a multiple of ``heads``.
        heads: H.
        dtype: of the computation; parameters and logits are float32.

    Raises:
        InvalidInput: layers, width or heads out of range, or an unknown dtype.
    """
    check_sizes(layers, width, heads, dtype)
    module = Transformer(
        vocabulary, prompt_length, response_length, layers, width, heads, jnp.dtype(dtype)
    )

    def init(key: jax.Array) -> Pytree:
        empty = jnp.zeros(prompt_length, jnp.int32), jnp.zeros(response_length, jnp.int32)
        return module.init(key, *empty)["params"]

    def call(method: Any, parameters: Pytree, *arguments: Any) -> Any:
        return module.apply({"params": parameters}, *arguments, method=method)

    def start() -> Pytree:
        empty = jnp.zeros((heads, response_length, width // heads), dtype)
        return [Memory(empty, empty) for _ in range(layers)]

    return TokenPolicy(
        vocabulary=vocabulary,
        response_length=response_length,
        init=init,
        read=lambda *arguments: call(Transformer.read, *arguments),
        logits=lambda *arguments: call(Transformer.logits, *arguments),
        start=start,
        next=lambda *arguments: call(Transformer.following, *arguments),
    )


def check_sizes(layers: int, width: int, heads: int, dtype: str) -> None:
    """Raises InvalidInput unless these are sizes of a transformer.

    Args:
        layers: 1 to `MOST_LAYERS`.
        width: W, a multiple of the heads.
        heads: H, at least 1.
        dtype: one of `DTYPES`.
    """
    if not 1 <= layers <= MOST_LAYERS:
        raise InvalidInput("--layers", layers, f"1 to {MOST_LAYERS}")
    if heads < 1:
        raise InvalidInput("--heads", heads, "at least 1")
    if width < 1 or width % heads:
        raise InvalidInput("--width", width, f"a multiple of --heads {heads}")
    if dtype not in DTYPES:
        raise InvalidInput("--dtype", repr(dtype), f"one of {', '.join(DTYPES)}")


def _dense(outputs: int, dtype: Any, scale: float = 1.0) -> nn.Dense:
    """A dense layer whose initial kernel brings unit variance to a variance of ``scale``."""
    kernel = nn.initializers.variance_scaling(scale, "fan_in", "normal")
    return nn.Dense(outputs, dtype=dtype, kernel_init=kernel, precision=_precision(dtype))


def _precision(dtype: Any) -> jax.lax.Precision:
    """float32 means float32, also on accelerators that would multiply in fewer bits."""
    exact = jnp.dtype(dtype) == jnp.float32
    return jax.lax.Precision.HIGHEST if exact else jax.lax.Precision.DEFAULT


def _causal(length: int) -> jax.Array:
    return jnp.tril(jnp.ones((length, length), bool))


def _written(past: Memory, new: Memory, position: Array) -> Memory:
    """A memory of L tokens with that of one token at a position."""

    def write(old: jax.Array, one: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(old, one, position, axis=1)

    return Memory(write(past.keys, new.keys), write(past.values, new.values))
