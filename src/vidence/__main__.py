"""``python -m vidence`` is the command ``vidence``."""

from vidence.cli.main import main

main(prog_name="vidence")
