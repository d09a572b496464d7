"""Nets over space: convolutions, pooling, batch norm, residual and U-shaped."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.entry import Net, Room

CASES = room = Room()


def small_cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


@room("cnn")
def cnn_eval() -> Net:
    return Net(
        small_cnn().eval(), (torch.randn(2, 3, 12, 12),), loss=lambda y: F.cross_entropy(y, torch.tensor([0, 2]))
    )


@room("cnn")
def cnn_train() -> Net:
    """Batch norm with the batch's own statistics; the running ones are written in place."""
    return Net(small_cnn().train(), (torch.randn(2, 3, 12, 12),), loss=lambda y: y.square().mean())


class Residual(nn.Module):
    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.short = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b)) if stride > 1 else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.short is None else self.short(x)
        return self.relu(y)


@room("cnn")
def resnet() -> Net:
    """The block of torchvision: in-place ReLU and an in-place sum."""
    stem = [nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    body = [Residual(4, 4, 1), Residual(4, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    return Net(nn.Sequential(*stem, *body).eval(), (torch.randn(1, 3, 12, 12),), loss=lambda y: y.logsumexp(-1).sum())


@room("cnn")
def resnet_train() -> Net:
    body = [nn.Conv2d(3, 4, 3), Residual(4, 8, 2), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    return Net(nn.Sequential(*body).train(), (torch.randn(2, 3, 9, 9),), loss=lambda y: y.square().sum())


@room("cnn")
def depthwise() -> Net:
    layers = [nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU6(), nn.Conv2d(6, 8, 1), nn.ReLU6()]
    return Net(nn.Sequential(*layers, nn.Conv2d(8, 4, 3, dilation=2)), (torch.randn(1, 6, 8, 8),), loss=Tensor.sum)


@room("cnn")
def transposed() -> Net:
    layers = [
        nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(6, 3, 2),
        nn.Tanh(),
    ]
    return Net(nn.Sequential(*layers), (torch.randn(1, 4, 4, 4),), loss=lambda y: y.abs().mean())


@room("cnn")
def conv1d() -> Net:
    layers = [
        nn.Conv1d(2, 6, 5, stride=2),
        nn.GELU(),
        nn.MaxPool1d(2),
        nn.Conv1d(6, 4, 3),
        nn.AvgPool1d(2),
        nn.Flatten(),
    ]
    return Net(nn.Sequential(*layers), (torch.randn(2, 2, 30),), loss=lambda y: y.square().mean())


@room("cnn")
def conv3d() -> Net:
    layers = [nn.Conv3d(1, 3, 3), nn.BatchNorm3d(3), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(24, 2)]
    return Net(nn.Sequential(*layers).eval(), (torch.randn(1, 1, 6, 6, 6),), loss=Tensor.sum)


@room("cnn")
def padded() -> Net:
    """Reflection, replication and circular padding, pixel shuffle, and a dilated kernel."""
    layers = [nn.ReflectionPad2d(1), nn.Conv2d(2, 8, 3), nn.PixelShuffle(2), nn.ReplicationPad2d(1), nn.Conv2d(2, 3, 3)]
    tail = nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular")
    return Net(nn.Sequential(*layers, tail), (torch.randn(1, 2, 5, 5),), loss=lambda y: y.square().sum())


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up1, self.out = nn.Conv2d(8 + 4, 4, 3, padding=1), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        up = F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(F.relu(self.up1(torch.cat([up, a], dim=1))))


@room("cnn")
def unet() -> Net:
    x = torch.randn(1, 1, 8, 8)
    return Net(UNet(), (x,), loss=lambda y: F.binary_cross_entropy_with_logits(y, (x > 0).float()))


@room("cnn")
def upsample_nearest() -> Net:
    layers = [nn.Conv2d(1, 3, 3), nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(3, 1, 3)]
    return Net(nn.Sequential(*layers), (torch.randn(1, 1, 6, 6),), loss=lambda y: F.l1_loss(y, torch.zeros_like(y)))
