from typing import Any

import numpy as np
import pytest
import torch

from vidence.errors import DataError, ShapeError, SpecError
from vidence.frames.clip import Clip
from vidence.models.reconstruction import frame_errors
from vidence.models.trivial import MeanFrame, MeanFrameNetwork, PreviousFrame, Random
from vidence.motion.luma import LUMA
from vidence.record.facts import ClipRef


def x_of(n: int, t: int, *, side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, t, side, side), generator=torch.Generator().manual_seed(seed)) / 255


def errors(network: Any, x: torch.Tensor) -> torch.Tensor:
    return frame_errors(network(x), x, "squared-error")


class TestRandom:
    def test_the_same_frame_gets_the_same_score_another_frame_another(self) -> None:
        network = Random(size=16).network()
        x = x_of(1, 6)
        found = errors(network, x)
        assert len(set(found[0].tolist())) == 6
        torch.testing.assert_close(errors(network, x.flip(2)), found.flip(1))

    def test_the_score_is_spread_evenly_and_has_nothing_to_do_with_the_picture(self) -> None:
        x = x_of(1, 400) * torch.linspace(0, 1, 400)[:, None, None]  # ever brighter
        offsets = (errors(Random(size=16).network(), x)[0] / (3 * 16 * 16)).sqrt()
        assert abs(float(offsets.mean()) - 0.5) < 0.05
        assert abs(float(offsets.std()) - 12**-0.5) < 0.03
        assert abs(float(np.corrcoef(offsets, np.arange(400))[0, 1])) < 0.15

    def test_another_seed_is_another_chance(self) -> None:
        x = x_of(1, 3)
        assert not torch.allclose(
            errors(Random(size=16).network(), x), errors(Random(size=16, seed=1).network(), x), rtol=0.01
        )


class TestMeanFrame:
    def test_it_learns_the_mean_of_all_frames_however_they_are_cut(self) -> None:
        x, network = x_of(1, 7), MeanFrameNetwork(3, size=16)
        network.learn([x[:, :, :2], x[:, :, 2:]])
        torch.testing.assert_close(network.mean, x[0].mean(dim=1))
        gray = MeanFrameNetwork(1, size=16)
        gray.learn([x])
        luma = sum(weight * x[0, c] for c, weight in enumerate(LUMA))
        torch.testing.assert_close(gray.mean[0], luma.mean(dim=0))

    def test_the_error_is_the_distance_to_the_mean(self) -> None:
        x, network = x_of(2, 3), MeanFrameNetwork(3, size=16)
        network.learn([x[:1], x[1:]])
        wanted = (x - x.mean(dim=(0, 2), keepdim=True)).square().sum(dim=(1, 3, 4))
        torch.testing.assert_close(errors(network, x), wanted)

    def test_no_clips_and_another_size_are_refused(self) -> None:
        with pytest.raises(DataError, match="normal footage"):
            MeanFrameNetwork(3, size=16).learn([])
        with pytest.raises(ShapeError, match="size of the mean frame"):
            MeanFrameNetwork(3, size=16)(x_of(1, 2, side=20))

    def test_what_it_learnt_is_saved(self, tmp_path: Any) -> None:
        detector = MeanFrame(size=16).build()
        detector.network.learn([x_of(1, 3)])  # type: ignore[operator]
        detector.save(tmp_path)
        assert torch.equal(MeanFrame.load(tmp_path).network.mean, detector.network.mean)  # type: ignore[arg-type]


class TestPreviousFrame:
    def test_the_error_is_the_difference_of_neighbours(self) -> None:
        x = x_of(2, 5)
        found = errors(PreviousFrame(size=16).network(), x)
        torch.testing.assert_close(found, (x[:, :, 1:] - x[:, :, :-1]).square().sum(dim=(1, 3, 4)))

    def test_every_frame_but_the_first_is_scored_once(self) -> None:
        detector = PreviousFrame(size=16).build()
        assert (detector.windows.length, detector.windows.stride) == (9, 8)
        pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
        times = np.arange(12) / 10
        scored = []
        for first, last in ((0, 9), (8, 12)):  # as the windows cut twelve frames
            shot = Clip(ClipRef("a", "0" * 64, first, tuple(times[first:last].tolist())), pixels[first:last])
            scored += detector.errors(shot).times.tolist()
        assert scored == times[1:].tolist()

    def test_windows_that_skip_frames_are_refused(self) -> None:
        with pytest.raises(SpecError, match="length=1"):
            PreviousFrame(length=1)
        with pytest.raises(SpecError, match="stride=4"):
            PreviousFrame(length=4, stride=4)
