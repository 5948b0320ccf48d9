"""Maps of a comparison on a common grid, kept on disk: what agreement between explainers is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from vidence.aside import written_aside
from vidence.record.facts import ClipRef
from vidence.record.provenance import digest

SIDE = 16  # cells a side, as many as the map has pixels at most


class PooledMaps:
    """A folder with a .npz per window, of one detector's weights and one seed of the comparison: line -> (t, i, j)
    float32, (0,) for a refused one.
    """

    def __init__(self, folder: Path, weights: str, seed: int = 0) -> None:
        self._folder, self._about = folder, [weights, seed]
        self._held: tuple[Path, dict[str, np.ndarray]] | None = None

    def has(self, ref: ClipRef, explainer: str, score: str) -> bool:
        """Whether the map was kept, or its refusal."""
        return _name(explainer, score) in self._read(ref)

    def keep(self, ref: ClipRef, explainer: str, score: str, values: Float[np.ndarray, "t h w"] | None) -> None:
        """Keep a map, averaged over the cells of the grid; None: that it was refused."""
        held = self._read(ref)
        held[_name(explainer, score)] = np.empty(0, np.float32) if values is None else pooled(values)
        with written_aside(self._path(ref)) as aside, aside.open("wb") as file:
            np.savez_compressed(file, **held)  # type: ignore[arg-type]  # names are text

    def of(self, ref: tuple[str, int], explainers: Sequence[str], score: str) -> dict[str, Float[np.ndarray, "t i j"]]:
        """The maps of one window, without refused and missing ones."""
        held = self._at(self._place(*ref))
        found = {line: held.get(_name(line, score)) for line in explainers}
        return {line: values for line, values in found.items() if values is not None and values.size}

    def _read(self, ref: ClipRef) -> dict[str, np.ndarray]:
        return self._at(self._path(ref))

    def _at(self, path: Path) -> dict[str, np.ndarray]:
        if self._held is None or self._held[0] != path:
            held = {}
            if path.exists():
                with np.load(path, allow_pickle=False) as file:
                    held = {name: file[name] for name in file.files}
            self._held = path, held
        return self._held[1]

    def _path(self, ref: ClipRef) -> Path:
        return self._place(ref.digest, ref.first)

    def _place(self, clip: str, first: int) -> Path:
        return self._folder / f"{digest([clip, first, *self._about])[:16]}.npz"


def pooled(values: Float[np.ndarray, "t h w"], side: int = SIDE) -> Float[np.ndarray, "t i j"]:
    """Averages over `side` x `side` cells of each frame; a map that is coarser stays as it is."""
    size = (min(side, values.shape[2]), min(side, values.shape[1]))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in values.astype(np.float32)])


def _name(explainer: str, score: str) -> str:
    return digest([explainer, score])[:16]
