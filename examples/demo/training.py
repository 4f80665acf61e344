"""Training, so that what is quantized are weights that have learned something."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from tqdm import tqdm

from data import Dataset

EPOCHS = 12
BATCH = 32
RATE = 0.2
WEIGHT_DECAY = 1e-3
# in pixels: moved digits keep a network this large from learning 1200 images by heart
SHIFT = 1


def train(build: Callable[[], nn.Module], data: Dataset, seed: int, name: str) -> nn.Module:
    """A network trained from scratch, in eval mode; the same seed gives the same network."""
    torch.manual_seed(seed)
    model = build().train()
    steps = EPOCHS * (len(data.train) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    with tqdm(total=steps, desc=f"train {name}", unit="batch") as progress:
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(data.train))[: steps // EPOCHS * BATCH].split(BATCH):
                loss = nn.functional.cross_entropy(model(moved(data.train[rows])), data.train_labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.update()
    return model.eval()


def moved(images: torch.Tensor) -> torch.Tensor:
    """The images, all moved by the same pixel or none; the border, which is background, fills the gap."""
    padded = nn.functional.pad(images, (SHIFT,) * 4, mode="replicate")
    x, y = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
    return padded[..., y : y + images.shape[-2], x : x + images.shape[-1]]
