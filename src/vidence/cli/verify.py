"""``vidence verify``: has anything been altered or removed?"""

from __future__ import annotations

from pathlib import Path

import click

from vidence.cli.options import key_option


@click.command("verify")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--head", metavar="DIGEST", help="The head digest noted earlier: finds rows cut off at the end.")
@click.option("--files/--no-files", default=True, show_default=True, help="Check the pictures and maps beside STORE.")
@key_option
def command(store: Path, head: str | None, files: bool, key: bytes | None) -> None:
    """Check every row and every payload of STORE against the hash chain, and the files beside it against the digests in
    the records; exit code 1 if something is wrong.

    Without --head a cut tail cannot be seen, without --key a chain that was rewritten whole; the check says so.

    \b
    vidence verify why/records.db
    vidence verify why/records.db --head 3fa9... --key signing.key
    """
    from vidence.record.evidence_check import evidence_check
    from vidence.record.store import Store

    held = Store.open(store, key)
    found = held.verify(head)
    beside = evidence_check(held.records() if files and found.ok else (), store.parent)
    problems = [*found.problems, *beside.faults]
    for problem in problems:
        click.echo(f"PROBLEM  {problem}")
    for unseen in found.unseen:
        click.echo(f"unseen   {unseen}")
    click.echo(f"rows     {found.count}")
    click.echo(f"head     {found.head}")
    if files and found.ok:  # what an altered store says of its files is not worth a look
        click.echo(f"files    {beside.count} listed, {beside.count - len(beside.faults)} as recorded")
    click.echo(f"{len(problems)} problems found" if problems else "intact")
    if problems:
        raise SystemExit(1)
