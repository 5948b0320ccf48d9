"""``vidence synthetic``: write sets of the synthetic walkway, with the kinds of anomaly that are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from vidence.cli.options import out_option


@click.command("synthetic")
@out_option
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="cyclist, cart, runner, wrong-way, trespasser or jitter; may be repeated [default: cyclist, cart].",
)
@click.option("--clips", type=click.IntRange(min=0), default=0, help="Clips of two seconds, normal and of each kind.")
@click.option("--normal", type=click.IntRange(min=0), default=0, help="Longer scenes in which nothing happens.")
@click.option("--scenes", type=click.IntRange(min=0), default=0, help="Longer scenes with events.")
@click.option("--camera", type=click.IntRange(min=0), help="One place for all scenes [default: each has its own].")
@click.option("--size", type=(int, int), metavar="H W", help="In pixels [default: clips 144 192, scenes 288 384].")
@click.option("--seed", default=0, show_default=True, help="Seed of the people, the places and what happens.")
def command(
    *,
    out: Path,
    kinds: tuple[str, ...],
    clips: int,
    normal: int,
    scenes: int,
    camera: int | None,
    size: tuple[int, int] | None,
    seed: int,
) -> None:
    """Write videos of a walkway where it is known what happens, when, and on which pixels.

    What is asked for comes to OUT/clips, OUT/normal and OUT/scenes: videos, masks, clips.csv and events.csv. The scenes
    with events are of other people than the rest. With wrong-way among the kinds everybody else goes to the right,
    in normal clips and scenes too: train and test with the same kinds.

    \b
    vidence synthetic --clips 540 --scenes 8 --kind runner --kind jitter --out walkway
    vidence synthetic --normal 8 --scenes 8 --camera 1 --kind wrong-way --out one-way
    vidence train one-way/normal/clips.csv --detector bcae1 --out detector
    """
    from vidence.datasets.synthetic import SCENE, Synthetic, scene_settings, write, write_scenes

    if not clips + normal + scenes:
        raise click.UsageError("nothing is asked for: give --clips, --normal or --scenes a number.")
    asked = kinds or SCENE.kinds
    short, long = Synthetic(kinds=asked), scene_settings(asked, size=size or SCENE.size)
    if clips:
        write(out / "clips", clips, seed, settings=replace(short, size=size or short.size))
    if normal:
        write_scenes(out / "normal", normal, seed, settings=replace(long, events=0), camera=camera)
    if scenes:
        write_scenes(out / "scenes", scenes, seed + 1, settings=long, camera=camera)
    click.echo(f"Written to {out}: {clips} clips, {normal} normal scenes, {scenes} scenes with events.")
