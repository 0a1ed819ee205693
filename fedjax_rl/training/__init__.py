"""From an algorithm to its rows on the host: the loop, and members side by side."""
