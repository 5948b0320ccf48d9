"""A masker that was trained on a model draws the map in one pass (Dabkowski & Gal, NeurIPS 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.masker import question, read_facts, read_masker
from vidence.errors import SpecError
from vidence.models.detector_folder import state_digest
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction


@dataclass(frozen=True)
class MaskingModel(Explainer):
    """The mask of a masker in the folder `path`, that `train_masker` trained on these very weights for this score.

    The masker never asks the model: it may have learned a detector of its own. What hiding its masks does to the score
    of clips that it was not trained on stands in its facts, and in a flag where it is no more than chance does.
    """

    path: str | None = None

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """No pass of the model."""
        return Price(0)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Without a masker, and with one of another model, score or number of colours."""
        if self.path is None:
            return (
                "masking-model needs a trained masker; train one with vidence.attribution.train_masker(model, clips, "
                "scores, out='DIR') and ask for masking-model(path='DIR'), or take rise."
            )
        facts = read_facts(self.path)
        if facts["model"] != state_digest(model):
            return (
                "masking-model needs a masker of this model's own weights; this one was trained on others. Train one."
            )
        if x.shape[1] != facts["channels"]:
            return f"masking-model needs clips of {facts['channels']} channels, as in training; got {x.shape[1]}."
        if _place(score, facts["scores"]) is None:
            return (
                f"masking-model needs a masker of the score that is asked, {question(score)}; this one was trained for "
                f"{', '.join(facts['scores'])}. Train one with it."
            )
        return None

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Values in [0, 1]; `extra['facts']` is what is known of the masker."""
        if self.path is None:
            raise SpecError("masking-model needs path='DIR', the folder of a trained masker.")
        facts = read_facts(self.path)
        place = _place(score, facts["scores"])
        if place is None:
            raise SpecError(f"masking-model needs a masker of the score {question(score)}. Train one with it.")
        masker = read_masker(self.path, facts).to(x.device)
        with torch.no_grad():
            values = masker(x, place).float()
        flags: tuple[str, ...] = ()
        if facts["drop"] <= facts["random_drop"]:
            flags = ("on held-out clips, hiding what this masker shows takes no more from the score than chance does",)
        return Attributions(values, certificate=Certificate(flags=flags), extra={"facts": facts})


def _place(score: ScoreFunction, questions: list[str]) -> int | None:
    """Which of the questions a score asks, also where it has been pinned on the clip or is one of a batch."""
    asked: Any = score
    while asked is not None:
        if question(asked) in questions:
            return questions.index(question(asked))
        asked = getattr(asked, "score", None)
    return None
