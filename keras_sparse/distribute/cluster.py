"""Which processes make up a training, and which of them this is."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from keras_sparse.messages.arguments import instance, optional

_START = (
    "On one machine, keras-sparse launch --workers 4 SCRIPT.py sets it; on several, give each "
    'process the same {"cluster": {"worker": ["host0:port", "host1:port"]}} and its own '
    '"task": {"type": "worker", "index": 0}.'
)


class ClusterError(RuntimeError):
    """The workers cannot be brought together."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, and the number of this one.

    Args:
        addresses: `"host:port"` of each worker.
        rank: The number of this worker.
        jobs: For each worker `tf.distribute`'s name of it, such as `("worker", 0)`.
    """

    addresses: tuple[str, ...]
    rank: int
    jobs: tuple[tuple[str, int], ...]

    def endpoint(self, rank: int) -> tuple[str, int]:
        """Host and port of a worker."""
        host, _, port = self.addresses[rank].rpartition(":")
        return host.strip("[]"), int(port)


def tf_config(addresses: Sequence[str], rank: int) -> str:
    """The value of `TF_CONFIG` for one worker.

    Args:
        addresses: `"host:port"` of each worker.
        rank: The number of the worker.
    """
    cluster = {"worker": list(addresses)}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})


def read_cluster(environment: Mapping[str, str] | None = None) -> Cluster:
    """Reads `TF_CONFIG`, the variable by which `tf.distribute` knows its cluster.

    Args:
        environment: Where to look. Defaults to the process's environment.

    Raises:
        ValueError: If it is missing, or is not a cluster of workers that this process is one of.
    """
    optional(instance, "environment", environment, Mapping, "a mapping")
    text = (os.environ if environment is None else environment).get("TF_CONFIG")
    if not text:
        raise ValueError(f"TF_CONFIG is not set, so the other workers are unknown. {_START}")
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"TF_CONFIG is not JSON ({error}): {text!r}. {_START}") from None
    if not isinstance(config, dict) or not isinstance(config.get("cluster"), dict):
        raise ValueError(f"TF_CONFIG has no 'cluster': {text!r}. {_START}")
    cluster, task = config["cluster"], config.get("task")
    jobs = [(kind, i) for kind in ("chief", "worker") for i in range(len(cluster.get(kind, ())))]
    addresses = [cluster[kind][i] for kind, i in jobs]
    _check_addresses(addresses, text)
    job = (task.get("type"), task.get("index")) if isinstance(task, dict) else ("", -1)
    if job not in jobs:
        raise ValueError(
            f"TF_CONFIG's 'task' is none of its cluster's {len(jobs)} workers: {task!r}. The "
            f"index of a worker is from 0 to {len(cluster.get('worker', ())) - 1}. {_START}"
        )
    return Cluster(tuple(addresses), jobs.index(job), tuple(jobs))


def _check_addresses(addresses: Sequence[Any], text: str) -> None:
    if not addresses:
        raise ValueError(f"TF_CONFIG's cluster has no 'worker': {text!r}. {_START}")
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"TF_CONFIG has {address!r} where 'host:port' belongs. {_START}")
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise ValueError(
            f"TF_CONFIG gives {twice[0]!r} to more than one worker. Give each a port of its own."
        )
