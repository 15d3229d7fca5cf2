# SPDX-License-Identifier: GPL-3.0-or-later
"""The one definition of each metric.

Positions are in mm; x are real faces, m made ones, mu the mean training face, E a mean over faces or mixes.

Functions that return a `Measure` also say what its units are: these are resampled for the intervals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from .bootstrap import Measure

DISTANCE_BINS = np.geomspace(1e-4, 1e3, 8001)  # mm, 0.2 % apart
BLOCK_FACES = 32


@dataclass(frozen=True)
class Row:
    """How a metric is shown and compared.

    Attributes:
        badness: maps values to what a better model has less of; None when no value is better in itself.
    """

    label: str
    unit: str
    badness: Callable[[np.ndarray], np.ndarray] | None


def _lower(value):
    return value


def _higher(value):
    return -value


def _near_one(value):
    return np.abs(np.log(np.maximum(value, 1e-12)))


def _near_half(value):
    return np.maximum(value, 50.0)


def _off_half(value):
    return np.abs(value - 50.0)


# In the order of the table.
ROWS = {
    "reconstruction": Row("reconstruction, mean", "mm", _lower),
    "reconstruction_std": Row("reconstruction, std", "mm", _lower),
    "reconstruction_median": Row("reconstruction, median", "mm", _lower),
    "reconstruction_p95": Row("reconstruction, p95", "mm", _lower),
    "reencoding": Row("re-encoding of mixed faces", "mm", _lower),
    "swap_cycle": Row("swap cycle", "mm", _lower),
    "responsiveness": Row("responsiveness, mean over parts", "", _higher),
    "responsiveness_min": Row("responsiveness, least part", "", _higher),
    "donor_retrieval": Row("donor retrieval, among the donors of the mix", "", _higher),
    "donor_retrieval_all": Row("donor retrieval, among all test faces", "", _higher),
    "leak": Row("leak, mean over parts", "", _lower),
    "leak_max": Row("leak, worst part", "", _lower),
    "own_region": Row("parts that change most in their own region", "of K", None),
    "matched_parts": Row("parts matched to their own core", "of K", None),
    "spearman": Row("Spearman(weight, change), mean", "", None),
    "seam_rms": Row("seam, RMS", "x real", _near_one),
    "seam_p95": Row("seam, p95 over vertices", "x real", _lower),
    "seam_max": Row("seam, worst vertex", "x real", _lower),
    "seam_border": Row("seam, RMS at borders", "x real", _near_one),
    "seam_cotangent_rms": Row("seam by cotangents, RMS", "x real", _near_one),
    "seam_cotangent_p95": Row("seam by cotangents, p95", "x real", _lower),
    "seam_cotangent_max": Row("seam by cotangents, worst vertex", "x real", _lower),
    "seam_cotangent_border": Row("seam by cotangents, RMS at borders", "x real", _near_one),
    "variance": Row("variance of mixed faces", "x real", _near_one),
    "variance_p5": Row("variance of mixed faces, p5 over vertices", "x real", _higher),
    "pairwise": Row("pairwise distance of mixed faces", "x real", _near_one),
    "ellipse_mixes": Row("PCA-plane ellipse of mixed faces, area", "x training", None),
    "ellipse_mixes_holds": Row("... of mixed faces contains those of training and test faces", "of 2", None),
    "told_swaps": Row("one-part swaps told from real", "%", _near_half),
    "told_fitted": Row("... with the other parts fitted to the one that came", "%", _near_half),
    "fitted_transfer": Row("... how much of that part is left", "", _higher),
    "fitted_moved": Row("... how far the face moves for it", "mm", None),
    "told_mixes": Row("K-donor mixes told from real", "%", _near_half),
    "told_samples": Row("random faces told from real", "%", _near_half),
    "nearest_samples": Row("1-NNA of random and test faces", "%", _off_half),
    "nearest_samples_made": Row("... of the random ones alone", "%", None),
    "nearest_samples_real": Row("... of the test faces alone", "%", None),
    "ellipse_samples": Row("PCA-plane ellipse of random faces, area", "x training", None),
    "ellipse_samples_holds": Row("... of random faces contains those of training and test faces", "of 2", None),
    "specificity": Row("random faces to nearest training face", "mm", None),
    "interpolation_step": Row("one part interpolated, Hausdorff distance per step", "mm", None),
    "interpolation_evenness": Row("one part interpolated, largest step", "x mean", _near_one),
    "network_real": Row("size of what the network adds, real faces", "mm", None),
    "network_mixed": Row("size of what the network adds, mixed faces", "mm", None),
}


def in_blocks(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """`function` of a batch, a few rows at a time, so that its temporary arrays stay small."""
    blocks = [function(rows[start : start + BLOCK_FACES]) for start in range(0, len(rows), BLOCK_FACES)]
    return np.concatenate(blocks)


def vertex_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_v - b_v| of each face and vertex: [n, N, 3] twice to [n, N], mm."""
    return np.linalg.norm(a - b, axis=-1)


def _over(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """made / real, NaN where real is 0, as in a resample of a single face: `bootstrap.interval` leaves it out."""
    return made / np.where(real > 0, real, np.nan)


def mean_distance(name: str, distances: np.ndarray) -> Measure:
    """Mean over faces and vertices of per-vertex distances [n, N], mm. Units: faces (mixes, pairs).

    It is `reencoding` for |m - decode(encode(m))| of K-donor mixes m; `swap_cycle` for |x -
    unswap(swap(x))|, where swap exchanges some part codes of two faces and decodes, and unswap encodes,
    exchanges them back and decodes; `network_real` and `network_mixed` for |decode(z) - the linear part
    of decode(z)|; `specificity` as below.
    """
    return Measure((distances.mean(axis=1, dtype=np.float64),), lambda mean: {name: mean})


def reconstruction(distances: np.ndarray) -> Measure:
    """Mean, std, median and 95th percentile of |x_v - decode(encode(x))_v| over faces and vertices.

    The percentiles come from a histogram with bins 0.2 % apart. Distances [n, N] in mm. Units: faces.
    """
    mean, square = distances.mean(axis=1, dtype=np.float64), (distances**2).mean(axis=1, dtype=np.float64)
    moments = np.stack([mean, square], axis=1)
    count = len(DISTANCE_BINS) - 1
    bins = np.clip(np.searchsorted(DISTANCE_BINS, distances) - 1, 0, count - 1)
    histograms = np.array([np.bincount(row, minlength=count) for row in bins], dtype=np.float32)

    def statistics(moment: np.ndarray, histogram: np.ndarray) -> dict[str, np.ndarray]:
        below = np.cumsum(histogram, axis=1, dtype=np.float64)
        below /= below[:, -1:]
        middle = np.sqrt(DISTANCE_BINS[1:] * DISTANCE_BINS[:-1])
        return {
            "reconstruction": moment[:, 0],
            "reconstruction_std": np.sqrt(np.maximum(moment[:, 1] - moment[:, 0] ** 2, 0)),
            "reconstruction_median": middle[(below < 0.5).sum(axis=1)],
            "reconstruction_p95": middle[(below < 0.95).sum(axis=1)],
        }

    return Measure((moments, histograms), statistics)


def transfer_sums(change: np.ndarray, wanted: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Per face <change, wanted> and |wanted|^2 over a core: [n, N, 3], [n, N, 3], bool [N] to [n, 2]."""
    c, d = change[:, core].reshape(len(change), -1), wanted[:, core].reshape(len(change), -1)
    return np.stack([np.einsum("ni,ni->n", c, d), np.einsum("ni,ni->n", d, d)], axis=1).astype(np.float64)


def responsiveness(sums: np.ndarray) -> Measure:
    """How much of a donor's part arrives: E<change, source - target> / E|source - target|^2 over its core.

    1 is full transfer, 0 an inert code; a wrong donor gives about 0.5. Change is decode(swapped) -
    decode(target); source and target are the real faces. `sums` [n, K, 2] from `transfer_sums` of
    one-part swaps. Mean and least over parts. Units: target faces.
    """

    def statistics(mean: np.ndarray) -> dict[str, np.ndarray]:
        parts = mean[..., 0] / np.maximum(mean[..., 1], 1e-30)
        return {"responsiveness": parts.mean(axis=1), "responsiveness_min": parts.min(axis=1)}

    return Measure((sums,), statistics)


def fitted_transfer(sums: np.ndarray) -> Measure:
    """`responsiveness` of one-part swaps after the other parts were fitted to the one that came, mean over parts.

    `sums` [n, K, 2] from `transfer_sums`, zero but for the part that came. Units: target faces.
    """

    def statistics(mean: np.ndarray) -> dict[str, np.ndarray]:
        parts = _over(mean[..., 0], mean[..., 1])
        came = np.isfinite(parts)
        return {"fitted_transfer": np.where(came, parts, 0).sum(axis=1) / np.maximum(came.sum(axis=1), 1)}

    return Measure((sums,), statistics)


def leak_sums(change: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Per face the squared change outside a region, and everywhere: [n, N, 3], bool [N] to [n, 2]."""
    square = np.einsum("nvi,nvi->nv", change, change)
    return np.stack([square[:, ~inside].sum(axis=1), square.sum(axis=1)], axis=1).astype(np.float64)


def leak(sums: np.ndarray) -> Measure:
    """Share of squared change outside the part's region (core + 15 mm): E sum_outside |c|^2 / E sum |c|^2.

    `sums` [n, K, 2] from `leak_sums` of one-part swaps; mean and largest over parts. Units: target faces.
    """

    def statistics(mean: np.ndarray) -> dict[str, np.ndarray]:
        parts = mean[..., 0] / np.maximum(mean[..., 1], 1e-30)
        return {"leak": parts.mean(axis=1), "leak_max": parts.max(axis=1)}

    return Measure((sums,), statistics)


def donor_retrieval(mixed: np.ndarray, faces: np.ndarray, donors: np.ndarray, core: np.ndarray) -> Measure:
    """How often the donor of a part is, over the part's core, the real face nearest to the mix.

    `donor_retrieval`: nearest of the K donors of that mix. `donor_retrieval_all`: nearest of all test faces. By RMS
    distance. `mixed` [m, N, 3], `faces` [n, N, 3], `donors` [m, K], `core` [N]. Units: mixes.
    """
    right = np.zeros((*donors.shape, 2))
    for part in range(donors.shape[1]):
        a, b = (faces_[:, core == part].reshape(len(faces_), -1) for faces_ in (mixed, faces))
        if a.shape[1]:
            centre = b.mean(axis=0)
            squares = ((b - centre) ** 2).sum(axis=1) - 2 * (a - centre) @ (b - centre).T
            of_mix = np.take_along_axis(squares, donors, axis=1).argmin(axis=1)
            right[:, part, 0] = donors[np.arange(len(donors)), of_mix] == donors[:, part]
            right[:, part, 1] = squares.argmin(axis=1) == donors[:, part]
    names = "donor_retrieval", "donor_retrieval_all"
    return Measure((right.mean(axis=1),), lambda mean: dict(zip(names, mean.T, strict=True)))


def correspondence(change: np.ndarray, weights: np.ndarray, core: np.ndarray, inside: np.ndarray) -> dict:
    """Do the parts that codes move lie where the local weights are? Float values, not resampled.

    Args:
        change: mean |change| of each vertex when part k comes from another face, [K, N], mm.
        weights: local weights [K, N]; core [N] and inside bool [K, N]: the regions.

    Returns:
        spearman_parts: rank correlation of w_k and change_k over vertices; spearman: its mean, None of a single part,
            whose weights are all the same.
        confusion: [K, K], mean change over the core of part l when part k is swapped, rows sum to 1.
        matched_parts: parts that the Hungarian assignment on `confusion` gives to themselves.
        own_region: parts whose most changed vertex is inside their own region.
    """
    parts = len(change)
    sizes = np.maximum(np.bincount(core, minlength=parts), 1)
    confusion = np.stack([np.bincount(core, weights=row, minlength=parts) / sizes for row in change])
    confusion /= np.maximum(confusion.sum(axis=1, keepdims=True), 1e-30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A part that moves nothing has no rank correlation: it counts 0.
        spearman = np.array([spearmanr(w, row).statistic for w, row in zip(weights, change, strict=True)])
    spearman = np.nan_to_num(spearman)
    return {
        "spearman": float(spearman.mean()) if parts > 1 else None,
        "matched_parts": int((linear_sum_assignment(-confusion)[1] == np.arange(parts)).sum()),
        "own_region": int(inside[np.arange(parts), change.argmax(axis=1)].sum()),
        "spearman_parts": spearman.tolist(),
        "confusion": confusion.tolist(),
    }


def squared_roughness(laplacian: sp.csr_matrix, faces: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """|L (x - mu)|^2 of each face and vertex: [n, N, 3] to float32 [n, N]."""

    def block(batch: np.ndarray) -> np.ndarray:
        columns = (batch - mean).transpose(1, 0, 2).reshape(len(mean), -1)
        return ((laplacian @ columns).reshape(len(mean), -1, 3) ** 2).sum(axis=2).T

    return in_blocks(block, faces).astype(np.float32)


def seam(mixed: np.ndarray, real: np.ndarray, border: np.ndarray, name: str = "seam") -> Measure:
    """Are mixed faces as rough as real ones? Per vertex r_v = sqrt(E|L(m - mu)|^2 / E|L(x - mu)|^2).

    L is the umbrella Laplacian of the polygons' own edges (diagonals of a triangulation are arbitrary),
    or the cotangent one of the mean face. RMS of r_v over the vertices, their 95th percentile, the
    largest, and the RMS over border vertices (no weight above 0.7). 1 is real; less is smoothed over,
    more is a visible seam. Vertices that never bend in real faces do not count. `mixed`, `real`:
    `squared_roughness` [n, N], that of mixes put in order by `mixing.by_donor`. Units: faces, and with each what
    mixes owe to it: they recombine these very faces, and drawn apart from them would seem to differ from them by
    chance many times as much.
    """
    level = real.mean(axis=0, dtype=np.float64)
    bends = level > 1e-8 * level.max()
    edge = border[bends]

    def statistics(made: np.ndarray, natural: np.ndarray) -> dict[str, np.ndarray]:
        square = _over(made, natural)
        at_border = np.sqrt(square[:, edge].mean(axis=1)) if edge.any() else np.full(len(square), np.nan)
        return {
            f"{name}_rms": np.sqrt(square.mean(axis=1)),
            f"{name}_p95": np.sqrt(np.percentile(square, 95, axis=1)),
            f"{name}_max": np.sqrt(square.max(axis=1)),
            f"{name}_border": at_border,
        }

    return Measure((mixed[:, bends], real[:, bends]), statistics, together=True)


def variance(mixed: np.ndarray, real: np.ndarray) -> Measure:
    """Variance of mixed over real faces, sum_v E|m - Em|^2 / sum_v E|x - Ex|^2.

    And the 5th percentile over vertices of the same ratio per vertex. 1 keeps all variety; blending parts
    of different faces loses some. Vertices that never move do not count. `mixed`, `real`: [n, N, 3], mixes in
    the order of `mixing.by_donor`. Units: faces (about the mean of all of them), drawn as in `seam`.
    """
    centres = (x.mean(axis=0, dtype=np.float64).astype(np.float32) for x in (mixed, real))
    made, natural = (
        ((x - centre) ** 2).sum(axis=2) for x, centre in zip((mixed, real), centres, strict=True)
    )
    level = natural.mean(axis=0)
    moves = level > 1e-8 * level.max()

    def statistics(made: np.ndarray, natural: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "variance": _over(made.sum(axis=1), natural.sum(axis=1)),
            "variance_p5": np.percentile(_over(made, natural), 5, axis=1),
        }

    return Measure((made[:, moves], natural[:, moves]), statistics, together=True)


def pairwise_distances(faces: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """RMS over the vertices of the distance between each two of [n, N, 3], float64 [n, n], mm.

    `mean` [N, 3] keeps rounding small.
    """
    flat = (faces - mean).reshape(len(faces), -1)
    products = (flat @ flat.T).astype(np.float64)
    own = np.diag(products)
    distances = np.sqrt(np.maximum(own[:, None] + own - 2 * products, 0) / len(mean))
    np.fill_diagonal(distances, 0)
    return distances


def pairwise(mixed: np.ndarray, real: np.ndarray) -> Measure:
    """Mean distance between two mixed over that between two real faces; 1 keeps all variety.

    `mixed`, `real`: `pairwise_distances` [n, n] with n >= 2. Units: mixes; faces. A mean over pairs p' D p is no mean
    over units, so each unit's row also says which unit it is: their mean is p itself.
    """
    groups = tuple(np.concatenate([distances, np.eye(len(distances))], axis=1) for distances in (mixed, real))

    def mean_of_pairs(mean: np.ndarray) -> np.ndarray:
        count = mean.shape[1] // 2
        return (mean[:, :count] * mean[:, count:]).sum(axis=1) * count / (count - 1)

    def statistics(made: np.ndarray, natural: np.ndarray) -> dict[str, np.ndarray]:
        return {"pairwise": _over(mean_of_pairs(made), mean_of_pairs(natural))}

    return Measure(groups, statistics)


def ellipse_area(name: str, made: np.ndarray, train: np.ndarray) -> Measure:
    """Area of the 95 % ellipse of made over that of training faces, in the plane of the first two components.

    The paper's Fig. 6. Of Gaussians, the ratio of the roots of the covariances' determinants; `made` and `train` are
    scores [n, at least 2]. Units: made faces.
    """

    def moments(scores: np.ndarray) -> np.ndarray:
        x, y = scores[:, :2].astype(np.float64).T
        return np.stack([x, y, x * x, y * y, x * y], axis=1)

    def area(mean: np.ndarray, count: int) -> np.ndarray:
        x, y, xx, yy, xy = mean.T
        determinant = (xx - x * x) * (yy - y * y) - (xy - x * y) ** 2
        return np.sqrt(np.maximum(determinant, 0)) * count / max(count - 1, 1)

    whole = max(float(area(moments(train).mean(axis=0), len(train))), 1e-30)
    return Measure((moments(made),), lambda mean: {name: area(mean, len(made)) / whole})


def realism(
    name: str,
    train_made: np.ndarray,
    train_real: np.ndarray,
    test_made: np.ndarray,
    test_real: np.ndarray,
    seed: int,
) -> Measure:
    """How well a classifier tells made from real faces, balanced accuracy in %: 50 cannot, 100 always can.

    QDA and a perceptron with one hidden layer, fitted to what the model makes of training faces and to
    training faces, tried on what it makes of test faces and on test faces; the better classifier counts.
    All inputs are scores [n, R] on the principal components of the training faces, in standard
    deviations. Units: what is made of test faces; test faces.
    """
    inputs = np.concatenate([train_made, train_real]).astype(np.float64)
    labels = np.repeat([1, 0], [len(train_made), len(train_real)])
    centre, spread = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-9)
    batch = min(128, len(inputs) // 2)
    classifiers = [
        QuadraticDiscriminantAnalysis(reg_param=1e-4, tol=1e-9),  # few codes span few directions
        MLPClassifier((64,), alpha=1e-2, batch_size=batch, early_stopping=True, max_iter=80, random_state=seed),
    ]
    right: list[list[np.ndarray]] = [[], []]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("error", "Training interrupted")  # The perceptron would go on after Ctrl-C.
        for classifier in classifiers:
            try:
                classifier.fit((inputs - centre) / spread, labels)
            except UserWarning as warning:
                raise KeyboardInterrupt from warning
            for group, scores, label in zip(right, (test_made, test_real), (1, 0), strict=True):
                group.append(classifier.predict((scores - centre) / spread) == label)
    made, real = (100.0 * np.stack(group, axis=1) for group in right)
    return Measure((made, real), lambda a, b: {name: ((a + b) / 2).max(axis=1)})


def nearest_neighbour_accuracy(name: str, made: np.ndarray, real: np.ndarray) -> Measure:
    """1-NNA: how often the nearest other point of made and real ones together is of the same kind, in %.

    50 when they cannot be told apart, towards 0 when made ones are copies of these real ones (Lopez-Paz & Oquab 2017).
    So `made` must not depend on `real`; both are scores [n, R], as many of the one as of the other. The mean alone
    deceives: where made faces crowd among the real ones, all of the one and none of the other are recognised, so
    either kind is given beside it. Units: made; real.
    """
    points = np.concatenate([made, real]).astype(np.float64)
    label = np.repeat([True, False], [len(made), len(real)])
    own = np.einsum("ni,ni->n", points, points)
    squares = own[:, None] + own - 2 * points @ points.T
    np.fill_diagonal(squares, np.inf)
    right = 100.0 * (label[squares.argmin(axis=1)] == label)[:, None]

    def statistics(of_made: np.ndarray, of_real: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: (of_made + of_real)[:, 0] / 2,
            f"{name}_made": of_made[:, 0],
            f"{name}_real": of_real[:, 0],
        }

    return Measure((right[label], right[~label]), statistics)


def nearest_distances(made: np.ndarray, blocks: Iterator[np.ndarray], mean: np.ndarray) -> np.ndarray:
    """Specificity: mean per-vertex distance of made faces to their nearest training face, float64 [n], mm.

    Nearest by RMS distance. `made` is [n, N, 3]; `blocks` are the training faces, [b, N, 3] at a time;
    `mean` [N, 3] keeps rounding small. Real test faces give the value to expect; far less would mean
    copies of training faces.
    """
    flat = (made - mean).reshape(len(made), -1)
    own = np.einsum("ni,ni->n", flat, flat)
    best, result = np.full(len(made), np.inf), np.zeros(len(made))
    for block in blocks:
        others = (block - mean).reshape(len(block), -1)
        squares = own[:, None] + np.einsum("ni,ni->n", others, others) - 2 * flat @ others.T
        nearest = squares.argmin(axis=1)
        closer = np.flatnonzero(squares[np.arange(len(made)), nearest] < best)
        best[closer] = squares[closer, nearest[closer]]
        for face in closer:
            result[face] = vertex_distances(made[face], block[nearest[face]]).mean()
    return result


def interpolation(steps: np.ndarray) -> Measure:
    """How evenly a face changes while one part's code goes from its own to another's in equal steps.

    `steps` [n, T]: symmetric Hausdorff distance between each step and the one before, mm, from
    `hausdorff.interpolation_steps`. Their mean, and the largest over the mean: 1 is even. Units: interpolations.
    """
    rows = np.stack([steps.mean(axis=1), steps.max(axis=1)], axis=1)

    def statistics(mean: np.ndarray) -> dict[str, np.ndarray]:
        evenness = mean[:, 1] / np.maximum(mean[:, 0], 1e-30)
        return {"interpolation_step": mean[:, 0], "interpolation_evenness": evenness}

    return Measure((rows,), statistics)
