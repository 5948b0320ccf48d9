"""Hidden pixels from their neighbours: noisy linear imputation ("ROAD", Rong et al., ICML 2022), through time or not.

A constant patch has the outline of what was removed, and a network may read that. Here a hidden pixel is the weighted
mean of its neighbours, hidden ones too, which is one sparse linear system; noise then hides how smooth that is.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import LinearOperator, cg

BESIDE, ACROSS = 1 / 6, 1 / 12  # weights of direct and of diagonal neighbours in the paper
NOISE = 0.01  # standard deviation of what is added, as in the authors' code
PULL = 1e-4  # weight of the mean colour: decides where nothing near is known, and nowhere else
TOLERANCE = 1e-3  # of the solver, relative: far below a grey level
STEPS = ((0, 0, 1, BESIDE), (0, 1, 0, BESIDE), (0, 1, 1, ACROSS), (0, 1, -1, ACROSS))
THROUGH_TIME = (1, 0, 0, BESIDE)


class Imputation:
    """The system of one clip x (c, t, h, w); `through_time` makes the frames before and after direct neighbours."""

    def __init__(
        self, x: Float[np.ndarray, "c t h w"], rng: np.random.Generator, *, through_time: bool, noise: float = NOISE
    ) -> None:
        self._pixels = x.reshape(len(x), -1).astype(np.float64)
        self._mean = self._pixels.mean(axis=1)
        self._shape = x.shape
        self._noise = noise * rng.standard_normal(self._pixels.shape)
        steps = (*STEPS, THROUGH_TIME) if through_time else STEPS
        self._weights = _neighbours((x.shape[1], x.shape[2], x.shape[3]), steps)

    def __call__(self, hidden: Bool[np.ndarray, "t h w"]) -> Float[np.ndarray, "c t h w"]:
        """The clip with its hidden pixels imputed, float32; the same noise at a pixel whatever else is hidden."""
        at = np.flatnonzero(hidden)
        shown = self._pixels.copy()
        if len(at):
            shown[:, at] = self._solved(at, np.flatnonzero(~hidden)) + self._noise[:, at]
        return shown.reshape(self._shape).astype(np.float32)

    def _solved(self, at: np.ndarray, known: np.ndarray) -> Float[np.ndarray, "c m"]:
        """The weighted means: (degree + pull) u - W u = W known + pull * mean, which is positive definite."""
        rows = self._weights[at]
        diagonal = rows.sum(axis=1) + PULL
        system = (diags_array(diagonal) - rows[:, at]).tocsr()
        jacobi = LinearOperator(system.shape, matvec=lambda vector: vector / diagonal, dtype=np.float64)
        given = rows[:, known]
        found = []
        for pixels, mean in zip(self._pixels, self._mean, strict=True):
            start = np.full(len(at), mean)
            solution, _ = cg(system, given @ pixels[known] + PULL * mean, x0=start, rtol=TOLERANCE, M=jacobi)
            found.append(solution)
        return np.stack(found)


def _neighbours(shape: tuple[int, int, int], steps: tuple[tuple[int, int, int, float], ...]) -> csr_array:
    """Symmetric weights between the pixels of a volume (t, h, w)."""
    numbers = np.arange(np.prod(shape)).reshape(shape)
    ones, others, weights = [], [], []
    for *step, weight in steps:
        bounds = [(max(0, -int(by)), size - max(0, int(by)), int(by)) for by, size in zip(step, shape, strict=True)]
        here = numbers[tuple(slice(first, last) for first, last, _ in bounds)]
        there = numbers[tuple(slice(first + by, last + by) for first, last, by in bounds)]
        ones.append(here.reshape(-1))
        others.append(there.reshape(-1))
        weights.append(np.full(here.size, weight))
    half = coo_array(
        (np.concatenate(weights), (np.concatenate(ones), np.concatenate(others))), shape=(numbers.size, numbers.size)
    )
    return (half + half.T).tocsr()
