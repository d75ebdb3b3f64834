"""The citation graphs of Planetoid, read from their pickles without executing them."""

from __future__ import annotations

import collections
import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from keras_sparse.graphs.data.graph import UNKNOWN, Graph

ADDRESS = "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data/"
PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")
# SHA-256 of the files, in the order of PARTS, or their SHA-1 as objects of git.
CHECKSUMS = {
    "cora": (
        "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
        "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
        "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
        "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
        "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
        "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
        "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
        "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    ),
    "citeseer": (
        "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6",
        "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
        "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
        "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
        "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
        "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
        "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
        "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
    ),
    "pubmed": (
        "fbe9cb5c47200d1b7769a26e579be3b7130b556831f9d850e77c4c74f2599b33",
        "e6c807633307a07ed659249006536a147c7999c797f11a2560752990181b41b3",
        "4eb5f5d0f30f26497eb0ac6ac9719d09c67e284f1ed0385c93f3ef27a671da3d",
        "ee2e0d4819d9fbcc403689c3bf2e49face401b605932f093bc58ab6461130fdd",
        "3b86bccf08111c37c632a9dd8ab63db25ea76361",
        "0c37bbe3b5014ec365e9d393cf4791925e5ed94fb194305d74f064a8d7b50f0e",
        "5b89f0036ca22909471f1e6558eb42fa06e0c730a577bde5b058b40638f81dc9",
        "b101d421688bbaecbd82e8a18f1e282378d6830f3a37666f28ebc47f844341b5",
    ),
}
_VALIDATION = 500


class _Matrix:
    """Stands for `scipy.sparse.csr_matrix` in a pickle: it only takes in the parts."""

    def whole(self) -> scipy.sparse.csr_array:
        parts = self.__dict__
        arrays = parts["data"], parts["indices"], parts["indptr"]
        return scipy.sparse.csr_array(arrays, shape=parts["_shape"], dtype=np.float32)


_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # Where NumPy keeps it depends on its version.
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("scipy.sparse.csr", "csr_matrix"): _Matrix,
    ("collections", "defaultdict"): collections.defaultdict,
    ("__builtin__", "list"): list,
}


class _Unpickler(pickle.Unpickler):
    """Makes arrays, sparse matrices, lists and dictionaries, and refuses whatever else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no graph needs")
        return _ALLOWED[module, name]


def unpickled(contents: bytes, path: Path) -> Any:
    """What one of Planetoid's pickles holds.

    Args:
        contents: The file's bytes.
        path: The file, for messages.

    Raises:
        ValueError: If it is cut off, or asks for anything but arrays, lists and dictionaries.
    """
    try:
        found = _Unpickler(io.BytesIO(contents), encoding="latin1").load()
        return found.whole() if isinstance(found, _Matrix) else found
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{os.fspath(path)!r} is no file of Planetoid: {error}") from error


def read_planetoid(name: str, folder: Path) -> Graph:
    """Reads a graph with the public split: 20 labels a class, 500 nodes to validate, 1000 to test.

    Nodes of the test range that the files leave out (CiteSeer has 15) get no features, no label
    and no edges.

    Args:
        name: `"cora"`, `"citeseer"` or `"pubmed"`.
        folder: Where the eight files `ind.<name>.*` are.

    Raises:
        FileNotFoundError: If one of them is missing.
        ValueError: If one of them has another checksum, or cannot be read.

    Source: Yang et al. (2016), section 5.
    """
    contents = {}
    for part, checksum in zip(PARTS, CHECKSUMS[name], strict=True):
        path = folder / f"ind.{name}.{part}"
        contents[part] = path.read_bytes()
        check_contents(path, contents[part], checksum)
    test = np.array(contents.pop("test.index").split(), np.int64)
    parts = {
        part: unpickled(bytes_, folder / f"ind.{name}.{part}") for part, bytes_ in contents.items()
    }
    return assembled(name, parts, test)


def check_contents(path: Path, contents: bytes, checksum: str) -> None:
    """Checks a file's contents.

    Args:
        path: The file, for the message.
        contents: Its bytes.
        checksum: Their SHA-256 in hexadecimal digits, or the SHA-1 of the object that git makes
            of them.

    Raises:
        ValueError: If they are others.
    """
    if len(checksum) == hashlib.sha256().digest_size * 2:
        kind, found = "SHA-256", hashlib.sha256(contents).hexdigest()
    else:
        kind = "name in git"
        found = hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest()
    if found != checksum:
        raise ValueError(
            f"{os.fspath(path)!r} is damaged or another version: its {kind} is {found} "
            f"instead of {checksum}. Remove it, and it is downloaded anew."
        )


def assembled(name: str, parts: dict[str, Any], test: np.ndarray) -> Graph:
    """Puts the parts of a Planetoid graph together.

    Args:
        name: The graph's name.
        parts: What the files hold, by the last part of their names.
        test: The node that each row of `tx` belongs to.
    """
    known = parts["allx"].shape[0]
    nodes = len(parts["graph"])
    classes = parts["ally"].shape[1]
    rows = np.concatenate([np.arange(known), test])
    stacked = scipy.sparse.coo_array(scipy.sparse.vstack([parts["allx"], parts["tx"]]))
    features = scipy.sparse.csr_array(
        (stacked.data, (rows[stacked.row], stacked.col)), (nodes, stacked.shape[1])
    )
    labels = np.full(nodes, UNKNOWN)
    one_hot = np.concatenate([parts["ally"], parts["ty"]])
    labeled = one_hot.any(axis=1)
    labels[rows[labeled]] = one_hot[labeled].argmax(axis=1)
    edges = [(node, other) for node, others in parts["graph"].items() for other in others]
    train = np.arange(parts["y"].shape[0])
    return Graph.from_edges(
        edges,
        features,
        labels,
        classes,
        train=train,
        validation=len(train) + np.arange(_VALIDATION),
        test=np.sort(test),
        name=name,
    )
