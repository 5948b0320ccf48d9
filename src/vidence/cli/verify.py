"""``vidence verify``: has anything been altered or removed?"""

from __future__ import annotations

from pathlib import Path

import click

from vidence.cli.options import key_option


@click.command("verify")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--head", metavar="DIGEST", help="The head digest noted earlier: finds rows cut off at the end.")
@key_option
def command(store: Path, head: str | None, key: bytes | None) -> None:
    """Check every row and every payload of STORE against the hash chain; exit code 1 if something is wrong.

    Without --head a cut tail cannot be seen, without --key a chain that was rewritten whole; the check says so.

    \b
    vidence verify why/records.db
    vidence verify why/records.db --head 3fa9... --key signing.key
    """
    from vidence.record.store import Store

    found = Store.open(store, key).verify(head)
    for problem in found.problems:
        click.echo(f"PROBLEM  {problem}")
    for unseen in found.unseen:
        click.echo(f"unseen   {unseen}")
    click.echo(f"rows     {found.count}")
    click.echo(f"head     {found.head}")
    click.echo("intact" if found.ok else f"{len(found.problems)} problems found")
    if not found.ok:
        raise SystemExit(1)
