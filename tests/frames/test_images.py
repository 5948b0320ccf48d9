"""Images and folders of frames."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from vidence.errors import SourceError
from vidence.frames.images import ImageFolder, natural, read_image
from vidence.frames.source import open_source

from .conftest import level_of, picture, save


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm", ".webp", ".jpg"])
def test_an_image_is_one_frame_at_time_zero(tmp_path: Path, suffix: str) -> None:
    pixels = picture(33, 47, level=90)
    source = open_source(save(tmp_path / f"one{suffix}", pixels))
    (frame,) = source
    assert (frame.time, source.fps, source.duration, source.size) == (0.0, None, None, (33, 47))
    assert np.abs(frame.pixels.astype(int) - pixels).mean() < (0.01 if suffix not in (".jpg", ".webp") else 8)
    assert len(list(source)) == 1
    assert source.notes == []


def test_gray_alpha_and_deep_images_become_rgb(tmp_path: Path) -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(read_image(save(tmp_path / "gray.png", gray)), np.dstack([gray] * 3))
    deep = gray.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(read_image(save(tmp_path / "deep.png", deep)), np.dstack([gray] * 3))
    clear = np.dstack([picture(), np.zeros((48, 64), np.uint8)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "clear.png", clear)), picture())
    with pytest.raises(SourceError, match=r"real\.tiff.*float32"):
        read_image(save(tmp_path / "real.tiff", np.zeros((4, 4, 3), np.float32)))
    with pytest.raises(SourceError, match=r"heat\.tiff.*other than 8 or 16 bits"):
        read_image(save(tmp_path / "heat.tiff", np.zeros((4, 4), np.float32)))


UPRIGHT = {  # EXIF orientation: how to set the stored pixels upright
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    path = save(tmp_path / "photo.jpg", picture(level=255))
    data = path.read_bytes()
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHIHHI", 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\x00\x00" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    source = open_source(path)
    (frame,) = source
    expected = UPRIGHT[orientation](picture(level=255))
    assert source.size == expected.shape[:2]
    assert np.abs(frame.pixels.astype(int) - expected).mean() < 6


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2, 100):
        save(tmp_path / f"Frame {number}.PNG".replace("PNG", "png"), picture(level=number))
    save(tmp_path / ".hidden.png", picture(level=255))
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / "masks").mkdir()
    frames = list(open_source(tmp_path))
    assert [round(level_of(frame.pixels)) for frame in frames] == [1, 2, 9, 10, 100]


def test_natural_order_by_example() -> None:
    names = ["b1", "a10", "a2", "A1", "a02", "10", "9", "a", ""]
    assert sorted(names, key=natural) == ["", "9", "10", "a", "A1", "a02", "a2", "a10", "b1"]
    assert sorted(["²", "1", "x"], key=natural)  # a superscript is a digit to Python and no number


def test_suffixes_are_read_in_either_case(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture()).rename(tmp_path / "A.PNG")
    assert len(list(open_source(tmp_path))) == 1


def test_a_given_rate_gives_times(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / f"{i}.png", picture())
    source = open_source(tmp_path, fps=12.5)
    np.testing.assert_allclose([frame.time for frame in source], np.arange(5) / 12.5)
    assert (source.fps, source.duration, source.notes) == (12.5, 0.4, [])
    plain = open_source(tmp_path)
    assert [frame.time for frame in plain] == [0, 1, 2, 3, 4]
    assert "no frame rate was given" in plain.notes[0]


def test_the_digest_is_the_documented_one(tmp_path: Path) -> None:
    files = [save(tmp_path / f"f{i}.png", picture(level=i)) for i in (2, 10)]
    lines = "".join(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    assert open_source(tmp_path).digest == hashlib.sha256(lines.encode()).hexdigest()
    before = open_source(tmp_path).digest
    files[0].rename(tmp_path / "f3.png")
    assert open_source(tmp_path).digest != before
    assert open_source(files[1]).digest == hashlib.sha256(files[1].read_bytes()).hexdigest()


def test_another_size_is_resized_and_noted_once(tmp_path: Path) -> None:
    for i, (h, w) in enumerate(((48, 64), (96, 128), (50, 50))):
        save(tmp_path / f"{i}.png", picture(h, w, level=70))
    source = open_source(tmp_path, fps=1)
    for _ in range(2):
        frames = list(source)
        assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}
    assert level_of(frames[1].pixels) == 70
    (note,) = source.notes
    assert "64x48 to 128x96 at 1.png" in note


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / f"{i}.png", picture())
    whole = (tmp_path / "1.png").read_bytes()
    for damaged in (b"no image", b"", whole[: len(whole) // 2]):
        (tmp_path / "1.png").write_bytes(damaged)
        frames = iter(open_source(tmp_path))
        next(frames)
        with pytest.raises(SourceError, match=r"1\.png.*Replace it"):
            next(frames)
    (tmp_path / "1.png").unlink()
    with pytest.raises(SourceError, match=r"2\.png"):  # one that goes while the folder is read
        for _ in _deleting(open_source(tmp_path), tmp_path / "2.png"):
            pass


def _deleting(source: object, path: Path) -> object:
    for frame in source:  # type: ignore[attr-defined]
        path.unlink(missing_ok=True)
        yield frame


def test_folders_that_hold_no_frames_say_what_they_hold(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds nothing"):
        open_source(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"1 other files \(a\.mp4\).*one by one"):
        open_source(tmp_path)
    for name in ("fight", "nofight"):
        (tmp_path / name).mkdir()
    with pytest.raises(SourceError, match=r"2 folders \(fight, nofight\).*vidence train"):
        open_source(tmp_path)


def test_a_folder_is_read_one_image_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        save(tmp_path / f"{i}.png", picture())
    folder = ImageFolder(str(tmp_path))
    seen: list[str] = []
    monkeypatch.setattr("vidence.frames.images.read_image", lambda file: (seen.append(file.name), read_image(file))[1])
    frames = iter(folder)
    next(frames)
    assert seen == ["0.png"]
