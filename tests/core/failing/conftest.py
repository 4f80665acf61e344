from __future__ import annotations

import pytest
import torch
from torch import nn

from support.failing import Net


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()
