"""Kinds of experiments: what each says of itself, and how their algorithms are found by name."""

from fedjax_rl.families.protocol import Family, Headline
from fedjax_rl.families.registry import algorithms, family_of, register_family
from fedjax_rl.training.protocol import Assembled

__all__ = ["Assembled", "Family", "Headline", "algorithms", "family_of", "register_family"]
