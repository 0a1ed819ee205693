"""Processes that watch over each other, so that none waits for one that died."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import threading
import time
from types import TracebackType

from fedjax_rl.errors import InvalidInput

BEAT, LEAVE, DEAD = b"beat\n", b"leave\n", b"dead "
SECONDS_TO_JOIN = 120.0
SECONDS_PER_BEAT = 2.0
STATUS = 1


class Watch:
    """A star of connections: process 0 hears every other, and tells all when one is gone.

    A connection that closes without a word of leave, or from which nothing comes for so long,
    is a death. Whoever learns of it says so on stderr and ends its process at once: what it is
    doing waits for the dead one and cannot be interrupted in another way.

    Args:
        host: of process 0.
        port: where process 0 listens.
        process: this one's number.
        processes: how many there are.
        patience: seconds without a sign of life.
    """

    def __init__(self, host: str, port: int, process: int, processes: int, patience: float):
        self._address = host, port
        self._process, self._processes, self._patience = process, processes, patience
        self._peers: dict[int, socket.socket] = {}
        self._left: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._hear, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        """Waits until everybody is there.

        Raises:
            InvalidInput: the address cannot be used, or somebody does not come.
        """
        if self._process == 0:
            self._gather()
        else:
            self._reach()
        for peer in self._peers.values():
            peer.settimeout(self._patience)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(2 * SECONDS_PER_BEAT)  # before its sockets are closed under it
        for peer in self._peers.values():
            peer.close()

    def leave(self) -> None:
        """Says that this process ends as it should."""
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.sendall(LEAVE)

    def wait_for_a_death(self) -> None:
        """Gives the news of a death time to arrive; does not return when it does."""
        self._ended.wait(self._patience + SECONDS_PER_BEAT)

    def _gather(self) -> None:
        host, port = self._address
        until = time.monotonic() + SECONDS_TO_JOIN
        try:
            server = socket.create_server(("", port))
        except OSError as error:
            raise InvalidInput(
                "--coordinator", f"{host}:{port - 1}", f"two free ports ({error.strerror})"
            ) from None
        with server:
            while len(self._peers) < self._processes - 1:
                server.settimeout(max(0.1, until - time.monotonic()))
                try:
                    peer, _ = server.accept()
                    peer.settimeout(5.0)
                    number = int(_line(peer))
                except TimeoutError:
                    missing = sorted(set(range(1, self._processes)) - set(self._peers))
                    raise InvalidInput(
                        "--processes",
                        self._processes,
                        f"all of them within {SECONDS_TO_JOIN:.0f} s; missing: {missing}",
                    ) from None
                except (OSError, ValueError):
                    continue  # somebody else's knock
                self._peers[number] = peer

    def _reach(self) -> None:
        host, port = self._address
        until = time.monotonic() + SECONDS_TO_JOIN
        while True:
            try:
                peer = socket.create_connection(self._address, timeout=5.0)
                peer.sendall(b"%d\n" % self._process)
                self._peers[0] = peer
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise InvalidInput(
                        "--coordinator",
                        f"{host}:{port - 1}",
                        f"process 0 there within {SECONDS_TO_JOIN:.0f} s ({error.strerror})",
                    ) from None
                time.sleep(0.2)

    def _hear(self) -> None:
        heard = dict.fromkeys(self._peers, time.monotonic())
        with selectors.DefaultSelector() as selector:
            for number, peer in self._peers.items():
                selector.register(peer, selectors.EVENT_READ, number)
            while not self._ended.is_set():
                self._beat()
                for key, _ in selector.select(SECONDS_PER_BEAT):
                    heard[key.data] = time.monotonic()  # of this host: no two clocks are compared
                    if not self._listen(key.data):
                        selector.unregister(key.fileobj)
                for number, when in heard.items():
                    if number not in self._left and time.monotonic() - when > self._patience:
                        self._end_with(number)

    def _beat(self) -> None:
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.sendall(BEAT)

    def _listen(self, number: int) -> bool:
        """Takes what a peer has to say; False when it has left."""
        try:
            received = self._peers[number].recv(4096)
        except OSError:
            received = b""
        if DEAD in received:
            self._end_with(int(received.split(DEAD)[1].split()[0]))
        if LEAVE in received:
            self._left.add(number)
        if not received and number not in self._left:
            self._end_with(number)
        return number not in self._left

    def _end_with(self, number: int) -> None:
        if self._ended.is_set():
            return
        for other, peer in self._peers.items():
            if other != number:
                with contextlib.suppress(OSError):
                    peer.sendall(DEAD + b"%d\n" % number)
        print(
            f"fedjax-rl: process {number} of {self._processes} is gone; process {self._process} "
            "stops. fedjax-rl resume goes on from the newest checkpoint, with any number of "
            "processes.",
            file=sys.__stderr__,
            flush=True,
        )
        os._exit(STATUS)


def _line(peer: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\n") and len(line) < 32:
        word = peer.recv(1)
        if not word:
            raise ValueError("closed")
        line += word
    return line.decode()
