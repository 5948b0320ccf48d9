"""Cached frames equal fitted ones, and are made once for all fits with the same input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidence.datasets.dataset import Sample
from vidence.errors import DataError, OutputError
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.reconstruction import coloured
from vidence.training import entry_store, frame_cache
from vidence.training.frame_cache import FrameCache


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_are_fitted_ones_in_8_bits(clips: list[Sample], tmp_path: Path, channels: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(frame_cache, "FRAMES_AT_ONCE", 4)  # the sources have six: two parts
    cache = FrameCache(tmp_path, Fit(16, crop=(4, 4, 20, 24)), None, channels)
    entry = cache.entry(clips[1])
    (clip,) = Windows(length=6, stride=6).cut(clips[1].open())
    expected = coloured(cache.fit(clip), channels)[0].permute(1, 2, 3, 0).numpy()
    assert (entry.x.dtype, entry.x.shape) == (np.uint8, (6, 16, 16, channels))
    np.testing.assert_allclose(entry.x / 255, expected, atol=0.5 / 255 + 1e-6)
    assert isinstance(entry.x, np.memmap)
    assert entry.times.tolist() == list(clip.ref.times)


def test_the_second_time_nothing_is_decoded(clips: list[Sample], tmp_path: Path, monkeypatch: Any) -> None:
    cache, steps = FrameCache(tmp_path, Fit(16), None, 1), []
    first = cache.footage(clips[:4], step=lambda: steps.append(1))
    monkeypatch.setattr(FrameCache, "_frames", None)
    second = cache.footage(clips[:4])
    assert len(steps) == 4
    for a, b in zip(first.sources, second.sources, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_key_holds_all_that_matters(tmp_path: Path) -> None:
    plain = FrameCache(tmp_path, Fit(16), None, 1)
    changed = [
        replace(plain, fit=Fit(32)),
        replace(plain, fit=Fit(16, crop=(0, 0, 8, 8))),
        replace(plain, rate=5.0),
        replace(plain, channels=3),
    ]
    keys = [each.key("a") for each in [plain, *changed]] + [plain.key("b")]
    assert len(set(keys)) == len(keys)
    assert replace(plain, folder=tmp_path / "elsewhere").key("a") == plain.key("a")


def test_at_another_rate_other_frames_are_taken(clips: list[Sample], tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, Fit(16), 5.0, 1)
    counts = [len(cache.entry(replace(clips[0], fps=fps)).x) for fps in (5.0, 10.0, 5.0)]
    assert counts == [6, 3, 6]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "times", "header"])
def test_a_damaged_entry_is_made_again(clips: list[Sample], tmp_path: Path, damage: str) -> None:
    cache = FrameCache(tmp_path, Fit(16), None, 1)
    whole = np.array(cache.entry(clips[0]).x)
    (file,) = tmp_path.rglob("*.npy")
    held = file.read_bytes()
    if damage == "times":
        file.with_suffix(".times").unlink()
    else:
        place = {"cut": None, "empty": None, "flip": len(held) - 3, "header": held.index(b"(6,") + 1}[damage]
        short = {"cut": held[:-8], "empty": b""}.get(damage, held)
        file.write_bytes(short if place is None else held[:place] + b"5" + held[place + 1 :])
    np.testing.assert_array_equal(cache.entry(clips[0]).x, whole)


def test_a_full_disk_leaves_no_entry(clips: list[Sample], tmp_path: Path, monkeypatch: Any) -> None:
    def full(handle: Any, parts: Any) -> Any:
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(entry_store, "_stream", full)
        with pytest.raises(OutputError, match="No space left on device"):
            FrameCache(tmp_path, Fit(16), None, 1).footage(clips[:2])
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_source_without_frames_is_named(clips: list[Sample], tmp_path: Path) -> None:
    nothing = replace(clips[0], frames=(99, 120))
    with pytest.raises(DataError, match="clip00"):
        FrameCache(tmp_path, Fit(16), None, 1).entry(nothing)
