"""Sinks that are slower than a run does not hold it up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fedjax_rl.records.sinks.protocol import Logged, Sink


class BackgroundSink:
    """A sink that is written to by one thread beside the run, which waits for it in the end only.

    What goes wrong is raised by the next call; rows after it are passed over. A run that was
    stopped does not wait for rows that are not written yet: going on with it writes all of them
    anew.
    """

    def __init__(self, sink: Sink):
        self._sink = sink
        # One thread, for tools want steps in order; and few of them can be called from several.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sink")
        self._failed: Exception | None = None

    def write(self, rows: Logged) -> None:
        if self._failed is not None:
            self._writer.shutdown()
            raise self._failed
        self._writer.submit(self._write, rows)

    def close(self, finished: bool) -> None:
        # A run that was stopped is not to wait for a slow tool: resumed, it hands over every row.
        self._writer.shutdown(cancel_futures=not finished)
        if self._failed is not None:
            raise self._failed
        self._sink.close(finished)

    def _write(self, rows: Logged) -> None:
        try:
            if self._failed is None:
                self._sink.write(rows)
        except Exception as error:
            self._failed = error
