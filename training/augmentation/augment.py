"""Augmentation of a whole batch on the device, against the shortcuts that public brain MRI sets offer.

Framing, brightness, sharpness and contrast tell the source of an image, and the source tells the label; so each is
drawn anew for every image: the window around the head, the intensity curve (monotone or not: another sequence), the
bias field of the coil, blur, noise. The same sampling grid carries the tumor's box along.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CACHE_MARGIN = 0.25  # frames are cached with this much room around the head, so that a wide window shows real pixels
INSIDE, OUTSIDE, UNKNOWN = 1, 0, -1  # what the box says of a position


class Strength(NamedTuple):
    """How far each draw may go; all chances are per image."""

    margin: tuple[float, float] = (-0.04, 0.20)  # of the window around the head; serving uses 0.06
    rotation: float = 15.0  # degrees, standard deviation is half of it
    aspect: float = 0.10  # stretch of one axis against the other
    shear: float = 0.08
    shift: float = 0.05  # of the window
    warp: float = 0.035  # smooth displacement, of the window
    curve: float = 0.6  # chance of a random intensity curve
    non_monotone: float = 0.35  # chance that such a curve goes up and down: the order of tissues changes
    gamma: float = 0.35  # log-normal spread where no curve is drawn
    bias: float = 0.35  # log amplitude of the coil's field
    sharpness: tuple[float, float] = (-0.9, 0.6)  # below 0: blurred, above: sharpened
    noise: float = 0.06  # largest standard deviation, of the full range
    haze: float = 0.1  # chance of a background that is not black


MILD = Strength(  # for the end of a run: closer to what is served, so that the last steps learn its detail
    rotation=12.0,
    warp=0.025,
    curve=0.3,
    non_monotone=0.15,
    gamma=0.25,
    bias=0.2,
    sharpness=(-0.5, 0.4),
    noise=0.03,
    haze=0.05,
)


def uniform(n: int, low: float, high: float, device) -> Tensor:
    """Random numbers (n,) from `low` to `high`."""
    return torch.rand(n, device=device) * (high - low) + low


def sampling_grid(n: int, size: int, strength: Strength, device) -> Tensor:
    """Random window, rotation, stretch, shear, mirror and smooth warp: (n, size, size, 2) for `grid_sample`."""
    scale = (1 + 2 * uniform(n, *strength.margin, device)) / (1 + 2 * CACHE_MARGIN)
    angle = torch.deg2rad(torch.randn(n, device=device).clamp(-2, 2) * strength.rotation / 2)
    stretch = torch.exp(uniform(n, -strength.aspect, strength.aspect, device) / 2)
    mirror = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    shear = uniform(n, -strength.shear, strength.shear, device)
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.zeros(n, 2, 3, device=device)
    theta[:, 0, 0] = scale * stretch * cos * mirror
    theta[:, 0, 1] = scale * stretch * (shear - sin)
    theta[:, 1, 0] = scale / stretch * sin * mirror
    theta[:, 1, 1] = scale / stretch * cos
    theta[:, :, 2] = scale[:, None] * 2 * uniform(2 * n, -strength.shift, strength.shift, device).view(n, 2)
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    knots = torch.randn(n, 2, 5, 5, device=device) * strength.warp * scale[:, None, None, None]
    warp = F.interpolate(knots, size=(size, size), mode="bicubic", align_corners=True)
    return grid + warp.permute(0, 2, 3, 1)


def random_curves(images: Tensor, strength: Strength) -> Tensor:
    """Pass each image (0..1) through its own piecewise linear intensity curve."""
    n, knots = len(images), 8
    device = images.device
    steps = -torch.log(torch.rand(n, knots - 1, device=device).clamp_min(1e-4))  # exponential: a random partition
    monotone = F.pad(steps.cumsum(1) / steps.sum(1, keepdim=True), (1, 0))
    free = torch.rand(n, knots, device=device)
    free[:, 0] = 0  # background stays black
    curve = torch.where((torch.rand(n, device=device) < strength.non_monotone)[:, None], free, monotone)
    identity = torch.linspace(0, 1, knots, device=device)
    gamma = identity ** torch.exp(torch.randn(n, 1, device=device) * strength.gamma)
    curve = torch.where((torch.rand(n, device=device) < strength.curve)[:, None], curve, gamma)
    place = images.flatten(1) * (knots - 1)
    low = place.floor().clamp(0, knots - 2).long()
    left, right = curve.gather(1, low), curve.gather(1, low + 1)
    return (left + (right - left) * (place - low)).view_as(images)


def degrade(images: Tensor, strength: Strength) -> Tensor:
    """Coil bias field, blur or sharpening, noise, haze; then the brightest part of each image is 1 again."""
    n, size, device = len(images), images.shape[-1], images.device
    field = F.interpolate(torch.randn(n, 1, 4, 4, device=device), size=(size, size), mode="bicubic", align_corners=True)
    images = images * torch.exp(field * uniform(n, 0, strength.bias, device).view(n, 1, 1, 1))
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = images + uniform(n, *strength.sharpness, device).view(n, 1, 1, 1) * (images - blurred)
    noise = uniform(n, 0, strength.noise, device).view(n, 1, 1, 1) * torch.rand(n, 1, 1, 1, device=device)
    images = images + noise * torch.randn_like(images)
    hazy = torch.rand(n, device=device) < strength.haze
    haze = (uniform(n, 0, 0.3, device) * hazy).view(n, 1, 1, 1)
    images = images.clamp_min(0) * (1 - haze) + haze
    bright = F.avg_pool2d(images, 4).amax((2, 3), keepdim=True).clamp_min(0.05)  # a cheap stand-in for a percentile
    return (images / bright).clamp(0, 1)


def positions_in_box(grid: Tensor, boxes: Tensor, stride: int) -> Tensor:
    """What the tumor's box says of each position of the evidence map.

    `grid` (N, S, S, 2) as used for sampling; `boxes` (N, 4) left, top, right, bottom as fractions of the cached frame,
    NaN where unknown. Returns int8 (N, S / stride, S / stride): INSIDE, OUTSIDE, or UNKNOWN: near the edge, or no box.
    """
    centers = F.avg_pool2d(grid.permute(0, 3, 1, 2), stride).permute(0, 2, 3, 1) / 2 + 0.5
    corner, opposite = boxes[:, None, None, :2], boxes[:, None, None, 2:]
    middle, half = (corner + opposite) / 2, (opposite - corner) / 2
    cell = (grid[:, 1:, 1:] - grid[:, :-1, :-1]).abs().amax(-1).mean((1, 2)).view(-1, 1, 1, 1) * stride / 2
    distance = (centers - middle).abs()
    reach = torch.maximum(half, 0.75 * cell)  # the smallest box still holds one position
    inside = ((distance / reach) ** 2).sum(-1) <= 1  # an ellipse: tumors leave the corners of their boxes empty
    outside = (distance > half + cell).any(-1)
    said = torch.full(inside.shape, UNKNOWN, dtype=torch.int8, device=grid.device)
    return said.masked_fill_(outside, OUTSIDE).masked_fill_(inside, INSIDE)


def augment(frames: Tensor, boxes: Tensor, size: int, stride: int, strength: Strength) -> tuple[Tensor, Tensor]:
    """Cached frames -> training images.

    Args: `frames` uint8 (N, F, F) framed with `CACHE_MARGIN`; `boxes` as in `positions_in_box`; `size` of the result.
    Returns: float32 (N, 1, size, size) in 0..255, and the int8 map of `positions_in_box`.
    Draws from torch's global generator of the frames' device.
    """
    grid = sampling_grid(len(frames), size, strength, frames.device)
    images = F.grid_sample(frames[:, None].float() / 255, grid, align_corners=False)
    images = degrade(random_curves(images, strength), strength)
    return images * 255, positions_in_box(grid, boxes, stride)
