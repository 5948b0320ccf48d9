"""What an explainer is, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.axis_order import check_axes
from vidence.attribution.certifying import deletion_agreement
from vidence.attribution.entrance import ZERO, admitted, answering, range_flags
from vidence.attribution.hooks import frozen, uncompiled
from vidence.attribution.layer_names import check_name
from vidence.attribution.outputs import of_clip
from vidence.errors import ExplainError, SpecError
from vidence.models.attributions import Attributions as Attributions  # what explainers return is imported from here
from vidence.models.detector import Detector
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction
from vidence.spec import Settings

NOTHING = 1e-30  # what a solver's rounding leaves of no effect at all


@dataclass(frozen=True, slots=True)
class Price:
    """What one map costs: `forwards` passes of one clip through the model, `gradients` backward passes of one clip.

    A forward pass that a gradient starts from is counted among the forwards too. `at_most`: the method may stop early.
    """

    forwards: int
    gradients: int = 0
    at_most: bool = False


class Explainer(Settings, ABC):
    """A frozen dataclass of settings; the model comes at call time and is left as it was, also after an error."""

    measures_frames: ClassVar[bool] = False  # its map is frame deletion itself, which then certifies nothing

    @classmethod
    def admit(cls, given: Mapping[str, Any]) -> None:
        """Raise `SpecError` for a module instead of its name, for other settings of a wrong kind, and for no chunk."""
        for value in given.values():
            check_name(value)
        super().admit(given)
        chunk = given.get("chunk")
        if chunk is not None and chunk < 1:
            raise SpecError(f"chunk must be at least 1, or None for as many as fit; got {chunk}.")

    @abstractmethod
    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Explain one clip of a model that is in eval mode with gradients to its parameters off."""

    @classmethod
    def quick(cls) -> Self:
        """The same method on a small budget, for tests and a first look."""
        return cls()

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """Passes through the model for one clip (t, h, w) whose layer, if one is looked at, has `channels`.

        Of models that are neither two-stage nor autoencoders, whose layer is found at the first attempt.
        """
        return Price(1, 1)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Why this pair is impossible and what to use instead, in one sentence; None where it is not.

        Asked before anything is computed; what only a forward pass can show is raised as `ExplainError` there.
        """
        return None

    def informed(self, detector: Detector, score: ScoreFunction) -> Explainer:
        """The same with what only a detector knows (a threshold, a background); itself where it needs nothing."""
        return self

    def attribute(
        self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction, *, certify: bool = True
    ) -> Attributions:
        """Explain `score(model(x), x)` for each clip of the batch, clip by clip.

        `certify` measures, at the price of one more forward pass a frame, how the map agrees with frame deletion, and
        whether the model says the same of the same clip twice. Raises `ShapeError` for clips that are none, `SpecError`
        for a score that is none, and `ExplainError` for a pair that is refused and a model that does not take or answer
        a clip.
        """
        if not callable(score):
            raise SpecError(f"a score must be callable as score(output, x); got {score!r}. Of a class: Logit(index).")
        model = uncompiled(model)
        x = admitted(model, x)
        strays = range_flags(x)
        refused = self.refusal(model, x, score)
        if refused:
            raise ExplainError(refused)
        with frozen(model), torch.inference_mode(False), torch.enable_grad():
            check_axes(model, x)
            parts = []
            for i in range(len(x)):
                clip, asked = x[i : i + 1], of_clip(score, i, len(x))
                with answering(model, clip, asked) as answers:
                    found = self.explain_clip(model, clip, asked)
                    answers.explained = True
                    found = self._certified(found, model, clip, asked, certify)
                    if certify:
                        answers.once_more()
                flags = (*answers.flags(found.certificate.flags, found.values), *strays)
                parts.append(replace(found, certificate=replace(found.certificate, flags=flags)))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _certified(
        self, found: Attributions, model: nn.Module, x: Tensor, score: ScoreFunction, measure: bool
    ) -> Attributions:
        """What every map can say of itself; a method that measured more has written that already.

        Raises `ExplainError` for a map that is not finite: no picture of it would mean anything.
        """
        _check_finite(found.values, type(self).__name__)
        held = found.certificate  # how work was chunked stands in the explainer's line
        flags = list(held.flags)
        if float(found.values.abs().max()) < NOTHING and not any(ZERO in flag for flag in flags):
            flags.append(f"{ZERO}: nothing that this method looks at speaks for the score or against it")
        gap = held.gap
        if gap is not None and not isfinite(gap):
            gap = None
            flags.append("what the map misses of the change of the score is not finite: nothing is known of its sum")
        held = replace(
            held,
            gap=gap,
            layer=held.layer or found.layer,
            seed=getattr(self, "seed", held.seed),
            flags=tuple(flags),
        )
        if measure and held.deletion_rank is None and held.same_top_frame is None and not self.measures_frames:
            rank, same = deletion_agreement(model, x, score, found.values, chunk=getattr(self, "chunk", None))
            held = replace(held, deletion_rank=rank, same_top_frame=same)
        return replace(found, certificate=held)

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction
    ) -> Float[Tensor, "n t h w"]:
        """Return the map alone, without the deletions of its certificate, resized to the clip's height and width."""
        values = self.attribute(model, x, score, certify=False).values
        if values.shape[2:] == x.shape[3:]:
            return values
        return F.interpolate(values, size=x.shape[3:], mode="bilinear", align_corners=False)


def _check_finite(values: Tensor, name: str) -> None:
    wrong = int((~values.isfinite()).sum())
    if wrong:
        raise ExplainError(
            f"a map must be finite; {name} found {wrong} of {values.numel()} values that are not. See that model and "
            "score are finite on this clip and on what the method shows instead of it: another fill or baseline, or "
            "a model in float32, may help."
        )


def _joined(parts: list[Attributions]) -> Attributions:
    """One batch out of single clips; its certificate is the worst of theirs, which are in `extra['certificates']`."""
    found = [part.certificate for part in parts]
    gaps = [item.gap for item in found if item.gap is not None]
    ranks = [item.deletion_rank for item in found if item.deletion_rank is not None]
    tops = [item.same_top_frame for item in found if item.same_top_frame is not None]
    certificate = replace(
        found[0],
        gap=max(gaps, key=abs, default=None),
        deletion_rank=min(ranks, default=None),
        same_top_frame=all(tops) if tops else None,
        flags=_flags_of(found),
    )
    extra: dict[str, Any] = {"certificates": found}
    for key, value in parts[0].extra.items():
        together = [part.extra[key] for part in parts]
        extra[key] = _end_to_end(together) if isinstance(value, Tensor) else together
    return Attributions(
        torch.cat([part.values for part in parts]),
        raw=None if parts[0].raw is None else _end_to_end([part.raw for part in parts if part.raw is not None]),
        gap=None if parts[0].gap is None else torch.cat([part.gap for part in parts if part.gap is not None]),
        layer=parts[0].layer,
        certificate=certificate,
        extra=extra,
    )


def _flags_of(found: list[Certificate]) -> tuple[str, ...]:
    """What holds for all clips once, and what does not with the numbers of its clips."""
    numbers: dict[str, list[str]] = {}
    for number, item in enumerate(found, 1):
        for flag in item.flags:
            numbers.setdefault(flag, []).append(str(number))
    return tuple(
        flag if len(held) == len(found) else f"clip{'s' * (len(held) > 1)} {', '.join(held)} of {len(found)}: {flag}"
        for flag, held in numbers.items()
    )


def _end_to_end(parts: list[Tensor]) -> Tensor:
    """One clip after another; what a clip has fewer of than another (segments) ends in NaN, or 0 in whole numbers."""
    sizes = [max(each) for each in zip(*(part.shape[1:] for part in parts), strict=True)]
    filled = []
    for part in parts:
        missing = [size - own for size, own in zip(sizes, part.shape[1:], strict=True)]
        padding = [side for each in reversed(missing) for side in (0, each)]
        filled.append(F.pad(part, padding, value=float("nan") if part.is_floating_point() else 0))
    return torch.cat(filled)
