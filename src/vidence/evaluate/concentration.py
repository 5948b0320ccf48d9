"""How concentrated a map is: what a sweep sets beside accuracy, since the paper chooses settings by looking at maps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from vidence.errors import ShapeError


def concentration(values: Float[np.ndarray, "n t h w"]) -> dict[str, float]:
    """Means over clips of two shares in [0, 1], both low for a concentrated map; negative values count as 0.

    `entropy`: Shannon's of the map as a distribution over space-time, as a share of a flat map's. `area`: the share of
    cells above half the clip's maximum. A map without positive values is flat: entropy 1, area 1.
    """
    if values.ndim != 4 or 0 in values.shape or not np.isfinite(values).all():
        raise ShapeError(f"maps must be finite (n, t, h, w), not empty; got {values.shape}.")
    rows = np.maximum(values.reshape(len(values), -1).astype(np.float64), 0)
    rows[rows.max(axis=1) == 0] = 1
    share = rows / rows.sum(axis=1, keepdims=True)
    terms = np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), 0)
    flat = np.log(max(rows.shape[1], 2))
    area = (rows >= rows.max(axis=1, keepdims=True) / 2).mean(axis=1)
    return {"entropy": float((-terms.sum(axis=1) / flat).mean()), "area": float(area.mean())}
