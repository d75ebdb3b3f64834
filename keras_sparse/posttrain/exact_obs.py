"""Exact Optimal Brain Surgeon on quadratic problems: which weights to remove, and the re-fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_sparse.posttrain.row_pattern import SINGLE, RowPattern

# Entries of the inverses that are worked on together: 64 MiB with their update.
_AT_ONCE = 1 << 22
# Removals after which the inverses are brought up to date, by one matrix product.
_BLOCK = 64
# Below any pivot.
_TINY = np.finfo(np.float64).tiny
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
    weights: np.ndarray, inverse: np.ndarray, pattern: RowPattern = SINGLE
) -> tuple[np.ndarray, np.ndarray]:
    """Removes the weights of each row one after another, each time the cheapest.

    Each removal of a weight p is the argmin of `w_p^2 / [H^-1]_pp`, followed by
    `w -= w_p / [H^-1]_pp H^-1_:,p` and `H^-1 -= H^-1_:,p H^-1_p,: / [H^-1]_pp`. Of blocks B it is
    the argmin of `w_B^T ([H^-1]_BB)^-1 w_B` for each of their weights, and these updates for one
    weight of the block after another. Each row has an inverse of its own, `d * d * 8` bytes, which
    only a few rows at once have.

    Args:
        weights: Shape `(rows, d)`.
        inverse: The inverse Hessian that the rows share, shape `(d, d)`.
        pattern: What is removed together, and of a group of n:m is left; else all are removed.

    Returns:
        The order of removal and what each removal cost, both of shape `(rows, removals)`. The
        weights of a block follow each other, and each of them costs the same.

    Source: Frantar and Alistarh (2022).
    """
    rows, size = weights.shape
    sizes = pattern.sizes(size)
    blocks, width = len(sizes), pattern.block
    # Where a block is smaller, weights that are zero and stand in no relation fill it up.
    place = np.arange(size) + np.repeat(np.arange(blocks) * width - pattern.starts(size), sizes)
    filled, own = np.eye(blocks * width), np.full(blocks * width, -1)
    filled[np.ix_(place, place)], own[place] = inverse, np.arange(size)
    padded = np.zeros((rows, blocks * width))
    padded[:, place] = weights
    at_once = max(1, _AT_ONCE // len(filled) ** 2)
    parts = [
        _trace_of_some(padded[start : start + at_once], filled, pattern, sizes)
        for start in range(0, rows, at_once)
    ]
    order, cost = (np.concatenate(side) for side in zip(*parts, strict=True))
    order = own.reshape(blocks, width)[order]
    real = order >= 0
    each = np.broadcast_to(cost[..., None], order.shape)
    return order[real].reshape(rows, -1), each[real].reshape(rows, -1)


def _trace_of_some(
    weights: np.ndarray, inverse: np.ndarray, pattern: RowPattern, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The order in which whole blocks go, and what each of their weights costs."""
    rows, width = len(weights), pattern.block
    n, m = pattern.group or (0, len(sizes))
    removed = np.zeros((rows, len(sizes) // m), np.int64)
    removals = len(sizes) // m * (m - n)
    order, cost = np.empty((rows, removals), np.int64), np.empty((rows, removals))
    row = np.arange(rows)
    # Of what the inverses still hold: which blocks these are, and whether they may be removed.
    blocks = np.tile(np.arange(len(sizes)), (rows, 1))
    open_, gone = np.ones(blocks.shape, bool), np.zeros(blocks.shape, bool)
    weights, inverses = weights.copy(), np.repeat(inverse[None], rows, axis=0)
    at_a_time = max(_BLOCK // width, 1)
    for start in range(0, removals, at_a_time):
        steps = min(at_a_time, removals - start)
        # H^-1 is `inverses - sum_k u_k u_k^T` with `u = H^-1_:,p / sqrt(pivot)`.
        updates = np.empty((rows, steps * width, weights.shape[1]))
        by_block = inverses.reshape(rows, -1, width, blocks.shape[1], width)
        tiles = np.einsum("rbibj->rbij", by_block).copy()
        tiles[gone] = np.eye(width)
        for step in range(steps):
            costs = joint_costs(weights.reshape(rows, -1, width), tiles) / sizes[blocks]
            scores = np.where(open_, costs, np.inf)
            chosen = np.argmin(scores, axis=1)
            block = blocks[row, chosen]
            order[:, start + step], cost[:, start + step] = block, scores[row, chosen]
            for k in range(width):
                p = chosen * width + k
                made = updates[:, : step * width + k]
                column = inverses[row, p] - (made[row, :, p][:, None] @ made)[:, 0]
                pivot = np.maximum(tiles[row, chosen, k, k], _TINY)[:, None]
                weights -= weights[row, p][:, None] / pivot * column
                weights[row, p] = 0
                column /= np.sqrt(pivot)
                updates[:, step * width + k] = column
                parts = column.reshape(rows, -1, width)
                tiles -= parts[..., :, None] * parts[..., None, :]
            open_[row, chosen], gone[row, chosen], tiles[row, chosen] = False, True, np.eye(width)
            removed[row, block // m] += 1
            for r in np.flatnonzero(removed[row, block // m] == m - n):
                open_[r, blocks[r] // m == block[r] // m] = False
        inverses -= updates.transpose(0, 2, 1) @ updates
        if len(sizes) - start - steps <= _SHRINK * blocks.shape[1]:
            left = np.nonzero(~gone)[1].reshape(rows, -1)
            blocks, open_, gone = (
                np.take_along_axis(x, left, axis=1) for x in (blocks, open_, gone)
            )
            kept = (left[..., None] * width + np.arange(width)).reshape(rows, -1)
            weights = np.take_along_axis(weights, kept, axis=1)
            inverses = inverses[row[:, None, None], kept[:, :, None], kept[:, None, :]]
    return order, cost


def joint_costs(weights: np.ndarray, inverses: np.ndarray) -> np.ndarray:
    """What removing all weights of a block costs, `w_B^T ([H^-1]_BB)^-1 w_B`.

    It is the sum of what they cost one after another.

    Args:
        weights: Of many blocks, shape `(..., width)`.
        inverses: Their blocks of the inverse Hessian, shape `(..., width, width)`.

    Returns:
        Shape `(...)`.
    """
    cost = np.zeros(weights.shape[:-1])
    while weights.shape[-1]:
        pivot = np.maximum(inverses[..., 0, 0], _TINY)
        cost += weights[..., 0] ** 2 / pivot
        share = inverses[..., 1:, 0] / pivot[..., None]
        weights = weights[..., 1:] - share * weights[..., :1]
        inverses = inverses[..., 1:, 1:] - share[..., None] * inverses[..., :1, 1:]
    return cost


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
