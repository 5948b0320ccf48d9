"""Gradients between random baselines and the clip (Lundberg and Lee, NeurIPS 2017; Erion et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.averaging import noise
from vidence.attribution.certifying import relative_gap
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.path import Baseline, baseline_of, check_baseline, of_nothing, stands_still
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.models.reconstruction import Reconstruction
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

WIDE = 0.05  # share of the expected change that a sample may miss before the certificate warns


@dataclass(frozen=True)
class GradientSHAP(Explainer):
    """E (x - x') * gradient at x' + a (x - x'), over baselines x' and a uniform in [0, 1]: signed.

    Sums in expectation to s(x) - E s(x'); `gap` is what `n` draws miss of it, with their standard error in `extra`.
    `baselines` name what integrated-gradients may start from, taken in turn: 'auto' stands for an autoencoder's
    reconstruction, else for the clip's temporal median (unless it stands still), mean colour and blur, since a clip
    brings no background set.
    `spread` adds Gaussian noise to them, as a share of the clip's range of values. Within a baseline's share of the
    draws, each takes `a` from its own equal part of [0, 1]: unbiased as the paper's draws are, and less noisy.
    """

    baselines: tuple[Baseline, ...] = ("auto",)
    n: int = 60
    spread: float = 0.0
    seed: int = 0
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        for baseline in self.baselines:
            check_baseline(baseline)
        if not self.baselines or self.n < max(2, len(self.baselines)) or self.spread < 0:
            raise SpecError(
                "n must be at least 2 and one for each of at least one baseline, spread at least 0; "
                f"got n={self.n}, {self.baselines}, {self.spread}."
            )

    @classmethod
    def quick(cls) -> Self:
        """Nine draws."""
        return cls(n=9)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """A forward and a backward pass for each draw, each (noisy) baseline (an autoencoder has one), and the clip."""
        auto = self.baselines == ("auto",)
        apart = self.n if self.spread else 3 if auto else len(self.baselines)
        return Price(1 + self.n + apart, self.n, at_most=auto and not self.spread)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, c, t, h, w); `extra` has the expected change, its standard error and the baselines' names."""
        subject = Subject(model, x, score, chunk=self.chunk)
        names = self._names(subject)
        clean = torch.cat([baseline_of(x, name, subject.output) for name in names])
        turn = torch.arange(self.n) % len(names)
        part = (turn[:, None] == torch.arange(len(names))).sum(dim=0)[turn]  # draws of the same baseline
        generator = torch.Generator().manual_seed(self.seed)
        place = (torch.arange(self.n) // len(names) + torch.rand(self.n, generator=generator)) / part
        place = place.to(x)[:, None, None, None, None]
        # rows are asked for more than once, so each has a seed of its own, drawn from that of the method
        seeds = torch.randint(2**62, (self.n,), generator=generator).tolist()
        raw, sums = torch.zeros_like(x), []

        def starts(first: int, last: int) -> Tensor:
            rows = clean[turn[first:last]]
            if not self.spread:
                return rows
            return rows + torch.cat([next(noise(x, spread=self.spread, seed=one)) for one in seeds[first:last]])

        def between(first: int, last: int) -> Tensor:
            rows = starts(first, last)
            return rows + place[first:last] * (x - rows)

        for rows, _, gradient in subject.gradients(between, self.n, label="gradients between baselines"):
            found = (x - starts(rows.start, rows.stop)) * gradient
            raw += found.sum(dim=0) / self.n
            sums.append(found.flatten(1).sum(dim=1))
        counts = torch.bincount(turn, minlength=len(names)).to(x)
        if self.spread:
            expected = subject.scores(starts, self.n, label="baselines").mean()
        else:
            scores = subject.scores(lambda first, last: clean[first:last], len(names), label="baselines")
            expected = (scores * counts).sum() / self.n
        change = subject.whole - expected
        error = torch.cat(sums).float().std() / self.n**0.5
        return self._certified_sum(subject, raw, change, error, names, clean)

    def _certified_sum(
        self,
        subject: Subject,
        raw: Tensor,
        change: Tensor,
        error: Tensor,
        names: tuple[Baseline, ...],
        clean: Float[Tensor, "b c t h w"],
    ) -> Attributions:
        """The map with what is known of its sum."""
        gap = change - raw.double().sum().float()
        share = relative_gap(float(gap), float(change), float(subject.whole))
        flags = [*of_nothing(raw, subject.x, clean)]
        if self.baselines == ("auto",) and "median" not in names and names != ("reconstruction",):
            flags.append("the clip stands still and equals its temporal median, which is left out of its baselines")
        if abs(share) > WIDE:
            flags.append(
                f"{self.n} draws miss {abs(share):.1%} of the expected change of the score "
                f"({float(gap):.2g}, standard error {float(error):.2g}); raise `n`"
            )
        extra = {"effect": change, "standard_error": error[None], "baselines": names}
        certificate = Certificate(gap=share, flags=tuple(flags))
        return Attributions(raw.sum(dim=1).float(), raw=raw, gap=gap, certificate=certificate, extra=extra)

    def _names(self, subject: Subject) -> tuple[Baseline, ...]:
        """The baselines, 'auto' spelled out."""
        if self.baselines != ("auto",):
            return self.baselines
        if isinstance(subject.output, Reconstruction):
            return ("reconstruction",)
        return ("mean", "blur") if stands_still(subject.x) else ("median", "mean", "blur")
