"""Densities of embeddings from scikit-learn: fitted to normal ones, they say how unusual another one is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

NEIGHBOURS = 5
VARIANCE = 0.95  # the share that the principal components keep
OUTLIERS = 0.05  # the share of normal frames that the one-class SVM may leave outside

Codes = Float64[ndarray, "m d"]
Score = Callable[[Codes], Float64[ndarray, " m"]]  # higher = more anomalous


def pca(normal: Codes) -> Score:
    """Squared distance to the plane of the principal components that hold 95 % of the variance."""
    from sklearn.decomposition import PCA

    plane = PCA(n_components=VARIANCE, svd_solver="full").fit(normal)
    return lambda codes: np.square(codes - plane.inverse_transform(plane.transform(codes))).sum(axis=1)


def one_class_svm(normal: Codes) -> Score:
    """How far outside the support (Schoelkopf et al. 2001), RBF kernel, nu = .05."""
    from sklearn.svm import OneClassSVM

    held = OneClassSVM(kernel="rbf", gamma="scale", nu=OUTLIERS).fit(normal)
    return lambda codes: -held.decision_function(codes)


def isolation_forest(normal: Codes) -> Score:
    """How quickly random cuts isolate it (Liu et al. 2008), 100 trees."""
    from sklearn.ensemble import IsolationForest

    held = IsolationForest(random_state=0).fit(normal)
    return lambda codes: -held.score_samples(codes)


def knn(normal: Codes) -> Score:
    """Mean distance to the five nearest normal ones."""
    from sklearn.neighbors import NearestNeighbors

    held = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(normal))).fit(normal)
    return lambda codes: held.kneighbors(codes)[0].mean(axis=1)


def mahalanobis(normal: Codes) -> Score:
    """Squared Mahalanobis distance under the covariance that Ledoit and Wolf (2004) shrink."""
    from sklearn.covariance import LedoitWolf

    held = LedoitWolf().fit(normal)
    return lambda codes: held.mahalanobis(codes)


def kde(normal: Codes) -> Score:
    """-log density of Gaussian kernels, bandwidth by Scott's rule."""
    from sklearn.neighbors import KernelDensity

    held = KernelDensity(bandwidth="scott").fit(normal)
    return lambda codes: -held.score_samples(codes)


DENSITIES: dict[str, Callable[[Codes], Score]] = {
    "pca": pca,
    "one-class-svm": one_class_svm,
    "isolation-forest": isolation_forest,
    "knn": knn,
    "mahalanobis": mahalanobis,
    "kde": kde,
}


class Density:
    """A density that is fitted to the `normal` codes when first asked, and kept until `forget`.

    Nothing of it is saved: the same codes give the same density. Every dimension is standardised first.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._score: Score | None = None

    def forget(self) -> None:
        """Fit anew when next asked: the normal codes have changed."""
        self._score = None

    def scores(self, normal: Codes, codes: Codes) -> Float64[ndarray, " m"]:
        """Anomaly scores of codes."""
        if self._score is None:
            mean, spread = normal.mean(axis=0), normal.std(axis=0)
            spread[spread == 0] = 1
            fitted = DENSITIES[self._kind]((normal - mean) / spread)
            self._score = lambda codes: fitted((codes - mean) / spread)
        return self._score(codes)
