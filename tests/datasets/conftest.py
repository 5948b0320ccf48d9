"""A tiny look-alike of every published set, in its publisher's layout."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from vidence.datasets.synthetic import encode

SIZE = (32, 48)
FRAMES = 12
EVENT = slice(4, 9)  # frames 5 to 9, counted from 1


def noise(frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (frames, *SIZE, 3)).astype(np.uint8)


def film(path: Path, frames: int = FRAMES, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, noise(frames, seed), rate=10.0)


def picture(path: Path, pixels: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), noise(1)[0] if pixels is None else pixels)


def pictures(folder: Path, suffix: str, frames: int = FRAMES) -> None:
    for i, pixels in enumerate(noise(frames)):
        picture(folder / f"{i + 1:03d}{suffix}", pixels)


def masks() -> np.ndarray:
    made = np.zeros((FRAMES, *SIZE), dtype=bool)
    made[EVENT, 5:9, 10:20] = True
    return made


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def ucsd(root: Path, camera: str) -> None:
    for i in (1, 2, 3):
        pictures(root / camera / "Train" / f"Train00{i}", ".tif")
    for i in (1, 2):
        pictures(root / camera / "Test" / f"Test00{i}", ".tif")
    for i, mask in enumerate(masks()):
        picture(root / camera / "Test" / "Test001_gt" / f"{i + 1:03d}.bmp", mask.astype(np.uint8) * 255)
    entry = "TestVideoFile{end+1}.gt_frame = "
    text(root / camera / "Test" / f"{camera}.m", "TestVideoFile = {};", entry + "[5:9];", entry + "[2, 4:5, 11:12];")


def ucsd_mp4(root: Path) -> None:
    for i in (1, 2, 3):
        film(root / "train" / f"Train00{i}.mp4")
    film(root / "test" / "Test001.mp4")
    (root / "masks").mkdir()
    np.savez_compressed(root / "masks" / "Test001.npz", mask=masks())
    facts = {"Test001": {"frames": FRAMES, "anomalous_1based_inclusive": [[5, 9]]}}
    (root / "frame_labels.json").write_text(json.dumps(facts))


def avenue(root: Path) -> None:
    for name in ("01", "02", "03"):
        film(root / "Avenue Dataset" / "training_videos" / f"{name}.avi")
    film(root / "Avenue Dataset" / "testing_videos" / "01.avi")
    cells = np.empty((1, FRAMES), dtype=object)
    for i, mask in enumerate(masks()):
        cells[0, i] = mask.astype(np.uint8)
    (root / "ground_truth_demo" / "testing_label_mask").mkdir(parents=True)
    savemat(root / "ground_truth_demo" / "testing_label_mask" / "1_label.mat", {"volLabel": cells})


def subway(root: Path, camera: str) -> None:
    film(root / f"subway_{camera}_turnstiles.AVI", 150)
    text(root / f"{camera}_events.csv", "first_frame,last_frame", "35,35", "128,131")


def shanghaitech(root: Path) -> None:
    for name in ("01_001", "01_002", "02_001"):
        film(root / "training" / "videos" / f"{name}.avi")
    for name in ("01_0014", "01_0015"):
        pictures(root / "testing" / "frames" / name, ".jpg")
    truth = {"01_0014": masks(), "01_0015": np.zeros((FRAMES, *SIZE), dtype=bool)}
    for kind in ("test_frame_mask", "test_pixel_mask"):
        (root / "testing" / kind).mkdir()
    for name, mask in truth.items():
        np.save(root / "testing" / "test_frame_mask" / f"{name}.npy", mask.any(axis=(1, 2)).astype(np.int64))
        np.save(root / "testing" / "test_pixel_mask" / f"{name}.npy", mask)


def ucf_crime(root: Path) -> None:
    normal = [f"Training_Normal_Videos_Anomaly/Normal_Videos00{i}_x264.mp4" for i in (1, 2, 3)]
    text(root / "Anomaly_Detection_splits" / "Anomaly_Train.txt", "Abuse/Abuse001_x264.mp4", *normal)
    for name in normal:
        film(root / "Training-Normal-Videos-Part-1" / Path(name).name)
    film(root / "Anomaly-Videos-Part-1" / "Abuse" / "Abuse028_x264.mp4")
    film(root / "Testing_Normal_Videos_Anomaly" / "Normal_Videos_003_x264.mp4")
    lines = ("Abuse028_x264.mp4  Abuse  2  4  10  40  ", "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1\t")
    text(root / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt", *lines)


def mvtec(root: Path) -> None:
    for category in ("bottle", "tile"):
        for i in range(4):
            picture(root / category / "train" / "good" / f"00{i}.png")
        picture(root / category / "test" / "good" / "000.png")
        picture(root / category / "test" / "crack" / "000.png")
        picture(root / category / "ground_truth" / "crack" / "000_mask.png", masks()[4].astype(np.uint8) * 255)
    text(root / "license.txt", "as shipped")


def ham10000(root: Path) -> None:
    rows = [(f"HAM_{i // 2}", f"ISIC_{i}", "nv" if i < 10 else ("mel", "bcc")[i % 2]) for i in range(14)]
    for _, image, _ in rows:
        picture(root / f"HAM10000_images_part_{1 + int(image[5:]) % 2}" / f"{image}.jpg")
    with (root / "HAM10000_metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("lesion_id", "image_id", "dx"), *rows])


def driver(root: Path) -> None:
    for name in range(6):
        for kind in ("Normal", "Talking", "Texting", "Operating_GPS"):
            for i in (1, 2):
                picture(root / f"driver{name}" / kind / f"{i}.jpg")


def magnetic_tile(root: Path) -> None:
    for tile in range(6):
        for exposure in (1, 2):
            picture(root / "MT_Free" / "Imgs" / f"exp{exposure}_num_{1000 * tile + exposure}.jpg")
    for exposure in (3, 4):  # of a tile that has free pictures too
        picture(root / "MT_Crack" / "Imgs" / f"exp{exposure}_num_{2000 + exposure}.jpg")
        picture(root / "MT_Crack" / "Imgs" / f"exp{exposure}_num_{2000 + exposure}.png", masks()[4].astype(np.uint8))


def folder(root: Path) -> None:
    for place, label in enumerate(("normal", "fight")):
        for i in range(4):
            film(root / label / f"{i}.mp4", seed=4 * place + i)  # copies would be of one group


def fight_surv(root: Path) -> None:
    rows = [(f"{kind}/{i}.mp4", kind.lower(), f"source{i}") for kind in ("fight", "noFight") for i in range(6)]
    for seed, (file, _, _) in enumerate(rows):
        film(root / file, seed=seed)
    with (root / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "source_video"), *rows])


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "folder": folder,
    "fight-surv": fight_surv,
    "ucsd-ped1": lambda root: ucsd(root, "UCSDped1"),
    "ucsd-ped2": ucsd_mp4,
    "avenue": avenue,
    "subway-entrance": lambda root: subway(root, "entrance"),
    "subway-exit": lambda root: subway(root, "exit"),
    "shanghaitech": shanghaitech,
    "ucf-crime": ucf_crime,
    "mvtec": mvtec,
    "ham10000": ham10000,
    "driver": driver,
    "magnetic-tile": magnetic_tile,
}


@pytest.fixture
def lay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the look-alike of a key's set; the Subway videos keep four seconds for training instead of minutes."""
    from vidence.datasets.subway import SubwayEntrance, SubwayExit

    for kind in (SubwayEntrance, SubwayExit):
        monkeypatch.setattr(kind, "training_s", 4)

    def lay(key: str) -> Path:
        LAYOUTS[key](tmp_path)
        return tmp_path

    return lay
