"""Memory that was freed is used again without the system's help."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from vidence.cli.allocation import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
torch.ones(256 << 18)  # 256 MiB, more than is asked for below
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(24):
    held = [torch.ones(36 << 18), torch.ones(36 << 18)]  # as layers of a network
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_pages_are_not_cleared_anew():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True).stdout)
        for how in ("given-back", "kept")
    }
    assert faults["kept"] * 3 <= faults["given-back"]
