"""Objects in `motion-attributes`: dwell time, sizes, boxes of the user, neighbourhoods; causal and bounded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from moving_square import RATE, TINY
from vidence.datasets.dataset import Sample
from vidence.datasets.synthetic import encode
from vidence.errors import DataError, SpecError
from vidence.frames.source import open_source
from vidence.models.attribute_memory import ATTRIBUTES, AttributeMemory, Cells, CellSample
from vidence.models.motion_attributes import MotionAttributesDetector
from vidence.scoring.run import judge, scored
from vidence.training.motion_fit import fit_motion

DWELL = replace(TINY, groups=("dwell",))
ENTERS, STOPS = 12, 32


def walk(path: Path, *, seed: int = 0, stands: int = 0, frames: int = 60) -> Path:
    """A square that comes in frame 12, moves 4 pixels a frame, and from frame 32 on stands for so many frames."""
    rng = np.random.default_rng(seed)
    wall = cv2.GaussianBlur(rng.integers(60, 120, (96, 192), dtype=np.uint8), (0, 0), 2)
    square = cv2.GaussianBlur(rng.integers(100, 255, (32, 20), dtype=np.uint8), (0, 0), 1)
    pixels = np.repeat(wall[None], frames, axis=0)
    for k in range(ENTERS, frames):
        moved = k - ENTERS - min(max(0, k - STOPS), stands)
        column = 4 * moved
        if column <= 172:
            pixels[k, 30:62, column : column + 20] = square
    encode(path, np.repeat(pixels[..., None], 3, axis=3), rate=RATE)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("walks")
    return [Sample(str(walk(folder / f"{k}.mp4", seed=k)), "normal", str(k)) for k in range(2)]


@pytest.fixture(scope="module")
def loiterer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk(tmp_path_factory.mktemp("loiterer") / "loiterer.mp4", seed=7, stands=40, frames=80)


@pytest.fixture(scope="module")
def detector(films: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> MotionAttributesDetector:
    return fit_motion(DWELL, films[:1], films[1:], out=tmp_path_factory.mktemp("dwell"), progress=False)


def test_what_stands_is_scored_though_nothing_moves(detector: MotionAttributesDetector, loiterer: Path) -> None:
    values = judge(detector, open_source(str(loiterer)), threshold=0).curve.values
    assert values[50:70].min() > 3 * max(1.0, values[:STOPS].max())
    assert (np.diff(values[45:66]) > 0).all()  # the longer, the stranger


def test_the_sentence_says_how_long_it_has_stayed(detector: MotionAttributesDetector, loiterer: Path) -> None:
    found = {window.times[0]: clip for clip, window in scored(detector, open_source(str(loiterer)))}
    clip = found[min(found, key=lambda time: abs(time - 6.0))]
    told = detector.evidence(clip)
    assert told.extra["observations"][0]["value"] == pytest.approx(6.0 - STOPS / RATE, abs=0.3)
    assert "it has stayed near this place for" in told.extra["sentence"]
    assert "the longest ever seen here" in told.extra["sentence"]
    assert told.certificate is not None
    assert told.certificate.flags == ()  # they are cautions
    fresh = replace(detector.settings).build()
    fresh.known.load_state_dict(detector.known.state_dict())
    forgetful = fresh.evidence(clip).certificate
    assert forgetful is not None
    assert any("has not been scored" in flag for flag in forgetful.flags)


def test_without_an_object_nothing_is_told(detector: MotionAttributesDetector, loiterer: Path) -> None:
    enters = list(scored(detector, open_source(str(loiterer))))[ENTERS - 3][0]  # it moves, and is no object yet
    assert detector.evidence(enters).extra["sentence"].startswith("There is no object")


def test_scores_of_objects_do_not_depend_on_what_comes_later(
    detector: MotionAttributesDetector, loiterer: Path
) -> None:
    whole = judge(detector, open_source(str(loiterer)), threshold=0).curve
    cut = judge(detector, Sample(str(loiterer), "normal", "", frames=(0, 50)).open(), threshold=0).curve
    final = 50 - detector.delay
    np.testing.assert_allclose(cut.values[:final], whole.values[:final], rtol=1e-6)


def boxes_of(stands: int, frames: int) -> list[dict[str, int]]:
    found = []
    for k in range(ENTERS, frames):
        column = 4 * (k - ENTERS - min(max(0, k - STOPS), stands))
        if column <= 172:
            found.append({"frame": k, "x": column, "y": 30, "w": 20, "h": 32})
    return found


def test_boxes_of_the_user_are_objects(films: list[Sample], loiterer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "boxes"
    folder.mkdir()
    for each in films:
        (folder / f"{Path(each.path).stem}.json").write_text(json.dumps(boxes_of(0, 60)))
    settings = replace(DWELL, groups=("object", "dwell"), boxes=str(folder))
    detector = fit_motion(settings, films[:1], films[1:], out=tmp_path / "detector", progress=False)
    assert set(detector.facts["boxes"]) == {"0.json", "1.json"}
    with pytest.raises(DataError, match=r"loiterer\.json"):
        judge(detector, open_source(str(loiterer)), threshold=0)
    held = {
        "width": 384,
        "height": 192,
        "boxes": [{k: v if k == "frame" else 2 * v for k, v in box.items()} for box in boxes_of(40, 80)],
    }
    (folder / "loiterer.json").write_text(json.dumps(held))
    values = judge(detector, open_source(str(loiterer)), threshold=0).curve.values
    assert values[50:70].min() > 3 * max(1.0, values[:STOPS].max())
    clip = next(clip for clip, window in scored(detector, open_source(str(loiterer))) if window.times[0] > 6.0)
    found = detector.evidence(clip)
    assert found.certificate is not None
    assert any("loiterer.json, SHA-256" in flag for flag in found.certificate.flags)
    width = detector.start()
    width.push(clip)
    covered = width.seen[0].cells.attributes[:, ATTRIBUTES.index("width")]
    assert covered.max() == pytest.approx(20)
    part = Sample(str(loiterer), "normal", "", frames=(30, 60)).open()
    with pytest.raises(DataError, match="whole videos"):
        judge(detector, part, threshold=0)


def cells(values: np.ndarray, places: np.ndarray) -> Cells:
    held = np.zeros((len(values), len(ATTRIBUTES)), np.float32)
    held[:, ATTRIBUTES.index("size")] = 1
    held[:, [ATTRIBUTES.index(name) for name in ("speed", "burst", "peak")]] = values[:, None]
    held[:, [ATTRIBUTES.index(name) for name in ("row", "column")]] = places
    return Cells(held, np.zeros((len(values), 4, 4), np.uint8))


@pytest.mark.parametrize("local", [0, 20])
def test_what_is_fast_for_its_neighbourhood_is_far_only_where_that_is_asked_for(local: int) -> None:
    rng = np.random.default_rng(0)
    places = np.stack([rng.uniform(0, 1, 400), np.repeat([0.1, 0.9], 200)], axis=1)  # slow on the left, fast right
    memory = AttributeMemory(("speed",), coreset=400, neighbours=2, local=local, perspective=False, rows=0, crop=4)
    sample = CellSample(400, seed=0)
    sample.add(cells(np.repeat([10.0, 40.0], 200) + rng.uniform(-1, 1, 400), places))
    memory.learn(sample, seed=0)
    asked = cells(np.array([40.0, 40.0, 40.0]), np.array([[0.5, 0.1], [0.5, 0.9], [0.5, 0.5]]))
    left, right, empty = memory.distances(asked.attributes)[:, 0]
    top, alone = memory.highest("speed", np.array([0.5, 0.1]))
    assert right < 0.1
    assert empty < 0.1  # nothing is known of the middle, so all of the picture counts
    if local:
        assert left > 1
        assert (alone, float(top[ATTRIBUTES.index("speed")])) == (True, pytest.approx(11, abs=0.2))
    else:
        assert left < 0.1
        assert (alone, float(top[ATTRIBUTES.index("speed")])) == (False, pytest.approx(41, abs=0.2))
    kept = memory.nearest("speed", asked.attributes)
    assert (memory.cells().places[kept[0], 1] < 0.5).all() == bool(local)


@pytest.mark.parametrize(("perspective", "rows"), [(False, 0), (False, 1), (True, 0)])
def test_what_is_fast_for_its_distance_from_the_camera_is_far_where_that_counts(perspective: bool, rows: float) -> None:
    rng = np.random.default_rng(0)
    places = np.stack([np.repeat([0.1, 0.9], 200), rng.uniform(0, 1, 400)], axis=1)  # slow above, fast below
    memory = AttributeMemory(("speed",), coreset=400, neighbours=2, local=0, perspective=perspective, rows=rows, crop=4)
    sample = CellSample(400, seed=0)
    sample.add(cells(np.repeat([10.0, 40.0], 200) + rng.uniform(-1, 1, 400), places))
    memory.learn(sample, seed=0)
    asked = cells(np.array([40.0, 40.0]), np.array([[0.1, 0.5], [0.9, 0.5]]))
    above, below = memory.distances(asked.attributes)[:, 0]
    assert below < 0.1
    assert (above > 1) == bool(perspective or rows)


def test_speeds_are_told_as_they_would_be_in_the_row_that_they_are_compared_with() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 1, (400, 2))
    values = 10 + 30 * places[:, 0]  # a line: 10 at the top of the picture, 40 at its bottom
    memory = AttributeMemory(("speed",), coreset=400, neighbours=2, local=0, perspective=True, rows=0, crop=4)
    sample = CellSample(400, seed=0)
    sample.add(cells(values, places))
    memory.learn(sample, seed=0)
    speed = ATTRIBUTES.index("speed")
    level = memory.levelled(memory.cells().attributes)[:, speed]
    assert level == pytest.approx(np.full(400, 10 + 30 * places[:, 0].mean()), rel=0.1)
    assert memory.levelled(memory.cells().attributes, row=0.9)[:, speed] == pytest.approx(np.full(400, 37), rel=0.1)
    assert memory.levelled(memory.cells().attributes)[:, ATTRIBUTES.index("size")] == pytest.approx(np.ones(400))
    assert memory.highest("speed", np.array([0.25, 0.5]))[0][speed] == pytest.approx(17.5, rel=0.15)
    as_usual, twice = memory.distances(cells(np.array([16.0, 32.0]), np.full((2, 2), 0.2)).attributes)[:, 0]
    assert as_usual < 0.5 < twice


def test_where_nothing_moves_is_far_in_the_group_of_the_place() -> None:
    rng = np.random.default_rng(0)
    memory = AttributeMemory(("speed", "place"), coreset=400, neighbours=2, local=0, perspective=False, rows=0, crop=4)
    sample = CellSample(400, seed=0)
    sample.add(cells(np.full(400, 10.0), rng.uniform(0.5, 1, (400, 2))))
    memory.learn(sample, seed=0)
    memory.calibrate(cells(np.full(400, 10.0), rng.uniform(0.5, 1, (400, 2))))
    path, lawn = memory.distances(cells(np.array([10.0, 10.0]), np.array([[0.7, 0.7], [0.2, 0.7]])).attributes)
    assert path.max() < 1
    assert lawn[0] < 1 < 3 < lawn[1]


def test_without_objects_nothing_is_learnt_of_them(films: list[Sample], tmp_path: Path) -> None:
    still = [replace(each, frames=(0, 9)) for each in films]
    with pytest.raises(DataError, match="cells of objects"):
        fit_motion(DWELL, still[:1], still[1:], out=tmp_path, progress=False)


@pytest.mark.parametrize(
    "wrong", [{"boxes": "b"}, {"boxes": "b", "groups": ("dwell",), "rate": 5.0}, {"local": 1}, {"absorb": 0.0}]
)
def test_settings_of_objects_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="motion-attributes"):
        replace(TINY, **wrong)  # type: ignore[arg-type]
