"""The short check on a network whose answer is known: it reads one corner of the clip and nothing else."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution import Gradient, InputXGradient
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.perturb.occlusion import Occlusion
from vidence.errors import ExplainError
from vidence.evaluate.controls import RandomMap
from vidence.evaluate.trusting import FLAT, NO_FALL, short_checks
from vidence.frames.clip import Clip
from vidence.record.facts import ClipRef
from vidence.record.trust import Trust
from vidence.scoring.scores import Logit

SHAPE = (4, 16, 16)


class Corner(nn.Module):
    """Two classes: a weighted sum over the upper left corner (an eighth of the clip), and its negative."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.read = nn.Conv3d(3, 1, 1)
        with torch.no_grad():
            self.read.weight.fill_(sign)
            self.read.bias.zero_()

    def forward(self, x: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 2"]:
        total = self.read(x)[:, 0, :, :4, :8].mean(dim=(1, 2, 3))
        return torch.stack([total, -total], dim=1)


@dataclass(frozen=True)
class Fixed(Explainer):
    """A map that does not ask the model: 1 in the given corner."""

    kind: str = "upper"

    def explain_clip(self, model, x, score):
        values = torch.zeros(1, *x.shape[2:])
        if self.kind == "upper":
            values[:, :, :4, :8] = 1
        elif self.kind == "lower":
            values[:, :, -4:, -8:] = 1
        elif self.kind == "against":
            values[:, :, :4, :8] = -1
        return Attributions(values)


def clip() -> Clip:
    times = tuple(i / 10 for i in range(SHAPE[0]))
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    pixels[:, :4, :8] = 200
    return Clip(ClipRef("toy.mp4", "a" * 64, 12, times), pixels)


def detector(network: nn.Module | None, classes: tuple[str, ...] = ("odd", "normal")) -> SimpleNamespace:
    def prepare(clip):
        return torch.from_numpy(clip.pixels).permute(3, 0, 1, 2)[None].float() / 255

    return SimpleNamespace(network=network, classes=classes, prepare=prepare, arithmetic=lambda x: nullcontext())


def checked(*explainers: Explainer, network: nn.Module | None = None, seed: int = 0) -> list[Trust]:
    network = Corner() if network is None else network
    made = detector(network)
    x = made.prepare(clip())
    found = {f"{i}": (each, each.attribute(network, x, Logit(), certify=False)) for i, each in enumerate(explainers)}
    return list(short_checks(made, clip(), Logit(), found, seed=seed).values())


def test_a_map_of_what_the_network_reads_carries_the_score() -> None:
    (trust,) = checked(Fixed())
    assert trust.region == pytest.approx(0.1, abs=0.005)  # of the corner's eighth
    assert trust.marked == pytest.approx(0.8, abs=0.03)  # a tenth of the clip out of an eighth
    assert trust.chance < 0.3
    assert trust.gain > 0.2
    assert trust.first == 12


def test_a_map_of_another_place_carries_nothing() -> None:
    (trust,) = checked(Fixed("lower"))
    assert trust.marked == pytest.approx(0, abs=1e-6)
    assert trust.gain < 0


def test_a_map_that_asks_nobody_is_flagged() -> None:
    (trust,) = checked(Fixed())
    assert trust.sane is False
    assert len(trust.flags) == 2  # the weights and the class


def test_a_signed_gradient_tells_classes_apart() -> None:
    """With its sign, times the clip; of sizes alone, both classes of this network have the same."""
    (trust,), (sizes,) = checked(InputXGradient()), checked(Gradient())
    assert not any("class" in flag for flag in trust.flags)
    assert any("class" in flag for flag in sizes.flags)


def test_noise_that_nobody_sees_leaves_a_steady_map_as_it_was() -> None:
    (trust,) = checked(Gradient())
    assert trust.rerun == pytest.approx(1)
    assert "noise" in trust.varied


def test_another_seed_gives_another_random_map() -> None:
    (trust,) = checked(RandomMap())
    assert abs(trust.rerun) < 0.1
    assert trust.varied == "another seed"


def test_families_agree_on_what_both_find() -> None:
    hidden, inside = checked(Occlusion(), Gradient())
    assert (hidden.other, inside.other) == ("1", "0")
    assert hidden.agreement == pytest.approx(inside.agreement)
    assert hidden.agreement > 0.5
    assert hidden.overlap > 3 * hidden.overlap_chance == pytest.approx(0.3, abs=0.01)


def test_of_several_the_one_that_agrees_least_is_told() -> None:
    hidden, *_ = checked(Occlusion(), Gradient(), Fixed("lower"))
    assert hidden.other == "2"
    assert hidden.agreement < 0
    assert hidden.overlap < hidden.overlap_chance


def test_one_family_has_nobody_to_agree_with() -> None:
    one, _ = checked(Gradient(), Fixed())
    assert one.other is None
    assert "another family" in one.unmeasured["agreement"]


def test_a_flat_map_says_nothing() -> None:
    (trust,) = checked(Fixed("nowhere"))
    assert trust.unmeasured == dict.fromkeys(("marked", "gain", "sanity", "agreement", "rerun"), FLAT)
    assert (trust.marked, trust.gain, trust.sane, trust.rerun) == (None,) * 4


def test_a_map_without_anything_that_speaks_for_the_score_marks_nothing() -> None:
    (trust,) = checked(Fixed("against"))
    assert trust.unmeasured["marked"] == "no place of the map speaks for the score"
    assert trust.region is None


def test_a_score_that_hiding_does_not_lower_cannot_be_shared_out() -> None:
    class Constant(Corner):
        def forward(self, x):
            return super().forward(x) * 0 + torch.tensor([1.0, 0.0])

    (trust,) = checked(RandomMap(), network=Constant())
    assert trust.unmeasured["marked"] == trust.unmeasured["gain"] == NO_FALL


def test_a_network_without_weights_cannot_lose_them() -> None:
    class Still(nn.Module):
        def forward(self, x):
            total = x[:, :, :, :4, :8].mean(dim=(1, 2, 3, 4))
            return torch.stack([total, -total], dim=1)

    (trust,) = checked(RandomMap(), network=Still())
    assert trust.unmeasured["sanity"] == "the network has no weights"


def test_a_score_of_no_class_has_no_other() -> None:
    made = detector(Corner(), classes=())

    def score(output, x):
        return output[:, 0]

    found = {"random": (RandomMap(), RandomMap().attribute(made.network, made.prepare(clip()), score, certify=False))}
    (trust,) = short_checks(made, clip(), score, found).values()
    assert "class" in trust.unmeasured
    assert trust.sane is not None


def test_a_figure_that_fails_leaves_the_others() -> None:
    @dataclass(frozen=True)
    class Once(Fixed):
        """Draws one map, and then refuses."""

        def explain_clip(self, model, x, score):
            if model is not network:
                raise ExplainError("only that network")
            return super().explain_clip(model, x, score)

    network = Corner()
    (trust,) = checked(Once(), network=network)
    assert trust.unmeasured["sanity"] == "only that network"
    assert trust.marked is not None


def test_the_same_seed_gives_the_same_check() -> None:
    assert checked(Gradient(), Occlusion()) == checked(Gradient(), Occlusion())
    assert checked(Gradient())[0].chance != checked(Gradient(), seed=1)[0].chance


def test_a_detector_without_a_network_is_refused() -> None:
    with pytest.raises(ExplainError, match="this detector has none"):
        short_checks(detector(None), clip(), Logit(), {})
