"""Training a masker on a model, and measuring it on clips that it has not seen (Dabkowski & Gal, NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.calls import GradientOn
from vidence.attribution.hooks import frozen, on_device
from vidence.attribution.outputs import mapped, one_each
from vidence.attribution.perturb.fills import filled_with
from vidence.attribution.perturb.masker import Masker, question, write_masker
from vidence.attribution.perturb.optimised import WIDEST, smoothed, variation
from vidence.attribution.progress import counted
from vidence.errors import DataError, SpecError
from vidence.models.detector_folder import state_digest
from vidence.models.reconstruction import Reconstruction
from vidence.scoring.scores import ScoreFunction, pinned

KEEPING, ROUGHNESS = 0.3, 0.5  # the paper's weights of the preserver's loss and of smoothness
TESTED = 0.2  # share of a held-out clip that is hidden to compare the map with chance


def train_masker(
    model: nn.Module,
    clips: Sequence[Tensor] | Tensor,
    scores: Sequence[ScoreFunction],
    *,
    out: str | Path,
    steps: int = 3000,
    batch: int = 4,
    rate: float = 1e-3,
    area: float = 1.0,
    held_out: float = 0.25,
    width: int = 8,
    seed: int = 0,
) -> dict[str, Any]:
    """Train one masker for all `scores` on `clips`, each (c, t, h, w) in [0, 1], and write it into the folder `out`.

    A mask shall take the score away where it deletes, keep it where it alone shows, and be small (`area`) and smooth;
    losses are in shares of |score of the clip - score of the hidden clip|. What stands in hidden places changes from
    step to step, blur or noisy colour; of an autoencoder it is the reconstruction. The last clips, a share of
    `held_out`, are not trained on: `drop` is the share of the score that hiding the map's strongest fifth takes from
    them, `random_drop` what a random region of that size takes. Returns the facts that were written. Raises
    `DataError` for fewer than two clips; an interrupted training leaves nothing behind.
    """
    kept = max(1, round(held_out * len(clips)))
    if len(clips) - kept < 1 or not scores or steps < 1 or batch < 1:
        raise DataError(
            f"a masker needs a clip to learn from, one to be measured on, and a score; got {len(clips)} clips and "
            f"{len(scores)} scores, {steps} steps of {batch}."
        )
    questions = _questions(scores)
    chance = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        masker = Masker(clips[0].shape[0], len(scores), width).to(on_device(model, clips[0]).device)
    with frozen(model), torch.inference_mode(False), torch.enable_grad():
        adam = torch.optim.Adam(masker.parameters(), lr=rate, weight_decay=1e-4)
        for _ in counted(range(steps), label="steps of the masker"):
            asked = int(torch.randint(len(scores), (), generator=chance))
            chosen = torch.randint(len(clips) - kept, (batch,), generator=chance).tolist()
            x = on_device(model, torch.stack([clips[place] for place in chosen]))
            _step(adam, masker, _loss(_Comparison(model, x, scores[asked], chance), masker(x, asked), area))
        held = [on_device(model, clips[place][None]) for place in range(len(clips) - kept, len(clips))]
        drops = [_drops(model, masker, x, score, asked, chance) for x in held for asked, score in enumerate(scores)]
    drop, random_drop = torch.stack(drops).mean(dim=0).tolist()
    facts = {"model": state_digest(model), "scores": questions, "channels": clips[0].shape[0], "width": width}
    facts |= {"steps": steps, "seed": seed, "clips": len(clips) - kept, "held_out": kept}
    return write_masker(out, masker, facts | {"hidden_share": TESTED, "drop": drop, "random_drop": random_drop})


def _questions(scores: Sequence[ScoreFunction]) -> list[str]:
    """The scores as text, each another one and known again elsewhere."""
    questions = [question(score) for score in scores]
    if len(set(questions)) < len(questions):
        raise SpecError(f"scores must differ; got {', '.join(questions)}.")
    if any(" at 0x" in text for text in questions):
        raise SpecError(f"a score must have a name that stays, to be known again; got {questions}. Write a dataclass.")
    return questions


def _step(optimiser: torch.optim.Optimizer, masker: Masker, loss: Float[Tensor, ""]) -> None:
    weights = list(masker.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient
    optimiser.step()


class _Comparison:
    """Clips beside hidden ones, and how much of the score lies between the two."""

    def __init__(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction, chance: Any) -> None:
        self.model, self.x = model, x
        with torch.no_grad():
            output = model(x)
            self.score = pinned(score, output, x)
            self.hidden = _hidden(x, output, chance)
            whole = one_each(self.score(output, x), len(x))
            self.least = one_each(self.score(model(self.hidden), self.hidden), len(x))
        change = whole - self.least
        self.unit = change.abs().clamp(min=0.1 * float(change.abs().mean())).clamp(min=1e-12)
        self.whole = change / self.unit

    def share(self, mask: Float[Tensor, "n t h w"]) -> Float[Tensor, " n"]:
        """The score of what a mask shows, above the hidden clip's."""
        rows = self.hidden + (self.x - self.hidden) * mask[:, None]
        with GradientOn():
            return (one_each(self.score(self.model(rows), rows), len(rows)) - self.least) / self.unit


def _loss(clip: _Comparison, mask: Float[Tensor, "n t h w"], area: float) -> Float[Tensor, ""]:
    destroyed = clip.share(1 - mask).clamp(min=0)
    preserved = (clip.whole - clip.share(mask)).clamp(min=0)
    small = (mask + 5e-4).pow(0.3).flatten(1).mean(dim=1)
    return (destroyed + KEEPING * preserved + area * small + ROUGHNESS * variation(mask, 2, 1.0)).mean()


def _hidden(x: Float[Tensor, "n c t h w"], output: Any, chance: torch.Generator | None) -> Float[Tensor, "n c t h w"]:
    """What stands in hidden places: what was expected; else blur, or with chance as often a noisy colour."""
    if isinstance(output, Reconstruction):
        rows = [_row(output, place) for place in range(len(x))]
        return torch.cat([filled_with(x[i : i + 1], "reconstruction", row) for i, row in enumerate(rows)])
    if chance is None or torch.rand((), generator=chance) < 0.5:
        return smoothed(x, WIDEST / 2 * min(x.shape[3:]))
    colour = torch.rand(len(x), x.shape[1], 1, 1, 1, generator=chance)
    return (colour + 0.11 * torch.randn(x.shape, generator=chance)).clamp(0, 1).to(x)


def _row(output: Any, place: int) -> Any:
    return mapped(output, lambda part: part[place : place + 1])


def _drops(
    model: nn.Module, masker: Masker, x: Tensor, score: ScoreFunction, asked: int, chance: torch.Generator
) -> Float[Tensor, " 2"]:
    """The share of one clip's score that hiding the map's strongest places takes, and a random region's."""
    with torch.no_grad():
        clip = _Comparison(model, x, score, None)
        blobs = smoothed(torch.randn(x[:, 0].shape, generator=chance).to(x), min(x.shape[3:]) / 8)
        shares = [clip.share(1 - _strongest(maps)) for maps in (masker(x, asked), blobs)]
        return torch.cat([clip.whole - share for share in shares]) * clip.whole.sign()


def _strongest(maps: Float[Tensor, "1 t h w"]) -> Float[Tensor, "1 t h w"]:
    """1 at the strongest places, 0 elsewhere."""
    order = maps.flatten().argsort(descending=True, stable=True)
    shown = torch.zeros_like(maps).flatten()
    shown[order[: round(TESTED * len(order))]] = 1
    return shown.view_as(maps)
