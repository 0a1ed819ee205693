"""Learners with networks; each agent ascends its own Lagrangian from rollouts of its own."""
