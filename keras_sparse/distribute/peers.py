"""Workers that find each other, and notice when one of them ends."""

from __future__ import annotations

import contextlib
import errno
import json
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Any

from keras_sparse.distribute.cluster import Cluster, ClusterError

_RETRY_SECONDS = 0.1
# A machine that vanishes without a word is noticed after idle + count * interval = 20 seconds.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2}
_GREETING_BYTES = 65536


class Peers:
    """A connection to each of the other workers, open for as long as their processes live.

    Made before `tf.distribute`'s server, on the same ports: it says what that would wait for
    without a word.

    Args:
        cluster: All workers.
        facts: What must be the same for all, such as a version; JSON can hold it.
        timeout: Seconds within which all workers must have come.

    Raises:
        ClusterError: If this worker's port is taken, workers do not come in time, or one of
            them has other facts or another cluster.
    """

    def __init__(self, cluster: Cluster, facts: Mapping[str, Any], timeout: float) -> None:
        self.cluster = cluster
        self._facts = {"cluster": list(cluster.addresses), **facts}
        self._sockets: dict[int, socket.socket] = {}
        self._watched = selectors.DefaultSelector()
        self._deadline = time.monotonic() + timeout
        self._timeout = timeout
        try:
            with self._listening() as server:
                for rank in range(cluster.rank):
                    self._call(rank)
                while len(self._sockets) < len(cluster.addresses) - 1:
                    self._answer(server)
        except BaseException:
            self.close()
            raise

    def _listening(self) -> socket.socket:
        port = self.cluster.endpoint(self.cluster.rank)[1]
        try:
            return socket.create_server(("", port), backlog=128)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise ClusterError(
                f"Worker {self.cluster.rank} cannot listen on port {port}: {error.strerror}. Is "
                "an earlier run's worker still there, or another one with the same index in "
                "TF_CONFIG? End it, or give another port to all workers."
            ) from None

    def _call(self, rank: int) -> None:
        """Connects to a worker with a lower number, which may not be there yet."""
        while True:
            self._check_deadline()
            with contextlib.suppress(OSError):
                # What listens there may be another program: only a greeting makes a worker.
                found = socket.create_connection(self.cluster.endpoint(rank), self._left())
                if self._greet(found, rank):
                    return
            time.sleep(_RETRY_SECONDS)

    def _answer(self, server: socket.socket) -> None:
        """Takes the call of a worker with a higher number."""
        self._check_deadline()
        server.settimeout(self._left())
        with contextlib.suppress(TimeoutError):
            self._greet(server.accept()[0], None)

    def _greet(self, peer: socket.socket, expected: int | None) -> bool:
        """Exchanges greetings; whoever gives none is no worker and is left alone."""
        # A caller speaks at once; who is called may still be calling others.
        peer.settimeout(self._left() if expected is not None else min(5.0, self._left()))
        try:
            greeting = {"keras_sparse": self._facts, "rank": self.cluster.rank}
            peer.sendall(json.dumps(greeting).encode() + b"\n")
            with peer.makefile("rb") as file:
                theirs = json.loads(file.readline(_GREETING_BYTES))
            other, rank = dict(theirs["keras_sparse"]), int(theirs["rank"])
        except (OSError, ValueError, KeyError, TypeError):
            peer.close()
            return False
        if self._facts != other:
            peer.close()
            raise ClusterError(_difference(self.cluster.rank, self._facts, rank, other))
        if rank in self._sockets or rank == self.cluster.rank or expected not in (None, rank):
            peer.close()
            raise ClusterError(
                f"Two processes are worker {rank} of this cluster. Give each its own index in "
                "TF_CONFIG's task."
            )
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        peer.setblocking(False)
        self._sockets[rank] = peer
        self._watched.register(peer, selectors.EVENT_READ, rank)
        return True

    def _left(self) -> float:
        return max(0.01, self._deadline - time.monotonic())

    def _check_deadline(self) -> None:
        if time.monotonic() < self._deadline:
            return
        missing = [
            f"worker {i} ({address})"
            for i, address in enumerate(self.cluster.addresses)
            if i != self.cluster.rank and i not in self._sockets
        ]
        raise ClusterError(
            f"{', '.join(missing)} did not come within {self._timeout:g} seconds. Start the same "
            "script there with its own TF_CONFIG, and see that the port can be reached; "
            "connect(timeout=...) waits longer."
        )

    def lost(self) -> list[int]:
        """The workers that have ended, as far as it is known now."""
        # After its greeting nobody says anything: what can be read is an end.
        return sorted(key.data for key, _ in self._watched.select(0))

    def close(self) -> None:
        """Ends the connections."""
        for peer in self._sockets.values():
            peer.close()
        self._sockets = {}
        self._watched.close()


def _difference(
    rank: int, own: Mapping[str, Any], other_rank: int, other: Mapping[str, Any]
) -> str:
    name = next(name for name in (*own, *other) if own.get(name) != other.get(name))
    return (
        f"Workers {rank} and {other_rank} differ in {name}: {own.get(name)!r} and "
        f"{other.get(name)!r}. All workers need the same."
    )
