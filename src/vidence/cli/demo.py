"""``vidence demo``: the whole way on a set made here, each step as the command a user would type."""

from __future__ import annotations

import shlex
import time
from importlib import import_module
from pathlib import Path

import click

SPEC = "cnn-rnn(backbone='small')"
CLIPS, SCENES, EPOCHS = 540, 8, 16


@click.command("demo")
@click.option(
    "--out", default="demo-out", show_default=True, type=click.Path(path_type=Path), help="Folder to write to."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the scenes and of the training.")
def command(out: Path, seed: int) -> None:
    """Make a small synthetic set, train on it, score new scenes, explain what was found, and report.

    People walk on a walkway; sometimes something happens that should not. When, where and on which pixels is known,
    so the last lines say which alarms are right, missed or false. Nothing is downloaded.

    It takes about four minutes on two cores, and several times that where others compute too; training takes the most.
    After Ctrl-C the same command goes on with the training.

    \b
    vidence demo --out demo-out
    """
    from vidence.cli.truth import compared
    from vidence.datasets.synthetic import write, write_scenes

    began = time.perf_counter()
    click.echo("Film, train, score, explain, report, verify: about four minutes on two cores that do nothing else.")
    click.echo(f"Making {CLIPS} clips and {SCENES} scenes in {out / 'data'}")
    write(out / "data" / "training", CLIPS, seed)
    scenes = write_scenes(out / "data" / "scenes", SCENES, seed + 1)
    detector = str(out / "detector")
    clips = str(out / "data" / "training" / "clips.csv")
    kept = ["--resume"] if (out / "detector" / "progress.pt").exists() else []
    _run("train", clips, "--group", "group", "--detector", SPEC, "--epochs", str(EPOCHS), "--out", detector, *kept)
    names = [scene.path for scene in scenes]
    _run("score", *names, "--detector", detector, "--out", str(out / "scored"), "--explain", "off")
    cases = compared(out / "scored" / "scores.csv", out / "data" / "scenes")
    for case in cases.shown:
        asked = ("--from", f"{case.first_s:.2f}", "--to", f"{case.last_s:.2f}")
        _run("explain", case.source, *asked, "--detector", detector, "--out", str(out / "why"))
    _run("report", str(out / "why" / "records.db"), "--out", str(out / "report.html"))
    _run("verify", str(out / "why" / "records.db"))
    click.echo(f"\n{cases}\n")
    click.echo(f"Done in {time.perf_counter() - began:.0f} s. Look at {out / 'report.html'} in a browser,")
    click.echo(f"and at the movies in {out / 'why'} (overlay.mp4).")


def _run(*arguments: str) -> None:
    """Run a command of ours as a user would; show how it is typed, and how long it took."""
    click.secho(f"\n$ vidence {shlex.join(arguments)}", bold=True)
    began = time.perf_counter()
    import_module(f"vidence.cli.{arguments[0]}").command.main(list(arguments[1:]), standalone_mode=False)
    click.secho(f"({time.perf_counter() - began:.0f} s)", dim=True)
