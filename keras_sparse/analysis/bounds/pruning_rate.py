"""What is proven about greedy forward selection: how fast the loss of a subnetwork falls.

Notation: `Phi_i` is the vector of a neuron's outputs on the data over `sqrt(m)`, y that of the
labels, `M_N` the convex hull of the `Phi_i`, D its diameter, `l(z) = ||z - y||^2 / 2`, `L_N` the
loss of the dense network, and `u_k` the mean of the k neurons selected so far.
"""

from __future__ import annotations

import numpy as np

from keras_sparse.messages.arguments import integer, number, one_of

FORMS = ("harmonic", "printed")


def subnetwork_loss_bound(
    k: int, loss_first: float, diameter: float, dense_loss: float, form: str = "harmonic"
) -> float:
    """The loss that k greedily selected neurons have at most.

    `l(u_1) / k + (k - 1) / k * L_N + c(k) D^2 / (2 k)`. With `c(k) = H_k - 1`, H_k the harmonic
    number, it follows from the recursion of the proof. The source prints `c(k) = 1`, which was
    never seen violated; its derivation replaces `D^2 / (k - 1)` by the smaller `D^2 / k`.

    ```python
    subnetwork_loss_bound(k=10, loss_first=0.125, diameter=2**0.5, dense_loss=0.0361111)
    ```

    Args:
        k: Neurons selected, those selected again included.
        loss_first: `l(u_1)`, the loss with one neuron.
        diameter: D.
        dense_loss: `L_N`; the smallest loss in the hull serves as well.
        form: `"harmonic"`, which is proven, or `"printed"`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Lemma 1 and B.1.2 (equation 14 is the printed form).
    """
    integer("k", k)
    number("loss_first", loss_first, "[0, inf)")
    number("diameter", diameter, "[0, inf)")
    number("dense_loss", dense_loss, "[0, inf)")
    one_of("form", form, FORMS)
    factor = 1.0 if form == "printed" else harmonic_number(k) - 1
    return (loss_first + (k - 1) * dense_loss + factor * diameter**2 / 2) / k


def harmonic_number(k: int) -> float:
    """`1 + 1/2 + ... + 1/k`.

    Args:
        k: At least 1.

    Raises:
        ValueError: If `k` is out of range.
    """
    integer("k", k)
    return float(np.sum(1 / np.arange(1, k + 1)))


def interior_loss_bound(k: int, diameter: float, gamma: float) -> float:
    """The loss of k selected neurons at most, where a ball around the labels is in the hull.

    `max(D, D^2 / 2, D^2 / (2 gamma))^2 / (2 k^2)`.

    Args:
        k: Neurons selected.
        diameter: D.
        gamma: Radius of a ball around y that lies in `M_N`, greater than 0.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Lemma 8.
    """
    integer("k", k)
    number("diameter", diameter, "[0, inf)")
    number("gamma", gamma, "(0, inf)")
    return recursion_bound(gamma, diameter**2) ** 2 / (2 * k**2)


def recursion_bound(beta: float, c: float) -> float:
    """What a sequence stays below that begins with 0 and has `z'^2 <= z^2 - 2 beta z + C`.

    `max(sqrt(C), C / 2, C / (2 beta))`.

    Args:
        beta: Greater than 0.
        c: C, at least 0.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Lemma 7.
    """
    number("beta", beta, "(0, inf)")
    number("c", c, "[0, inf)")
    return float(max(np.sqrt(c), c / 2, c / (2 * beta)))


def max_subnetwork_size(loss_first: float, diameter: float, dense_loss: float) -> float:
    """The largest subnetwork for which the dense loss is not yet what its loss is bounded by.

    `k_max = 1 + (l(u_1) + D^2 / 2) / L_N`: up to it, `(k - 1) L_N <= l(u_1) + D^2 / 2`, and the
    dense network is trained enough for k neurons.

    Args:
        loss_first: `l(u_1)`.
        diameter: D.
        dense_loss: `L_N` at the step in question; 0 gives infinity.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), follows from equation 14.
    """
    number("loss_first", loss_first, "[0, inf)")
    number("diameter", diameter, "[0, inf)")
    number("dense_loss", dense_loss, "[0, inf)")
    other = loss_first + diameter**2 / 2
    return 1 + other / dense_loss if dense_loss else float("inf")


def selection_floats(k: int, nodes: int, numbers: int) -> int:
    """Numbers that compute nodes broadcast for k picks, `k (V + B)`, whatever the width.

    Args:
        k: Picks.
        nodes: V, each of which tells its best loss.
        numbers: B, what the winner tells: `d + 1` weights of a neuron, or the m numbers of its
            outputs.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Algorithm 3 and Lemma 2.
    """
    integer("k", k)
    integer("nodes", nodes)
    integer("numbers", numbers)
    return k * (nodes + numbers)
