"""A small U-shaped network that draws masks, and its folder: weights and what is known of them.

After the real-time masking model of Dabkowski & Gal, NeurIPS 2017.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence import spec
from vidence.errors import WeightsError
from vidence.models.detector_folder import fill, read_state, serialised
from vidence.scoring.scores import SCORES, ScoreFunction

WEIGHTS, FACTS, SCHEMA = "masker.safetensors", "masker.json", 1


class Masker(nn.Module):
    """Clips (n, c, t, h, w) and which of `scores` questions is asked -> masks (n, t, h, w) in [0, 1]."""

    def __init__(self, channels: int, scores: int, width: int = 8) -> None:
        super().__init__()
        self.wide = _block(channels, width)
        self.middle = _block(width, 2 * width)
        self.deep = _block(2 * width, 4 * width)
        self.selector = nn.Embedding(scores, 7 * width)
        self.up = nn.Conv3d(6 * width, 2 * width, 3, padding=1)
        self.last = nn.Conv3d(3 * width, 2, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c t h w"], asked: int) -> Float[Tensor, "n t h w"]:
        """Masks a / (a + b) of two positive maps; the question decides which features count, at every scale."""
        t = x.shape[2]
        gates = 2 * self.selector.weight[asked].sigmoid()[:, None, None, None]
        some = len(gates) // 7
        wide = self.wide(x - 0.5)
        middle = self.middle(wide)
        deep, middle, wide = self.deep(middle) * gates[3 * some :], middle * gates[some : 3 * some], wide * gates[:some]
        up = self.up(torch.cat([_sized(deep, middle), middle], dim=1)).relu()
        pair = F.softplus(self.last(torch.cat([_sized(up, wide), wide], dim=1))) + 1e-4
        mask = pair[:, :1] / pair.sum(dim=1, keepdim=True)
        return F.interpolate(mask, size=(t, *x.shape[3:]), mode="trilinear", align_corners=False)[:, 0]


def _block(given: int, width: int) -> nn.Sequential:
    """Half the height and width; normed in each clip alone, so that a clip's mask never depends on its batch."""
    return nn.Sequential(nn.Conv3d(given, width, 3, (1, 2, 2), 1), nn.GroupNorm(1, width), nn.ReLU())


def _sized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[2:], mode="trilinear", align_corners=False)


def question(score: ScoreFunction) -> str:
    """What a score asks, as text: its spec line where it has one."""
    return spec.line(score, SCORES) if type(score) in SCORES.values() else repr(score)


def write_masker(folder: str | Path, masker: Masker, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write weights and facts, and return the facts with schema and digest."""
    place, weights = Path(folder), serialised(masker)
    payload = {"schema": SCHEMA, **facts, "weights": hashlib.sha256(weights).hexdigest()}
    place.mkdir(parents=True, exist_ok=True)
    (place / WEIGHTS).write_bytes(weights)
    (place / FACTS).write_text(json.dumps(payload, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return payload


def read_facts(folder: str | Path) -> dict[str, Any]:
    """What is known of a trained masker. Raises `WeightsError` where the folder is no masker's."""
    place = Path(folder) / FACTS
    try:
        facts = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder} must hold a trained masker, {FACTS} and {WEIGHTS}; {error}.") from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise WeightsError(f"{place} must be of schema {SCHEMA}. Train the masker again with train_masker.")
    return facts


def read_masker(folder: str | Path, facts: Mapping[str, Any]) -> Masker:
    """The network of these facts. Raises `WeightsError` where its weights are others."""
    scores: Sequence[str] = facts["scores"]
    masker = Masker(facts["channels"], len(scores), facts["width"])
    state = read_state(Path(folder) / WEIGHTS)
    fill(masker, state, name=WEIGHTS)
    if hashlib.sha256(serialised(masker)).hexdigest() != facts["weights"]:
        raise WeightsError(f"{WEIGHTS} in {folder} must be the weights that {FACTS} names; they were changed.")
    return masker.eval()
