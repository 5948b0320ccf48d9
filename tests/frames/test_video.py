"""Video files: formats, times, orientation, damage."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from vidence.errors import SourceError
from vidence.frames.source import open_source

from .conftest import Write, level_of, picture

FORMATS = [  # name, codec, pixel format
    ("h264.mp4", "libx264", "yuv420p"),
    ("full.mkv", "libx264", "yuv444p"),
    ("ten.mkv", "ffv1", "yuv420p10le"),
    ("gray.mkv", "ffv1", "gray"),
    ("gray16.mkv", "ffv1", "gray16le"),
    ("xvid.avi", "mpeg4", "yuv420p"),
    ("mjpeg.avi", "mjpeg", "yuvj420p"),
    ("alpha.mov", "qtrle", "argb"),
    ("png.mov", "png", "rgba"),
    ("stream.ts", "libx264", "yuv420p"),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), FORMATS)
def test_every_format_becomes_rgb(write: Write, name: str, codec: str, pix_fmt: str) -> None:
    pictures = [picture(level=25 * i) for i in range(6)]
    source = open_source(write(name, pictures, codec=codec, pix_fmt=pix_fmt, coding={"bf": "0"}))
    frames = list(source)
    assert len(frames) == 6
    assert source.size == (48, 64)
    assert source.fps == pytest.approx(10)
    assert source.notes == []
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 0.1, atol=1e-6)
    for index, frame in enumerate(frames):
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.shape == (48, 64, 3)
        assert level_of(frame.pixels) == pytest.approx(25 * index, abs=6)
        if "gray" not in pix_fmt:
            assert frame.pixels[12, 16, 0] > 200 > 60 > frame.pixels[12, 16, 2]  # red left above
            assert frame.pixels[36, 16, 2] > 120 > 60 > frame.pixels[36, 16, 0]  # blue left below


def test_a_lossless_rgb_video_comes_back_exactly(write: Write) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (33, 47, 3), dtype=np.uint8) for i in range(3)]  # odd sizes
    frames = list(open_source(write("exact.mov", pictures, codec="png", pix_fmt="rgb24")))
    for frame, pixels in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(frame.pixels, pixels)


def test_odd_sizes_with_halved_colour_keep_their_size(write: Write) -> None:
    pictures = [picture(33, 47)] * 3
    source = open_source(write("odd.avi", pictures, codec="mpeg4"))
    assert source.size == (33, 47)
    assert next(iter(source)).pixels.shape == (33, 47, 3)


def test_alpha_is_dropped_and_the_colour_under_it_kept(write: Write) -> None:
    pixels = np.dstack([picture(level=99), np.zeros((48, 64), np.uint8)])
    (frame,) = open_source(write("clear.mov", [pixels], codec="png", pix_fmt="rgba"))
    np.testing.assert_array_equal(frame.pixels, pixels[..., :3])


def test_times_are_the_containers_and_not_an_even_grid(write: Write) -> None:
    stamps = [0, 40, 80, 500, 510, 2000]
    pictures = [picture(level=20 * i) for i in range(6)]
    source = open_source(write("uneven.mkv", pictures, pts_ms=stamps))
    np.testing.assert_allclose([frame.time for frame in source], np.array(stamps) / 1000, atol=1e-9)
    assert source.notes == []


def test_a_late_start_is_kept(write: Write) -> None:
    pictures = [picture()] * 3
    times = [frame.time for frame in open_source(write("late.mkv", pictures, pts_ms=[7000, 7100, 7200]))]
    np.testing.assert_allclose(times, [7.0, 7.1, 7.2], atol=1e-9)


TURNS = [  # (a, b, c, d) of the display matrix, and what it does to an array
    ((1, 0, 0, 1), lambda x: x),
    ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),  # a phone held upright: a quarter turn clockwise
    ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
    ((-1, 0, 0, 1), np.fliplr),
    ((1, 0, 0, -1), np.flipud),
    ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
    ((0, -1, -1, 0), lambda x: np.rot90(x, 2).transpose(1, 0, 2)),
]


@pytest.mark.parametrize(("turn", "expected"), TURNS)
def test_the_display_matrix_turns_and_mirrors(write: Write, turn: tuple[int, ...], expected: object) -> None:
    a, b, c, d = (value << 16 for value in turn)
    pixels = picture(level=255)
    path = write("turned.mov", [pixels], codec="png", pix_fmt="rgb24", matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30])
    source = open_source(path)
    (frame,) = source
    np.testing.assert_array_equal(frame.pixels, expected(pixels))  # type: ignore[operator]
    assert source.size == frame.pixels.shape[:2]
    assert source.notes == []


@pytest.mark.parametrize("turn", [(0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1)])
def test_another_reader_turns_alike(write: Write, turn: tuple[int, ...]) -> None:
    a, b, c, d = (value << 16 for value in turn)
    path = write("turned.mp4", [picture()] * 3, matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30])
    capture = cv2.VideoCapture(str(path))
    there, theirs = capture.read()
    capture.release()
    assert there
    ours = next(iter(open_source(path))).pixels
    assert np.abs(ours.astype(int) - theirs[..., ::-1]).mean() < 4


def test_an_oblique_matrix_is_noted(write: Write) -> None:
    path = write("oblique.mp4", matrix=[60000, 26000, 0, -26000, 60000, 0, 0, 0, 1 << 30])
    source = open_source(path)
    assert source.notes == []  # notes are of what has been read
    assert source.dropped is None
    assert len(list(source)) == 10
    assert source.dropped == 0
    assert len(list(source)) == 10
    assert len(source.notes) == 1
    assert "oblique" in source.notes[0]


def test_a_source_is_iterable_twice_and_two_at_a_time(write: Write) -> None:
    source = open_source(write("twice.mp4"))
    once, again = list(source), list(source)
    both = list(zip(source, source, strict=True))
    assert len(once) == 10
    for a, b, (c, d) in zip(once, again, both, strict=True):
        for other in (b, c, d):
            assert other.time == a.time
            np.testing.assert_array_equal(other.pixels, a.pixels)


def opened(path: Path) -> int:
    """How many descriptors of this process point at the file."""
    links = Path("/proc/self/fd")
    if not links.is_dir():
        pytest.skip("open files are counted in /proc, which this system does not have")
    return sum(os.path.realpath(link) == str(path.resolve()) for link in links.iterdir())


def test_the_file_is_open_only_while_iterating(write: Write) -> None:
    path = write("closed.mp4")
    source = open_source(path)
    assert opened(path) == 0
    with closing(iter(source)) as frames:  # type: ignore[type-var]
        next(frames)
        assert opened(path) == 1
    assert opened(path) == 0
    list(source)
    assert opened(path) == 0


def box(data: bytes, kind: bytes) -> int:
    """Where the contents of the first MP4 box of this kind begin."""
    assert data.count(kind) == 1
    return data.index(kind) + 4


def test_a_clock_that_stands_still_is_continued_at_the_nominal_rate(write: Write) -> None:
    path = write("still.mp4", coding={"bf": "0"})
    data = bytearray(path.read_bytes())
    at = box(bytes(data), b"stts")
    entries, count, _ = struct.unpack(">III", data[at + 4 : at + 16])
    assert (entries, count) == (1, 10)
    ticks = data[at + 12 : at + 16]
    data[at + 12 : at + 16] = bytes(4)  # every frame lasts 0 ticks
    header = box(bytes(data), b"mdhd")
    data[header + 16 : header + 20] = ticks  # and the whole no longer than one, as such writers have it
    path.write_bytes(data)
    source = open_source(path)
    np.testing.assert_allclose([frame.time for frame in source], np.arange(10) / 10, atol=1e-9)
    assert source.fps == pytest.approx(10)
    assert [note for note in source.notes if "stands still" in note and "no measured time" in note] == source.notes
    assert source.duration == pytest.approx(1.0)
    np.testing.assert_allclose([frame.time for frame in open_source(path, fps=4)], np.arange(10) / 4, atol=1e-9)


def test_a_stream_without_times_counts_and_takes_the_users_rate(write: Write) -> None:
    path = write("raw.h264", coding={"bf": "0"})
    times = [frame.time for frame in open_source(path, fps=5)]
    np.testing.assert_allclose(times, np.arange(10) / 5, atol=1e-9)


def test_a_container_with_times_keeps_them_whatever_rate_is_asked(write: Write) -> None:
    times = [frame.time for frame in open_source(write("own.mp4"), fps=3)]
    np.testing.assert_allclose(times, np.arange(10) / 10, atol=1e-6)


def noisy(n: int = 40) -> list[np.ndarray]:
    """Frames that do not compress, so that a cut by bytes is a cut in time."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(n)]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("cut.mp4", "libx264", "yuv420p"),
        ("cut.mkv", "ffv1", "yuv420p"),
        ("cut.avi", "mjpeg", "yuvj420p"),
        ("xvid.avi", "mpeg4", "yuv420p"),
    ],
)
def test_a_truncated_video_gives_what_decodes_and_says_where_it_broke(
    write: Write, name: str, codec: str, pix_fmt: str
) -> None:
    muxing = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = write(name, noisy(), codec=codec, pix_fmt=pix_fmt, muxing=muxing, coding={"g": "10"})
    intact = {frame.time: frame.pixels for frame in open_source(path)}
    data = path.read_bytes()
    for share in (0.45, 0.5, 0.58, 0.66, 0.75, 0.8):
        path.write_bytes(data[: int(len(data) * share)])
        source = open_source(path)
        frames = list(source)
        assert 5 < len(frames) < 36
        for frame in frames:  # nothing half decoded among them
            np.testing.assert_array_equal(frame.pixels, intact[frame.time])
        (note,) = source.notes
        assert f"breaks off at {frames[-1].time + 0.1:.2f} s of 4.00 s announced" in note
        assert source.dropped is None
        list(source)
        assert source.notes == [note]


def test_a_truncated_broadcast_stream_gives_whole_frames_and_always_the_same(write: Write) -> None:
    path = write("cut.ts", noisy(), coding={"g": "10"})  # announces no end
    intact = {frame.time: frame.pixels for frame in open_source(path)}
    data = path.read_bytes()
    noted = 0
    for share in (0.5, 0.55, 0.6, 0.65, 0.7):
        path.write_bytes(data[: int(len(data) * share)])
        source = open_source(path)
        runs = [list(source) for _ in range(8)]
        for run in runs:
            assert [frame.time for frame in run] == [frame.time for frame in runs[0]]
            for frame in run:
                np.testing.assert_array_equal(frame.pixels, intact[frame.time])
        noted += any("breaks off" in note for note in source.notes)
    assert noted


def test_no_note_before_the_break_is_reached(write: Write) -> None:
    path = write("cut.mkv", noisy(), codec="ffv1")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = open_source(path)
    with closing(iter(source)) as frames:  # type: ignore[type-var]
        next(frames)
    assert source.notes == []


def test_damage_in_the_middle_is_left_out_noted_and_alike_every_time(write: Write) -> None:
    path = write("hurt.ts", noisy(), coding={"g": "10"})
    intact = {round(frame.time, 3) for frame in open_source(path)}
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    path.write_bytes(data)
    source = open_source(path)
    runs = [list(source) for _ in range(5)]
    assert 20 < len(runs[0]) < 40
    assert {round(frame.time, 3) for frame in runs[0]} < intact
    assert max(frame.time for frame in runs[0]) == pytest.approx(max(intact))
    assert any("damaged at" in note for note in source.notes)
    assert source.dropped is None  # FFmpeg reports one fault, and six frames are missing
    for run in runs[1:]:
        assert [frame.time for frame in run] == [frame.time for frame in runs[0]]
        for frame, first in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(frame.pixels, first.pixels)


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"), [("h264", "libx264", "yuv420p"), ("mjpeg", "mjpeg", "yuvj420p")]
)
def test_a_new_resolution_is_brought_to_the_first(write: Write, suffix: str, codec: str, pix_fmt: str) -> None:
    first = write(f"a.{suffix}", [picture(48, 64, level=200)] * 5, codec=codec, pix_fmt=pix_fmt)
    second = write(f"b.{suffix}", [picture(96, 80, level=200)] * 5, codec=codec, pix_fmt=pix_fmt)
    first.write_bytes(first.read_bytes() + second.read_bytes())
    source = open_source(first)
    frames = list(source)
    assert len(frames) == 10
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}
    for frame in frames:
        assert np.abs(frame.pixels.astype(int) - picture(48, 64, level=200)).mean() < 8
    (note,) = [note for note in source.notes if "size changes" in note]
    assert "64x48 to 80x96" in note
    assert f"{frames[5].time:.2f} s" in note


def test_two_video_streams_are_noted(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = [container.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(), format="rgb24")))
            container.mux(stream.encode())
    source = open_source(tmp_path / "two.mkv")
    assert len(list(source)) == 1
    assert "2 video streams" in source.notes[0]


def test_sound_alone_is_refused(write_sound: Write) -> None:
    for path in (write_sound("a.wav", "pcm_s16le"), write_sound("b.m4a", "aac")):
        with pytest.raises(SourceError, match=r"must have a video stream.*only: audio"):
            open_source(path)


def test_the_cover_picture_of_a_song_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp3"), "w") as container:
        sound = container.add_stream("mp3", rate=44100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        container.mux([*cover.encode(av.VideoFrame(64, 48, "yuvj420p")), *cover.encode()])
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux([*sound.encode(frame), *sound.encode()])
    with pytest.raises(SourceError, match="only: audio, cover picture"):
        open_source(tmp_path / "song.mp3")


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(SourceError, match=r"none\.mkv"):
        open_source(tmp_path / "none.mkv")


def test_an_unknown_codec_is_refused(write: Write) -> None:
    path = write("odd.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1\x00\x00\x00\x00\x00\x00", b"zzzz\x00\x00\x00\x00\x00\x00"))
    with pytest.raises(SourceError, match=r"odd\.mp4"):
        open_source(path)


def test_a_video_cut_before_its_index_is_refused_with_advice(write: Write) -> None:
    path = write("tail.mp4", noisy())  # without faststart the index is at the end
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"tail\.mp4.*cut off before its index.*copy it again"):
        open_source(path)


def test_a_file_that_vanishes_is_named(write: Write) -> None:
    path = write("gone.mp4")
    source = open_source(path)
    path.unlink()
    with pytest.raises(SourceError, match=r"gone\.mp4"):
        list(source)


def test_a_colon_in_the_name_is_no_protocol(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("plain.mp4")
    monkeypatch.chdir(path.parent)
    for name in ("cam:12.30%02d.mp4", "http:a.mp4"):
        path = path.rename(path.with_name(name))
        assert len(list(open_source(name))) == 10


MEASURE = """
import resource, sys
from vidence.frames.source import open_source
from vidence.frames.windows import Windows
def peak(path):
    source, windows = open_source(path), Windows(length=8, stride=4, rate=5)
    assert sum(1 for _ in windows.cut(source)) > 3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(peak(sys.argv[1]), peak(sys.argv[2]))
"""


def test_memory_does_not_grow_with_length(write: Write) -> None:
    pixels = picture(240, 320)  # 225 KiB a frame: keeping the long video would take 180 MiB more
    short, long = (
        write(name, [pixels] * n, codec="mpeg4", rate=25) for name, n in (("short.avi", 100), ("long.avi", 900))
    )
    done = subprocess.run([sys.executable, "-c", MEASURE, short, long], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert after - before < 20, f"MiB at the peak: {before} for 100 frames, {after} for 900"
