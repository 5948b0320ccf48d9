"""What every detector has in common, whether it has a network or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidence.errors import WeightsError
from vidence.models import Bcae1, Hybrid, MeanFrame, MotionAttributes, VideoTransformer, load_detector
from vidence.models.classifier_detector import ClassifierSettings
from vidence.models.detector_folder import FACTS_FILE

SMALL = VideoTransformer(size=32, width=16, depth=1, heads=2)


def made(key: str) -> Any:
    torch.manual_seed(0)
    if key == "video-transformer":
        return SMALL.build(("fight", "calm"), normal=("calm",))
    learned = MeanFrame(size=32, length=4)
    settings: Any = {"mean-frame": learned, "motion-attributes": MotionAttributes(), "hybrid": Hybrid(learned=learned)}
    return settings[key].build()


KEYS = ("video-transformer", "mean-frame", "motion-attributes", "hybrid")


@pytest.mark.parametrize("key", KEYS)
def test_saved_again_it_is_the_same_to_the_byte(key: str, tmp_path: Path) -> None:
    detector = made(key)
    detector.threshold, detector.facts = {"value": 0.5}, {"calibration": {"low": 1.0, "high": 3.0}, "seed": 4}
    detector.save(tmp_path / "once")
    again = load_detector(tmp_path / "once")
    again.save(tmp_path / "twice")
    assert (again.threshold, again.scale) == ({"value": 0.5}, (1.0, 3.0))
    for name in (FACTS_FILE, "model.safetensors"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


@pytest.mark.parametrize("key", KEYS)
def test_what_never_differed_on_normal_frames_is_centred_only(key: str) -> None:
    detector = made(key)
    assert detector.scale == (0.0, 1.0)
    detector.facts = {"calibration": {"low": 2.0, "high": 2.0}}
    assert detector.scaled(np.array([2.0, 5.0])).tolist() == [0.0, 3.0]


@pytest.mark.parametrize("key", ["motion-attributes", "hybrid"])
def test_a_network_that_cannot_be_made_again_is_told(key: str, tmp_path: Path) -> None:
    made(key).save(tmp_path)
    held = json.loads((tmp_path / FACTS_FILE).read_text())
    (tmp_path / FACTS_FILE).write_text(json.dumps({**held, "backbone": {"colour": "red"}}))
    with pytest.raises(WeightsError, match=f"must describe a {key} detector"):
        load_detector(tmp_path)


def test_a_folder_is_opened_by_its_own_settings_alone(tmp_path: Path) -> None:
    made("video-transformer").save(tmp_path)
    assert ClassifierSettings.load(tmp_path).classes == ("fight", "calm")
    with pytest.raises(WeightsError, match=r"Bcae1 opens its own detectors; .* holds a video-transformer"):
        Bcae1.load(tmp_path)
