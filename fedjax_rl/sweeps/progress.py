"""Progress bars of a sweep."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import Progress, TextColumn

from fedjax_rl.terminal.live import bars


class SweepProgress:
    """Two bars, over chunks and over the rounds of one, and the running best.

    Where standard error is not a terminal there is a line for every chunk.

    Args:
        chunks: how many are to be run.
        what: they are called.
    """

    def __init__(self, chunks: int, what: str = "chunks"):
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            *bars(self._console),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._all = self._bars.add_task(what, total=chunks)
        self._one = self._bars.add_task("rounds", total=1)

    def __enter__(self) -> SweepProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def chunk(self, rounds: int) -> None:
        """Resets the bar for a chunk of so many rounds."""
        self._bars.reset(self._one, total=rounds)

    def round(self, last: int) -> None:
        """Advances the bar of the chunk at work to its last finished round."""
        self._bars.update(self._one, completed=last)

    def chunk_done(self, *messages: str) -> None:
        """Advances the bar of chunks, and prints messages above the bars."""
        self._bars.update(self._all, advance=1)
        self._console.print("; ".join(filter(None, messages)))
