"""Adaptive occlusion: hidden boxes follow what moves (Uchiyama et al., WACV 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.fills import Fill, check_fill, filled_with, shown_through
from vidence.attribution.subject import PIXELS_AT_ONCE, Subject
from vidence.errors import SpecError
from vidence.motion.flow import Tracks, dense_flow, followed
from vidence.scoring.scores import ScoreFunction

FENCE = 1.5  # interquartile ranges beyond the quartiles from which on a predicted change is an outlier


@dataclass(frozen=True)
class AdaptiveOcclusion(Explainer):
    """Mean loss of the score over the hidden tracks that cover a place; positive = hiding it lowers the score.

    A track is a box of `side` pixels whose centre follows the optical flow until it leaves the frame. Tracks start on
    a grid of `stride` pixels in every `every`-th frame, save where one is already under way (`starts='every'`,
    the paper's "flow"), or in the first frame only (`starts='first'`, its "flow_one"). By default a box is a seventh of
    the smaller side and the stride half of it: 16 and 8 pixels at 112, as in the paper. `joined` hides each track
    together with those that move most like it (by the cosine of their motions), `joined` in all.

    `mode='first-order'` predicts every loss from one gradient, exactly where the score is linear; tracks whose
    prediction is an outlier are predicted anew from a gradient at the most extreme of them.
    The released code maps the score that is left, so that evidence is low there; losses are averaged over the tracks
    that cover a place here as in `occlusion`, to which this comes down where nothing moves. Places that no track
    covers are 0.
    """

    mode: Literal["full", "first-order"] = "full"
    side: int | None = None
    stride: int | None = None
    starts: Literal["every", "first"] = "every"
    every: int = 2
    joined: int = 1
    fill: Fill = "auto"
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse boxes without content, and modes and fills that do not exist."""
        check_fill(self.fill)
        if self.mode not in ("full", "first-order"):
            raise SpecError(f"mode must be 'full' or 'first-order'; got {self.mode!r}.")
        if self.starts not in ("every", "first"):
            raise SpecError(f"starts must be 'every' or 'first'; got {self.starts!r}.")
        sizes = {"side": self.side or 1, "stride": self.stride or 1, "every": self.every, "joined": self.joined}
        for name, size in sizes.items():
            if size < 1:
                raise SpecError(f"{name} must be at least 1; got {size}.")
        if self.side and self.stride and self.stride > self.side:
            raise SpecError(f"stride {self.stride} must not exceed side {self.side}: places would be missed.")

    @classmethod
    def quick(cls) -> Self:
        """Tracks from the first frame, predicted from one gradient."""
        return cls(mode="first-order", starts="first")

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """At most: fewer tracks start in later frames, and few maps have outliers on both sides."""
        if self.mode == "first-order":
            return Price(4, 3, at_most=True)
        frames = 1 if self.starts == "first" else ceil(t / self.every)
        return Price(1 + frames * len(self._grid(h, w)), at_most=frames > 1)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """In `extra`, `tracks`: box centres and where they are in the picture, and `losses`, one a track."""
        subject = Subject(model, x, score, chunk=self.chunk)
        filled = filled_with(x, self.fill, subject.output)
        flow = dense_flow(x[0])
        tracks = self._tracks(flow, x.shape[2])
        covers = _Covers(tracks, self._side(*x.shape[3:]), x, _joined(tracks, self.joined))
        if self.mode == "full":
            losses = subject.whole - subject.scores(
                lambda first, last: shown_through(x, filled, 1 - covers.hidden(first, last)),
                covers.count,
                label="tracks hidden",
            )
        else:
            losses = _predicted(subject, filled, covers)
        total, count = covers.summed(torch.stack([losses, torch.ones_like(losses)]))
        values = total / count.clamp(min=1)
        extra: dict[str, Any] = {"tracks": tracks, "losses": losses.tolist()}
        return Attributions(values.view(1, *x.shape[2:]), extra=extra)

    def _side(self, h: int, w: int) -> int:
        return min(self.side or ceil(min(h, w) / 7), h, w)

    def _grid(self, h: int, w: int) -> Float[Tensor, "b 2"]:
        """Centres that boxes start from: half a stride from the border, and so on."""
        step = self.stride or ceil(self._side(h, w) / 2)
        rows, columns = (torch.arange(step // 2, size, step).float() for size in (h, w))
        return torch.cartesian_prod(rows, columns).view(-1, 2)

    def _tracks(self, flow: Float[Tensor, "s 2 h w"], t: int) -> Tracks:
        grid = self._grid(*flow.shape[2:]).to(flow.device)
        found = followed(flow, grid)
        apart = self._side(*flow.shape[2:]) / 2
        for first in range(self.every, t, self.every) if self.starts == "every" else ():
            under_way = found.places[found.alive[:, first], first]
            free = (torch.cdist(grid, under_way) > apart).all(dim=1)
            more = followed(flow, grid[free], first=first)
            found = Tracks(torch.cat([found.places, more.places]), torch.cat([found.alive, more.alive]))
        return found


class _Covers:
    """What each track hides, (v, t, h, w), made when it is asked for."""

    def __init__(self, tracks: Tracks, side: int, x: Tensor, together: Int[Tensor, "b m"]) -> None:
        self.tracks, self.together, self.count = tracks, together, len(together)
        self._side, self._sizes = side, x.shape[2:]

    def hidden(self, first: int, last: int) -> Float[Tensor, "v t h w"]:
        """1 where a track or one that is joined to it has its box."""
        group = self.together[first:last]  # (v, m)
        places, alive = self.tracks.places[group], self.tracks.alive[group] & (group >= 0)[..., None]
        corner = places - self._side // 2
        within = []
        for axis, size in enumerate(self._sizes[1:]):
            distance = torch.arange(size, device=places.device) - corner[..., axis, None]
            within.append(((distance >= 0) & (distance < self._side)).float())
        boxes = torch.einsum("vmt,vmth,vmtw->vthw", alive.float(), *within)
        return boxes.clamp(max=1)

    def summed(self, weights: Float[Tensor, "k b"]) -> Float[Tensor, "k p"]:
        """Of each place, the sums of `weights` over the tracks that cover it."""
        total = weights.new_zeros(len(weights), self._sizes.numel())
        for first, last in self._steps():
            total += weights[:, first:last] @ self.hidden(first, last).flatten(1)
        return total

    def over(self, density: Float[Tensor, "1 t h w"]) -> Float[Tensor, " b"]:
        """Of each track, the sum of a density over what it hides."""
        flat = density.flatten()
        return torch.cat([self.hidden(first, last).flatten(1) @ flat for first, last in self._steps()])

    def _steps(self) -> list[tuple[int, int]]:
        step = max(1, PIXELS_AT_ONCE // self._sizes.numel())
        return [(first, min(first + step, self.count)) for first in range(0, self.count, step)]


def _joined(tracks: Tracks, joined: int) -> Int[Tensor, "b m"]:
    """Of each track, itself and the joined - 1 whose motion is most alike; -1 where none moves in a like way."""
    count = len(tracks.places)
    alone = torch.arange(count, device=tracks.places.device)[:, None]
    if joined == 1 or count == 1:
        return alone
    motion = F.normalize(rearrange(tracks.places.diff(dim=1), "b s d -> b (s d)"), dim=1)
    alike = (motion @ motion.T).fill_diagonal_(-1)
    best = alike.sort(dim=1, descending=True, stable=True)
    others = torch.where(best.values > 0, best.indices, -1)[:, : joined - 1]
    return torch.cat([alone, others], dim=1)


def _predicted(subject: Subject, filled: Tensor, covers: _Covers) -> Float[Tensor, " b"]:
    """Losses to first order in what is hidden, anew around the most extreme track where a loss is an outlier."""
    nothing = torch.zeros_like(covers.hidden(0, 1))
    losses = covers.over(_density(subject, filled, nothing)[1])
    low, high = torch.quantile(losses, losses.new_tensor([0.25, 0.75]))
    margin = FENCE * (high - low)
    found = losses.clone()
    for outliers, extreme in (
        (losses < low - margin, int(losses.argmin())),
        (losses > high + margin, int(losses.argmax())),
    ):
        if outliers.any():
            around = covers.hidden(extreme, extreme + 1)
            score, density = _density(subject, filled, around)
            change = covers.over(density) - (density * around).sum()
            found = torch.where(outliers, subject.whole - score + change, found)
    return found


def _density(subject: Subject, filled: Tensor, hidden: Tensor) -> tuple[Float[Tensor, " 1"], Float[Tensor, "1 t h w"]]:
    """The score where `hidden` is hidden, and what each further place would lose: gradient x (clip - fill)."""
    row = shown_through(subject.x, filled, 1 - hidden)
    _, score, gradient = next(subject.gradients(lambda first, last: row, 1, label="gradients"))
    return score.float(), (gradient * (subject.x - filled)).sum(dim=1).float()
