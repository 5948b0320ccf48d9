"""What every test shares: one thread (small convolutions slow down tenfold when oversubscribed) and the data's place."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared real data (../shared/data beside the checkout) is absent")
    return SHARED_DATA
