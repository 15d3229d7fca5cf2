# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparse non-negative matrix factorisation V ~ W H.

Source: Potluru, Plis, Le Roux, Pearlmutter, Calhoun & Hayes, "Block Coordinate Descent for Sparse NMF" (ICLR
2013): one column of the sparse factor after the other is set to its exact optimum under Hoyer's sparsity
constraint (Hoyer 2004). The other factor, and both without a constraint, follow HALS (Cichocki & Phan 2009),
with several sweeps per product with V (Gillis & Glineur 2012), since those products are what takes the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backend.errors import LwaeError

WARM_UP = 40  # unconstrained iterations before Hoyer's constraint is imposed
SWEEPS = 3  # over the columns of a factor, per product with V
RANK = 64  # and 8 more, of what stands in for a large V until the factors hardly change any more
LARGE = 1 << 25  # entries of such a V
SORTED = 512  # entries that `hoyer_projection` sorts


@dataclass(frozen=True)
class Factors:
    """V ~ weights @ activations.

    Attributes:
        weights: W, float64 [N, K], non-negative; unit columns if W is the sparse factor.
        activations: H, float64 [K, S], non-negative; unit rows if H is the sparse factor.
        objective: 1/2 |V - W H|^2 (plus the L1 penalty) after each iteration; never rises beyond rounding.
    """

    weights: np.ndarray
    activations: np.ndarray
    objective: list[float]


def sparse_nmf(
    matrix: np.ndarray,
    parts: int,
    *,
    rng: np.random.Generator,
    sparsity: float = 0.75,
    sparse_factor: str = "W",
    penalty: str = "hoyer",
    iterations: int = 200,
    tol: float = 1e-4,
) -> Factors:
    """Factorise a non-negative matrix into `parts` parts.

    Args:
        matrix: V [N, S], float32 or float64; read only, never copied.
        parts: K, from 1 to min(N, S).
        rng: draws the start (a randomised SVD); the same generator state gives the same result.
        sparsity: with `penalty="hoyer"` the sparsity (sqrt(n) - |y|_1 / |y|_2) / (sqrt(n) - 1) in [0, 1] that
            each column of W (row of H) is given; 0 means no constraint. With `penalty="l1"` the weight, in
            units of V, of |W|_1 (|H|_1), the other factor having unit vectors; 0 means none.
        sparse_factor: "W" or "H".
        iterations: at most that many.
        tol: stop when the objective falls by less than this share of itself in one iteration.

    Raises:
        LwaeError: V is negative or not finite, or an option is out of range, or a penalty leaves a part
        empty.
    """
    if not 1 <= parts <= min(matrix.shape):
        raise LwaeError(
            f"{parts} parts cannot be found where {matrix.shape[0]} vertices move in {matrix.shape[1]} faces; "
            f"ask for at most {min(matrix.shape)}."
        )
    if sparse_factor not in ("W", "H") or penalty not in ("hoyer", "l1"):
        raise LwaeError(
            f"Unknown NMF option: sparse factor {sparse_factor!r}, penalty {penalty!r}; use W or H, hoyer or l1."
        )
    if not sparsity >= 0 or (penalty == "hoyer" and sparsity > 1):
        raise LwaeError(
            f"Sparsity {sparsity:g} is out of range: Hoyer's lies in 0 to 1 (the paper's 7.5 reads as 0.75), "
            "an l1 penalty is not negative."
        )
    smallest = matrix.min()
    if not (np.isfinite(smallest) and np.isfinite(matrix.max()) and smallest >= 0):
        raise LwaeError("NMF needs finite, non-negative numbers; the matrix has others.")
    if sparse_factor == "H":
        matrix = matrix.T

    # V ~ sparse @ other.T; column by column is how both are read and written.
    sparse, other = (np.asfortranarray(factor) for factor in _start(matrix, parts, rng))
    energy = float(np.einsum("ij,ij->i", matrix, matrix).sum(dtype=np.float64))
    descent = _Descent(sparse, other, energy, sparsity, penalty)
    # Exact columns freeze their support early; they find a better one when they start from the free factorisation.
    warm_up = WARM_UP if descent.column_l1 is not None else 0
    products = _exact_products(matrix)
    if matrix.size >= LARGE and min(matrix.shape) > 4 * RANK:
        # Nearly all iterations need no more of V than what varies most; the last ones see all of it.
        descent.run(_low_rank_products(matrix, rng), warm_up, iterations, tol)
        warm_up = 0
    objective = descent.run(products, warm_up, iterations, tol)

    empty = np.flatnonzero((sparse.max(axis=0) == 0) | (other.max(axis=0) == 0))
    if len(empty):
        raise LwaeError(f"NMF left {len(empty)} of {parts} parts empty; ask for fewer parts or less sparsity.")
    weights, activations = (sparse, other.T) if sparse_factor == "W" else (other, sparse.T)
    return Factors(weights, np.ascontiguousarray(activations), objective)


class _Descent:
    """Block coordinate descent of both factors, in place.

    Attributes:
        column_l1: |column|_1 that the sparse factor's unit columns are given; None without Hoyer's constraint.
    """

    def __init__(self, sparse: np.ndarray, other: np.ndarray, energy: float, sparsity: float, penalty: str):
        self._sparse, self._other, self._energy = sparse, other, energy
        self.column_l1 = _l1_of_sparsity(len(sparse), sparsity) if penalty == "hoyer" and sparsity > 0 else None
        self._shrink = sparsity if penalty == "l1" else 0.0

    def run(self, products: tuple[Callable, Callable], warm_up: int, iterations: int, tol: float) -> list[float]:
        """Iterate until the objective hardly falls; it is returned for each iteration after the warm-up.

        Args:
            products: V times a factor [S, K], and V^T times one [N, K]; both float64 in Fortran order.
        """
        sparse, other, parts, shrink = self._sparse, self._other, self._sparse.shape[1], self._shrink
        objective: list[float] = []
        for iteration in range(-warm_up, iterations):
            product = products[0](other)
            gram = other.T @ other
            for _ in range(SWEEPS):
                for k in range(parts):
                    rest = product[:, k] - sparse @ gram[:, k] + gram[k, k] * sparse[:, k]
                    if self.column_l1 is not None and iteration >= 0:
                        sparse[:, k] = hoyer_projection(rest, self.column_l1)
                    elif gram[k, k] > 0:
                        sparse[:, k] = np.maximum(rest - shrink, 0) / gram[k, k]
            product = products[1](sparse)
            gram = sparse.T @ sparse
            for _ in range(SWEEPS):
                for k in range(parts):
                    rest = product[:, k] - other @ gram[:, k] + gram[k, k] * other[:, k]
                    if gram[k, k] > 0:
                        other[:, k] = np.maximum(rest, 0) / gram[k, k]
                    if shrink and (length := np.linalg.norm(other[:, k])) > 0:
                        other[:, k] /= length
            if iteration < 0:
                continue
            misfit = self._energy - 2 * np.vdot(product, other) + np.vdot(gram, other.T @ other)
            objective.append(0.5 * max(float(misfit), 0.0) + shrink * float(sparse.sum()))
            if len(objective) > 1 and objective[-2] - objective[-1] <= tol * objective[-2]:
                break
        return objective


def hoyer_projection(b: np.ndarray, l1: float) -> np.ndarray:
    """argmax b . y subject to y >= 0, |y|_2 = 1, |y|_1 = l1; float64 [n].

    The optimum is y = max(b - mu, 0) / scale (Potluru et al. 2013, section 3). With b sorted, the support is
    the first p entries where |b - b_p+1|_1 / |b - b_p+1|_2 over those p reaches l1 (that ratio grows with p),
    and then y = l1 / p + sqrt(1 - l1^2 / p) times the unit vector along b - mean(b). If the largest entries
    are equal and too
    many for l1, the optimum is not unique: the first of them are taken. Only the entries about b_p are sorted.

    Args:
        b: [n], any signs.
        l1: from 1 to sqrt(n).
    """
    b = np.asarray(b, dtype=np.float64)
    n = len(b)
    l1 = min(max(float(l1), 1.0), math.sqrt(n))
    largest = b.max()
    falling = b - largest  # |y|_1 is fixed, so a shift of b changes nothing
    support = max(_support(falling, l1), math.ceil(l1**2 * (1 - 1e-12)))
    chosen = _largest(falling, support)
    deviation = falling[chosen] - falling[chosen].mean()
    length = np.linalg.norm(deviation)
    if length <= 1e-15 * max(1.0, abs(largest)):
        support = math.ceil(l1**2 * (1 - 1e-12))
        chosen = chosen[:support]
        deviation = np.full(support, -1.0 / support)
        deviation[0] += 1.0
        length = np.linalg.norm(deviation)
    spread = math.sqrt(max(1.0 - l1**2 / support, 0.0))
    values = np.full(support, l1 / support)
    if spread > 0 and length > 0:
        values += (spread / length) * deviation
    y = np.zeros(n)
    y[chosen] = np.maximum(values, 0.0)
    return y


def _support(falling: np.ndarray, l1: float) -> int:
    """How many of the largest entries the optimum has; of entries [n] whose largest is 0."""
    middle, count, total, squares = falling, 0, 0.0, 0.0  # count ... squares: of the entries above `middle`
    while len(middle) > SORTED:
        threshold = np.partition(middle[:: len(middle) // SORTED], SORTED // 2)[SORTED // 2]
        above = middle[middle > threshold]
        p, s, q = count + len(above), total + above.sum(), squares + np.dot(above, above)
        if _reaches(p, s, q, threshold, l1):
            kept = above
        else:
            kept = middle[middle <= threshold]
            if len(kept) < len(middle):
                count, total, squares = p, s, q
        if len(kept) == len(middle) or len(kept) == 0:
            break
        middle = kept
    # The next entry below, where there is one: its value decides whether all of `middle` are too few.
    middle = -np.sort(-middle)
    lower = falling[falling < middle[-1]]
    steps = np.append(middle, lower.max()) if len(lower) else middle
    sums, products = np.cumsum(steps)[:-1] + total, np.cumsum(steps**2)[:-1] + squares
    p, s, q = count + np.arange(1, len(steps)), sums, products
    if count:
        p, s, q = (np.append(first, rest) for first, rest in ((count, p), (total, s), (squares, q)))
    enough = _reaches(p, s, q, steps if count else steps[1:], l1)
    return int(p[enough.argmax()]) if enough.any() else len(falling)


def _reaches(p, total, squares, threshold, l1: float):
    """Whether |b - t|_1 / |b - t|_2 >= l1 for p entries above t with that sum and sum of squares."""
    above_l1 = total - p * threshold
    above_l2 = np.sqrt(np.maximum(squares - 2 * threshold * total + p * threshold**2, 0))
    return (above_l1 >= l1 * above_l2) & (above_l1 > 0)


def _largest(b: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest entries, the first ones among equals, the largest first."""
    if count >= len(b):
        return np.argsort(-b, kind="stable")
    last = np.partition(b, len(b) - count)[len(b) - count]
    above = np.flatnonzero(b > last)
    equal = np.flatnonzero(b == last)[: count - len(above)]
    front = above[[b[above].argmax()]] if len(above) else equal[:0]
    return np.concatenate([front, above[above != front[0]] if len(above) else above, equal])


def hoyer_sparsity(y: np.ndarray) -> float:
    """(sqrt(n) - |y|_1 / |y|_2) / (sqrt(n) - 1): 0 for equal entries, 1 for a single one."""
    root = math.sqrt(len(y))
    return float((root - np.abs(y).sum() / np.linalg.norm(y)) / (root - 1)) if root > 1 else 1.0


def _l1_of_sparsity(n: int, sparsity: float) -> float:
    return math.sqrt(n) - sparsity * (math.sqrt(n) - 1)


def _product(matrix: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """matrix @ factor as float64, computed in the matrix's own precision so that the matrix is not copied."""
    return (matrix @ factor.astype(matrix.dtype, order="C")).astype(np.float64, order="F")


def _exact_products(matrix: np.ndarray) -> tuple[Callable, Callable]:
    return lambda factor: _product(matrix, factor), lambda factor: _product(matrix.T, factor)


def _low_rank_products(matrix: np.ndarray, rng: np.random.Generator) -> tuple[Callable, Callable]:
    """The same of the best approximation of rank `RANK` + 8 that one power iteration finds (Halko et al. 2011)."""
    basis = rng.standard_normal((matrix.shape[1], RANK + 8))
    left = np.linalg.qr(_product(matrix, np.linalg.qr(_product(matrix.T, _product(matrix, basis)))[0]))[0]
    right = _product(matrix.T, left)

    def columns(factor: np.ndarray) -> np.ndarray:
        return np.asfortranarray(factor)

    return lambda factor: columns(left @ (right.T @ factor)), lambda factor: columns(right @ (left.T @ factor))


def _start(matrix: np.ndarray, parts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """NNDSVD (Boutsidis & Gallopoulos 2008) on a randomised SVD: [N, K] with unit columns, [S, K]."""
    width = min(parts + 8, *matrix.shape)
    basis = rng.standard_normal((matrix.shape[1], width))
    for _ in range(2):
        basis = np.linalg.qr(_product(matrix.T, np.linalg.qr(_product(matrix, basis))[0]))[0]
    u, singular, rotation = np.linalg.svd(_product(matrix, basis), full_matrices=False)
    v = basis @ rotation.T
    left, right = np.empty((matrix.shape[0], parts)), np.empty((matrix.shape[1], parts))
    for k in range(parts):
        positive = np.maximum(u[:, k], 0), np.maximum(v[:, k], 0)
        negative = np.maximum(-u[:, k], 0), np.maximum(-v[:, k], 0)
        a, b = max(positive, negative, key=lambda pair: np.linalg.norm(pair[0]) * np.linalg.norm(pair[1]))
        size = np.linalg.norm(a) or 1.0
        left[:, k], right[:, k] = a / size, singular[k] * size * b
    return left, right
