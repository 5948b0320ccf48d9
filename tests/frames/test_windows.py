"""Windows: the rules as written, on frames whose pixels say which they are."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from itertools import product
from typing import get_args

import numpy as np
import pytest

from vidence.errors import SourceError, SpecError
from vidence.frames.clip import Clip, Frame
from vidence.frames.source import Source, open_source
from vidence.frames.windows import Partial, Windows

from .conftest import Write


class Recorded:
    """A source made of times alone; frame i is filled with i."""

    name, digest, fps, size, duration = "recorded", "0" * 64, 10.0, (2, 3), None
    clock, dropped = "container", None

    def __init__(self, times: Sequence[float]) -> None:
        self.times = times
        self.notes: list[str] = []
        self.alive = self.most_alive = self.closed = self.made = 0
        self.handed_out: weakref.ref[np.ndarray] | None = None

    def __iter__(self) -> Iterator[Frame]:
        try:
            for i, time in enumerate(self.times):
                pixels = np.full((2, 3, 3), i % 256, np.uint8)
                assert self.handed_out is None or self.handed_out() is None
                weakref.finalize(pixels, self._forget)
                self.made += 1
                self.alive += 1
                self.most_alive = max(self.most_alive, self.alive)
                yield Frame(pixels, time)
                del pixels
        finally:
            self.closed += 1

    def _forget(self) -> None:
        self.alive -= 1


def places(clip: Clip) -> list[int]:
    return [int(pixels[0, 0, 0]) for pixels in clip.pixels]


def cut(windows: Windows, times: Sequence[float]) -> list[tuple[int, list[int]]]:
    return [(clip.ref.first, places(clip)) for clip in windows.cut(Recorded(times))]


def even(n: int, fps: float) -> list[float]:
    return [i / fps for i in range(n)]


def test_the_recorded_source_is_a_source() -> None:
    assert isinstance(Recorded([0.0]), Source)


def windows_by_definition(samples: list[int], length: int, stride: int, partial: str) -> list[tuple[int, list[int]]]:
    found, seen = [], set()
    for first in range(0, len(samples), stride):
        held = samples[first : first + length]
        new = not set(held) <= seen
        seen |= set(held)
        follows = partial == "tail" and bool(found) and found[-1][0] == first - stride and len(found[-1][1]) == length
        if not (new or follows) or (len(held) < length and partial == "drop"):
            continue
        if partial == "shift" and len(held) < length <= len(samples):
            first, held = len(samples) - length, samples[-length:]
        if partial in ("pad", "shift"):
            held = held + held[-1:] * (length - len(held))
        found.append((first, held))
    return found


@pytest.mark.parametrize("partial", ["pad", "keep", "drop", "shift", "tail"])
def test_windows_are_those_of_the_definition(partial: str) -> None:
    for n, length, stride in product((1, 2, 5, 8, 9, 16, 17), (1, 3, 4, 8), (1, 2, 4, 5, 9)):
        windows = Windows(length, stride, partial=partial)  # type: ignore[arg-type]
        assert cut(windows, even(n, 10)) == windows_by_definition(list(range(n)), length, stride, partial)


def test_the_last_window_by_example() -> None:
    times = even(10, 10)
    assert cut(Windows(4, 4), times)[-1] == (8, [8, 9, 9, 9])
    assert cut(Windows(4, 4, partial="keep"), times)[-1] == (8, [8, 9])
    assert cut(Windows(4, 4, partial="drop"), times)[-1] == (4, [4, 5, 6, 7])
    assert cut(Windows(4, 2, partial="tail"), times)[-2:] == [(6, [6, 7, 8, 9]), (8, [8, 9])]
    assert cut(Windows(4, 2), times)[-1] == (6, [6, 7, 8, 9])  # a window at 8 would show nothing new
    assert cut(Windows(16, 8), even(1, 10)) == [(0, [0] * 16)]
    (clip,) = Windows(4, 2).cut(Recorded([0.5, 0.7]))
    assert clip.times == (0.5, 0.7, 0.7, 0.7)


def samples_by_definition(times: list[float], rate: float) -> list[int]:
    """Which frame stands for each k / rate: looked up in the whole list of times, gaps left aside."""
    chosen = []
    while (target := times[0] + len(chosen) / rate) <= times[-1] + 1e-3:
        shown = max(i for i, time in enumerate(times) if time <= target + 1e-3)
        later = [i for i, time in enumerate(times) if time > target + 1e-3]
        if later:
            ahead, behind = times[later[0]] - target, target - times[shown]
            if ahead < 0.5 / rate and ahead < behind - 1e-3:
                shown = later[0]
        chosen.append(shown)
    return chosen


def sampled(times: Sequence[float], rate: float, length: int = 1000) -> list[int]:
    clips = list(Windows(length, length, rate=rate, partial="keep").cut(Recorded(times)))
    return [place for clip in clips for place in places(clip)]


@pytest.mark.parametrize("fps", [5, 7, 10, 12.5, 15, 24, 25, 29.97, 30, 60])
@pytest.mark.parametrize("rate", [1, 4, 5, 8, 10, 12, 30])
def test_sampling_is_that_of_the_definition(fps: float, rate: float) -> None:
    times = [3.2 + t for t in even(100, fps)]
    assert sampled(times, rate) == samples_by_definition(times, rate)


def test_sampling_of_uneven_times_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        times = np.cumsum(rng.choice([0.01, 0.033, 0.1, 0.3, 0.7], size=30)).round(3).tolist()
        rate = float(rng.choice([2, 5, 10, 25]))
        assert sampled(times, rate) == samples_by_definition(times, rate), (times, rate)


@pytest.mark.parametrize("fps", [20, 25, 29.97, 30, 50, 60])
@pytest.mark.parametrize("rate", [5, 10])
def test_two_cameras_give_comparable_clips(fps: float, rate: float) -> None:
    slow = list(Windows(8, 4, rate=rate).cut(Recorded(even(60, 10))))
    fast = list(Windows(8, 4, rate=rate).cut(Recorded(even(int(6 * fps), fps))))
    assert len(slow) == len(fast)
    for a, b in zip(slow, fast, strict=True):
        assert a.ref.first == b.ref.first
        assert max(abs(s - t) for s, t in zip(a.times, b.times, strict=True)) <= 0.5 / fps + 1e-3


def test_a_rate_above_the_sources_repeats_frames_with_their_own_times() -> None:
    assert sampled(even(4, 5), 10) == [0, 0, 1, 1, 2, 2, 3]
    (clip,) = Windows(7, 7, rate=10).cut(Recorded(even(4, 5)))
    assert clip.times == (0.0, 0.0, 0.2, 0.2, 0.4, 0.4, 0.6)


def test_time_stamps_rounded_to_milliseconds_change_nothing() -> None:
    exact = even(90, 30)
    assert sampled([round(t, 3) for t in exact], 10) == sampled(exact, 10) == list(range(0, 90, 3))


def test_a_gap_is_not_filled_with_one_frame() -> None:
    times = [0.0, 0.1, 0.2, 1000.0, 1000.1, 1000.2]
    assert sampled(times, 10, length=4) == [0, 1, 2, 2, 2, 2, 3, 4, 5]
    far = [0.0, 0.1, 1e9, 1e9 + 0.1]
    assert len(sampled(far, 10, length=8)) < 20


def test_windows_without_a_new_frame_are_left_out() -> None:
    clips = cut(Windows(4, 2, rate=10), even(4, 1))
    shown = [set(held) for _, held in clips]
    assert clips[0] == (0, [0, 0, 0, 0])
    for i, held in enumerate(shown[1:], 1):
        assert held - set().union(*shown[:i])
    assert set().union(*shown) == {0, 1, 2, 3}


@pytest.mark.parametrize("rate", [None, 3.0, 10.0, 25.0])
@pytest.mark.parametrize("partial", ["pad", "keep", "drop", "shift", "tail"])
@pytest.mark.parametrize("stride", [2, 4, 7])
def test_a_window_is_found_again_as_it_was(rate: float | None, partial: str, stride: int) -> None:
    windows = Windows(5, stride, rate=rate, partial=partial)  # type: ignore[arg-type]
    times = [*even(23, 10), 9.0, 9.04, 9.3]
    clips = list(windows.cut(Recorded(times)))
    for clip in clips:
        source = Recorded(times)
        again = windows.at(source, clip.ref.first)
        assert again.ref == clip.ref
        np.testing.assert_array_equal(again.pixels, clip.pixels)
        assert source.closed == 1
    starts = {clip.ref.first for clip in clips}
    for first in {-1, *range(40)} - starts:
        with pytest.raises(SourceError, match=f"none at sample {first}"):
            windows.at(Recorded(times), first)


def test_a_window_of_a_video_is_found_again_as_it_was(write: Write) -> None:
    source = open_source(write("again.mp4"))
    windows = Windows(4, 3, rate=7)
    clips = list(windows.cut(source))
    assert len(clips) > 1
    for clip in clips:
        again = windows.at(source, clip.ref.first)
        assert again.ref == clip.ref
        np.testing.assert_array_equal(again.pixels, clip.pixels)
    assert clips[0].ref.source == source.name
    assert clips[0].ref.digest == source.digest


@pytest.mark.parametrize("rate", [None, 5.0, 40.0])
@pytest.mark.parametrize("stride", [1, 4, 8, 13])
def test_no_frame_outlives_its_window(rate: float | None, stride: int) -> None:
    source = Recorded(even(300, 10))
    for _ in Windows(8, stride, rate=rate).cut(source):
        assert source.alive <= 8 + 2
    assert source.most_alive <= 8 + 2  # the window, the frame read ahead and the one being made
    assert source.alive == 0


def test_a_clip_is_not_kept_while_the_next_is_read() -> None:
    source = Recorded(even(60, 10))
    for clip in Windows(8, 4).cut(source):
        source.handed_out = weakref.ref(clip.pixels)  # checked by the source at its next frame
        del clip
    assert source.made == 60


def test_a_window_that_is_not_there_is_not_sought_to_the_end() -> None:
    source = Recorded(even(300, 10))
    with pytest.raises(SourceError, match="none at sample 3"):
        Windows(8, 4).at(source, 3)
    assert source.made < 20


def test_the_source_is_closed_and_not_just_forgotten() -> None:
    source = Recorded(even(100, 10))
    kept = iter(source)

    class Keeps:
        name, digest, notes = source.name, source.digest, source.notes

        def __iter__(self) -> Iterator[Frame]:
            return kept

    Windows(4, 2).at(Keeps(), 0)  # type: ignore[arg-type]
    assert source.closed == 1


def test_closing_early_closes_the_source() -> None:
    for rate in (None, 5.0):
        source = Recorded(even(100, 10))
        clips = Windows(4, 2, rate=rate).cut(source)
        next(clips)
        assert source.closed == 0
        clips.close()  # type: ignore[attr-defined]
        assert source.closed == 1


def test_an_empty_source_has_no_windows() -> None:
    assert cut(Windows(), []) == []
    assert cut(Windows(rate=5), []) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"length": 0},
        {"length": 2.5},
        {"length": True},
        {"stride": 0},
        {"rate": 0},
        {"rate": -1.0},
        {"rate": math.nan},
        {"rate": math.inf},
        {"partial": "maybe"},
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=next(iter(settings))):
        Windows(**settings)  # type: ignore[arg-type]


def test_overlap() -> None:
    assert Windows(16, 8).overlap == 8
    assert Windows(4, 9).overlap == 0


def test_every_rule_for_the_last_window_is_explained() -> None:
    assert all(f"`{rule}`" in (Windows.__doc__ or "") for rule in get_args(Partial))
