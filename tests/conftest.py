"""What every test shares: one thread (small convolutions slow down tenfold when oversubscribed), the data's place, and
a detector with films that are just large enough to raise alarms and to explain them.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

torch.set_num_threads(1)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FLASHES = ((1.0, 1.5), (4.4, 4.9))  # seconds at which the film below is bright


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared real data (../shared/data beside the checkout) is absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def make_film(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a film of 10 frames a second in which a bright square stands at the given seconds."""
    from vidence.datasets.synthetic import encode

    folder = tmp_path_factory.mktemp("films")

    def make(name: str, flashes: tuple[tuple[float, float], ...] = FLASHES, *, frames: int = 60, seed: int = 0) -> Path:
        pixels = np.random.default_rng(seed).integers(30, 50, (frames, 32, 48, 3)).astype(np.uint8)
        for t in range(frames):
            if any(first <= t / 10 <= last for first, last in flashes):
                pixels[t, 4:28, 20:44] = 250
        encode(folder / name, pixels, rate=10.0)
        return folder / name

    return make


@pytest.fixture(scope="session")
def film(make_film: Callable[..., Path]) -> Path:
    """Six seconds with two flashes, which raise two alarms."""
    return make_film("film.mp4")


@pytest.fixture(scope="session")
def quiet_film(make_film: Callable[..., Path]) -> Path:
    """Two seconds in which nothing happens."""
    return make_film("quiet.mp4", (), frames=20, seed=1)


@pytest.fixture(scope="session")
def tiny_ped2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A look-alike of UCSD Ped2 in its MP4 form: a bright square runs through a still scene where the truth says so."""
    from vidence.datasets.synthetic import encode

    root, rng = tmp_path_factory.mktemp("ped2"), np.random.default_rng(0)
    events = {"Test001": [[9, 16]], "Test002": [[1, 5], [15, 20]], "Test003": [[1, 20]], "Test004": []}
    scene = rng.integers(60, 120, (48, 64, 3))
    for name in ("Train001", "Train002", "Train003", *events):
        part = "train" if name.startswith("Train") else "test"
        frames = np.clip(scene + rng.integers(-4, 5, (20, 48, 64, 3)), 0, 255).astype(np.uint8)
        masks = np.zeros((20, 48, 64), dtype=bool)
        for first, last in events.get(name, []):
            for t in range(first - 1, last):
                masks[t, 16:32, 2 * t : 2 * t + 16] = True
        frames[masks] = 250
        (root / part).mkdir(exist_ok=True)
        encode(root / part / f"{name}.mp4", frames, rate=10.0)
        if masks.any():
            (root / "masks").mkdir(exist_ok=True)
            np.savez_compressed(root / "masks" / f"{name}.npz", mask=masks)
    facts = {name: {"frames": 20, "anomalous_1based_inclusive": held} for name, held in events.items()}
    (root / "frame_labels.json").write_text(json.dumps(facts))
    return root


@pytest.fixture(scope="module")
def tiny_autoencoder() -> Iterator[type[Any]]:
    """Settings of an autoencoder of 16 x 16 pixels with a code of eight values a frame, listed as `tiny`."""
    from vidence.models import DETECTORS
    from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
    from vidence.models.reconstruction_detector import ReconstructionSettings

    class Tiny(ReconstructionNetwork):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.channels = channels
            first = torch.nn.Sequential(torch.nn.Conv2d(channels, 4, 8, 8), torch.nn.BatchNorm2d(4), torch.nn.Tanh())
            self.encoder = torch.nn.Sequential(first, torch.nn.Conv2d(4, 2, 1))
            self.decoder = torch.nn.Sequential(torch.nn.ConvTranspose2d(2, channels, 8, 8), torch.nn.Sigmoid())

        def maps(self, x: torch.Tensor) -> torch.Tensor:
            return self.encoder(coloured(x, self.channels).transpose(1, 2).flatten(0, 1))

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            return self.maps(x).flatten(1).unflatten(0, (len(x), -1))

        def forward(self, x: torch.Tensor) -> Reconstruction:
            maps = self.maps(x)
            x_hat = self.decoder(maps).unflatten(0, (len(x), -1)).transpose(1, 2)
            return Reconstruction(x_hat, code=maps.flatten(1).unflatten(0, (len(x), -1)))

    @dataclass(frozen=True, kw_only=True)
    class TinySettings(ReconstructionSettings):
        length: int = 4
        size: int = 16
        channels: int | None = 1
        smooth: int = 1

        def network(self) -> Tiny:
            return Tiny(self.channels or 3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DETECTORS, "tiny", TinySettings)
        yield TinySettings


@pytest.fixture(scope="session")
def detector_folder(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Path:
    """A saved detector that was not trained: its last layer is scaled so that flashes lie above 0.5."""
    from vidence.frames.source import open_source
    from vidence.models.cnn_rnn import CnnRnn
    from vidence.scoring.run import scored

    settings = CnnRnn(backbone="small", rnn="gru", size=32, length=4, stride=2, units=4, blocks=0, rate=0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = settings.build(("flash", "normal"), normal=("normal",))
    odds = np.array([float(torch.logit(torch.tensor(w.value))) for _, w in scored(made, open_source(film))])
    dark, bright = float(np.median(odds)), float(odds[np.abs(odds - np.median(odds)).argmax()])
    gain = 6 / (bright - dark)
    last = [layer for layer in made.network.modules() if isinstance(layer, torch.nn.Linear)][-1]
    with torch.no_grad():  # the odds of "flash" become -3 in the dark and +3 at the brightest
        last.weight *= gain
        last.bias *= gain
        last.bias += torch.tensor([-gain * dark - 3, 0.0])
    made.threshold = {"value": 0.5, "rule": "fixed", "origin": "set by hand", "warnings": []}
    made.facts = {"metrics": {"test": {"auc": 0.75}}, "seed": 0}
    folder = tmp_path_factory.mktemp("made") / "detector"
    made.save(folder)
    return folder


@pytest.fixture(scope="session")
def marked_set(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Nine clips of eight frames with masks, three of each class; events last three frames."""
    from vidence.datasets.folder import Folder
    from vidence.datasets.synthetic import Synthetic, write

    folder = tmp_path_factory.mktemp("marked")
    write(folder, 9, settings=Synthetic(size=(48, 64), length=8, event_frames=3))
    return Folder(str(folder / "clips.csv"))


@pytest.fixture(scope="session")
def classifier() -> Any:
    """Of the classes of `marked_set`, not trained, seeing a whole clip at 32 x 32 pixels."""
    from vidence.datasets.synthetic import CLASSES
    from vidence.models.cnn_rnn import CnnRnn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = CnnRnn(backbone="small", rnn="gru", size=32, length=8, stride=8, units=4, blocks=0, rate=0.0)
        return settings.build(tuple(sorted(CLASSES)), normal=("normal",))
