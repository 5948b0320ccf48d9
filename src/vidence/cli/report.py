"""``vidence report``: one HTML page that a person can read, from a store of records."""

from __future__ import annotations

from pathlib import Path

import click

from vidence.cli.options import key_option


@click.command("report")
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("records", nargs=-1, metavar="[RECORD...]")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The HTML file to write.")
@key_option
def command(store: Path, records: tuple[str, ...], out: Path, key: bytes | None) -> None:
    """Write STORE's records, or those named by their ids (the first digits suffice), as one self-contained HTML file.

    Pictures are read from beside the store and checked against the digests in the records.

    \b
    vidence report why/records.db --out why/report.html
    vidence report why/records.db 3fa91c --out one.html
    """
    from vidence.record.evidence_check import evidence_check
    from vidence.record.store import Store
    from vidence.review.report import write_report

    held = Store.open(store, key)
    write_report(held, out, records=records)
    shown = (held.get(each) for each in records) if records else held.records()
    for fault in evidence_check(shown, store.parent).faults:
        click.echo(f"note: {fault}", err=True)
    click.echo(f"report  {out}")
