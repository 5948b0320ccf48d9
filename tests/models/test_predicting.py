import pytest
import torch

from vidence.errors import ShapeError, SpecError
from vidence.models.predicting import check_context
from vidence.models.unet_predict import UNetPredict


def test_windows_overlap_by_what_a_prediction_looks_at() -> None:
    windows = UNetPredict(length=12, past=4).build().windows
    assert (windows.length, windows.stride) == (12, 8)
    UNetPredict(length=12, past=4, stride=8)
    with pytest.raises(SpecError, match="stride=9"):
        UNetPredict(length=12, past=4, stride=9)
    with pytest.raises(SpecError, match="length=4"):
        UNetPredict(length=4, past=4)
    with pytest.raises(SpecError, match="at least"):
        UNetPredict(past=0)


def test_a_clip_with_nothing_to_predict_is_refused() -> None:
    check_context(torch.zeros(1, 3, 5, 8, 8), 4)
    with pytest.raises(ShapeError, match="got 4 frames"):
        check_context(torch.zeros(1, 3, 4, 8, 8), 4)
