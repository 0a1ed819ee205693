"""Kinds of experiments: what each says of itself, and how their algorithms are found by name."""

from fedjax_rl.runs.families.protocol import Assembled, Family, Headline
from fedjax_rl.runs.families.registry import algorithms, family_of, register_family

__all__ = ["Assembled", "Family", "Headline", "algorithms", "family_of", "register_family"]
