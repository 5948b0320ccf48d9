from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidence.errors import ShapeError, SpecError
from vidence.frames.clip import Clip
from vidence.models import DETECTORS, load_detector
from vidence.models.ensemble import Ensemble, EnsembleNetwork
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.models.trivial import MeanFrame, PreviousFrame, Random
from vidence.models.vae import VAE
from vidence.record.facts import ClipRef
from vidence.spec import build

INPUT: Any = {"size": 32}


def trained(settings: Any, *, low: float, high: float) -> ReconstructionDetector:
    torch.manual_seed(0)
    detector = settings.build()
    if hasattr(detector.network, "learn"):
        detector.network.learn(torch.rand(3, 1, 3, 2, 32, 32))
    detector.facts = {"calibration": {"low": low, "high": high}}
    return detector


def ensemble(*settings: Any, **named: Any) -> tuple[ReconstructionDetector, list[ReconstructionDetector]]:
    made = Ensemble(of=settings, **INPUT | named).build()
    members = [trained(each, low=10.0 * k, high=100.0 + 50 * k) for k, each in enumerate(made.settings.members())]  # type: ignore[attr-defined]
    for number, each in enumerate(members):
        made.network.take(number, each)  # type: ignore[operator]
    return made, members


def clip(t: int) -> Clip:
    pixels = np.random.default_rng(0).integers(0, 256, (t, 32, 32, 3), dtype=np.uint8)
    return Clip(ClipRef("a.mp4", "0" * 64, 0, tuple(0.1 * place for place in range(t))), pixels)


def calibrated(member: ReconstructionDetector, errors: np.ndarray) -> np.ndarray:
    scale = member.facts["calibration"]
    return (errors - scale["low"]) / (scale["high"] - scale["low"])


@pytest.mark.parametrize(("rule", "combine"), [("mean", np.mean), ("max", np.max)])
def test_the_score_combines_what_the_members_say_of_frames_that_all_score(rule: str, combine: Any) -> None:
    made, members = ensemble(MeanFrame(**INPUT), PreviousFrame(length=5, **INPUT), length=4, rule=rule)
    shot = clip(5)
    found = made.errors(shot)
    assert found.times.tolist() == list(shot.times[1:])  # the first one has no previous frame
    said = [calibrated(each, each.errors(shot).values[-4:]) for each in members]
    np.testing.assert_allclose(found.values, combine(said, axis=0), rtol=1e-4)


def test_a_member_with_shorter_windows_looks_at_its_own() -> None:
    made, members = ensemble(PreviousFrame(length=9, **INPUT), VAE(length=2, latent=4, **INPUT))
    assert (made.windows.length, made.windows.stride) == (9, 8)
    network = made.network
    assert isinstance(network, EnsembleNetwork)
    x = made.prepare(clip(9))
    members[1].network.eval()
    wanted = torch.as_tensor(members[1].errors(clip(9)).values)  # frame by frame: windows make no difference
    torch.testing.assert_close(network._errors(x, 1)[0], wanted, rtol=1e-4, atol=1e-3)
    members[0].network.eval()
    alone = torch.as_tensor(members[0].errors(clip(9)).values)
    torch.testing.assert_close(network._errors(x, 0)[0, 1:], alone, rtol=1e-4, atol=1e-3)


def test_windows_follow_each_other_and_the_last_is_moved_back() -> None:
    made, _ = ensemble(PreviousFrame(length=4, **INPUT), Random(length=9, **INPUT))
    seen: list[torch.Tensor] = []
    member = made.network.members[0]  # type: ignore[index]
    plain = type(member).forward

    class Watched(type(member)):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> Any:
            seen.append(x)
            return plain(self, x)

    member.__class__ = Watched
    x = torch.rand(2, 3, 9, 32, 32)
    made.network(x)
    (windows,) = seen
    starts = [0, 3, 5]  # stride 3, because windows share a frame; the last one ends with the clip
    wanted = torch.stack([x[:, :, first : first + 4] for first in starts], dim=1).flatten(0, 1)
    assert torch.equal(windows, wanted)


def test_errors_that_a_member_adds_keep_their_scales() -> None:
    made = Ensemble(
        of=(VAE(latent=4, score="squared-error+centre-distance", **INPUT), MeanFrame(**INPUT)), length=4, **INPUT
    ).build()
    member = trained(made.settings.members()[0], low=0.0, high=1.0)  # type: ignore[attr-defined]
    member.facts["scales"] = {"squared-error": 20.0, "centre-distance": 0.5}
    made.network.take(0, member)  # type: ignore[operator]
    x = made.prepare(clip(4))
    torch.testing.assert_close(
        made.network._errors(x, 0)[0],  # type: ignore[operator]
        torch.as_tensor(member.errors(clip(4)).values),
        rtol=1e-4,
        atol=1e-3,
    )


def test_saved_as_one_folder_it_says_the_same(tmp_path: Path) -> None:
    made, _ = ensemble(MeanFrame(**INPUT), VAE(latent=4, **INPUT), PreviousFrame(length=5, **INPUT), rule="max")
    made.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detector.json", "model.safetensors"]
    loaded = load_detector(tmp_path)
    np.testing.assert_array_equal(loaded.start().push(clip(8)).values, made.start().push(clip(8)).values)


def test_the_line_of_an_ensemble_nests_those_of_its_members() -> None:
    settings = build("ensemble(of=[vae(latent=4), previous-frame], rule='max', crop=[0, 0, 20, 20])", DETECTORS)
    assert settings.of == (VAE(latent=4), PreviousFrame())
    assert settings.length == 9
    assert all(each.crop == (0, 0, 20, 20) for each in settings.members())


def test_gradients_pass_through_and_members_are_not_trained() -> None:
    made, _ = ensemble(MeanFrame(**INPUT), VAE(latent=4, **INPUT), length=3)
    x = torch.rand(1, 3, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(made.network(x).distance.sum(), x)
    assert gradient.abs().sum() > 0
    assert not any(each.requires_grad for each in made.network.parameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"of": (Random(),)},
        {"of": (Random(), Ensemble(of=(Random(), MeanFrame())))},
        {"of": (Random(), MeanFrame(size=64))},
        {"of": (Random(), MeanFrame(rate=5.0))},
        {"of": (Random(), MeanFrame(crop=(0, 0, 9, 9)))},
        {"of": (Random(), MeanFrame()), "rule": "min"},
        {"of": (Random(), MeanFrame()), "score": "ssim"},
    ],
)
def test_members_that_do_not_fit_together_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="ensemble"):
        Ensemble(**wrong)


def test_a_clip_without_a_scored_frame_is_refused() -> None:
    made, _ = ensemble(MeanFrame(**INPUT), PreviousFrame(**INPUT))
    with pytest.raises(ShapeError, match="got 1 frames"):
        made.network(torch.rand(1, 3, 1, 32, 32))
