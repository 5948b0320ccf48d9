"""The detector around a reconstruction: live scores against a slow twin, crops, precision, added errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidence.errors import DataError, SpecError, WeightsError
from vidence.frames.clip import Clip
from vidence.frames.transforms import resize, resize_map
from vidence.models import DETECTORS
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import LiveScores, ReconstructionDetector, ReconstructionSettings
from vidence.pipeline import explain
from vidence.record.facts import ClipRef
from vidence.spec import build, line


class Blurring(ReconstructionNetwork):
    """One convolution and the window's mean; answers for `first_frame` and later; a distance that is the mean gray."""

    def __init__(self, channels: int, first_frame: int) -> None:
        super().__init__()
        self.channels, self.first_frame = channels, first_frame
        self.encoder = nn.Conv3d(channels, channels, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Reconstruction:
        seen = coloured(x, self.channels)
        x_hat = (self.encoder(seen) + seen.mean(dim=2, keepdim=True)).sigmoid()[:, :, self.first_frame :]
        distance = x.mean(dim=(1, 3, 4))[:, self.first_frame :]
        return Reconstruction(x_hat, first_frame=self.first_frame, distance=distance)


@dataclass(frozen=True, kw_only=True)
class Blur(ReconstructionSettings):
    size: int = 16
    first: int = 0

    def network(self) -> Blurring:
        return Blurring(self.channels or 3, self.first)


def detector(**settings: object) -> ReconstructionDetector:
    torch.manual_seed(0)
    return Blur(**settings).build()  # type: ignore[arg-type]


def film(t: int, size: tuple[int, int] = (20, 24), seed: int = 0) -> Clip:
    pixels = np.random.default_rng(seed).integers(0, 256, (t, *size, 3), dtype=np.uint8)
    return Clip(ClipRef("a.mp4", "0" * 64, 0, tuple(k / 10 for k in range(t))), pixels)


@pytest.mark.parametrize("padded", [0, 3])
def test_a_window_in_which_nothing_follows_has_no_score(padded: int) -> None:
    made = detector(first=2, length=5, score="squared-error+absolute-error")
    short = film(2)
    pixels = np.concatenate([short.pixels, *[short.pixels[-1:]] * padded])
    short = Clip(ClipRef("a.mp4", "0" * 64, 0, short.times + short.times[-1:] * padded), pixels)
    scores, density = made.examined(short)
    assert (len(scores.times), len(scores.values), density()) == (0, 0, None)
    assert not len(LiveScores(made).push(short).values)
    made.measure_scales([short, film(5)])
    assert made.errors(film(3)).times.tolist() == [0.2]


def windows(made: ReconstructionDetector, whole: Clip) -> list[Clip]:
    """All windows of a film, as `Windows.cut` cuts them, the last one short."""
    length, stride, t = made.windows.length, made.windows.stride, len(whole.pixels)
    firsts = [first for first in range(0, t, stride) if first == 0 or first + length - stride < t]
    return [
        Clip(
            replace(whole.ref, first=first, times=whole.times[first : first + length]),
            whole.pixels[first : first + length],
        )
        for first in firsts
    ]


def slow_live(made: ReconstructionDetector, clips: list[Clip]) -> list[dict[float, float]]:
    """After every window, anew from all windows so far: the mean over windows, then over the frames before."""
    told = []
    for count in range(1, len(clips) + 1):
        errors: dict[float, list[float]] = {}
        for clip in clips[:count]:
            found = made.errors(clip)
            for time, value in zip(found.times, found.values, strict=True):
                errors.setdefault(float(time), []).append(float(value))
        times = sorted(errors)
        means = [np.mean(errors[time]) for time in times]
        last = made.errors(clips[count - 1]).times
        calm = {time: np.mean(means[max(0, i + 1 - made.settings.smooth) : i + 1]) for i, time in enumerate(times)}
        low, high = (made.facts["calibration"][name] for name in ("low", "high"))
        told.append({float(time): (calm[float(time)] - low) / (high - low) for time in last})
    return told


@pytest.mark.parametrize(
    "settings",
    [
        {"length": 4},
        {"length": 4, "smooth": 1},
        {"length": 4, "stride": 1, "smooth": 3},
        {"length": 5, "stride": 2, "smooth": 9},
        {"length": 5, "first": 2},
        {"length": 5, "first": 1, "stride": 2},
        {"length": 2, "stride": 3},
    ],
)
def test_live_scores_equal_their_slow_twin(settings: dict[str, int]) -> None:
    made = detector(**settings)
    made.facts["calibration"] = {"low": 100.0, "high": 250.0}
    clips = windows(made, film(23))
    session = made.start()
    for clip, expected in zip(clips, slow_live(made, clips), strict=True):
        found = session.push(clip)
        assert found.times.tolist() == list(expected)
        np.testing.assert_allclose(found.values, list(expected.values()), rtol=1e-5)


def test_what_comes_later_changes_nothing() -> None:
    made = detector(length=4, stride=2)
    one, other = film(16), film(16)
    other.pixels[8:] = 255 - other.pixels[8:]
    told = [[made_session.push(clip).values for clip in windows(made, each)]
            for each in (one, other) for made_session in (made.start(),)]  # fmt: skip
    same = [np.array_equal(a, b) for a, b in zip(*told, strict=True)]
    assert same == [True, True, True, False, False, False, False]  # windows from 0, 2, 4; 6 holds frame 8


def test_the_state_of_a_session_does_not_grow() -> None:
    made = detector(length=4, stride=1, smooth=3)
    session = made.start()
    assert isinstance(session, LiveScores)
    for clip in windows(made, film(60)):
        session.push(clip)
        assert len(session._held) <= 4 + 3
        assert max(map(len, session._held.values())) <= 4


@pytest.mark.parametrize(
    "settings", [{}, {"length": 4, "stride": 1}, {"length": 5, "first": 2, "smooth": 1}, {"length": 3, "smooth": 9}]
)
def test_memory_is_how_many_windows_a_live_score_depends_on(settings: dict[str, int]) -> None:
    made = detector(**settings)
    clips = windows(made, film(made.windows.stride * 16 + made.windows.length))[:16]
    session = made.start()
    expected = [session.push(clip).values for clip in clips][-1]

    def after(count: int) -> np.ndarray:
        fresh = made.start()
        return [fresh.push(clip).values for clip in clips[len(clips) - 1 - count :]][-1]

    np.testing.assert_array_equal(after(made.memory), expected)
    if made.memory:
        assert not np.array_equal(after(made.memory - 1), expected)


def test_a_crop_is_all_that_is_seen_and_maps_find_back() -> None:
    made = detector(crop=(4, 6, 10, 12), size=16)
    shot = film(2)
    inside = shot.pixels[:, 4:14, 6:18]
    expected = torch.stack([torch.from_numpy(resize(each, (16, 16))) for each in inside]).permute(3, 0, 1, 2)[None]
    torch.testing.assert_close(made.prepare(shot), expected.float() / 255)
    outside = shot.pixels.copy()
    outside[:, :4] = outside[:, 14:] = 0
    outside[:, :, :6] = outside[:, :, 18:] = 255
    np.testing.assert_array_equal(made.errors(Clip(shot.ref, outside)).values, made.errors(shot).values)
    values = np.zeros((1, 16, 16), dtype=np.float32)
    values[0, 0, 0] = values[0, -1, -1] = 1
    placed = resize_map(values, made.fit.to_source((20, 24), (16, 16)), (20, 24))[0]
    assert placed[4, 6] > 0.5
    assert placed[13, 17] > 0.5
    assert not placed[:4].any()
    assert not placed[:, 18:].any()


def test_scoring_in_bfloat16_is_close_and_recorded() -> None:
    exact, short = detector(), detector(precision="bf16")
    assert (exact.precision, short.precision) == ("float32", "bf16")
    a, b = (made.errors(film(8)).values for made in (exact, short))
    assert not np.array_equal(a, b)
    np.testing.assert_allclose(a, b, rtol=0.02)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_is_explained_is_what_was_scored_in_the_same_precision(precision: str) -> None:
    made = detector(precision=precision)
    found, (_, density) = explain(made, film(8)), made.examined(film(8))
    assert found.raw is not None
    np.testing.assert_array_equal(found.raw[0].numpy(), density())


def test_a_network_that_reconstructs_nothing_expects_nothing() -> None:
    made = detector()
    found = made.expectation(film(8))
    assert found is not None
    assert found.expected["reconstruction"].shape == (8, 20, 24, 3)
    assert made.reference(film(8)) is not None
    made.network.reconstructs = False
    assert made.expectation(film(8)) is None
    assert made.reference(film(8)) is None


def test_the_smoothing_is_told_in_words() -> None:
    assert detector(smooth=1).smoothing == "none"
    assert detector(smooth=7).smoothing == "mean of 7 frames, causal"


def test_added_errors_are_each_divided_by_their_spread_on_normal_frames() -> None:
    made = detector(score="squared-error+centre-distance")
    assert made.score_line == "sum(of=[squared-error, centre-distance])"
    alone = [detector(score=name) for name in ("squared-error", "centre-distance")]
    shots = [film(8, seed=seed) for seed in range(3)]
    for each in alone:
        each.measure_scales(shots)
        assert "scales" not in each.facts
    made.measure_scales(iter(shots))
    raw = [np.concatenate([each.errors(shot).values for shot in shots]) for each in alone]
    spreads = [float(each.std()) for each in raw]
    assert list(made.facts["scales"].values()) == pytest.approx(spreads, rel=1e-4)
    np.testing.assert_allclose(
        made.errors(shots[0]).values, sum(one[:8] / spread for one, spread in zip(raw, spreads, strict=True)), rtol=1e-4
    )
    weights = [1 / spread for spread in made.facts["scales"].values()]
    assert made.score_line == f"sum(of=[squared-error, centre-distance], weights=[{weights[0]!r}, {weights[1]!r}])"
    found, density = made.examined(shots[0])
    per_pixel = density()
    np.testing.assert_array_equal(found.values, made.errors(shots[0]).values)
    assert per_pixel is not None
    np.testing.assert_allclose(per_pixel.sum(axis=(1, 2)), raw[0][:8] / spreads[0], rtol=1e-4)


def test_an_error_without_spread_cannot_be_added() -> None:
    made = detector(score="squared-error+ssim")
    shot = film(1)
    with pytest.raises(DataError, match="spread"):
        made.measure_scales([shot])
    with pytest.raises(DataError, match="ssim"):
        made.measure_scales([])


def test_examined_gives_the_errors_and_where_they_are() -> None:
    made = detector(length=5, first=2)
    found, density = made.examined(film(5))
    per_pixel = density()
    np.testing.assert_array_equal(found.values, made.errors(film(5)).values)
    assert per_pixel is not None
    assert per_pixel.shape == (3, 16, 16)
    np.testing.assert_allclose(per_pixel.sum(axis=(1, 2)), found.values, rtol=1e-5)
    assert detector(score="centre-distance").examined(film(8))[1]() is None


def test_saved_and_loaded_all_is_kept(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DETECTORS, "blur", Blur)
    made = detector(crop=(1, 2, 16, 18), channels=1, score="squared-error+ssim", precision="bf16", smooth=2)
    made.facts |= {"calibration": {"low": 0.5, "high": 2.0}, "scales": {"squared-error": 3.0, "ssim": 0.1}}
    made.threshold = {"value": 1.5, "rule": "fixed", "origin": "by hand", "warnings": []}
    made.save(tmp_path)  # type: ignore[arg-type]
    loaded = Blur.load(tmp_path)  # type: ignore[arg-type]
    assert loaded.settings == made.settings
    assert build(line(made.settings, DETECTORS), DETECTORS) == made.settings
    assert (loaded.facts, loaded.threshold, loaded.score_line) == (made.facts, made.threshold, made.score_line)
    assert loaded.weights_digest == made.weights_digest
    np.testing.assert_array_equal(loaded.start().push(film(8)).values, made.start().push(film(8)).values)
    saved = (tmp_path / "detector.json").read_text()  # type: ignore[operator]
    (tmp_path / "detector.json").write_text(saved.replace("smooth=2", "smooth=0"))  # type: ignore[operator]
    with pytest.raises(WeightsError, match="smooth must be"):
        Blur.load(tmp_path)  # type: ignore[arg-type]


def test_errors_that_never_differed_are_centred_only() -> None:
    made = detector(smooth=1)
    shot = film(8)
    raw = made.errors(shot).values
    made.facts["calibration"] = {"low": 5.0, "high": 5.0}
    np.testing.assert_allclose(made.start().push(shot).values, raw - 5, rtol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 0},
        {"stride": 0},
        {"size": 8},
        {"smooth": 0},
        {"channels": 2},
        {"score": "cosine"},
        {"score": "ssim+"},
        {"loss": "l1"},
        {"recipe": "mine"},
        {"precision": "fp16"},
        {"crop": (1, 2, 3)},
        {"length": True},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        detector(**wrong)
