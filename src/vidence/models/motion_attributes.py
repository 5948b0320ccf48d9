"""A detector without a network: attributes of what moves, and how far they are from those of normal footage.

[own method, in the spirit of Reiss and Hoshen, attribute-based representations, 2022: docs/motion-attributes.md]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, get_args

from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.attribute_memory import GROUPS, OBJECT_GROUPS, AttributeMemory, CellSample
from vidence.models.attributions import Attributions
from vidence.models.cell_appearance import CellAppearance
from vidence.models.identified import DetectorSettings, Identified
from vidence.models.motion_evidence import told
from vidence.models.motion_objects import BoxObjects, ObjectFinder, RegionObjects, Trails
from vidence.models.motion_session import EVERY, MotionSession, Rule, Seen
from vidence.models.usual_scene import UsualScene
from vidence.motion.flow import FLOWS
from vidence.motion.moving_cells import Grid
from vidence.record.facts import ClipRef

_CENTRED = ("span", "smooth", "pool")  # each counts what lies around and its middle
MOST = 5  # frames that a score may wait for what follows
HELD_CELLS = 50_000  # held-out normal cells that scales are read off at most
CROP = 24  # pixels a side of the pictures that are kept of normal cells


@dataclass(frozen=True, kw_only=True)
class MotionAttributes(DetectorSettings["MotionAttributesDetector"]):
    """How fast, where to and in what manner something moves in each cell, against the nearest normal cells.

    `flow` is how motion is found: dis, dis-fast or farneback; pictures higher than `height` are shrunk to it. A pixel
    moves if it is displaced by more than `least` pixels a frame; cells of 3 x 3 blocks of `block` pixels count where a
    share `filled` of them moves. Their attributes are means over `span` frames. Each of the `groups` has a density, the
    mean distance to the `neighbours` nearest of at most `coreset` normal cells, on a scale where 1 is the .999 quantile
    of held-out normal cells. With `perspective`, speeds are multiples of what is usual in their row of the picture;
    cells whose rows differ by a standard deviation are `rows` apart in every group but place and appearance. With
    `local` above 0, only the cells of the neighbourhood in the picture are compared with, where at least `local` are
    kept there. For the groups `object` and `dwell`, connected regions that move, or came less than `absorb` seconds
    ago, are tracked, or else the boxes in the folder `boxes`. A cell's score is the `rule` over its groups, averaged
    over `pool` x `pool` cells, a frame's the logarithm of 1 + its highest cell's, averaged over `smooth` frames.
    `stride` frames are scored at a time, of every frame or of `rate` a second; that a score waits for at most 5 later
    frames bounds `span`, `smooth` and `stride` together. `scale` is metres per pixel of the source, for what is said.
    """

    called: ClassVar[str] = "motion-attributes"

    flow: str = "dis"
    height: int = 240
    block: int = 12
    least: float = 0.4
    filled: float = 0.1
    span: int = 5
    smooth: int = 7
    groups: tuple[str, ...] = ("speed", "manner")
    rule: Rule = "sum"
    pool: int = 3
    neighbours: int = 3
    coreset: int = 8000
    perspective: bool = True
    rows: float = 1.0
    local: int = 0
    boxes: str | None = None
    absorb: float = 60.0
    stride: int = 1
    rate: float = 0.0
    scale: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        object.__setattr__(self, "groups", tuple(self.groups))
        known = (("flow", self.flow, tuple(FLOWS)), ("rule", self.rule, get_args(Rule)))
        for name, value, choices in (*known, *(("groups", each, tuple(GROUPS)) for each in self.groups)):
            if value not in choices:
                raise SpecError(f"motion-attributes: {name} must be of {', '.join(choices)}; got {value!r}.")
        if not self.groups or len(set(self.groups)) != len(self.groups):
            raise SpecError(f"motion-attributes: groups must be different ones, at least one; got {self.groups!r}.")
        least = {"height": 32, "block": 4, "neighbours": 1, "coreset": 100, "stride": 1}
        least |= dict.fromkeys(_CENTRED, 1)
        for name, lowest in least.items():
            value = getattr(self, name)
            if value < lowest:
                raise SpecError(f"motion-attributes: {name} must be at least {lowest}; got {value!r}.")
        if not all(getattr(self, name) % 2 for name in _CENTRED) or self.delay > MOST:
            raise SpecError(
                "motion-attributes: span, smooth and pool are centred, so each must be odd, and span // 2 + "
                f"smooth // 2 + stride - 1, the later frames that a score waits for, at most {MOST}; got span "
                f"{self.span}, smooth {self.smooth}, pool {self.pool} and stride {self.stride}."
            )
        if not 0 <= self.rows <= MOST:
            raise SpecError(f"motion-attributes: rows must lie between 0 and {MOST}; got {self.rows!r}.")
        if not 0 < self.filled < 1 or min(self.least, self.absorb, 1.0 if self.scale is None else self.scale) <= 0:
            raise SpecError(
                "motion-attributes: filled must lie between 0 and 1, least, absorb and scale above 0; got "
                f"{self.filled}, {self.least}, {self.absorb}, {self.scale}."
            )
        if 0 != self.local < self.neighbours:
            raise SpecError(
                f"motion-attributes: local must be 0, or at least neighbours, {self.neighbours}; got {self.local!r}."
            )
        if self.boxes is not None and (not self.follows or self.rate):
            raise SpecError(
                "motion-attributes: boxes are what the groups object and dwell are of, and name every frame, so rate "
                f"must be 0; got groups {self.groups!r} and rate {self.rate:g}."
            )

    @property
    def reach(self) -> int:
        """Frames before and after it that a frame's score depends on, but for the flow of the first of them."""
        return self.span // 2 + self.smooth // 2

    @property
    def delay(self) -> int:
        """How many later frames have come at most when a frame gets its score."""
        return self.reach + self.stride - 1

    @property
    def context(self) -> int:
        """Frames at the start of a window, but a source's first, that its scores only depend on."""
        looks = EVERY if "appearance" in self.groups else 0  # until one that is looked at and has a frame before it
        return self.reach + 2 + looks  # two frames more make the first flow, and how it changes

    @property
    def follows(self) -> bool:
        """Whether a group is of objects."""
        return not set(self.groups).isdisjoint(OBJECT_GROUPS)

    def looking(self) -> MotionAttributes:
        """The same, with the group `appearance` if it is not among them."""
        return self if "appearance" in self.groups else replace(self, groups=(*self.groups, "appearance"))

    def finder(self, ref: ClipRef, size: tuple[int, int]) -> ObjectFinder:
        """What finds the objects of a source, whose pictures are of a size (h, w)."""
        if self.boxes is not None:
            return BoxObjects(self.boxes, ref, size)
        return RegionObjects(absorb=self.absorb, smallest=self.block**2)

    @property
    def grid(self) -> Grid:
        """The cells."""
        return Grid(self.block, self.least)

    def build(self, appearance: CellAppearance | None = None) -> MotionAttributesDetector:
        """A detector that has yet to learn. Raises `SpecError` unless `appearance` comes with its group."""
        if (appearance is None) == ("appearance" in self.groups):
            given = "no weights" if appearance is None else "weights"
            raise SpecError(
                "motion-attributes: the group appearance and the weights of a MobileNetV2 go together; got "
                f"{given} and the groups {', '.join(self.groups)}. Train with --weights, which add the group, or "
                "leave it out."
            )
        memory = AttributeMemory(
            self.groups,
            coreset=self.coreset,
            neighbours=self.neighbours,
            local=self.local,
            perspective=self.perspective,
            rows=self.rows,
            crop=CROP,
            appearance=appearance,
        )
        return MotionAttributesDetector(self, memory)

    def remade(self, saved: Mapping[str, Any]) -> MotionAttributesDetector:
        """The detector of a checked `detector.json`, before its weights are filled in."""
        return self.build(CellAppearance.restored(saved["backbone"]) if saved["backbone"] else None)


class MotionAttributesDetector(Identified):
    """A built detector. `facts['calibration']` (`low`, `high`: the median and the .99 quantile of held-out normal
    frames) puts the live score on a scale where 0 is usual and 1 rare. Its score is read out by `evidence`.
    """

    network = None
    score_line = "motion-attributes"

    def __init__(self, settings: MotionAttributes, memory: AttributeMemory) -> None:
        self.settings, self.known = settings, memory.eval()
        self.trails = Trails()
        self.threshold: dict[str, Any] | None = None
        self.facts: dict[str, Any] = {}
        self.fit = Fit(size=settings.height)
        self.windows = Windows(
            length=settings.context + settings.stride + settings.reach,
            stride=settings.stride,
            rate=settings.rate or None,
            partial="tail" if settings.reach else "keep",
        )

    @property
    def weighed(self) -> nn.Module:
        """What its folder holds the weights of."""
        return self.known

    @property
    def delay(self) -> int:
        """How many later frames have come at most when a frame gets its score, which is final; the first frames of a
        source wait until the first window is full.
        """
        return self.settings.delay

    @property
    def smoothing(self) -> str:
        """How live scores are smoothed, in words."""
        return f"mean of {self.settings.smooth} frames, told at most {self.delay} frames later"

    @property
    def origin(self) -> dict[str, Any]:
        """What the network that looks at cells was made of; empty without one."""
        return {} if self.known.appearance is None else self.known.appearance.origin()

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the settings say of the input, spelt out for readers of the JSON."""
        return {"height": self.settings.height, **asdict(self.windows)}

    def prepare(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """The clip as a network would take it; this detector looks at the pixels as they are."""
        return self.fit(clip)

    @property
    def scene(self) -> UsualScene:
        """What the learnt footage was like as a whole."""
        return UsualScene.of(self.facts)

    def watched(self, clips: Iterable[Clip]) -> Iterator[Seen]:
        """Every frame of the windows of sources that follow each other."""
        session = self.start()
        for clip in clips:
            if clip.ref.first == 0:
                session = self.start()
            session.push(clip)
            yield from session.seen

    def learn(self, clips: Iterable[Clip], *, seed: int) -> None:
        """Take the moving cells of normal windows into the memory."""
        sample = CellSample(self.settings.coreset, seed=seed)
        for seen in self.watched(clips):
            sample.add(seen.cells)
            self.facts |= self.scene.learnt(seen.size, seen.moving).facts()  # the next source is looked at likewise
        self.known.learn(sample, seed=seed)
        self.remember(None)

    def measure_scales(self, clips: Iterable[Clip]) -> None:
        """Set the usual distance in each group from normal windows that were not learnt."""
        sample = CellSample(HELD_CELLS, seed=0)
        for seen in self.watched(clips):
            sample.add(seen.cells)
        self.known.calibrate(sample.cells)
        self.remember(None)

    def start(self) -> MotionSession:
        """A fresh session for one source."""
        return MotionSession(self)

    def evidence(self, clip: Clip) -> Attributions:
        """Why a window got its score: the cells' scores as a map, and in `extra` what they say (see `told`).

        What objects did before the window is known where the detector has scored the source; else they begin in it.
        """
        session = MotionSession(self, trail=self.trails.of(clip.ref))
        scores = session.push(clip)
        return told(self, session, float(scores.values.max()))
