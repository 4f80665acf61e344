"""Coloured textures, made on the spot: what tells them apart is local and repeats, as the digits' shapes do not."""

from __future__ import annotations

import math

import torch

from data import Dataset

CLASSES = 10
SIDE = 32
TRAIN_IMAGES, TEST_IMAGES = 1197, 600
WAVES = 3
# in cycles per image
SLOWEST, FASTEST = 2.0, 10.0
# in radians and octaves: how far an image's waves are turned and stretched from its class's
TURN, STRETCH = 0.25, 0.2
NOISE = 0.7


def textures(seed: int) -> Dataset:
    """Images of shape ``(n, 3, 32, 32)`` between -1 and 1.

    A class is three waves of fixed directions and lengths; an image has them turned and stretched a little, of any
    phase, strength and colour, and in noise.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = math.pi * torch.rand(CLASSES, WAVES, generator=generator)
    octaves = math.log2(FASTEST / SLOWEST) * torch.rand(CLASSES, WAVES, generator=generator)
    labels = torch.arange(TRAIN_IMAGES + TEST_IMAGES) % CLASSES
    images = _images(directions[labels], octaves[labels], generator)
    cut = TRAIN_IMAGES
    return Dataset(images[:cut], labels[:cut], images[cut:], labels[cut:])


def _images(directions: torch.Tensor, octaves: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One image for each row of angles and of octaves above ``SLOWEST``."""

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(len(directions), *shape, generator=generator)

    angles = directions + TURN * (2 * uniform(1) - 1)
    cycles = SLOWEST * 2 ** (octaves + STRETCH * (2 * uniform(1) - 1))
    across, down = (2 * math.pi * cycles * wave / SIDE for wave in (angles.cos(), angles.sin()))
    places = torch.arange(SIDE)
    phases = across[..., None, None] * places + down[..., None, None] * places[:, None]
    waves = (phases + 2 * math.pi * uniform(WAVES, 1, 1)).sin()
    colours = (0.3 + uniform(WAVES, 3)) * (uniform(WAVES, 3) - 0.3).sign()
    mixed = torch.einsum("nwc,nwyx->ncyx", colours, waves)
    noise = NOISE * torch.randn(mixed.shape, generator=generator)
    return (0.3 + 0.7 * uniform(1, 1, 1)) * torch.tanh((mixed + noise) / 2)
