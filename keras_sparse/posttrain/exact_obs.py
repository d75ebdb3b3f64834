"""Exact Optimal Brain Surgeon on quadratic problems: which weights to remove, and the re-fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Entries of the inverses that are worked on together: 64 MiB with their update.
_AT_ONCE = 1 << 22
# Removals after which the inverses are brought up to date, by one matrix product.
_BLOCK = 64
# The part of the inverses' rows that is left when those of removed weights are dropped.
_SHRINK = 0.6


def inverse_of(hessian: np.ndarray, name: str) -> np.ndarray:
    """The inverse of a Hessian, shape `(d, d)`.

    Raises:
        ValueError: If the matrix is singular.
    """
    try:
        factor = np.linalg.inv(np.linalg.cholesky(hessian))
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"The Hessian of {name!r} is singular: there are fewer independent samples than "
            f"its {len(hessian)} inputs. Give more samples, or raise damping."
        ) from error
    return factor.T @ factor


def removal_trace(
    weights: np.ndarray, inverse: np.ndarray, group: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Removes the weights of each row one after another, each time the cheapest.

    Each removal of a weight p is the argmin of `w_p^2 / [H^-1]_pp`, followed by
    `w -= w_p / [H^-1]_pp H^-1_:,p` and `H^-1 -= H^-1_:,p H^-1_p,: / [H^-1]_pp`. Each row has an
    inverse of its own, `d * d * 8` bytes, which only a few rows at once have.

    Args:
        weights: Shape `(rows, d)`.
        inverse: The inverse Hessian that the rows share, shape `(d, d)`.
        group: `(n, m)` to leave n of every m consecutive weights, else all are removed.

    Returns:
        The order of removal and what each removal cost, both of shape `(rows, removals)`.

    Source: Frantar and Alistarh (2022).
    """
    rows, size = weights.shape
    at_once = max(1, _AT_ONCE // size**2)
    parts = [
        _trace_of_some(weights[start : start + at_once], inverse, group)
        for start in range(0, rows, at_once)
    ]
    order, cost = (np.concatenate(side) for side in zip(*parts, strict=True))
    return order, cost


def _trace_of_some(
    weights: np.ndarray, inverse: np.ndarray, group: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    rows, size = weights.shape
    n, m = group or (0, size)
    removed = np.zeros((rows, size // m), np.int64)
    removals = size // m * (m - n)
    order, cost = np.empty((rows, removals), np.int64), np.empty((rows, removals))
    row = np.arange(rows)
    # Of what the inverses still hold: where in a row it stands, and whether it may be removed.
    columns, open_ = np.tile(np.arange(size), (rows, 1)), np.ones((rows, size), bool)
    gone = np.zeros((rows, size), bool)
    weights, inverses = weights.copy(), np.repeat(inverse[None], rows, axis=0)
    for start in range(0, removals, _BLOCK):
        steps = min(_BLOCK, removals - start)
        # H^-1 is `inverses - sum_k u_k u_k^T` with `u = H^-1_:,p / sqrt(pivot)`.
        updates = np.empty((rows, steps, columns.shape[1]))
        diagonals = np.einsum("rii->ri", inverses).copy()
        for step in range(steps):
            pivots = np.maximum(diagonals, np.finfo(np.float64).tiny)
            scores = np.where(open_, weights**2 / pivots, np.inf)
            p = np.argmin(scores, axis=1)
            place = columns[row, p]
            order[:, start + step], cost[:, start + step] = place, scores[row, p]
            made = updates[:, :step]
            column = inverses[row, p] - (made[row, :, p][:, None] @ made)[:, 0]
            pivot = pivots[row, p][:, None]
            weights -= weights[row, p][:, None] / pivot * column
            weights[row, p] = 0
            column /= np.sqrt(pivot)
            updates[:, step] = column
            diagonals -= column**2
            open_[row, p], gone[row, p] = False, True
            removed[row, place // m] += 1
            for r in np.flatnonzero(removed[row, place // m] == m - n):
                open_[r, columns[r] // m == place[r] // m] = False
        inverses -= updates.transpose(0, 2, 1) @ updates
        if size - start - steps <= _SHRINK * columns.shape[1]:
            left = np.nonzero(~gone)[1].reshape(rows, -1)
            columns, open_, gone, weights = (
                np.take_along_axis(x, left, axis=1) for x in (columns, open_, gone, weights)
            )
            inverses = inverses[row[:, None, None], left[:, :, None], left[:, None, :]]
    return order, cost


def removal_ranks(
    traces: Sequence[tuple[np.ndarray, np.ndarray]], sizes: Sequence[int]
) -> list[np.ndarray]:
    """Merges traces into one order: always the cheapest of what is next in any row.

    Args:
        traces: Orders and costs of several matrices, from `removal_trace`.
        sizes: How many weights a row of each has.

    Returns:
        For each matrix ranks of shape `(rows, d)`, from 1 for the first to go. What is never
        removed ranks above everything.
    """
    # Behind a dear removal the cheaper ones of its row follow at once: the largest cost so far
    # sorts as the merge does, and the sort is stable.
    keys = [np.maximum.accumulate(cost, axis=1).ravel() for _, cost in traces]
    total = sum(key.size for key in keys)
    ranks = np.empty(total)
    ranks[np.argsort(np.concatenate(keys), kind="stable")] = np.arange(1, total + 1)
    parts = np.split(ranks, np.cumsum([key.size for key in keys])[:-1])
    result = []
    for (order, _), size, part in zip(traces, sizes, parts, strict=True):
        placed = np.full((len(order), size), total + 1.0)
        np.put_along_axis(placed, order, part.reshape(order.shape), axis=1)
        result.append(placed)
    return result


def refit(hessian: np.ndarray, target: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The weights on a fixed mask that minimize `w^T H w / 2 - target^T w`, row by row.

    With `target = H w` this is where removals one after another end, whatever their order, and
    also the least-squares re-fit of a layer's outputs.

    Args:
        hessian: Shape `(d, d)`, positive definite.
        target: Shape `(rows, d)`.
        masks: Boolean, shape `(rows, d)`.

    Returns:
        Shape `(rows, d)`, zero outside the masks.
    """
    result = np.zeros_like(target)
    for row, mask in enumerate(masks):
        kept = np.flatnonzero(mask)
        result[row, kept] = np.linalg.solve(hessian[np.ix_(kept, kept)], target[row, kept])
    return result
