"""Worker: our own FedPPO with XLA's own scheduler, which `fedjax_rl.backend` switches off."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer_worker import serve

sys.path.insert(0, str(Path(__file__).parent.parent))


def prepare(configuration: dict[str, Any]) -> Callable[[int], object]:
    """What `bench.fedppo.Ours` runs; environments are those of all agents."""
    # Before the package is imported, which sets the flag unless it is set.
    os.environ["XLA_FLAGS"] = configuration["xla_flags"]
    from bench.fedppo import Ours

    agents = configuration["agents"]
    return Ours(agents, configuration["environments"] // agents, seconds=0.01).run


if __name__ == "__main__":
    serve(prepare)
