"""UCSD Ped1 and Ped2 (Mahadevan, Li, Bhalodia, Vasconcelos, CVPR 2010): as published in TIFF, or as MP4 clips."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from vidence.datasets.dataset import Sample, Truth
from vidence.datasets.intervals import Interval, covered, same_length
from vidence.datasets.masks import read_mask_array, read_masks
from vidence.datasets.publication import Official, visible
from vidence.errors import DataError

_ENTRY = re.compile(r"TestVideoFile\{end\+1\}\.gt_frame\s*=\s*\[([\d:,\s]*)\]\s*;?")
_START = re.compile(r"TestVideoFile\s*=\s*\{\s*\}\s*;?")
_RANGE = re.compile(r"(\d+)(?::(\d+))?")
_NUMBER = re.compile(r"\d+$")
_LISTED = "frame_labels.json"  # tells the MP4 form


@dataclass(frozen=True)
class _Ucsd(Official):
    """A fixed camera above a walkway; anomalies are carts, cyclists, skaters and other non-pedestrians.

    Two forms are read. Published: `Train/Train001/*.tif`, `Test/Test001/*.tif`, `Test/Test001_gt/*.bmp` where there
    are masks, and the truth of frames in a MATLAB script; a frame that does not decode (Ped1 is published with one,
    Test017/142.tif) repeats the one before. MP4: `train/*.mp4`, `test/*.mp4`, `frame_labels.json` and `masks/*.npz`.
    """

    origin = "http://www.svcl.ucsd.edu/projects/anomaly/dataset.htm (UCSD Anomaly Detection Dataset)"
    channels = 1
    fps = 10.0
    camera: ClassVar[str]
    layout = (
        "Train/Train001/*.tif, Test/Test001/*.tif and the .m script (or train/*.mp4, test/*.mp4, frame_labels.json)"
    )

    @property
    def home(self) -> Path:
        """The camera's folder: its namesake in the unpacked archive, or the one that holds the parts."""
        return self.found(self.camera) or self.home_of("Test", "Train", "test", "train")

    def part(self, name: Literal["train", "test"]) -> list[Sample]:
        """Clips; those of `train` are normal, one of `test` is anomalous if any of its frames is."""
        clips = self._clips(name)
        if name == "train":
            return [Sample(str(clip), "normal", clip.stem, fps=self.fps, mend=clip.is_dir()) for clip in clips]
        wrong = self._intervals(clips)
        labels = ["anomalous" if wrong[clip.stem] else "normal" for clip in clips]
        return [
            Sample(str(clip), label, clip.stem, _mask(clip), fps=self.fps, mend=clip.is_dir())
            for clip, label in zip(clips, labels, strict=True)
        ]

    def truth(self, sample: Sample, frames: int) -> Truth:
        """Frames by the listed intervals; masks where the set has them."""
        if Path(sample.path).parent.name.lower() == "train":
            return super().truth(sample, frames)
        name = Path(sample.path).stem
        intervals = self._intervals(self._clips("test"))[name]
        counted, by = self._counted(Path(sample.path))
        same_length(counted, frames, where=f"{by}, {name},")
        anomalous = covered(intervals, frames, where=f"the truth of {name}")
        if sample.mask is None:
            return Truth(anomalous)
        read = read_mask_array if sample.mask.endswith(".npz") else read_masks
        return Truth(anomalous, read(sample.mask, frames))

    def _clips(self, part: Literal["train", "test"]) -> list[Path]:
        if (self.home / _LISTED).exists():
            return self.some((self.home / part).glob("*.mp4"), f"{part}/*.mp4")
        folder = part.capitalize()
        clips = (path for path in (self.home / folder).glob(f"{folder}*") if path.is_dir())
        return self.some((clip for clip in clips if not clip.name.endswith("_gt")), f"{folder}/{folder}001")

    def _counted(self, clip: Path) -> tuple[int, str]:
        """How many frames the clip should have, and what says so: the MP4 form's list, else their names, from 001."""
        if not clip.is_dir():
            return _read_json(self.home / _LISTED)[clip.stem].frames, _LISTED
        numbers = [int(found[0]) for frame in visible(clip.iterdir()) if (found := _NUMBER.search(frame.stem))]
        return max(numbers, default=0) + (0 in numbers), "the last frame's name"

    def _intervals(self, clips: Sequence[Path]) -> dict[str, list[Interval]]:
        """The anomalous frames of each test clip, counted from 1, both ends included."""
        listed, names = self.home / _LISTED, [clip.stem for clip in clips]
        if listed.exists():
            facts = {name: entry.anomalous for name, entry in _read_json(listed).items()}
            if absent := [name for name in names if name not in facts]:
                raise DataError(f"{_LISTED} must list every test clip; missing: {', '.join(absent)}.")
            return {name: facts[name] for name in names}
        script = f"{self.camera}.m"
        place = next((one for one in (self.home / "Test" / script, self.home / script) if one.exists()), None)
        if place is None:
            raise self.absent(f"Test/{script}")
        found = read_script(place)
        if len(found) != len(clips):
            raise DataError(
                f"{script} must have one entry per test clip; it has {len(found)} for {len(clips)} clips in Test. "
                "Unpack the archive again."
            )
        return dict(zip(names, found, strict=True))


@dataclass(frozen=True)
class UcsdPed1(_Ucsd):
    """Ped1: 34 training and 36 test clips of 200 frames, 238x158; masks for some test clips."""

    camera = "UCSDped1"
    crop = (14, 8, 144, 204)


@dataclass(frozen=True)
class UcsdPed2(_Ucsd):
    """Ped2: 16 training and 12 test clips, 360x240; masks for every test clip."""

    camera = "UCSDped2"
    crop = (80, 0, 160, 360)


def read_script(place: Path) -> list[list[Interval]]:
    """The intervals of `TestVideoFile{end+1}.gt_frame = [5:90, 140:200];`, entry by entry; nothing is evaluated.

    Raises `DataError` with the line that is neither such an entry, nor empty, nor a comment.
    """
    entries = []
    for number, raw in enumerate(place.read_text(encoding="latin-1").splitlines(), start=1):
        line = raw.split("%")[0].strip()
        found = _ENTRY.fullmatch(line)
        if found is not None:
            ranges = [_RANGE.fullmatch(one) for one in re.split(r"[,\s]+", found[1].strip()) if one]
            if all(ranges):
                entries.append([(int(one[1]), int(one[2] or one[1])) for one in ranges if one])
                continue
        elif not line or _START.fullmatch(line):
            continue
        raise DataError(
            f"{place.name} must hold lines like TestVideoFile{{end+1}}.gt_frame = [61:180]; line {number} is {raw!r}."
        )
    return entries


class _Entry(NamedTuple):
    """What the MP4 form lists of a test clip."""

    frames: int
    anomalous: list[Interval]


def _read_json(file: Path) -> dict[str, _Entry]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        return {
            name: _Entry(int(facts["frames"]), [(int(a), int(b)) for a, b in facts["anomalous_1based_inclusive"]])
            for name, facts in held.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{_LISTED} must give each test clip its frames and its anomalous_1based_inclusive; {error!r}."
        ) from error


def _mask(clip: Path) -> str | None:
    """The clip's masks: masks/NAME.npz beside the MP4 form, NAME_gt beside a folder of frames, or none."""
    beside = clip.with_name(f"{clip.name}_gt")
    listed = clip.parents[1] / "masks" / f"{clip.stem}.npz"
    return next((str(one) for one in (beside, listed) if one.exists()), None)
