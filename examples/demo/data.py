"""Real data that needs no download: scikit-learn's 1797 handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SIDE = 24
TEST_IMAGES = 600
CALIBRATION_BATCHES = 16
CALIBRATION_BATCH = 32


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images are float32 of shape ``(n, channels, side, side)`` between -1 and 1, labels int64 of shape ``(n,)``."""

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor

    def calibration(self, first: int = 0) -> list[torch.Tensor]:
        """Batches, from a first one on, of images that networks are trained on; the test images are for measuring."""
        return list(self.train.split(CALIBRATION_BATCH)[first : first + CALIBRATION_BATCHES])


def digits(seed: int, side: int = SIDE) -> Dataset:
    """The digits, in grey, enlarged from 8x8 and split with as many of each class on either side."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    images = torch.nn.functional.interpolate(images, (side, side), mode="bilinear")
    rows = range(len(images))
    train, test = train_test_split(rows, test_size=TEST_IMAGES, random_state=seed, stratify=labels)
    numbers = torch.as_tensor(labels, dtype=torch.int64)
    return Dataset(images[train], numbers[train], images[test], numbers[test])
