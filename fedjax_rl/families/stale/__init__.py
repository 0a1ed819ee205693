"""Runs of asynchronous group policy optimisation."""
