import resource
import tracemalloc

import av
import numpy as np
import pytest

from vidence.errors import OutputError, ShapeError, SourceError
from vidence.render.movie import write_movie


def frames(count, *, h=48, w=64):
    for index in range(count):
        picture = np.full((h, w, 3), (30, 60, 90), dtype=np.uint8)
        picture[8:24, index % (w - 20) : index % (w - 20) + 16] = (220, 120, 40)
        yield picture


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream, [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]


def assert_nothing_but(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_every_frame_is_shown_at_its_own_time(tmp_path):
    steps = np.random.default_rng(0).uniform(0.004, 0.3, 79)
    times = 12.34 + np.concatenate([[0], steps.cumsum()])
    path = tmp_path / "movie.mp4"
    assert write_movie(path, frames(80), times) == 80
    _, shown = decoded(path)
    assert len(shown) == 80
    assert np.abs(np.array([time for time, _ in shown]) - (times - times[0])).max() < 0.001
    assert_nothing_but(tmp_path, "movie.mp4")


@pytest.mark.parametrize("rate", [24000 / 1001, 25, 30000 / 1001, 240])
def test_times_do_not_drift_over_hours(tmp_path, rate):
    times = 7200 + np.arange(5) / rate
    write_movie(tmp_path / "m.mp4", frames(6), [0, *times])
    shown = [time for time, _ in decoded(tmp_path / "m.mp4")[1]]
    np.testing.assert_allclose(shown, [0, *times], atol=0.001)


def test_browsers_can_play_it(tmp_path):
    path = tmp_path / "movie.mp4"
    write_movie(path, frames(10), np.arange(10) / 25)
    stream, _ = decoded(path)
    assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert data[4:8] == b"ftyp"
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    assert stream.start_time == 0
    assert float(stream.duration * stream.time_base) == pytest.approx(10 / 25, abs=0.05)


def test_colours_survive(tmp_path):
    write_movie(tmp_path / "m.mp4", frames(3), [0, 1, 2], crf=10)
    stream, shown = decoded(tmp_path / "m.mp4")
    assert stream.codec_context.colorspace == 1  # BT.709, and said so
    assert np.abs(shown[0][1][40, 50].astype(int) - (30, 60, 90)).max() <= 6
    assert np.abs(shown[0][1][16, 8].astype(int) - (220, 120, 40)).max() <= 10


@pytest.mark.parametrize(("h", "w"), [(47, 63), (48, 63), (47, 64), (1, 1)])
def test_odd_sizes_are_padded_with_their_own_edge(tmp_path, h, w):
    grey = np.full((h, w, 3), 128, dtype=np.uint8)
    write_movie(tmp_path / "m.mp4", [grey, grey], [0, 0.5])
    stream, shown = decoded(tmp_path / "m.mp4")
    assert (stream.height, stream.width) == (h + h % 2, w + w % 2)
    assert np.abs(shown[0][1].astype(int) - 128).max() <= 3


def test_one_frame_is_a_movie(tmp_path):
    assert write_movie(tmp_path / "m.mp4", frames(1), [5.0]) == 1
    stream, shown = decoded(tmp_path / "m.mp4")
    assert [time for time, _ in shown] == [0]
    assert stream.duration > 0


def test_a_repeated_time_is_shown_once(tmp_path):
    assert write_movie(tmp_path / "m.mp4", frames(5), [0, 0.1, 0.2, 0.2, 0.2]) == 3
    assert len(decoded(tmp_path / "m.mp4")[1]) == 3


@pytest.mark.parametrize(
    ("pictures", "times", "words"),
    [
        ([], [], "at least one frame"),
        (list(frames(3)), [0, 1], "one time for each frame"),
        (list(frames(2)), [0, 1, 2], "one time for each frame"),
        (list(frames(2)), [1, 0.5], "never decrease"),
        ([*frames(1), *frames(1, h=50)], [0, 1], "share one size"),
        ([np.zeros((4, 4), np.uint8)], [0], "uint8 RGB"),
        ([np.zeros((4, 4, 3), np.float32)], [0], "uint8 RGB"),
        (list(frames(2)), [0, float("nan")], "finite"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_left(tmp_path, pictures, times, words):
    with pytest.raises(ShapeError, match=words):
        write_movie(tmp_path / "m.mp4", pictures, times)
    assert_nothing_but(tmp_path)


@pytest.mark.parametrize("error", [SourceError("broke at 3 s"), KeyboardInterrupt(), RuntimeError("stop")])
def test_after_an_error_the_old_file_stands_and_the_error_comes_through(tmp_path, error):
    path = tmp_path / "m.mp4"
    path.write_bytes(b"old")

    def broken():
        yield from frames(30)
        raise error

    with pytest.raises(type(error)) as raised:
        write_movie(path, broken(), np.arange(40) / 25)
    assert raised.value is error
    assert path.read_bytes() == b"old"
    assert_nothing_but(tmp_path, "m.mp4")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        write_movie(tmp_path / "file" / "m.mp4", frames(2), [0, 1])


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    peaks = []
    for count in (60, 240):
        tracemalloc.start()
        write_movie(tmp_path / "m.mp4", frames(count, h=96, w=128), np.arange(count) / 25)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000  # 180 more frames are 6.6 MB; other threads of the process count too


def test_a_full_disk_leaves_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (8, 240, 320, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OutputError, match=r"m\.mp4 must be writable"):
            write_movie(tmp_path / "m.mp4", noise, np.arange(8) / 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_nothing_but(tmp_path)
