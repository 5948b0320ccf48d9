"""``vidence replay``: does the recorded decision come out again?"""

from __future__ import annotations

from pathlib import Path

import click

from vidence.cli.options import device_option


@click.command("replay")
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("record")
@click.option("--source", help="Where the source lies now [default: where it lay].")
@click.option(
    "--detector", type=click.Path(path_type=Path), help="Where the detector lies now [default: where it lay]."
)
@click.option("--tolerance", default=1e-4, show_default=True, help="Greatest difference of score and map that agrees.")
@click.option("--fps", type=float, help="Frame rate that was given for a folder of frames.")
@device_option
def command(
    store: Path,
    record: str,
    source: str | None,
    detector: Path | None,
    tolerance: float,
    fps: float | None,
    device: str,
) -> None:
    """Recompute score and maps of RECORD (the first digits of its id suffice) from its source.

    Source and weights must have the recorded digests. A map's difference is given as a share of its greatest value; a
    short check that the record holds is made again, and its figures compared. The exit code is 1 if anything disagrees.

    \b
    vidence replay why/records.db 3fa91c
    vidence replay why/records.db 3fa91c --source /mnt/archive/street.mp4
    """
    from vidence.evaluate.trusting import short_checks
    from vidence.frames.source import open_source
    from vidence.models.detector import load_deployed
    from vidence.record.store import Store
    from vidence.replaying import replayed

    entry = Store.open(store).get(record)
    held = entry.readable()
    place = {"source": source, "detector": None if detector is None else str(detector)}
    for name, given in place.items():
        place[name] = given or entry.place.get(name)
        if place[name] is None:
            raise click.UsageError(f"this record does not say where its {name} lies; pass --{name}.")
    model = load_deployed(str(place["detector"]), device=device)
    source_now = open_source(str(place["source"]), fps=fps)
    found = replayed(held, model, source_now, folder=store.parent, check=short_checks)
    for check in found:
        agrees = check.difference <= tolerance
        click.echo(f"{'agrees' if agrees else 'DISAGREES':10} {check.what}: difference {check.difference:.3g}")
    if any(check.difference > tolerance for check in found):
        raise SystemExit(1)
