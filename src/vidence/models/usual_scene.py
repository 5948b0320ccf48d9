"""What the learnt footage was like as a whole: other footage is looked at likewise, and told where it is unlike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

NEARLY_ALL = 0.9  # share of the cells from which on nearly the whole picture moves
ALIKE = 0.05  # by which two pictures' width in heights may differ
SHAKEN = "nearly the whole picture moves: the camera or the light may have changed, or the picture is noisy"


@dataclass(frozen=True, slots=True)
class UsualScene:
    """The `size` (h, w) at which learnt footage was analysed, None where a detector does not know it, and `moving`, the
    largest share of cells that moved in a frame of it.
    """

    size: tuple[int, int] | None = None
    moving: float = 0.0

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> UsualScene:
        """What a detector's facts hold of it; those of older detectors hold nothing."""
        held = facts.get("scene")
        return cls() if held is None else cls((held["size"][0], held["size"][1]), held["moving"])

    def facts(self) -> dict[str, Any]:
        """What `of` reads."""
        return {"scene": {"size": self.size, "moving": self.moving}}

    def learnt(self, size: tuple[int, int], moving: float) -> UsualScene:
        """With one more frame of normal footage; the size stays that of the first."""
        return UsualScene(self.size or size, max(self.moving, moving))

    def analysed(self, gray: UInt8[np.ndarray, "h w"], *, height: int) -> UInt8[np.ndarray, "h w"]:
        """A picture as high as those that were learnt; while that is not known, one higher than `height` is shrunk."""
        tall = min(gray.shape[0], height) if self.size is None else self.size[0]
        if tall == gray.shape[0]:
            return gray
        way = cv2.INTER_AREA if tall < gray.shape[0] else cv2.INTER_LINEAR
        return cv2.resize(gray, (round(gray.shape[1] / (gray.shape[0] / tall)), tall), interpolation=way)

    def shaken(self, moving: float) -> bool:
        """Whether nearly all cells move, as they never did."""
        return self.size is not None and moving >= NEARLY_ALL and moving > self.moving

    def doubts(self, size: tuple[int, int], moving: float) -> tuple[str, ...]:
        """In plain words, why a picture of a `size` (h, w), of whose cells a share moves, is not to be compared."""
        found = (SHAKEN,) if self.shaken(moving) else ()
        if self.size is None:
            return found
        wide, usual = size[1] / size[0], self.size[1] / self.size[0]
        if abs(wide / usual - 1) > ALIKE:
            shapes = (
                f"the picture is {wide:.2f} times as wide as high, that of the learnt footage was {usual:.2f} times"
            )
            found = (f"{shapes}: it may be cropped, stretched or of another camera, and speeds may not compare", *found)
        return found
