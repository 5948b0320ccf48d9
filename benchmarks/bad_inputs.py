"""Twenty bad inputs, and what each prints: ``python benchmarks/bad_inputs.py DETECTOR VIDEO > docs/bad-inputs.md``.

DETECTOR is any trained detector's folder, VIDEO a short good video (both as ``vidence demo`` leaves them). Every bad
input is made here, in a temporary folder; its path is shown as TMP.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np


def picture(path: Path, *, damaged: bool = False) -> Path:
    """A small PNG, or the first half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(".png", np.full((48, 64, 3), 127, np.uint8))[1].tobytes()
    path.write_bytes(data[: len(data) // 2] if damaged else data)
    return path


def sound(path: Path) -> Path:
    """A second of silence in a container without pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def sources(tmp: Path, video: Path) -> Iterator[tuple[str, list[str]]]:
    """Sources that cannot be read, or only in part."""
    (tmp / "empty.mp4").touch()
    (tmp / "text.mp4").write_text("this is no video\n" * 99, encoding="utf-8")
    data = video.read_bytes()
    (tmp / "header.mp4").write_bytes(data[:200])
    (tmp / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    (tmp / "nothing").mkdir()
    (tmp / "notes").mkdir()
    (tmp / "notes" / "a.txt").write_text("x", encoding="utf-8")
    picture(tmp / "frames" / "1.png")
    picture(tmp / "frames" / "2.png", damaged=True)
    picture(tmp / "classes" / "fight" / "1.png")
    yield "missing path", [str(tmp / "absent.mp4")]
    yield "empty file", [str(tmp / "empty.mp4")]
    yield "text renamed .mp4", [str(tmp / "text.mp4")]
    yield "header only", [str(tmp / "header.mp4")]
    yield "truncated: the index is lost, or the rest is scored", [str(tmp / "cut.mp4")]
    yield "audio only", [str(sound(tmp / "sound.wav"))]
    yield "empty folder", [str(tmp / "nothing")]
    yield "folder without pictures", [str(tmp / "notes")]
    yield "unreadable picture in a folder", [str(tmp / "frames")]
    yield "folder of class folders", [str(tmp / "classes")]
    yield "one bad among good", [str(tmp / "empty.mp4"), str(video)]


def commands(tmp: Path, detector: Path, video: Path) -> Iterator[tuple[str, list[str]]]:
    """The same for detectors, settings, data sets and stores."""
    score = ["score", str(video), "--out", str(tmp / "out"), "--detector"]
    for what, bad in sources(tmp, video):
        yield what, ["score", *bad, "--out", str(tmp / "out"), "--detector", str(detector), "--explain", "off"]
    yield "no detector there", [*score, str(tmp / "absent")]
    broken = Path(shutil.copytree(detector, tmp / "broken"))
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    yield "damaged weights", [*score, str(broken)]
    pickled = Path(shutil.copytree(detector, tmp / "pickled"))
    (pickled / "model.safetensors").write_bytes(b"\x80\x04\x95pickle")
    yield "a pickle as weights", [*score, str(pickled)]
    train = ["train", str(tmp / "classes"), "--out", str(tmp / "made"), "--detector"]
    yield "unknown detector", [*train, "cnn-rn"]
    yield "unknown setting", [*train, "cnn-rnn(unit=8)"]
    yield "code in a spec line", [*train, "cnn-rnn(units=__import__('os'))"]
    yield "one class only", [*train, "cnn-rnn"]
    (tmp / "list.csv").write_text("file,klass\na.mp4,fight\n", encoding="utf-8")
    yield (
        "CSV without a label column",
        ["train", str(tmp / "list.csv"), "--detector", "cnn-rnn", "--out", str(tmp / "m")],
    )
    explain = ["explain", str(video), "--all", "--detector", str(detector), "--out", str(tmp / "why"), "--explainer"]
    yield "unknown explainer", [*explain, "gradcam"]
    yield "unknown layer", [*explain, "grad-cam(layer='conv9')"]
    (tmp / "store.db").write_bytes(b"no database" * 99)
    yield "a store that is none", ["verify", str(tmp / "store.db")]


def main() -> None:
    """Run each, and print a Markdown section with the exit code and the message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path)
    parser.add_argument("video", type=Path)
    asked = parser.parse_args()
    print("# Bad inputs, and what each prints\n\nWritten by `benchmarks/bad_inputs.py`; TMP is its temporary folder.")
    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        for i, (what, arguments) in enumerate(commands(tmp, asked.detector, asked.video), 1):
            command = [sys.executable, "-m", "vidence", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = (done.stderr.strip() or done.stdout.strip()).replace(folder, "TMP").splitlines()
            said = "\n".join(line for line in lines if not line.startswith("[ WARN"))  # OpenCV's own log, with times
            said = said.replace(str(asked.detector), "DETECTOR").replace(str(asked.video), "VIDEO")
            if "Traceback" in said:
                raise SystemExit(f"{what}: a traceback instead of a message\n{said}")
            print(f"\n**{i}. {what}** (exit code {done.returncode})\n\n```text\n{said}\n```")


if __name__ == "__main__":
    main()
