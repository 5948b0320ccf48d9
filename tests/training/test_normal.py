"""A detector of what is normal: fitted, calibrated, saved; broken fits go on to the same end."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidence import models
from vidence.datasets.dataset import Sample
from vidence.errors import DataError, SpecError, WeightsError
from vidence.frames.source import open_source
from vidence.models.detector import load_detector
from vidence.models.ensemble import Ensemble
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import ReconstructionDetector, ReconstructionSettings
from vidence.models.trivial import PreviousFrame
from vidence.scoring.run import judge
from vidence.scoring.thresholds import BestF1, FalseAlarmBudget
from vidence.training import loop
from vidence.training.normal import fit_normal, plateau_reached, settled
from vidence.training.schedule import Schedule

SCHEDULE = Schedule(epochs=6, batch=8, rate=0.02, decay=0.0, patience=None, plateau=0, factor=0.5)


class Squeeze(ReconstructionNetwork):
    """Four channels at a quarter of the side, batch norm and dropout: all that a fit can go wrong with."""

    def __init__(self, channels: int, *, first_frame: int = 0) -> None:
        super().__init__()
        self.channels, self.first_frame = channels, first_frame
        self.encoder = nn.Sequential(nn.Conv2d(channels, 4, 4, 4), nn.BatchNorm2d(4), nn.Dropout(0.1), nn.LeakyReLU())
        self.decoder = nn.Sequential(nn.ConvTranspose2d(4, channels, 4, 4), nn.Sigmoid())

    def forward(self, x: Tensor) -> Reconstruction:
        truth = coloured(x, self.channels)
        n, _, t = truth.shape[:3]
        made = self.decoder(self.encoder(truth.transpose(1, 2).flatten(0, 1))).unflatten(0, (n, t)).transpose(1, 2)
        return Reconstruction(made[:, :, : t - self.first_frame], first_frame=self.first_frame)


@dataclass(frozen=True, kw_only=True)
class Squeezed(ReconstructionSettings):
    """A predictor if `ahead` is 1: its frame t is made of frame t - 1."""

    ahead: int = 0

    def network(self) -> Squeeze:
        return Squeeze(self.channels or 3, first_frame=self.ahead)


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.DETECTORS, "squeezed", Squeezed)


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Three videos of 20 frames: a bright square that moves over a gradient."""
    root = tmp_path_factory.mktemp("walks")
    return [walk(root / f"walk{number}", 20, seed=number) for number in range(3)]


def walk(folder: Path, frames: int, *, seed: int) -> Sample:
    folder.mkdir()
    random = np.random.default_rng(seed)
    for t in range(frames):
        pixels = np.repeat(np.linspace(40, 120, 32, dtype=np.uint8)[:, None], 32, axis=1)
        left = (3 * t + 7 * seed) % 24
        pixels[8:16, left : left + 8] = random.integers(180, 220)
        cv2.imwrite(str(folder / f"{t:02d}.png"), np.repeat(pixels[..., None], 3, axis=2))
    return Sample(str(folder), "normal", folder.name)


SETTINGS = Squeezed(length=4, size=32, channels=1, smooth=3)


def fitted(walks: list[Sample], out: Path, settings: Any = SETTINGS, **options: Any) -> ReconstructionDetector:
    held = {"progress": False, "schedule": SCHEDULE, "cache": out.parent / "cache"}
    return fit_normal(settings, walks[:2], walks[2:], out=out, **(held | options))


def assert_same_weights(first: ReconstructionDetector, second: ReconstructionDetector) -> None:
    assert first.weights_digest == second.weights_digest


def test_it_learns_more_than_the_mean_and_is_saved_as_it_is(walks: list[Sample], tmp_path: Path) -> None:
    detector = fitted(walks, tmp_path / "out", epochs=60)
    errors = detector.facts["metrics"]["val"]
    assert errors["mse"] < errors["mean_frame_mse"] / 2
    again = Squeezed.load(tmp_path / "out")
    assert (again.threshold, again.facts) == (detector.threshold, detector.facts)
    assert_same_weights(again, detector)
    facts = json.loads((tmp_path / "out" / "detector.json").read_text())["facts"]
    assert facts["frames"] == {"train": 40, "val": 20}
    assert facts["clips"] == {"train": {"normal": 2}, "val": {"normal": 1}}
    assert facts["validation"] == "split by video"
    assert (facts["epochs"], facts["kept_epoch"], facts["plateau_reached"]) == (60, 60, facts["plateau_reached"])
    assert not {"seconds", "trained_at"} & facts.keys()
    assert {"log.csv", "curve.png", "progress.pt"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_the_errors_written_down_are_those_of_the_definition(walks: list[Sample], tmp_path: Path) -> None:
    detector = fitted(walks, tmp_path / "out")

    def gray(sample: Sample) -> Tensor:
        clips = detector.windows.cut(open_source(sample.path))
        return torch.cat([coloured(detector.prepare(clip), 1) for clip in clips], dim=2)

    mean = torch.cat([gray(sample) for sample in walks[:2]], dim=2).mean(dim=2, keepdim=True)
    x = gray(walks[2])
    with torch.no_grad():
        found = detector.network(x).x_hat
    errors = detector.facts["metrics"]["val"]
    assert errors["mse"] == pytest.approx(float((found - x).square().mean()), rel=1e-5)
    assert errors["mean_frame_mse"] == pytest.approx(float((mean - x).square().mean()), rel=1e-4)


def test_the_seed_of_the_split_is_written_down(walks: list[Sample], tmp_path: Path) -> None:
    facts = fitted(walks, tmp_path / "out", seed=3, split_seed=1, epochs=1).facts
    assert (facts["seed"], facts["split_seed"]) == (3, 1)
    assert fitted(walks, tmp_path / "other", seed=3, epochs=1).facts["split_seed"] == 3


def test_live_scores_of_validation_are_on_the_scale(walks: list[Sample], tmp_path: Path) -> None:
    """Half of the validation frames lie below 0, the .99 quantile is 1 and, by default, the threshold."""
    detector = fitted(walks, tmp_path / "out")
    values = judge(detector, open_source(walks[2].path), threshold=0.0).curve.values
    assert np.median(values) == pytest.approx(0, abs=1e-5)
    assert np.quantile(values, 0.99) == pytest.approx(1, abs=1e-5)
    assert detector.threshold is not None
    assert detector.threshold["value"] == pytest.approx(1, abs=1e-5)
    assert detector.threshold["rule"] == "quantile"
    assert detector.facts["calibration"]["frames"] == 20


def test_same_seed_same_weights_and_another_seed_others(walks: list[Sample], tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    first = fitted(walks, tmp_path / "first", seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    assert_same_weights(first, fitted(walks, tmp_path / "second", seed=3))
    assert first.weights_digest != fitted(walks, tmp_path / "other", seed=4).weights_digest


@pytest.mark.parametrize("recipe", ["corrected", "released"])
def test_a_resumed_fit_ends_like_an_unbroken_one(walks: list[Sample], tmp_path: Path, recipe: Any) -> None:
    settings = replace(SETTINGS, recipe=recipe)
    whole = fitted(walks, tmp_path / "whole", settings)
    fitted(walks, tmp_path / "part", settings, epochs=2)
    resumed = fitted(walks, tmp_path / "part", settings, resume=True)
    assert_same_weights(whole, resumed)
    assert resumed.facts == whole.facts
    for name in ("log.csv", "detector.json", "model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()


def test_a_fit_is_not_resumed_on_what_it_was_validated_on_or_in_another_arithmetic(
    walks: list[Sample], tmp_path: Path
) -> None:
    fitted(walks, tmp_path / "out", epochs=1, precision="32-true")
    for held, precision in (([walks[2], *walks[:2]], "32-true"), (walks, "bf16-mixed")):
        with pytest.raises(WeightsError, match="parts of it"):
            fitted(held, tmp_path / "out", precision=precision, resume=True)


def test_ctrl_c_says_what_is_kept(walks: list[Sample], tmp_path: Path, monkeypatch: Any) -> None:
    from vidence.training.reconstruction_module import Reconstructor

    step = Reconstructor.training_step

    def pressed(self: Any, batch: Tensor, index: int) -> Tensor:
        if self.epoch == 3:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patched:
        patched.setattr(Reconstructor, "training_step", pressed)
        with pytest.raises(KeyboardInterrupt, match="2 of 6 epochs are kept in"):
            fitted(walks, tmp_path / "part")
    assert_same_weights(fitted(walks, tmp_path / "part", resume=True), fitted(walks, tmp_path / "whole"))


def test_the_released_recipe_validates_on_what_it_trains_on_and_says_so(walks: list[Sample], tmp_path: Path) -> None:
    detector = fitted(walks, tmp_path / "out", replace(SETTINGS, recipe="released"), schedule=None, epochs=1)
    assert "it leaks" in detector.facts["validation"]
    assert detector.facts["schedule"]["decay"] == 1e-5


def test_early_stopping_keeps_the_best_epoch(walks: list[Sample], tmp_path: Path) -> None:
    detector = fitted(walks, tmp_path / "out", schedule=replace(SCHEDULE, epochs=60, patience=2, rate=0.3))
    rows = (tmp_path / "out" / "log.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[2]) for row in rows]
    assert detector.facts["epochs"] == len(losses) == detector.facts["kept_epoch"] + 2 < 60
    assert detector.facts["kept_epoch"] == 1 + int(np.argmin(losses))


@pytest.mark.parametrize("ahead", [0, 1], ids=["reconstructs", "predicts"])
def test_colour_and_prediction(walks: list[Sample], tmp_path: Path, ahead: int) -> None:
    settings = Squeezed(length=5, size=32, smooth=1, ahead=ahead)
    detector = fitted(walks, tmp_path / "out", settings)
    assert detector.facts["calibration"]["frames"] == 20 - ahead
    assert detector.network.encoder[0].in_channels == 3  # type: ignore[union-attr, index]


def test_images_are_clips_of_one_frame(walks: list[Sample], tmp_path: Path) -> None:
    images = [Sample(str(path), "normal", path.name) for each in walks for path in sorted(Path(each.path).iterdir())]
    detector = fitted(images[::3], tmp_path / "out", SETTINGS, schedule=replace(SCHEDULE, epochs=2))
    assert detector.facts["frames"]["train"] == 2
    detector = fit_normal(SETTINGS, images[:40], images[40:], out=tmp_path / "all", progress=False, epochs=2)
    assert detector.facts["calibration"]["frames"] == 20


def test_what_has_no_gradient_learns_once_or_nothing(walks: list[Sample], tmp_path: Path) -> None:
    from vidence.models.trivial import MeanFrame, PreviousFrame

    options: dict[str, Any] = {"progress": False, "cache": tmp_path / "cache"}
    mean = fit_normal(MeanFrame(size=32, channels=1), walks[:2], walks[2:], out=tmp_path / "mean", **options)
    errors = mean.facts["metrics"]["val"]
    assert errors["mse"] == pytest.approx(errors["mean_frame_mse"], rel=1e-4)
    assert (mean.facts["epochs"], mean.facts["plateau_reached"], mean.facts["training_precision"]) == (0, True, None)
    previous = fit_normal(PreviousFrame(size=32, channels=1), walks[:2], walks[2:], out=tmp_path / "last", **options)
    assert previous.facts["calibration"]["frames"] == 19
    assert previous.threshold is not None


def test_the_members_of_an_ensemble_are_fitted_one_after_the_other(walks: list[Sample], tmp_path: Path) -> None:
    settings = models.Ensemble(
        of=(replace(SETTINGS, channels=None), models.PreviousFrame(size=32)), size=32, channels=1, smooth=1
    )
    found = fitted(walks, tmp_path / "both", settings, epochs=2)
    alone = fitted(walks, tmp_path / "alone", SETTINGS, epochs=2)
    squeezed, previous = (load_detector(tmp_path / "both" / "members" / name) for name in "01")
    assert squeezed.weights_digest == alone.weights_digest
    assert [each["weights"] for each in found.facts["members"]] == [squeezed.weights_digest, previous.weights_digest]
    assert "metrics" not in found.facts
    source = open_source(walks[2].path)
    clip = next(found.windows.cut(source))
    said = []
    for member in (squeezed, previous):
        low, high = (member.facts["calibration"][name] for name in ("low", "high"))
        said.append((member.errors(clip).values[-8:] - low) / (high - low))
    wanted = np.mean(said, axis=0)
    np.testing.assert_allclose(found.errors(clip).values, wanted, rtol=1e-3)
    np.testing.assert_array_equal(load_detector(tmp_path / "both").errors(clip).values, found.errors(clip).values)


def test_no_two_members_begin_alike(walks: list[Sample], tmp_path: Path) -> None:
    settings = models.Ensemble(of=(SETTINGS, SETTINGS), size=32, channels=1, length=4)
    found = fitted(walks, tmp_path / "both", settings, epochs=1, seed=3)
    first, second = found.facts["members"]
    assert first["weights"] != second["weights"]
    assert [each["facts"]["seed"] for each in (first, second)] == [3, 4]
    assert [each["facts"]["split_seed"] for each in (first, second)] == [3, 3]


def test_the_calibrated_score_of_members_has_the_scale_of_normal_frames(walks: list[Sample], tmp_path: Path) -> None:
    """Two like members, whose mean is each one's: half of the validation frames lie below 0, the .99 quantile is 1."""
    alike = models.MeanFrame(size=32, channels=1, length=4)
    settings = models.Ensemble(of=(alike, alike), size=32, channels=1, length=4)
    found = fitted(walks, tmp_path / "both", settings)
    clips = found.windows.cut(open_source(walks[2].path))
    values = np.concatenate([found.errors(clip).values for clip in clips])
    np.testing.assert_allclose(np.quantile(values, (0.5, 0.99)), (0, 1), atol=1e-3)


def test_a_density_learns_from_every_training_frame(walks: list[Sample], tmp_path: Path) -> None:
    settings = models.EmbeddingDensity(size=32, channels=1, length=4, density="pca")
    found = fitted(walks, tmp_path / "pca", settings)
    assert found.network.count == 40
    assert found.facts["calibration"]["frames"] == 20
    again = load_detector(tmp_path / "pca")
    clip = next(found.windows.cut(open_source(walks[2].path)))
    np.testing.assert_array_equal(again.errors(clip).values, found.errors(clip).values)


def test_another_rule(walks: list[Sample], tmp_path: Path) -> None:
    detector = fitted(walks, tmp_path / "out", rule=FalseAlarmBudget(per_hour=60))
    assert detector.threshold is not None
    assert detector.threshold["rule"] == "false-alarm-budget(per_hour=60)"


def test_what_cannot_be_done_is_refused_before_any_work(walks: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="on normal footage alone"):
        fitted(walks, tmp_path / "out", rule=BestF1())
    with pytest.raises(DataError, match="got 2 and 0"):
        fit_normal(SETTINGS, walks[:2], [], out=tmp_path / "out")
    for score in ("centre-distance", "squared-error+centre-distance"):
        with pytest.raises(SpecError, match="needs a one-class network"):
            fitted(walks, tmp_path / "out", replace(SETTINGS, score=score))
    members = (SETTINGS, replace(SETTINGS, score="centre-distance"))
    with pytest.raises(SpecError, match="needs a one-class network"):
        fitted(walks, tmp_path / "out", Ensemble(of=members, length=4, size=32))
    assert not (tmp_path / "out").exists()
    short = [walk(tmp_path / "short", 1, seed=9)]
    with pytest.raises(DataError, match="must hold clips of 2 frames"):
        fitted([*walks[:2], *short], tmp_path / "out", replace(SETTINGS, ahead=1))


def test_a_short_video_ends_no_calibration(walks: list[Sample], tmp_path: Path) -> None:
    short, predictor = walk(tmp_path / "short", 1, seed=9), PreviousFrame(size=32)
    found = fit_normal(predictor, walks[:2], [short, walks[2]], out=tmp_path / "out", progress=False)
    assert found.facts["calibration"]["frames"] == 19
    with pytest.raises(DataError, match="none does"):
        fit_normal(predictor, walks[:2], [short], out=tmp_path / "out", progress=False)


def test_bf16_and_float32_agree(walks: list[Sample], tmp_path: Path) -> None:
    """Training losses of the first epochs from the same start differ by less than 2 %."""

    def losses(precision: str) -> np.ndarray:
        assert fitted(walks, tmp_path / precision, precision=precision).facts["training_precision"] == precision
        rows = (tmp_path / precision / "log.csv").read_text().splitlines()[1:]
        return np.array([float(row.split(",")[1]) for row in rows])

    exact, fast = losses("32-true"), losses("bf16-mixed")
    assert exact[-1] < exact[0] / 2, "it must learn for the comparison to mean something"
    np.testing.assert_allclose(fast, exact, rtol=0.02)
    assert not np.array_equal(fast, exact)
    assert loop.fast_precision(torch.device("cpu")) in ("32-true", "bf16-mixed")
    default = fitted(walks, tmp_path / "default", epochs=1)
    assert default.facts["training_precision"] == loop.fast_precision(torch.device("cpu"))


def test_plateau() -> None:
    falling = [1 / (1 + epoch) for epoch in range(10)]
    assert not plateau_reached(falling)
    assert plateau_reached(falling + [0.1] * 5)
    assert plateau_reached([])
    assert not plateau_reached([0.1] * 5), "nothing came before"
    assert not plateau_reached([1.0, *[0.5] * 5])


def test_a_data_set_fills_what_the_line_leaves_open() -> None:
    class Set:
        channels, crop = 1, (1, 2, 3, 4)

    assert settled(Squeezed(), Set()) == Squeezed(channels=1, crop=(1, 2, 3, 4))  # type: ignore[arg-type]
    asked = Squeezed(channels=3, crop=(0, 0, 5, 5))
    assert settled(asked, Set()) == asked  # type: ignore[arg-type]
