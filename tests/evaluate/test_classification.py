import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.evaluate.classification import measures, per_class

# three of four normal clips and one of two anomalous ones are found
LABELS = np.array([0, 0, 0, 0, 1, 1])
FOUND = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.7, 0.3]])


def test_by_hand() -> None:
    held = measures(LABELS, FOUND, normal=[0])
    assert held["accuracy"] == held["weighted_recall"] == pytest.approx(4 / 6)
    assert held["balanced_accuracy"] == held["macro_recall"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert held["macro_precision"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert held["weighted_f1"] == pytest.approx((4 * 3 / 4 + 2 * 1 / 2) / 6)
    # of the 8 pairs (normal, anomalous) the anomalous one scores higher in 4 + 2
    assert held["auc"] == pytest.approx(6 / 8)
    # scores from the top: anomalous, normal, normal, anomalous: precisions 1/1 and 2/4 at the two found
    assert held["average_precision"] == pytest.approx((1 + 2 / 4) / 2)


def test_normal_is_what_the_caller_says() -> None:
    flipped = measures(1 - LABELS, FOUND[:, ::-1], normal=[1])
    assert flipped == pytest.approx(measures(LABELS, FOUND, normal=[0]))
    three = np.concatenate([FOUND / 2, np.full((6, 1), 0.5)], axis=1)
    assert measures(LABELS, three, normal=[0, 2])["auc"] == measures(LABELS, FOUND, normal=[0])["auc"]


def test_one_side_only_has_no_auc() -> None:
    held = measures(LABELS[:4], FOUND[:4], normal=[0])
    assert np.isnan(held["auc"])
    assert np.isnan(held["average_precision"])
    assert held["balanced_accuracy"] == 0.75


def test_per_class() -> None:
    rows = per_class(LABELS, FOUND.argmax(axis=1), ["calm", "fight", "smoke"])
    assert rows[1] == {"class": "fight", "precision": 0.5, "recall": 0.5, "f1": 0.5, "clips": 2}
    assert rows[2]["f1"] == 0.0


@pytest.mark.parametrize(
    ("labels", "found"),
    [(LABELS, FOUND[:3]), (LABELS, FOUND[:, 0]), (LABELS + 1, FOUND), (LABELS, FOUND * np.nan), ([], FOUND[:0])],
)
def test_wrong_shapes(labels: np.ndarray, found: np.ndarray) -> None:
    with pytest.raises(ShapeError):
        measures(np.asarray(labels), found, normal=[0])
