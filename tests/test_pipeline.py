"""The front door: `explain` for a model of a user's own and for a detector."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vidence
from vidence.attribution import GradCAM, WhenWhere
from vidence.errors import ExplainError, ShapeError, SpecError, VidenceError
from vidence.explained_source import Reasons, write_down
from vidence.frames.clip import Clip
from vidence.frames.source import open_source
from vidence.models.classifier_detector import ClassifierDetector, ClassifierSettings
from vidence.models.detector import Detector, load_detector
from vidence.models.trivial import MeanFrame
from vidence.pipeline import default_line, explain
from vidence.record.decision import DecisionRecord
from vidence.record.facts import ClipRef
from vidence.record.provenance import file_digest
from vidence.scoring.cases import cases
from vidence.scoring.run import judge
from vidence.scoring.scores import Contrast, Logit
from vidence.testing import assert_no_residue


class Looped(nn.Module):
    """A user's model: the CNN frame by frame in a Python loop, then a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU())
        self.rnn, self.out = nn.GRU(6, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        frames = [self.cnn(x[:, :, t]).mean((2, 3)) for t in range(x.shape[2])]
        return self.out(self.rnn(torch.stack(frames, dim=1))[0][:, -1])


@pytest.fixture
def model() -> Looped:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Looped()


@pytest.fixture
def clip() -> Clip:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 16, 24, 3), dtype=np.uint8)
    return Clip(ClipRef("film.mp4", "0" * 64, 0, tuple(t / 10 for t in range(5))), pixels)


@pytest.fixture(scope="module")
def detector(detector_folder: Path) -> ClassifierDetector:
    return ClassifierSettings.load(detector_folder)


def as_input(clip: Clip) -> Tensor:
    return torch.from_numpy(clip.pixels).permute(3, 0, 1, 2)[None].float() / 255


def test_a_score_may_be_a_class_index(model: Looped, clip: Clip) -> None:
    x = as_input(clip)
    for index in (0, 1, np.int64(1), np.eye(2)[1].argmax(), torch.tensor(1), torch.tensor([0.0, 2.0]).argmax()):
        found, meant = (explain(model, x, explainer="gradient", score=score) for score in (index, Logit(int(index))))
        torch.testing.assert_close(found.values, meant.values)
    wrongs = ((True, "one index or name"), (torch.tensor(True), "one index or name"), (1.5, "callable"))
    for wrong, said in (*wrongs, (torch.tensor(1.0), "callable"), (2, "one of 0..1")):
        with pytest.raises(SpecError, match=said):
            explain(model, x, score=wrong)  # type: ignore[arg-type]


def test_a_network_that_returns_clips_is_told_of_reconstructs(clip: Clip) -> None:
    with pytest.raises(ShapeError, match=r"Reconstructs\(model\)"):
        explain(nn.Conv3d(3, 3, 3, padding=1), as_input(clip))


def test_a_users_model_and_a_tensor(model: Looped, clip: Clip) -> None:
    x = torch.cat([as_input(clip), as_input(clip).flip(2)])
    with assert_no_residue(model):
        found = vidence.explain(model, x)
    assert found.values.shape[:2] == (2, 5)
    assert torch.equal(found.values, WhenWhere().attribute(model, x, Logit()).values)


def test_a_clip_is_what_its_pixels_are(model: Looped, clip: Clip) -> None:
    assert torch.equal(explain(model, clip).values, explain(model, as_input(clip)).values)


def test_a_model_without_recurrence_gets_grad_cam(clip: Clip) -> None:
    class Averaged(Looped):
        def __init__(self) -> None:
            super().__init__()
            del self.rnn
            self.out = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            frames = x.transpose(1, 2).flatten(0, 1)
            return self.out(self.cnn(frames).mean((2, 3)).unflatten(0, (len(x), -1)).mean(dim=1))

    averaged = Averaged()
    found = explain(averaged, clip)
    assert torch.equal(found.values, GradCAM().attribute(averaged, as_input(clip), Logit()).values)


def test_a_detector_prepares_the_clip_itself(detector: ClassifierDetector, film: Path) -> None:
    clip = next(detector.windows.cut(open_source(film)))
    found = explain(detector, clip)
    assert default_line(detector) == "when-where"
    x = detector.prepare(clip)
    assert torch.equal(found.values, WhenWhere().attribute(detector.network, x, Logit()).values)
    assert torch.equal(explain(detector, x).values, found.values)


def test_lines_name_classes(detector: ClassifierDetector, film: Path) -> None:
    clip = next(detector.windows.cut(open_source(film)))
    lines = explain(detector, clip, explainer="grad-cam", score="contrast(class='normal', against='flash')")
    objects = explain(detector, clip, explainer=GradCAM(), score=Contrast(1, against=0))
    assert torch.equal(lines.values, objects.values)
    other = explain(detector, clip, explainer="grad-cam", score="contrast(class='flash')")
    assert not torch.equal(lines.values, other.values)


def test_a_plain_function_is_a_score(model: Looped, clip: Clip) -> None:
    found = explain(model, clip, explainer="gradient", score=lambda output, x: output[:, 1])
    assert torch.equal(found.values, explain(model, clip, explainer="gradient", score="logit(class=1)").values)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"explainer": "grad-kam"}, "known are"),
        ({"explainer": "grad-cam(layer='absent')"}, "absent"),
        ({"score": "logit(class='fight')"}, "fight"),
        ({"score": "logit(class=2)"}, "0..1"),
        ({"score": "logits"}, "known are"),
    ],
)
def test_wrong_settings_are_told(model: Looped, clip: Clip, asked: dict[str, str], said: str) -> None:
    with assert_no_residue(model), pytest.raises(VidenceError, match=said):
        explain(model, clip, **asked)


def test_unknown_classes_of_a_detector_are_told(detector: ClassifierDetector, film: Path) -> None:
    clip = next(detector.windows.cut(open_source(film)))
    for wrong in ("'fight'", "2", "-3"):
        with pytest.raises(SpecError, match="flash, normal"):
            explain(detector, clip, score=f"logit(class={wrong})")


def test_what_has_no_network_cannot_be_looked_into(clip: Clip) -> None:
    with pytest.raises(ExplainError, match="object has none"):
        explain(object(), clip)  # type: ignore[arg-type]


def test_a_function_is_no_model_and_told_so(model: Looped, clip: Clip) -> None:
    with pytest.raises(ExplainError, match=r"function has none.*forward of a module"):
        explain(lambda x: model(x), clip)  # type: ignore[arg-type]


def test_an_array_is_no_clip_and_told_how_to_become_one(model: Looped, clip: Clip) -> None:
    for given in (clip.pixels, clip.pixels.tolist()):
        with pytest.raises(ShapeError, match=f"got {type(given).__name__}.*permute"):
            explain(model, given)  # type: ignore[arg-type]


def test_a_class_is_no_explainer(model: Looped, clip: Clip) -> None:
    with pytest.raises(SpecError, match=r"got the class GradCAM; write GradCAM\(\)"):
        explain(model, clip, explainer=GradCAM)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="a line such as"):
        explain(model, clip, explainer=3)  # type: ignore[arg-type]


def test_an_unknown_layer_is_refused_before_any_window(detector: ClassifierDetector) -> None:
    for line in ("grad-cam(layer='conv9')", "smooth(grad-cam(layer='conv9'), n=2)"):
        with pytest.raises(ExplainError, match="'conv9' names none"):
            Reasons(detector, [line])
    Reasons(detector, ["grad-cam", "smooth(grad-cam, n=2)"])


@pytest.mark.parametrize(
    ("line", "score", "said"),
    [
        ("gradient", "squared-error", "Reconstruct"),
        ("cdam", None, "tokens"),
        ("smooth(residual, n=2)", None, "residual"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_before_any_window(
    detector: ClassifierDetector, line: str, score: str | None, said: str
) -> None:
    with pytest.raises(VidenceError, match=said):
        Reasons(detector, [line], score)


@pytest.mark.parametrize("key", ["frame-occlusion", "grad-cam", "gradient", "lrp", "when-where"])
def test_a_bare_key_is_an_explainer(key: str, model: Looped, clip: Clip) -> None:
    assert explain(model, clip, explainer=key, score="logit").values.shape[:2] == (1, 5)


def test_what_is_explained_outside_every_alarm_gets_a_record_of_its_own(
    film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    detector, source = load_detector(detector_folder), open_source(film)
    judged = judge(detector, source, threshold=0.5)
    assert len(judged.events) == 2
    alarmed = {window for case in cases(judged) for window in case.windows}
    quiet = [window for window in judged.windows if window not in alarmed]
    reasons = Reasons(detector, ("frame-occlusion",))
    reasons.add_all(source, quiet[:1])
    *alarms, besides = write_down(detector, source, judged, reasons, out=tmp_path)
    assert [len(each.evidence) for each in alarms] == [0, 0]
    assert besides.events == ()
    assert besides.detection.clip.first == quiet[0].ref.first
    assert len(besides.evidence) == 1


def test_what_is_explained_beside_an_alarm_says_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    for second in range(48):
        picture = np.full((64, 64, 3), 127, np.uint8)
        if 20 <= second <= 23:
            picture[:32, :32] = 255  # the alarm: upper left
        if second == 4:
            picture[56:60, 56:60] = 150  # faint, lower right
        cv2.imwrite(str(tmp_path / "film" / f"{second:03}.png"), picture)
    detector, source = MeanFrame(size=64, length=8, smooth=1).build(), open_source(tmp_path / "film")
    judged = judge(detector, source, threshold=20)
    assert [(event.first_s, event.last_s) for event in judged.events] == [(20, 23)]
    reasons = Reasons(detector, ("residual",))
    reasons.add_all(source, judged.windows)
    alarm, besides = write_down(detector, source, judged, reasons, out=tmp_path / "out")
    assert alarm.detection.value == max(alarm.outcome.values) == judged.events[0].peak
    assert besides.detection.value < max(besides.outcome.values) + 1e-9 < 20
    (told,) = besides.evidence
    for times in (besides.outcome.times, told.profile_times, [each.first_s for each in told.segments]):
        assert times
        assert not any(20 <= time <= 23 for time in times)
    assert "lower right" in told.sentence
    assert [(each.first_s, each.last_s) for each in told.segments] == [(4, 4)]
    assert [picture.file.split("/")[-1] for picture in told.pictures] == ["besides.jpg", "beside-besides.png"]


def test_no_record_loses_its_files_to_another(film: Path, detector_folder: Path, tmp_path: Path) -> None:
    detector, other, source = load_detector(detector_folder), load_detector(detector_folder), open_source(film)
    assert isinstance(other.network, nn.Module)
    with torch.no_grad():
        next(other.network.parameters()).mul_(1.5)

    def made(by: Detector, span: tuple[float, float], *, threshold: float = 0.5) -> list[DecisionRecord]:
        judged = judge(by, source, threshold=threshold)
        reasons = Reasons(by, ("gradient",))
        reasons.add_all(source, judged.during(*span))
        return write_down(by, source, judged, reasons, out=tmp_path)

    def on_disk() -> dict[str, str]:
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {path.relative_to(tmp_path).as_posix(): file_digest(path) for path in files}

    first = made(detector, (0, 2))
    records = [*first, *made(detector, (1, 2)), *made(detector, (0, 2), threshold=0.4), *made(other, (0, 2))]
    held = {name: value for each in records for name, value in each.files.items()}
    assert sum(len(files) for files in {tuple(each.files): each.files for each in records}.values()) == len(held)
    assert on_disk() == held  # every file of every record is as it was recorded, and nothing else lies about
    altered = tmp_path / next(iter(first[0].files))
    altered.write_bytes(b"altered")
    assert [each.id for each in made(detector, (0, 2))] == [each.id for each in first]
    assert on_disk() == held


def test_what_would_have_changed_the_score_is_in_the_record(film: Path, detector_folder: Path, tmp_path: Path) -> None:
    detector, source = load_detector(detector_folder), open_source(film)
    judged = judge(detector, source, threshold=0.5)
    reasons = Reasons(detector, ("counterfactual-box(verify=8, shrink=6)", "gradient"), "contrast(class=1)")
    reasons.add_all(source, judged.windows[:1])
    told = [each for made in write_down(detector, source, judged, reasons, out=tmp_path) for each in made.evidence]
    said = {each.explainer.split("(")[0]: each.counterfactual for each in told}
    assert said["gradient"] is None
    assert "If the marked region had looked like the clip's mean colour" in str(said["counterfactual-box"])
    assert "(threshold 0)" in str(said["counterfactual-box"])
