"""A store with two alarms, a picture sheet each, and a quiet source; and the ways it may be told otherwise."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vidence.record import tables
from vidence.record.conditions import ModelFacts, Outcome, Reading
from vidence.record.decision import DecisionRecord
from vidence.record.evidence import Evidence, HiddenScore, Picture, Segment
from vidence.record.facts import Certificate, ClipRef, Detection, Event
from vidence.record.provenance import file_digest
from vidence.record.store import Store
from vidence.record.trust import Trust

WEIGHTS, CONFIG, TRAINING = "b" * 64, "c" * 64, "d" * 64
FLAG = "the map shows what the model uses, not what is there"


CHECKED = Trust(
    first=21, region=0.1, marked=0.71, chance=0.06, sane=False, flags=("this map is the same for another class",),
    other="occlusion", agreement=0.3, overlap=0.55, overlap_chance=0.1, unmeasured={"gain": "the score does not fall"},
)  # fmt: skip


def write_picture(path: Path, seed: int = 0) -> str:
    """A street-like scene with a warm spot; returns its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:180, 0:320]
    scene = np.stack([90 + y // 3, 100 + y // 3, 110 + y // 4], axis=-1).astype(float)
    spot = np.exp(-((x - 90 - 20 * seed) ** 2 + (y - 110) ** 2) / 900)[..., None]
    scene = scene * (1 - 0.7 * spot) + np.array([245, 140, 40]) * 0.7 * spot
    Image.fromarray(scene.astype(np.uint8)).save(path)
    return file_digest(path)


def alarm(folder: Path, source: str = "walkway_03.mp4", *, seed: int = 0, peak: float = 0.93) -> DecisionRecord:
    """An explained alarm from 4.2 s to 7.8 s; its pictures are written below `folder`."""
    times = tuple(round(i / 5, 3) for i in range(75))
    values = tuple(
        0.08 + 0.04 * math.sin(i) ** 2 + (peak - 0.12) * math.exp(-(((t - 6) / 1.5) ** 4)) for i, t in enumerate(times)
    )
    names = {f"{source[:4]}-{seed}/sheet-{i}.png": 4.4 + i for i in range(3)}
    files = {name: write_picture(folder / name, seed + i) for i, name in enumerate(names)}
    evidence = Evidence(
        explainer="when-where",
        score="logit",
        sentence="The model looked most from 00:04.4 to 00:07.2, in the lower left of the picture.",
        certificate=Certificate(deletion_rank=0.86, same_top_frame=True, layer="features.18", flags=(FLAG,)),
        hidden_score=HiddenScore(value=0.21, share=0.06, fill="the clip's median picture, blurred", control=0.9),
        segments=(Segment(first_s=4.4, last_s=7.2, weight=0.71, box=(0.2, 0.4, 0.5, 0.9)),),
        profile_times=times[21:40],
        profile=tuple(math.exp(-(((t - 6) / 0.9) ** 2)) for t in times[21:40]),
        pictures=tuple(Picture(file=name, caption="Where the model looked", time=time) for name, time in names.items()),
        trust=CHECKED,
    )
    clip = ClipRef(source, str(seed) * 64, 21, times[21:37])
    return DecisionRecord(
        detection=Detection(clip, "cnn-rnn", WEIGHTS, "anomaly", peak, 0.5),
        reading=Reading(length=16, stride=8, fit="stretch 224", size=(180, 320), rate=5.0, fps=25.0),
        model=model(),
        outcome=Outcome(
            rule="false-alarm-budget", origin="2 alarms in 118.0 minutes of normal footage, budget 1 per hour",
            times=times, values=values, false_alarms=(0.12, 3.7), bounds=(0.0, 1.0),
            warnings=("118.0 minutes of normal footage are too little to assure 1 alarms per hour.",),
            probabilities={"fall": peak - 0.02, "run": 0.02, "walk": 1 - peak},
        ),
        events=(Event(4.2, 7.8, peak),),
        evidence=(evidence,),
        files=files,
    )  # fmt: skip


def model() -> ModelFacts:
    return ModelFacts(
        name="cnn-rnn", config=CONFIG, code="vidence 0.1.0", device="cpu", precision="float32",
        classes=("fall", "run", "walk"), normal=("walk",), training=TRAINING, seed=0,
        metrics={"test accuracy": 0.962, "test auc": 0.991, "test macro f1": 0.957},
        libraries={"torch": "2.13.0", "av": "18.0.0"},
    )  # fmt: skip


def quiet(source: str = "gate_01.mp4") -> DecisionRecord:
    """A source without an alarm, not explained."""
    return DecisionRecord(
        detection=Detection(ClipRef(source, "9" * 64, 0, (0.0, 3.0)), "cnn-rnn", WEIGHTS, "anomaly", 0.31, 0.5),
        reading=Reading(length=16, stride=8, fit="stretch 224", size=(180, 320), rate=5.0),
        model=model(),
        outcome=Outcome(rule="false-alarm-budget", origin="as above", bounds=(0.0, 1.0)),
    )


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """A test may lose its store when the power fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "PRAGMAS", (*tables.PRAGMAS, "synchronous = OFF"))
        yield


@pytest.fixture
def make_alarm(tmp_path: Path) -> Callable[..., DecisionRecord]:
    return lambda source="walkway_03.mp4", **changes: replace(
        alarm(tmp_path, source, **{key: changes.pop(key) for key in ("seed", "peak") if key in changes}),
        **changes,
    )


@pytest.fixture
def make_quiet() -> Callable[..., DecisionRecord]:
    return lambda *args, **changes: replace(quiet(*args), **changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    held = Store.open(tmp_path / "records.db", create=True)
    for record in (alarm(tmp_path), alarm(tmp_path, "station_11.mp4", seed=1, peak=0.56), quiet()):
        held.append(record)
    return held


def changed(record: DecisionRecord, **changes: Any) -> DecisionRecord:
    """The record with its explanation changed."""
    return replace(record, evidence=(replace(record.evidence[0], **changes),))


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CONTRAST = """() => {
  const level = c => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
  const shine = ([r, g, b]) => .2126 * level(r) + .7152 * level(g) + .0722 * level(b);
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const found = parts(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const node of document.querySelectorAll('body *')) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())) continue;
    const style = getComputedStyle(node);
    const ink = node instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [shine(parts(ink)), shine(ground(node))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) bad.push(`${node.tagName} ${ratio.toFixed(2)}: ${node.textContent.slice(0, 30)}`);
  }
  return bad;
}"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium found: no page was opened in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[[Path], tuple[Any, list[str]]]]:
    """Opens a page, and notes everything that the browser complains about or asks the outside for."""
    pages = []

    def open_page(path: Path) -> tuple[Any, list[str]]:
        page, said = browser.new_page(viewport={"width": 1200, "height": 900}), []
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else said.append(asked.url))
        page.goto(path.as_uri())
        return page, said

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def contrast() -> str:
    """Finds text that is too near its ground to be read."""
    return CONTRAST


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    """What `vidence compare` leaves of two explainers and a control; names hold what HTML would take for tags."""
    folder = tmp_path / "compared"
    means = {"gradient": (2.0, "yes"), "smooth(of='<b>')": (0.5, "no"), "random-map": (1.0, "")}
    blank = {"better": "higher", "n": 4, "sources": 3, "seconds": 0.25, "forwards": 3, "gradients": 1, "failed": 0}
    blank |= {"refused": ""}
    rows = [
        blank | {"explainer": name, "control": int(not said), "measure": "mass-ratio", "beats random-map": said}
        | {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "mean_rank": 4 - 2 * mean}
        for name, (mean, said) in means.items()
    ]  # fmt: skip
    rows += [rows[0] | {"explainer": "cam", "mean": "", "mean_rank": "", "refused": "it needs <pooling>."}]
    rows += [
        rows[0] | {"explainer": "lrp", "mean": "", "mean_rank": "", "failed": 1, "refused": "failed: KeyError: 'x'"}
    ]
    rows += [row | {"measure": "flicker", "mean": "", "mean_rank": ""} for row in rows]
    agreement = [
        {"kind": kind, "first": "gradient", "second": "", "statistic": "spearman", "mean": -0.5, "low": -1, "high": 0}
        | {"n": 4}
        for kind in ("reversal", "measures", "clips", "maps")
    ]
    facts = {
        "detector": "cnn-rnn(units=4)", "weights": WEIGHTS, "score": "the logit", "seed": 0, "data": "<i>set</i>",
        "clips": 4, "clips_with_event": 3, "truth": {"pixels": 4, "frames": 0, "label": 0}, "ranks": "ranks.svg",
        "measures": {name: {"aspect": "x", "better": "higher", "steps": 32} for name in ("mass-ratio", "flicker")},
        "placed_by": ["mass-ratio"], "mean_places": {"gradient": 0.0, "random-map": 2.0, "smooth(of='<b>')": 3.0},
        "not_compared": {"cdam": "no <tokens> here"}, "examples": ["clip-0", "gone-3"],
    }  # fmt: skip
    example = folder / "examples" / "clip-0"
    for name in ("input.jpg", "truth.jpg", "map.jpg"):
        write_picture(example / name)
    about = {"source": "a&b.mp4", "label": "cart", "known": "pixels", "time": 1.25, "grid": 32}
    about |= {"maps": {"gradient": "map.jpg"}}
    (example / "about.json").write_text(json.dumps(about))
    (folder / "comparison.json").write_text(json.dumps(facts))
    (folder / "ranks.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="200" height="90"/>')
    for name, held in (("leaderboard.csv", rows), ("agreement.csv", agreement)):
        with (folder / name).open("w", newline="") as file:
            table = csv.DictWriter(file, list(held[0]))
            table.writeheader()
            table.writerows(held)
    return folder
