"""Pixel truth from files: pictures, folders of pictures, and NumPy files, as bool in source pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from vidence.datasets.intervals import same_length
from vidence.errors import DataError
from vidence.frames.images import read_image
from vidence.frames.source import open_source


def read_mask(file: str | Path) -> Bool[np.ndarray, "h w"]:
    """One picture, true where it is brighter than half: files hold 0 and 1, 0 and 255, or grays from resizing."""
    return _bright(read_image(Path(file)).max(axis=2))


def read_masks(folder: str, frames: int) -> Bool[np.ndarray, "t h w"]:
    """A folder of mask pictures, one per frame, in natural order. Raises `DataError` when their number differs."""
    pictures = [np.asarray(frame.pixels.max(axis=2)) for frame in open_source(folder)]
    same_length(len(pictures), frames, where=f"the masks in {folder!r}")
    return _bright(np.stack(pictures))


def read_mask_array(file: str, frames: int) -> Bool[np.ndarray, "t h w"]:
    """A .npy (t, h, w), or an .npz with such a `mask`; what is not zero is true. Raises `DataError`."""
    try:
        held = np.load(file, allow_pickle=False)
        mask: np.ndarray = held if isinstance(held, np.ndarray) else held["mask"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"a mask file must be .npy, or .npz with an array `mask`; {file!r}: {error}.") from error
    if mask.ndim != 3:
        raise DataError(f"a mask must be (t, h, w), one picture per frame; {file!r} has {mask.shape}.")
    same_length(len(mask), frames, where=f"the mask {file!r}")
    return np.asarray(mask != 0)


def _bright(levels: np.ndarray) -> np.ndarray:
    return np.asarray(levels > (127 if levels.max() > 1 else 0))
