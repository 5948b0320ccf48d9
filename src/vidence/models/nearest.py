"""The nearest of many vectors: by a tree where they have few values, by comparing with all where they have many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float32
from scipy.spatial import KDTree
from sklearn.neighbors import NearestNeighbors

WIDE = 16  # values from which on comparing with all is quicker than a tree
ROUGH = 0.3  # neighbours in a tree may be this much further than the nearest ones: twice as quick, and exact enough
Lookup: TypeAlias = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def neighbours_among(known: Float[np.ndarray, "n d"]) -> Lookup:
    """What finds the nearest of `known`: for values (m, d) and a count k, Euclidean distances and indices, both (m, k),
    the nearest first.
    """
    if known.shape[1] < WIDE:
        tree = KDTree(known)
        return lambda values, count: tree.query(values, k=[*range(1, 1 + count)], eps=ROUGH)
    compared = NearestNeighbors(algorithm="brute").fit(known.astype(np.float32))
    return lambda values, count: compared.kneighbors(values.astype(np.float32), count)


def whitening(values: Float32[np.ndarray, "n v"]) -> Float[np.ndarray, "v v"]:
    """What standardised values are multiplied by so that none tells what another does: their principal axes, each
    divided by its standard deviation (Mahalanobis, 1936); axes along which nothing differs are 0.
    """
    variances, axes = np.linalg.eigh(np.cov(values, rowvar=False, dtype=np.float64))
    told = variances > 1e-6 * max(float(variances[-1]), 1e-12)
    return axes * np.where(told, 1 / np.sqrt(np.where(told, variances, 1)), 0)
