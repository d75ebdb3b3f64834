"""Post-training methods for one dense layer, written plainly from their definitions.

Rows of `weight` are inputs, columns are outputs, as in a `Dense` layer. Nothing here is fast.
"""

import numpy as np


def hessian(x, damping):
    h = np.asarray(x, np.float64).T @ np.asarray(x, np.float64)
    return h + damping * np.mean(np.diag(h)) * np.eye(len(h))


def wanda(weight, x, keep_each):
    """Each output keeps its `keep_each` largest `|W_ij| ||X_j||`."""
    result = np.zeros_like(weight)
    for output in range(weight.shape[1]):
        scores = {}
        for j in range(weight.shape[0]):
            scores[j] = abs(weight[j, output]) * np.sqrt(np.sum(np.asarray(x[:, j], float) ** 2))
        for j in sorted(scores, key=scores.get, reverse=True)[:keep_each]:
            result[j, output] = weight[j, output]
    return result


def wanda_groups(weight, x, n, m):
    parts = [
        wanda(weight[start : start + m], x[:, start : start + m], n)
        for start in range(0, len(weight), m)
    ]
    return np.concatenate(parts)


def wanda_blocks(weight, x, keep_each, width):
    """Each output keeps its `keep_each` blocks of the largest sum of `W_ij^2 ||X_j||^2`."""
    result = np.zeros_like(weight)
    for output in range(weight.shape[1]):
        sums = {}
        for start in range(0, len(weight), width):
            inside = range(start, start + width)
            norms = [np.sum(np.asarray(x[:, j], float) ** 2) for j in inside]
            sums[start] = sum(
                weight[j, output] ** 2 * n for j, n in zip(inside, norms, strict=True)
            )
        for start in sorted(sums, key=sums.get, reverse=True)[:keep_each]:
            result[start : start + width, output] = weight[start : start + width, output]
    return result


def refit(weight, x, mask, damping):
    """Least squares on a mask; damping pulls to the old weights. Solved as one tall system."""
    d = len(weight)
    pull = np.sqrt(damping * np.mean(np.sum(np.asarray(x, np.float64) ** 2, axis=0)))
    tall = np.concatenate([np.asarray(x, np.float64), pull * np.eye(d)])
    result = np.zeros_like(weight)
    for output in range(weight.shape[1]):
        kept = mask[:, output]
        wanted = tall @ weight[:, output]
        result[kept, output] = np.linalg.lstsq(tall[:, kept], wanted, rcond=None)[0]
    return result


def adaprune(weight, x, keep, damping):
    threshold = np.sort(np.abs(weight).ravel())[-keep]
    return refit(weight, x, np.abs(weight) >= threshold, damping)


def obc(weight, x, keep, damping):
    """Always the removal that costs least, each output with an inverse that is made anew."""
    h = hessian(x, damping)
    rows = [np.array(column) for column in weight.T]
    alive = [list(range(len(h))) for _ in rows]
    for _ in range(weight.size - keep):
        best = None
        for i, row in enumerate(rows):
            if alive[i]:
                inverse = np.linalg.inv(h[np.ix_(alive[i], alive[i])])
                for place, p in enumerate(alive[i]):
                    cost = row[p] ** 2 / inverse[place, place]
                    if best is None or cost < best[0]:
                        best = cost, i, place, inverse
        _, i, place, inverse = best
        p = alive[i][place]
        rows[i][alive[i]] -= rows[i][p] / inverse[place, place] * inverse[:, place]
        rows[i][p] = 0
        alive[i].remove(p)
    return np.stack(rows, axis=1)


def obc_blocks(weight, x, keep, damping, width):
    """As `obc`, a block at a time: `w_B ([H^-1]_BB)^-1 w_B` by the inverse of the submatrix."""
    h = hessian(x, damping)
    rows = [np.array(column) for column in weight.T]
    alive = [list(range(len(h))) for _ in rows]
    for _ in range((weight.size - keep) // width):
        best = None
        for i, row in enumerate(rows):
            if alive[i]:
                inverse = np.linalg.inv(h[np.ix_(alive[i], alive[i])])
                for start in range(0, len(alive[i]), width):
                    places = range(start, start + width)
                    mine = row[[alive[i][place] for place in places]]
                    joint = np.linalg.inv(inverse[np.ix_(places, places)])
                    cost = mine @ joint @ mine
                    if best is None or cost < best[0]:
                        best = cost, i, list(places), inverse[:, places] @ joint @ mine
        _, i, places, step = best
        rows[i][alive[i]] -= step
        for p in [alive[i][place] for place in places]:
            rows[i][p] = 0
            alive[i].remove(p)
    return np.stack(rows, axis=1)


def sparsegpt_blocks(weight, x, damping, block_size, remove, width):
    """As `sparsegpt`, whole blocks of `width` inputs at a time, each with one joint update."""
    h = hessian(x, damping)
    weight, d = weight.copy(), len(h)
    for first in range(0, d, block_size):
        stop = min(first + block_size, d)
        scores = []
        for start in range(first, stop, width):
            joint = np.linalg.inv(np.linalg.inv(h[start:, start:])[:width, :width])
            for i in range(weight.shape[1]):
                mine = weight[start : start + width, i]
                scores.append((mine @ joint @ mine, start, i))
        count = round(remove * stop / d) // width - round(remove * first / d) // width
        gone = [(start, i) for _, start, i in sorted(scores)[:count]]
        for start, i in sorted(gone):
            inverse = np.linalg.inv(h[start:, start:])
            joint = np.linalg.inv(inverse[:width, :width])
            weight[start:, i] -= inverse[:, :width] @ joint @ weight[start : start + width, i]
            weight[start : start + width, i] = 0
    return weight


def sparsegpt(weight, x, damping, block_size, remove=None, group=None):
    """Columns in order; each removed weight is made up for by the inputs that come after it.

    The inverse is that of the Hessian of the inputs which are not yet fixed, made anew each time.
    With `remove`, every block of `block_size` inputs loses its share of that many weights.
    """
    h = hessian(x, damping)
    weight, d = weight.copy(), len(h)
    inverses = [np.linalg.inv(h[q:, q:]) for q in range(d)]
    kept = np.ones(weight.shape, bool)
    for q in range(d):
        if group is None and q % block_size == 0:
            stop = min(q + block_size, d)
            scores = [
                (weight[j, i] ** 2 / inverses[j][0, 0], j, i)
                for j in range(q, stop)
                for i in range(weight.shape[1])
            ]
            count = round(remove * stop / d) - round(remove * q / d)
            for _, j, i in sorted(scores)[:count]:
                kept[j, i] = False
        if group is not None and q % group[1] == 0:
            n, m = group
            for i in range(weight.shape[1]):
                scores = [(weight[j, i] ** 2 / inverses[j][0, 0], j) for j in range(q, q + m)]
                for _, j in sorted(scores)[: m - n]:
                    kept[j, i] = False
        for i in range(weight.shape[1]):
            if not kept[q, i]:
                weight[q:, i] -= weight[q, i] / inverses[q][0, 0] * inverses[q][:, 0]
                weight[q, i] = 0
    return weight
