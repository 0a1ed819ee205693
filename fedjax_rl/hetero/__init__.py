"""Asynchronous group policy optimisation under latency (arXiv 2508.17850)."""
