"""Cached windows equal computed ones; a damaged or foreign entry is never used."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vidence.datasets.dataset import Sample
from vidence.errors import OutputError, SourceError
from vidence.frames.source import open_source
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.training.feature_cache import FeatureCache
from vidence.training.views import PLAIN, View

WINDOWS = Windows(length=4, stride=2)


class Encoder:
    """The mean colour of each frame's left half and of its right half, and a count of the frames it saw."""

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.frames += x.shape[2]
        halves = torch.stack(x.chunk(2, dim=4)).mean(dim=(4, 5))  # (2, n, c, t)
        return halves.permute(1, 3, 0, 2).flatten(2)


def cache_in(folder: Path | None, encoder: Encoder | None, **settings: Any) -> FeatureCache:
    return FeatureCache(folder, encoder, "weights", Fit(16), WINDOWS, **{"precision": "float32", **settings})


def test_windows_equal_encoding_each_alone(clips: list[Sample], tmp_path: Path) -> None:
    encoder = Encoder()
    entry = cache_in(tmp_path, encoder).entry(clips[1])
    windows = list(WINDOWS.cut(open_source(clips[1].path)))
    assert encoder.frames == 6, "overlapping windows share their frames"
    expected = np.stack([Encoder()(Fit(16)(clip))[0].numpy() for clip in windows])
    np.testing.assert_allclose(entry.x, expected, rtol=1e-6)
    np.testing.assert_array_equal(entry.times, [clip.times for clip in windows])
    assert isinstance(entry.x, np.memmap)


def test_the_second_time_nothing_is_encoded(clips: list[Sample], tmp_path: Path) -> None:
    encoder, steps = Encoder(), []
    first = cache_in(tmp_path, encoder).entries(clips[:4], step=lambda: steps.append(1))
    seen = encoder.frames
    second = cache_in(tmp_path, encoder).entries(clips[:4])
    assert (len(steps), encoder.frames) == (4, seen)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.times, b.times)


def test_the_key_holds_all_that_matters() -> None:
    plain = cache_in(None, Encoder())
    changed = [
        replace(plain, identity="others"),
        replace(plain, fit=Fit(32)),
        replace(plain, fit=Fit(16, "letterbox")),
        replace(plain, windows=Windows(length=4, stride=1)),
        replace(plain, windows=Windows(length=4, stride=2, rate=5.0)),
        replace(plain, precision="bf16"),
        replace(plain, encode=None),
    ]
    keys = [each.key("a", PLAIN) for each in [plain, *changed]]
    keys += [plain.key("b", PLAIN), plain.key("a", View(flip=True)), plain.key("a", View(offset=0.1))]
    assert len(set(keys)) == len(keys)
    assert plain.key("a", PLAIN) == cache_in(Path("elsewhere"), Encoder()).key("a", PLAIN)


def test_another_rate_gives_other_times(clips: list[Sample], tmp_path: Path) -> None:
    cache = cache_in(tmp_path, Encoder())
    first, second = (cache.entry(replace(clips[0], fps=fps)).times for fps in (5.0, 10.0))
    np.testing.assert_allclose(first, 2 * second)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "times", "pickle"])
def test_a_damaged_entry_is_made_again(clips: list[Sample], tmp_path: Path, damage: str) -> None:
    whole = np.array(cache_in(tmp_path, Encoder()).entry(clips[0]).x)
    (file,) = tmp_path.rglob("*.npy")
    held = file.read_bytes()
    if damage == "cut":
        file.write_bytes(held[:-8])
    elif damage == "flip":
        file.write_bytes(held[:-3] + bytes([held[-3] ^ 1]) + held[-2:])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "times":
        file.with_suffix(".times").unlink()
    else:
        with file.open("wb") as handle:
            np.save(handle, np.array([{}], dtype=object), allow_pickle=True)
    encoder = Encoder()
    again = cache_in(tmp_path, encoder).entry(clips[0])
    assert encoder.frames == 6
    np.testing.assert_array_equal(again.x, whole)
    assert cache_in(tmp_path, encoder).entry(clips[0]).x.shape == whole.shape
    assert encoder.frames == 6, "the new entry is whole"


def test_a_full_disk_leaves_no_entry(clips: list[Sample], tmp_path: Path, monkeypatch: Any) -> None:
    def full(handle: Any, array: np.ndarray, **rest: Any) -> None:
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(OutputError, match="No space left on device"):
            cache_in(tmp_path, Encoder()).entries(clips[:2])
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(cache_in(tmp_path, Encoder()).entries(clips[:2])) == 2


def test_pixels_are_kept_as_bytes(clips: list[Sample], tmp_path: Path) -> None:
    entry = cache_in(tmp_path, None).entry(clips[2])
    clip = next(WINDOWS.cut(open_source(clips[2].path)))
    assert (entry.x.dtype, entry.x.shape) == (np.uint8, (2, 4, 3, 16, 16))
    expected = Fit(16)(clip)[0].permute(1, 0, 2, 3).numpy()
    np.testing.assert_allclose(entry.x[0] / 255, expected, atol=0.5 / 255 + 1e-6)


def test_bf16_is_near_and_stored_small(clips: list[Sample], tmp_path: Path) -> None:
    network = torch.nn.Conv2d(3, 4, 3)

    def encode(x: Tensor) -> Tensor:
        return network(x[0].transpose(0, 1)).mean(dim=(2, 3))[None]

    exact = cache_in(None, encode).entry(clips[0])  # type: ignore[arg-type]
    half = cache_in(None, encode, precision="bf16").entry(clips[0])  # type: ignore[arg-type]
    assert (exact.x.dtype, half.x.dtype) == (np.float32, np.float16)
    np.testing.assert_allclose(half.x, exact.x, atol=0.02)


def test_a_view_is_seen_by_the_encoder(clips: list[Sample]) -> None:
    plain, flipped = (cache_in(None, Encoder()).entry(clips[0], view).x for view in (PLAIN, View(flip=True)))
    np.testing.assert_allclose(plain[:, :, :3], flipped[:, :, 3:], rtol=1e-6)


def test_a_missing_source_stops_the_work(clips: list[Sample], tmp_path: Path) -> None:
    missing = Sample(str(tmp_path / "none.mp4"), "normal", "a")
    with pytest.raises(SourceError, match=r"none\.mp4"):
        cache_in(tmp_path, Encoder()).entries([clips[0], missing, clips[1]])
