"""Asynchronous group policy optimisation: samplers far from their learner (arXiv 2508.17850)."""
