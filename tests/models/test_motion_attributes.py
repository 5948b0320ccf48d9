"""`motion-attributes`: what it scores, that it is causal, bounded and repeatable, and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from moving_square import TINY, film, normal_films
from vidence.datasets.dataset import Sample
from vidence.errors import DataError, SpecError
from vidence.frames.clip import Clip
from vidence.frames.source import open_source
from vidence.models import DETECTORS, Detector, load_detector
from vidence.models.attribute_memory import ATTRIBUTES, FLOOR, AttributeMemory, Cells, CellSample
from vidence.models.cell_appearance import CellAppearance
from vidence.models.mobilenet import MobileNetV2
from vidence.models.motion_attributes import CROP, MotionAttributesDetector
from vidence.models.motion_evidence import Observation
from vidence.models.motion_session import ruled
from vidence.record.facts import ClipRef
from vidence.scoring.run import judge, scored
from vidence.spec import build, line
from vidence.training.motion_fit import adapt_motion, drift, fit_motion


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return normal_films(tmp_path_factory.mktemp("films"), speed=1, count=4)


@pytest.fixture(scope="module")
def detector(clips: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> MotionAttributesDetector:
    return fit_motion(TINY, clips[:2], clips[2:], out=tmp_path_factory.mktemp("detector"), progress=False)


@pytest.fixture(scope="module")
def rush(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("rush") / "rush.mp4", speed=1.0, seed=9, fast=4.0)


def test_what_is_too_fast_is_above_the_threshold_and_nothing_else(
    detector: MotionAttributesDetector, rush: Path
) -> None:
    assert isinstance(detector, Detector)
    assert detector.network is None
    assert detector.threshold is not None
    curve = judge(detector, open_source(str(rush)), threshold=detector.threshold["value"]).curve
    assert len(curve.values) == 40
    assert curve.values[24:38].min() > 2 * max(curve.values[:17].max(), detector.threshold["value"])


def test_scores_do_not_depend_on_what_comes_more_than_the_delay_later(
    detector: MotionAttributesDetector, rush: Path, tmp_path: Path
) -> None:
    assert detector.delay <= 5
    whole = judge(detector, open_source(str(rush)), threshold=0).curve
    for stop in (2, 7, 16, 23, 35):
        section = Sample(str(rush), "normal", "", frames=(0, stop)).open()
        cut = judge(detector, section, threshold=0).curve
        final = max(0, stop - detector.settings.reach)
        np.testing.assert_allclose(cut.values[:final], whole.values[:final], rtol=1e-6)
        assert len(cut.values) == stop


@pytest.mark.parametrize("line", ["span=5, smooth=7, stride=1", "span=3, smooth=5, stride=3", "span=1, smooth=1"])
def test_every_frame_is_scored_once_and_no_later_than_the_delay(
    detector: MotionAttributesDetector, rush: Path, line: str
) -> None:
    made = replace(build(f"motion-attributes({line})", DETECTORS), groups=TINY.groups, coreset=TINY.coreset).build()
    made.known.load_state_dict(detector.known.state_dict())
    assert made.delay <= 5
    for stop in (2, 11, 13, 14, 24, 40):  # some of them fill the last window
        source = Sample(str(rush), "normal", "", frames=(0, stop)).open()
        times = [frame.time for frame in source]
        told: list[float] = []
        for clip, window in scored(made, source):
            if len(clip.times) == made.windows.length:  # the stream goes on
                assert len(told) + len(window.times) >= times.index(clip.times[-1]) + 1 - made.settings.reach
                waited = times.index(clip.times[-1]) - np.array([times.index(time) for time in window.times])
                assert clip.ref.first == 0 or waited.max() <= made.delay
            told += window.times
        assert told == times


def test_a_window_alone_has_the_scores_that_it_has_in_a_session(detector: MotionAttributesDetector, rush: Path) -> None:
    for clip, window in scored(detector, open_source(str(rush))):
        alone = detector.start().push(clip)
        assert tuple(alone.times) == window.times
        np.testing.assert_allclose(alone.values, window.values, rtol=1e-5, atol=1e-6)


def test_a_cell_has_the_mean_of_those_around_it_and_the_picture_goes_on_at_its_edge() -> None:
    rng = np.random.default_rng(0)
    there = rng.random((5, 7)) < 0.6
    at, distances = np.argwhere(there), rng.random((int(there.sum()), 2))
    for rule, over in (("sum", np.sum), ("max", np.max)):
        alone = np.zeros(there.shape)
        for (i, j), each in zip(at, distances, strict=True):
            alone[i, j] = over(each)
        edged = np.pad(alone, 1, mode="edge")
        for i in range(5):
            for j in range(7):
                mean = edged[i : i + 3, j : j + 3].mean() if there[i, j] else 0.0
                assert ruled(distances, at, (5, 7), rule=rule, pool=3)[i, j] == pytest.approx(mean, abs=1e-6)
        assert ruled(distances, at, (5, 7), rule=rule, pool=1) == pytest.approx(alone, abs=1e-6)


def test_half_of_held_out_cells_are_at_0_and_one_in_a_thousand_beyond_1(detector: MotionAttributesDetector) -> None:
    memory = replace(TINY, perspective=False, rows=0).build().known
    rng = np.random.default_rng(0)
    normal = np.zeros((3000, len(ATTRIBUTES)), np.float32)
    normal[:, [ATTRIBUTES.index(name) for name in ("speed", "size")]] = rng.uniform(1, 2, (3000, 2))
    sample = CellSample(3000, seed=0)
    sample.add(Cells(normal[:1000], np.zeros((1000, CROP, CROP), np.uint8)))
    memory.learn(sample, seed=0)
    memory.calibrate(Cells(normal[1000:], np.zeros((2000, CROP, CROP), np.uint8)))
    k = memory.groups.index("speed")
    found = memory.distances(normal[1000:])[:, k]
    assert found.min() == 0
    assert np.median(found) == pytest.approx(0, abs=1e-3)
    middle, scale = float(memory.middle[k]), float(memory.scale[k])
    assert scale >= middle + FLOOR - 1e-6
    odd = normal[:1].copy()
    odd[0, ATTRIBUTES.index("speed")] = 40.0
    raw = memory._nearest("speed", odd)[0].mean()
    value = float(memory.distances(odd)[0, k])
    assert value == pytest.approx((raw - middle) / (scale - middle), rel=1e-5)
    assert memory.times("speed", value) == pytest.approx(raw / scale, rel=1e-5)


def test_a_session_does_not_grow(detector: MotionAttributesDetector, rush: Path) -> None:
    session = detector.start()
    for clip in detector.windows.cut(open_source(str(rush))):
        session.push(clip)
        assert len(session._held) <= detector.windows.length + detector.settings.reach
        assert len(session._done) <= detector.windows.length


def test_saved_and_loaded_it_scores_the_same(
    detector: MotionAttributesDetector, clips: list[Sample], rush: Path, tmp_path: Path
) -> None:
    detector.save(tmp_path)
    again = load_detector(tmp_path)
    one, other = (judge(each, open_source(str(rush)), threshold=0).curve for each in (detector, again))
    np.testing.assert_array_equal(one.values, other.values)
    assert again.weights_digest == detector.weights_digest
    assert again.spec == detector.spec
    twice = fit_motion(TINY, clips[:2], clips[2:], out=tmp_path / "twice", progress=False)
    assert twice.weights_digest == detector.weights_digest


def test_the_sentence_names_the_attribute_and_its_unit(detector: MotionAttributesDetector, rush: Path) -> None:
    clip = next(clip for clip, window in scored(detector, open_source(str(rush))) if clip.ref.first >= 18)
    found = detector.evidence(clip)
    first = found.extra["observations"][0]
    assert "times the highest ever seen here" in found.extra["sentence"]
    assert "speed" in found.extra["sentence"]
    assert first["attribute"] == "root-mean-square speed"
    assert first["value"] == pytest.approx(40, rel=0.25)  # 4 pixels, 10 a second
    assert found.values.shape[1] == len(found.extra["times"])
    assert float(found.values.max()) > 1
    peak = np.unravel_index(int(found.values[0].amax(dim=0).argmax()), found.values.shape[2:])
    assert abs((peak[0] + 0.5) / found.values.shape[2] - 50 / 96) < 0.3
    metres = replace(detector.settings, scale=0.02).build()
    metres.known.load_state_dict(detector.known.state_dict())
    told = metres.evidence(clip).extra["observations"][0]
    assert told["unit"] == " m/s"
    assert told["value"] == pytest.approx(0.02 * first["value"])
    assert found.extra["examples"].dtype == np.uint8
    assert found.extra["examples"].shape[2] == 3


def test_what_is_below_the_threshold_does_not_stand_out(detector: MotionAttributesDetector, rush: Path) -> None:
    clip, window = min(scored(detector, open_source(str(rush))), key=lambda each: each[1].value)
    assert detector.threshold is not None
    assert window.value < detector.threshold["value"]
    found = detector.evidence(clip)
    assert found.extra["sentence"].startswith("Nothing stood out; furthest from usual was the place at")
    assert "something stands out because" in found.extra["sentences"].alarm
    assert found.certificate.flags == ()  # they are cautions


def test_a_still_picture_has_no_anomaly(detector: MotionAttributesDetector, rush: Path) -> None:
    clip = next(detector.windows.cut(open_source(str(rush))))
    still = Clip(clip.ref, np.repeat(clip.pixels[:1], len(clip.pixels), axis=0))
    found = detector.evidence(still)
    assert found.extra["sentences"].alarm == found.extra["sentences"].quiet
    assert float(found.values.max()) == 0
    assert "Nothing moves" in found.extra["sentence"]


def test_a_source_whose_frames_are_too_far_apart_is_refused_not_called_normal(
    detector: MotionAttributesDetector, rush: Path
) -> None:
    clip = next(detector.windows.cut(open_source(str(rush))))
    slow = replace(clip, ref=replace(clip.ref, times=tuple(2.0 * k for k in range(len(clip.times)))))
    with pytest.raises(DataError, match=r"less than 1 s apart.*at least 2 s apart"):
        detector.start().push(slow)


def test_new_normal_footage_is_learnt_and_its_drift_is_told(
    detector: MotionAttributesDetector, clips: list[Sample], tmp_path: Path
) -> None:
    quick = [Sample(str(film(tmp_path / f"{k}.mp4", speed=3, seed=k)), "normal", str(k)) for k in range(2)]
    adapted = adapt_motion(detector, quick[:1], quick[1:], old=clips[2:])
    assert adapted.facts["history"][0]["drift"]["speed"] > 0.2 > drift(adapted, quick[1:])["speed"]
    assert drift(detector, clips[3:])["speed"] < 0.05
    assert int(adapted.known.count) <= TINY.coreset
    assert int(adapted.known.seen) > int(detector.known.seen)
    assert adapted.threshold is not None
    assert detector.facts.get("history") is None
    scores = [judge(each, quick[1].open(), threshold=0).curve.values for each in (detector, adapted)]
    assert scores[1].mean() < 0.5 * scores[0].mean()


def test_nothing_to_learn_from_is_told(clips: list[Sample], tmp_path: Path) -> None:
    still = Sample(str(film(tmp_path / "still.mp4", speed=0)), "normal", "")
    with pytest.raises(DataError, match="moving cells"):
        fit_motion(TINY, [still], [still], out=tmp_path / "out", progress=False)
    with pytest.raises(DataError, match="train this detector"):
        TINY.build().known.nearest("speed", np.zeros((1, len(ATTRIBUTES)), np.float32))


@pytest.mark.parametrize(
    "text",
    [
        *("flow='none'", "groups=['mood']", "span=9", "stride=4", "smooth=4", "pool=2"),
        *("filled=1.0", "coreset=1", "rows=-1"),
    ],
)
def test_settings_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="motion-attributes"):
        build(f"motion-attributes({text})", DETECTORS)


def test_appearance_is_kept_in_the_folder_and_told(clips: list[Sample], rush: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    safetensors.torch.save_file(MobileNetV2().state_dict(), tmp_path / "mobilenet.safetensors")
    looking, plain = (replace(TINY, groups=groups) for groups in (("speed", "appearance"), ("speed",)))
    how = {"out": tmp_path / "detector", "weights": tmp_path / "mobilenet.safetensors", "progress": False}
    made = fit_motion(plain, clips[:2], clips[2:3], **how)  # the weights add the group
    assert made.settings == looking
    (tmp_path / "mobilenet.safetensors").unlink()
    again = load_detector(tmp_path / "detector")
    source = open_source(str(rush))
    one, other = (judge(each, source, threshold=0).curve for each in (made, again))
    np.testing.assert_array_equal(one.values, other.values)
    for k, (clip, window) in enumerate(scored(made, source)):
        if k % 10 == 3:
            np.testing.assert_allclose(made.start().push(clip).values, window.values, rtol=1e-4, atol=1e-5)
    told = {each["group"]: Observation(**each).sentence for each in made.evidence(clip).extra["observations"]}
    assert "times as far from the nearest normal examples" in told["appearance"]
    with pytest.raises(SpecError, match="go together"):
        looking.build()
    with pytest.raises(SpecError, match="go together"):
        TINY.build(made.known.appearance)


@pytest.mark.parametrize(
    ("group", "distance", "words"),
    [
        ("appearance", 1.5, "it looks unlike anything seen here, 1.2 times as far from the nearest normal examples"),
        ("appearance", 0.0, "it looks as usual"),
        ("place", 4.0, "things hardly ever move near this place, 4 times as far"),
        ("place", 0.5, "things move at this place as usual"),
        ("gait", 3.0, "its unevenness of speed, 5 %, is unlike that of the nearest normal examples, 20 to 30 %"),
    ],
)
def test_what_a_group_says(group: str, distance: float, words: str) -> None:
    times = 1.2 if group == "appearance" else distance  # neighbours of what is usual are not at 0
    told = Observation(0, 0.5, 0.5, group, "unevenness of speed", 5, (20, 30), 40, " %", distance, times)
    assert words in told.sentence


@pytest.mark.parametrize(("value", "words"), [(10.2, "is just above the highest"), (15.0, "is 1.5 times the highest")])
def test_what_is_higher_than_ever_is_told_in_times_where_that_says_something(value: float, words: str) -> None:
    told = Observation(0, 0.5, 0.5, "speed", "mean speed", value, (8, 9), 10, " pixels/s", 2, 2)
    assert f"{words} ever seen here (10)" in told.sentence


def test_settings_are_a_line() -> None:
    settings = build("motion-attributes(groups=['speed'], span=3)", DETECTORS)
    assert build(line(settings, DETECTORS), DETECTORS) == settings
    assert settings.reach == 4


def test_rows_count_in_what_moves_and_not_in_what_it_looks_like() -> None:
    columns = [k for k, name in enumerate(ATTRIBUTES) if name.startswith("look") or name in ("speed", "size")]
    rng, found = np.random.default_rng(0), {}
    normal = np.zeros((200, len(ATTRIBUTES)), np.float32)
    normal[:, columns] = rng.uniform(1, 2, (200, len(columns)))
    normal[:, ATTRIBUTES.index("row")] = rng.uniform(0, 0.5, 200)
    moved = normal[:5].copy()
    moved[:, ATTRIBUTES.index("row")] += 0.5
    for group in ("speed", "appearance"):
        memory = AttributeMemory(
            (group,), coreset=200, neighbours=1, local=0, perspective=False, rows=1, crop=1, appearance=None
        )
        sample = CellSample(200, seed=0)
        sample.add(Cells(normal, np.zeros((200, 1, 1), np.uint8)))
        memory.learn(sample, seed=0)
        found[group] = memory.distances(moved)[:, 0]
    assert found["speed"].min() > 0.5
    assert found["appearance"] == pytest.approx(0, abs=1e-2)


def test_only_what_moved_when_it_was_looked_at_has_looks(rush: Path) -> None:
    detector = replace(TINY, groups=("speed", "appearance")).build(CellAppearance(MobileNetV2()))
    frames = [frame.pixels for frame in open_source(str(rush))][:14]
    clip = Clip(ClipRef(str(rush), "0" * 64, 0, tuple(k / 10 for k in range(14))), np.stack(frames))
    session = detector.start()
    session.push(clip)
    looks = [frame.looks for frame in session._held]
    assert looks[0] is None
    for k, last in ((1, 1), (4, 1), (5, 5), (9, 5), (10, 10), (13, 10)):  # every fifth, and the first that can be
        np.testing.assert_array_equal(looks[k], looks[last])
        motion = session._held[last].motion
        assert motion is not None
        moved = motion.channels[..., 0] > detector.settings.filled
        np.testing.assert_array_equal(np.asarray(looks[k]).any(axis=-1), moved)
    assert not np.array_equal(looks[4], looks[5])
