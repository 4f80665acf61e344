"""A network of waveforms: M5 (Dai et al. 2017) at the front, dilated residual blocks (TCN, Bai et al. 2018) behind."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class TemporalBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv1 = nn.Conv1d(inputs, outputs, kernel, padding=padding, dilation=dilation)
        self.bn1 = nn.BatchNorm1d(outputs)
        self.dropout1 = nn.Dropout(0.1)
        self.conv2 = nn.Conv1d(outputs, outputs, kernel, padding=padding, dilation=dilation)
        self.bn2 = nn.BatchNorm1d(outputs)
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.dropout1(self.relu(self.bn1(self.conv1(x))))
        out = self.bn2(self.conv2(out))
        res = x if self.downsample is None else self.downsample(x)
        return self.relu(out + res)


class AudioNet(nn.Module):
    """Waveforms, (batch, 1, samples), to log-probabilities, (batch, classes)."""

    def __init__(self, width: int = 24, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, width, kernel_size=40, stride=8)
        self.bn1 = nn.BatchNorm1d(width)
        self.pool1 = nn.MaxPool1d(4)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3)
        self.bn2 = nn.BatchNorm1d(width)
        self.pool2 = nn.MaxPool1d(2)
        self.tcn = nn.Sequential(
            TemporalBlock(width, width, 3, dilation=1),
            TemporalBlock(width, 2 * width, 3, dilation=2),
            TemporalBlock(2 * width, 2 * width, 3, dilation=4),
        )
        self.fc1 = nn.Linear(2 * width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        x = F.relu(self.bn1(x))
        x = self.pool1(x)
        x = self.conv2(x)
        x = F.relu(self.bn2(x))
        x = self.pool2(x)
        x = self.tcn(x)
        x = F.avg_pool1d(x, x.shape[-1])
        x = x.permute(0, 2, 1)
        x = self.fc1(x)
        return F.log_softmax(x, dim=2).squeeze(1)
