from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from vidence.datasets.cast import RIDES, WALKS, Happening, draw_cast, placed
from vidence.datasets.dataset import classes_of, normal_classes
from vidence.datasets.folder import read_folder
from vidence.datasets.synthetic import (
    KINDS,
    SCENE,
    Synthetic,
    _happenings,
    scene_settings,
    write,
    write_scenes,
)
from vidence.datasets.walkway import BOTTOM, TOP
from vidence.errors import DataError
from vidence.frames.source import open_source

TINY = Synthetic(size=(48, 64))
CLASSES = ("normal", *RIDES)  # of a set whose kinds are not asked for


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


ALL = Synthetic(size=(96, 128), event_frames=8, kinds=KINDS)


def centroid_x(clip) -> np.ndarray:
    """In pixels, of the frames of the event."""
    return np.array([np.argwhere(mask)[:, 1].mean() for mask in clip.mask[event_frames(clip)]])


def test_more_kinds_leave_the_default_set_as_it_was():
    """Figures of the set before there were more kinds."""
    clip = TINY.clip("cyclist", 5)
    area = [287, 307, 309, 313, 312, 311, 304, 303, 302, 303, 307, 308, 306, 307, 304, 280]
    light = [134.024, 134.622, 132.535, 134.724, 132.723, 133.317, 135.736, 138.133]
    np.testing.assert_allclose(clip.mask.sum(axis=(1, 2)), area, atol=2)
    np.testing.assert_allclose(clip.pixels.mean(axis=(1, 2, 3))[:8], light, atol=0.05)
    assert clip.events == (("cyclist", 0.0, 1.875),)
    assert TINY.classes == CLASSES


@pytest.mark.parametrize("label", WALKS)
def test_a_walk_that_goes_wrong_lasts_as_long_as_asked(label):
    for n, seed in ((4, 0), (8, 1), (8, 2)):
        clip = replace(TINY, event_frames=n, kinds=(label,)).clip(label, seed)
        frames = event_frames(clip)
        assert len(frames) == n
        assert clip.events == ((label, clip.times[frames[0]], clip.times[frames[-1]]),)
        again = replace(TINY, event_frames=n, kinds=(label,)).clip(label, seed)
        np.testing.assert_array_equal(clip.pixels, again.pixels)
        np.testing.assert_array_equal(clip.mask, again.mask)


def test_a_runner_may_leave_the_picture_and_the_truth_says_when():
    clip = replace(TINY, event_frames=16, kinds=("runner",)).clip("runner", 0)
    frames = event_frames(clip)
    assert 4 <= len(frames) <= 16
    assert clip.events == (("runner", clip.times[frames[0]], clip.times[frames[-1]]),)


@pytest.mark.parametrize("label", KINDS)
def test_twins_of_more_kinds_differ_in_the_event_alone(label):
    for seed in (3, 5):
        normal, anomalous = ALL.clip("normal", seed), ALL.clip(label, seed)
        differs = np.flatnonzero((normal.pixels != anomalous.pixels).any(axis=(1, 2, 3)))
        frames = event_frames(anomalous)
        assert len(frames) == 8
        assert set(differs) <= set(frames)
        assert len(differs) >= 7, "jitter begins where the walker is"
        assert not normal.mask.any()


@pytest.mark.parametrize("label", WALKS)
def test_the_mask_is_what_the_anomaly_changes(label, monkeypatch):
    """Against the same film without it: in colours that nobody wears, and without shadows, which no mask counts."""
    drawn = Synthetic.cast

    def painted(made, seed):
        cast = drawn(made, seed)
        green = dict.fromkeys(("shirt", "trousers", "skin", "hair"), (0, 255, 0))
        return replace(cast, passer=replace(cast.passer, look=replace(cast.passer.look, **green)))

    monkeypatch.setattr(Synthetic, "cast", painted)
    monkeypatch.setattr("vidence.datasets.synthetic.cast_shadow", lambda empty, feet: empty)
    for seed in (0, 3):
        there, without = ALL.film([Happening(label, 0.25, 1.125)], seed), ALL.film([], seed)
        differs = (there.pixels != without.pixels).any(axis=-1)
        around = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) for mask in there.mask]) > 0
        np.testing.assert_array_equal(event_frames(there), np.arange(2, 10))
        assert (there.mask & ~differs).sum() <= 0.01 * there.mask.sum(), "all of it differs, but shoes on shoes"
        assert (differs & ~around).sum() <= 0.01 * differs.sum(), "nothing else differs, but pixels hardly covered"


def test_speed_and_direction_can_be_measured_on_the_masks():
    """`wrong-way` is the same person's normal pace."""
    steps = {label: [np.diff(centroid_x(ALL.clip(label, seed))) for seed in range(8)] for label in WALKS}
    middle = {label: np.median(np.abs(found), axis=1) for label, found in steps.items()}
    faster = middle["runner"] / middle["wrong-way"]
    assert np.median(faster) == pytest.approx(3, abs=0.4)
    assert (faster > 2).all()
    assert (np.median(steps["wrong-way"], axis=1) < 0).all(), "against the others, who go to the right"
    assert (np.median(steps["runner"], axis=1) > 0).all()
    assert all((found > 0).any() and (found < 0).any() for found in steps["jitter"]), "to and fro"


def test_only_a_trespasser_stands_beside_the_walkway():
    for label in WALKS:
        feet = [np.argwhere(ALL.clip(label, seed).mask)[:, 1].max() / 96 for seed in range(4)]
        assert all((TOP < y < BOTTOM) != (label == "trespasser") for y in feet), (label, feet)


def test_a_single_frame_does_not_tell_jitter_and_two_do():
    made = Synthetic(size=(48, 64), length=4, event_frames=4, kinds=("jitter",))
    labels = np.arange(100) % 2
    frames = [made.clip(made.classes[label], seed).pixels[2].astype(np.float32) for seed, label in enumerate(labels)]
    x = StandardScaler().fit_transform([[*frame.mean(axis=(0, 1)), frame.std(), *_coarse(frame)] for frame in frames])
    accuracy = cross_val_score(LogisticRegression(max_iter=500), x, labels, cv=5).mean()
    assert accuracy < 1 / 2 + 3 * (1 / 4 / 100) ** 0.5
    normal, jitter = (np.array([_motion(made.clip(label, seed)) for seed in range(20)]) for label in made.classes)
    assert (jitter > normal).mean() > 0.9


def _motion(clip) -> float:
    """How much neighbouring frames differ where they differ most."""
    return float(np.abs(np.diff(clip.pixels.astype(np.float32), axis=0)).mean(axis=(1, 2, 3)).max())


def _coarse(frame) -> np.ndarray:
    """Light in 4 x 6 cells, without what the whole frame has in common."""
    cells = cv2.resize(frame, (6, 4), interpolation=cv2.INTER_AREA).mean(axis=-1).ravel()
    return cells - cells.mean()


def test_classes_and_lengths_are_those_of_the_kinds():
    assert replace(TINY, kinds=("jitter", "cart")).classes == ("normal", "jitter", "cart")
    with pytest.raises(DataError, match="normal, cyclist, cart; got 'runner'"):
        TINY.clip("runner", 0)
    for kinds in ((), ("theft",), ("cart", "cart")):
        with pytest.raises(DataError, match="one or more of the kinds cyclist, cart, runner"):
            replace(TINY, kinds=kinds)
    with pytest.raises(DataError, match="can last 4 to 16 frames each if the kinds are cart, jitter"):
        replace(TINY, kinds=("cart", "jitter"), event_frames=2)
    with pytest.raises(DataError, match="event_frames=None"):
        Synthetic(size=(48, 64), length=3, kinds=("runner",))


def test_a_written_set_has_the_kinds_asked_for(tmp_path):
    made = replace(TINY, length=4, kinds=("jitter", "trespasser"))
    samples = write(tmp_path, 4, settings=made)
    assert [sample.label for sample in samples] == ["normal", "jitter", "trespasser", "normal"]


def test_scenes_of_more_kinds_and_scenes_in_which_nothing_happens(tmp_path):
    made = replace(scene_settings(("runner", "jitter")), size=(48, 64), rate=2.0, length=85)
    samples = write_scenes(tmp_path / "events", 4, settings=made, camera=7)
    rows = [line.split(",") for line in (tmp_path / "events" / "events.csv").read_text().splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        ["clips/scene-00.mp4", "jitter"],
        ["clips/scene-01.mp4", "runner"],
        ["clips/scene-01.mp4", "jitter"],
        ["clips/scene-02.mp4", "runner"],
    ]
    seconds = {
        label: [float(last) - float(first) for _, name, first, last in rows if name == label] for label in made.kinds
    }
    assert 0 < max(seconds["runner"]) < min(seconds["jitter"]) < 12
    assert {sample.group for sample in samples} == {"camera-07"}
    quiet = write_scenes(tmp_path / "quiet", 1, settings=replace(made, events=0), camera=7)
    assert [sample.label for sample in quiet] == ["normal"]
    assert len((tmp_path / "quiet" / "events.csv").read_text().splitlines()) == 1
    with pytest.raises(DataError, match="42 seconds each if the kinds are runner, jitter; got n=1 and"):
        write_scenes(tmp_path, 1, settings=replace(made, length=84))


def test_scenes_of_every_kind_are_long_enough():
    made = scene_settings(KINDS)
    assert made.length == 42 * 8 + 1
    assert scene_settings() == SCENE
    for seed in range(300):
        for one in _happenings(made, ("wrong-way", "trespasser"), seed):
            assert 0 < one.first_s < one.last_s < 42
