"""Measures against a known mask: closed forms, chance, ties and slow twins."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vidence.errors import SpecError
from vidence.evaluate.localisation import (
    PRO,
    IoU,
    MassInside,
    MassRatio,
    PixelAP,
    PixelAUROC,
    Pointing,
    PointingFrames,
    RankAccuracy,
    StrongestFrame,
    VolumeIoU,
    grown,
    strongest,
)

T, H, W = 6, 32, 48
ALL = {
    "mass-inside": MassInside(),
    "mass-ratio": MassRatio(),
    "pointing": Pointing(),
    "pointing-exact": Pointing(tolerance=0),
    "pointing-frames": PointingFrames(),
    "strongest-frame": StrongestFrame(),
    "rank-accuracy": RankAccuracy(),
    "iou": IoU(),
    "iou-otsu": IoU("otsu"),
    "viou": VolumeIoU(),
    "viou-otsu": VolumeIoU("otsu"),
    "pixel-auroc": PixelAUROC(),
    "pixel-ap": PixelAP(),
    "pro": PRO(),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def box(first=2, last=3, top=8, left=10, side=8) -> np.ndarray:
    mask = np.zeros((T, H, W), bool)
    mask[first : last + 1, top : top + side, left : left + side] = True
    return mask


def measured(values, mask, rng):
    return {name: measure.against(values.astype(np.float32), mask, rng) for name, measure in ALL.items()}


def test_a_perfect_map(rng):
    mask = box()
    found = measured(mask, mask, rng)
    assert found.pop("mass-ratio") == pytest.approx(T * H * W / (2 * 8 * 8))
    assert found == pytest.approx(dict.fromkeys(found, 1.0))


def test_a_map_of_the_complement_is_nowhere_right(rng):
    found = measured(~box(), box(), rng)
    nothing = {"mass-inside", "mass-ratio", "pointing-exact", "rank-accuracy", "iou", "viou", "viou-otsu"}
    assert {found[name] for name in nothing | {"pixel-auroc"}} == {0}
    assert found["strongest-frame"] == 0, "the frames without a mask hold more"


def test_a_constant_map_is_chance(rng):
    mask = box(top=4, left=6, side=24)
    share, frame = mask.mean(), mask[2].mean()
    flat = np.ones(mask.shape, np.float32)
    drawn = ("pointing", "pointing-exact", "pointing-frames", "strongest-frame", "rank-accuracy", "iou", "viou")
    mean = measured(flat, mask, rng)
    mean |= {name: np.mean([ALL[name].against(flat, mask, rng) for _ in range(400)]) for name in drawn}
    assert mean["mass-inside"] == pytest.approx(share)
    assert mean["mass-ratio"] == pytest.approx(1)
    assert mean["rank-accuracy"] == pytest.approx(share, abs=0.005)
    assert mean["viou"] == pytest.approx(share / (2 - share), abs=0.005)
    assert mean["iou"] == pytest.approx(frame / (2 - frame), abs=0.01)
    assert mean["pointing-exact"] == pytest.approx(share, abs=0.06)
    assert mean["pointing"] == pytest.approx(grown(mask).mean(), abs=0.06)
    assert mean["pointing-frames"] == pytest.approx(grown(mask)[2].mean(), abs=0.06)
    assert mean["strongest-frame"] == pytest.approx(2 / T, abs=0.08)
    assert mean["pixel-auroc"] == pytest.approx(0.5)
    assert mean["pixel-ap"] == pytest.approx(share)
    assert mean["pro"] == pytest.approx(0.15)
    assert mean["iou-otsu"] == mean["viou-otsu"] == 0, "nothing stands out"


def test_half_of_the_mass_inside(rng):
    mask = box()
    values = np.zeros(mask.shape)
    values[2, 8, 10], values[5, 0, 0], values[0, 20, 40] = 3.0, 3.0, -50.0
    found = measured(values, mask, rng)
    assert found["mass-inside"] == 0.5, "what speaks against counts nowhere"
    assert found["mass-ratio"] == pytest.approx(0.5 / mask.mean())


def test_rank_accuracy_counts_the_strongest_places(rng):
    mask = np.zeros((1, 2, 4), bool)
    mask[0, 0] = True
    values = np.array([[[8, 7, 1, 2], [6, 5, 3, 4]]])
    assert RankAccuracy().against(values, mask, rng) == 0.5
    assert VolumeIoU().against(values, mask, rng) == 2 / 6
    assert VolumeIoU("share", share=1 / 4).against(values, mask, rng) == 2 / 4
    assert VolumeIoU("share", share=1).against(values, mask, rng) == 4 / 8


def test_iou_speaks_of_place_and_viou_of_time_too(rng):
    mask = box()
    values = np.where(mask, 1.0, 0.0)
    values[5] = 2.0
    assert IoU().against(values, mask, rng) == 1
    assert VolumeIoU().against(values, mask, rng) == 0
    values = mask.astype(np.float32)
    values[2] = 0
    values[2, :8, :8] = 1  # as large as the box, and beside it
    assert IoU().against(values, mask, rng) == 0.5
    assert IoU("otsu").against(values, mask, rng) == 0.5


def test_otsu_parts_two_heights():
    values = np.full((1, 10, 10), 0.1)
    values[0, :2] = 1.0
    values[0, 9] = -5.0
    mask = np.zeros((1, 10, 10), bool)
    mask[0, 0] = True
    assert VolumeIoU("otsu").against(values, mask, np.random.default_rng(0)) == 10 / 20


def test_tolerance_is_a_sixteenth_of_the_shorter_side(rng):
    mask = box()
    for beyond, hit in ((2, 1.0), (3, 0.0)):
        values = np.zeros(mask.shape)
        values[2, 8 - beyond, 12] = 1
        assert Pointing().against(values, mask, rng) == hit
        assert Pointing(tolerance=0).against(values, mask, rng) == 0
        assert Pointing(tolerance=1 / 8).against(values, mask, rng) == 1
        values[3, 9, 12] = 0.1
        assert PointingFrames().against(values, mask, rng) == (hit + 1) / 2


def test_tolerance_does_not_reach_other_frames(rng):
    mask = box()
    values = np.zeros(mask.shape)
    values[4, 10, 12] = 1
    assert Pointing().against(values, mask, rng) == 0
    assert StrongestFrame().against(values, mask, rng) == 0


def test_rows_come_before_columns(rng):
    mask = box(top=20, left=2)
    values = np.zeros(mask.shape)
    values[2, 2, 20] = 1
    assert Pointing().against(values, mask, rng) == 0
    values[2, 20, 2] = 2
    assert Pointing().against(values, mask, rng) == 1


def test_the_strongest_half_of_a_pair_of_clips(rng):
    half = np.zeros((T, H, W), bool)
    half[T // 2 :] = True
    values = np.zeros(half.shape)
    values[4, 1, 1], values[0] = 3000.0, -9.0
    assert StrongestFrame().against(values, half, rng) == 1
    assert StrongestFrame().against(values, ~half, rng) == 0
    assert StrongestFrame().against(values, np.ones_like(half), rng) is None, "every frame is right"


def test_a_map_without_positive_mass_finds_nothing(rng):
    found = measured(-np.ones((T, H, W)), box(), rng)
    assert found["mass-inside"] == found["mass-ratio"] == 0


def test_pixels_against_scikit_learn(rng):
    mask, values = box(), rng.normal(size=(T, H, W)).astype(np.float32)
    values[mask] += 1
    area = roc_auc_score(mask.ravel(), values.ravel())
    assert PixelAUROC().against(values, mask, rng) == pytest.approx(area, rel=1e-3)
    exact = average_precision_score(mask.ravel(), values.ravel())
    assert PixelAP().against(values, mask, rng) == pytest.approx(exact, rel=1e-3)
    assert PixelAP().against(values, np.ones_like(mask), rng) is None, "one kind of pixel"


def test_ties_are_drawn(rng):
    rows = np.array([[0, 3, 3, 1], [5, 4, 5, 5]])
    drawn = np.stack([strongest(rows, rng) for _ in range(300)])
    assert [np.unique(column).tolist() for column in drawn.T] == [[1, 2], [0, 2, 3]]
    assert np.bincount(drawn[:, 1])[[0, 2, 3]].min() > 70


def test_settings_that_are_none():
    for wrong in (
        lambda: Pointing(tolerance=2),
        lambda: PointingFrames(tolerance=-1),
        lambda: IoU("half"),
        lambda: VolumeIoU("share", share=0),
    ):
        with pytest.raises(SpecError):
            wrong()
