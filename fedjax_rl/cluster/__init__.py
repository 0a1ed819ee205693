"""Devices and processes: which there are, and who is still alive."""
