"""Sweeps: many settings and seeds of one algorithm, as few compiled programs as there can be."""
