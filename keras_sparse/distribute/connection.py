"""Workers in processes of their own, connected by `tf.distribute`'s collectives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

from keras_sparse.distribute.cluster import Cluster, read_cluster
from keras_sparse.distribute.communicator import Communicator, WorkerLostError
from keras_sparse.distribute.peers import Peers
from keras_sparse.messages.arguments import number

# Of the workers' group of devices; strategies number theirs from 1.
_GROUP_KEY = 7919
_WORD = 4
_connected: Communicator | None = None


def connect(timeout: float = 300.0) -> Communicator:
    """Joins the workers that `TF_CONFIG` names. To be called before the first tensor is made.

    ```python
    import keras_sparse as ks

    workers = ks.distribute.connect()
    keras.utils.set_random_seed(workers.rank)
    ```

    `tf.distribute.MultiWorkerMirroredStrategy` makes the cluster and its collectives. Models are
    made outside of any strategy, and each worker's `fit` is its own. A worker whose process ends
    is noticed at the next batch of the others; where others wait for it, so is one that is
    stopped or whose machine is gone, within 30 seconds. A second call returns what the first did.

    Args:
        timeout: Seconds in which all workers must have started.

    Returns:
        What the workers talk through; `rank` and `count` tell which of how many this one is.

    Raises:
        ValueError: If `TF_CONFIG` is missing or wrong.
        ClusterError: If this worker's port is taken, others do not come in time, or one of
            them has another version of keras_sparse or another cluster.
        RuntimeError: If tensors have been made before, or the backend is not TensorFlow.
    """
    number("timeout", timeout, "(0, inf)")
    global _connected
    if _connected is None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "Workers are connected by tf.distribute, and Keras runs on "
                f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
            )
        cluster = read_cluster()
        peers = Peers(cluster, {"version": version("keras-sparse")}, timeout)
        _connected = _CollectiveCommunicator(cluster, peers)
    return _connected


class _CollectiveCommunicator(Communicator):
    """Lengths are gathered, then each worker broadcasts what it has, without padding."""

    def __init__(self, cluster: Cluster, peers: Peers) -> None:
        import tensorflow as tf

        super().__init__(cluster.rank, cluster.addresses)
        self._cluster, self._peers, self._tf = cluster, peers, tf
        try:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            peers.close()
            raise RuntimeError(
                f"TensorFlow cannot join its cluster: {error} Call connect() first in the script, "
                "before anything makes a model or a tensor."
            ) from error
        self._instance = 0
        job, index = cluster.jobs[cluster.rank]
        device = f"/job:{job}/replica:0/task:{index}/device:CPU:0"
        group = {"group_size": self.count, "group_key": _GROUP_KEY}
        number = tf.TensorSpec((), tf.int32)

        @tf.function(input_signature=[tf.TensorSpec((1,), tf.int64)])
        def gather(own: Any) -> Any:
            def gathered() -> Any:
                # What is handed in as an argument would have no device to be gathered on.
                context = tf.distribute.get_replica_context()
                return context.all_gather(tf.identity(own), axis=0)

            return self._strategy.run(gathered)

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32), number])
        def send(words: Any, instance: Any) -> Any:
            with tf.device(device):
                return tf.raw_ops.CollectiveBcastSendV2(input=words, instance_key=instance, **group)

        @tf.function(input_signature=[number, number])
        def receive(length: Any, instance: Any) -> Any:
            with tf.device(device):
                return tf.raw_ops.CollectiveBcastRecvV2(
                    shape=[length], T=tf.int32, instance_key=instance, **group
                )

        self._gather, self._send, self._receive = gather, send, receive

    def _exchange(self, payload: bytes) -> list[bytes]:
        self.check()
        try:
            own = self._tf.constant([len(payload)], self._tf.int64)
            lengths = self._gather(own).numpy()
            return [
                self._broadcast(rank, payload, int(length)) for rank, length in enumerate(lengths)
            ]
        except self._tf.errors.OpError as error:
            lost = self._peers.lost() or lost_by_message(error.message, self._cluster.jobs)
            raise WorkerLostError(lost, self.names) from error

    def _broadcast(self, source: int, payload: bytes, length: int) -> bytes:
        if not length:
            return b""
        self._instance += 1
        if source == self.rank:
            padded = payload + bytes(-length % _WORD)
            self._send(np.frombuffer(padded, np.int32), self._instance)
            return payload
        words = self._receive(-(-length // _WORD), self._instance)
        return words.numpy().tobytes()[:length]

    def check(self) -> None:
        lost = self._peers.lost()
        if lost:
            raise WorkerLostError(lost, self.names)


def lost_by_message(message: str, jobs: Sequence[tuple[str, int]]) -> list[int]:
    """The workers that an error of `tf.distribute` says are lost.

    It comes from the service on worker 0 that all workers report to, or is about that one.

    Args:
        message: The error's message.
        jobs: A cluster's `jobs`.
    """
    telling = re.findall(r"unhealthy.*?The tasks|remote target \S+", message, re.DOTALL)
    named = re.findall(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", " ".join(telling))
    tasks = {(job, int(index)) for job, index in named}
    found = [rank for rank, job in enumerate(jobs) if job in tasks]
    return found or [0] * ("CoordinationService/Heartbeat" in message)
