"""The worker's end of the line protocol of `bench.peers`, in the peer's own Python."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(prepare: Callable[[dict[str, Any]], Callable[[int], object]]) -> None:
    """The worker's end: warms up, finds how many iterations a segment takes, waits for turns.

    The configuration has ``environments`` and ``steps``, which make an iteration, and the
    ``seconds`` a segment should last. What libraries print goes to stderr.

    Args:
        prepare: takes the configuration and returns what runs that many iterations.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    configuration = json.loads(sys.argv[1])
    run = prepare(configuration)

    def seconds(iterations: int) -> float:
        begun = time.perf_counter()
        run(iterations)
        return time.perf_counter() - begun

    seconds(1)
    iterations = 1
    while (taken := seconds(iterations)) < configuration["seconds"] / 8:
        iterations *= 2
    iterations = max(1, round(iterations * configuration["seconds"] / taken))
    steps = iterations * configuration["environments"] * configuration["steps"]
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            return
        figures = {"seconds": seconds(iterations), "environment_steps": steps}
        print(json.dumps(figures), file=answers, flush=True)
