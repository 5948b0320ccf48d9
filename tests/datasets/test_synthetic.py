from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from vidence.datasets.cast import Happening, draw_cast, placed
from vidence.datasets.dataset import classes_of, normal_classes
from vidence.datasets.folder import read_folder
from vidence.datasets.synthetic import CLASSES, Synthetic, write, write_scenes
from vidence.errors import DataError
from vidence.frames.source import open_source

TINY = Synthetic(size=(48, 64))


def event_frames(clip) -> np.ndarray:
    return np.flatnonzero(clip.mask.any(axis=(1, 2)))


@pytest.mark.parametrize("label", CLASSES)
def test_a_clip_is_its_seed(label):
    first, again, other = TINY.clip(label, 5), TINY.clip(label, 5), TINY.clip(label, 6)
    assert first.pixels.dtype == np.uint8
    assert first.pixels.shape == (16, 48, 64, 3)
    assert first.mask.dtype == bool
    assert first.mask.shape == (16, 48, 64)
    assert first.times == tuple(i / 8 for i in range(16))
    assert first.label == label
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("label", CLASSES[1:])
@pytest.mark.parametrize("n", [1, 4, 16])
@pytest.mark.parametrize("seed", range(4))
def test_an_event_lasts_as_long_as_asked(label, n, seed):
    clip = replace(TINY, event_frames=n).clip(label, seed)
    frames = event_frames(clip)
    assert len(frames) == n
    assert clip.events == ((label, clip.times[frames[0]], clip.times[frames[-1]]),)
    area = clip.mask.mean(axis=(1, 2))[frames]
    assert (area > 0.01).all()
    assert (area < 0.3).all()


@pytest.mark.parametrize("n", [1, 4, 7])
def test_two_events_stand_apart(n):
    clip = replace(TINY, event_frames=n, events=2).clip("cart", 3)
    frames = event_frames(clip)
    assert len(frames) == 2 * n
    assert (np.diff(frames) > 1).sum() == 1
    assert len(clip.events) == 2


def test_nothing_happens_in_a_normal_clip():
    for clip in (TINY.clip("normal", 1), replace(TINY, events=0).clip("cart", 1)):
        assert not clip.mask.any()
        assert clip.events == ()
        assert clip.label == "normal"


@pytest.mark.parametrize("label", CLASSES[1:])
def test_twins_differ_in_the_event_and_nowhere_else(label):
    made = replace(TINY, event_frames=4)
    normal, anomalous = made.clip("normal", 8), made.clip(label, 8)
    differs = (normal.pixels != anomalous.pixels).any(axis=-1)
    np.testing.assert_array_equal(np.flatnonzero(differs.any(axis=(1, 2))), event_frames(anomalous))
    assert (differs & anomalous.mask).sum() > 0.9 * anomalous.mask.sum(), "the mask shows what is new"
    assert differs[anomalous.mask.any(axis=(1, 2))].mean() < 0.25


def test_the_mask_is_what_can_be_seen_of_the_anomaly():
    clip = replace(TINY, size=(96, 128), event_frames=16).clip("cyclist", 2)
    centres = [np.argwhere(mask).mean(axis=0)[1] for mask in clip.mask]
    steps = np.diff(centres)
    assert np.abs(steps).mean() > 1, "the rider moves"
    assert (np.sign(steps) == np.sign(steps[0])).mean() > 0.8, "in one direction"


def test_a_background_belongs_to_its_camera():
    first, second, elsewhere = (TINY.clip("normal", seed, camera=camera) for seed, camera in ((1, 7), (2, 7), (2, 8)))
    top = np.s_[:, :6]  # nobody walks there
    near = np.abs(first.pixels[top].mean(0) - second.pixels[top].mean(0)).mean()
    far = np.abs(second.pixels[top].mean(0) - elsewhere.pixels[top].mean(0)).mean()
    assert near < 2 < far


def test_the_class_cannot_be_told_from_trivial_statistics():
    clips = [(label, TINY.clip(CLASSES[label], seed)) for seed in range(70) for label in [seed % 3]]
    x = np.array(
        [
            [*clip.pixels.mean(axis=(0, 1, 2)), clip.pixels.std(), len(clip.pixels), clip.pixels[0].mean()]
            for _, clip in clips
        ]
    )
    walkers = [len(draw_cast(np.random.default_rng([seed, 2]), 4 / 3).walkers) for seed in range(70)]
    x = StandardScaler().fit_transform(np.column_stack([x, walkers]))
    accuracy = cross_val_score(LogisticRegression(max_iter=500), x, [label for label, _ in clips], cv=5).mean()
    assert accuracy < 1 / 3 + 3 * (2 / 9 / 70) ** 0.5


def test_figures_are_drawn_far_to_near_and_walkers_come_back():
    cast = draw_cast(np.random.default_rng(0), 4 / 3)
    figures = placed(cast, 100.0, [])
    assert [figure.at[1] for figure in figures] == sorted(figure.at[1] for figure in figures)
    assert len(figures) == len(cast.walkers) + 2
    assert all(-0.25 <= figure.at[0] <= 4 / 3 + 0.25 for figure in figures)
    assert not any(figure.marked for figure in figures)
    marked = placed(cast, 1.0, [Happening("cyclist", 0.0, 2.0), Happening("cart", 0.5, 1.0)])
    assert sum(figure.marked for figure in marked) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (8, 8)}, "even sides of 16 pixels or more"),
        ({"size": (33, 48)}, "even sides"),
        ({"length": 0}, "a frame and"),
        ({"rate": 0.0}, "a positive rate"),
        ({"event_frames": 17}, "1 separate events in 16 frames can last 1 to 16 frames"),
        ({"event_frames": 8, "events": 2}, "2 separate events in 16 frames can last 1 to 7 frames"),
        ({"event_frames": 0}, "event_frames=0"),
        ({"events": 9}, "9 separate events"),
        ({"events": -1}, "events"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(DataError, match=message):
        Synthetic(**settings)


def test_an_unknown_class_is_refused():
    with pytest.raises(DataError, match="normal, cyclist, cart; got 'theft'"):
        TINY.clip("theft", 0)


def test_a_written_set_reads_back(tmp_path):
    samples = write(tmp_path, 14, seed=4, settings=TINY)
    assert read_folder(tmp_path / "clips.csv", group="group") == samples
    assert normal_classes(classes_of(samples)) == ("normal",)
    assert [sum(s.label == label for s in samples) for label in CLASSES] == [5, 5, 4]
    assert {s.group for s in samples} == {"camera-00", "camera-01"}
    one = samples[1]
    frames = list(open_source(one.path))
    expected = TINY.clip("cyclist", 4 * 1_000_003 + 1, camera=4 * 1_000_003)
    np.testing.assert_allclose([frame.time for frame in frames], expected.times, atol=1e-6)
    error = np.abs(np.stack([frame.pixels for frame in frames]).astype(int) - expected.pixels)
    assert error.mean() < 6, "compression loses little"
    with np.load(one.mask, allow_pickle=False) as mask:
        np.testing.assert_array_equal(mask["mask"], expected.mask)
        np.testing.assert_allclose(mask["times"], expected.times)
    assert f"clips/cyclist-0001.mp4,cyclist,{expected.events[0][1]}" in (tmp_path / "events.csv").read_text()
    assert not [path.name for path in tmp_path.rglob(".*")], "nothing half-written stays behind"


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    written = [write(tmp_path / name, 2, seed=1, settings=TINY)[1] for name in "abc"]
    assert len({open_source(sample.path).digest for sample in written}) == 1


def test_scenes_hold_quiet_and_events(tmp_path):
    settings = Synthetic(size=(48, 64), length=100)
    samples = write_scenes(tmp_path, 4, seed=2, settings=settings)
    rows = [line.split(",") for line in (tmp_path / "events.csv").read_text().splitlines()[1:]]
    assert [(row[0], row[1]) for row in rows] == [
        ("clips/scene-00.mp4", "cart"),
        ("clips/scene-01.mp4", "cyclist"),
        ("clips/scene-01.mp4", "cart"),
        ("clips/scene-02.mp4", "cyclist"),
    ]
    for row in rows:
        assert 1 < float(row[3]) - float(row[2]) < 4.2
    assert [sample.label for sample in samples] == ["cart", "cyclist", "cyclist", "normal"]
    with np.load(samples[1].mask, allow_pickle=False) as mask:
        quiet = ~mask["mask"].any(axis=(1, 2))
    assert quiet.mean() > 0.3


def test_scenes_must_be_long_enough(tmp_path):
    with pytest.raises(DataError, match="12 seconds"):
        write_scenes(tmp_path, 1, settings=TINY)
    with pytest.raises(DataError, match="at least one clip"):
        write(tmp_path, 0)
