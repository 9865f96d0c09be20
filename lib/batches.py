"""Batches: which images a step sees, and what is done to them before a network does.

Every batch is a function of (seed, step) alone: the order of a pass over the data, the
augmentation and the noise come from generators seeded by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lib import runs
from lib.acceleration import ComputePath
from lib.models import IMAGE_SIZE


def image_batch(images: Tensor) -> Tensor:
    """uint8 (N, 32, 32, 3), 0..255 -> float (N, 3, 32, 32), 0..1, channels-last in memory."""
    return images.permute(0, 3, 1, 2).float() / 255


def on_device(array: np.ndarray, path: ComputePath) -> Tensor:
    """An array as a tensor on the device; copied only if it must be (a read-only memory map is)."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(path.device)


def generator(*seeds: int) -> torch.Generator:
    """A CPU generator from several numbers, mixed so that neighbours are unrelated."""
    mixed = np.random.SeedSequence([int(s) for s in seeds]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(mixed[0]) << 31 ^ int(mixed[1]))


def torch_seed(seed: int, number: int) -> int:
    """A seed for PyTorch's own generator from two numbers, such as those of a run and of a network."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def draw_augmentation(count: int, random: torch.Generator, soften: float = 0.0) -> tuple[Tensor, Tensor]:
    """What `augment` needs for `count` images: which are flipped (bool), how much each is softened (0..1).

    With probability `soften` an image is softened at all. On the CPU: the same numbers on every device.
    """
    flip = torch.rand(count, generator=random) < 0.5
    if not soften:
        return flip, torch.zeros(count)
    share = torch.rand(count, generator=random)
    return flip, torch.where(torch.rand(count, generator=random) < soften, share, 0.0)


def augment(images: Tensor, flip: Tensor, share: Tensor | None = None) -> Tensor:
    """Flip some images left-right and soften by a share of their 3x3 binomial blur (uint8 in and out,
    (N, 32, 32, 3); flip bool (N,), share float (N,)), so that softness as such says nothing about the class.
    """
    images = torch.where(flip[:, None, None, None], images.flip(2), images)
    if share is None:
        return images
    x = images.permute(0, 3, 1, 2).float()
    kernel = 0.5 - 0.25 * torch.arange(-1, 2, device=x.device).abs()  # 1/4, 1/2, 1/4
    kernel = (kernel[:, None] * kernel[None]).expand(3, 1, 3, 3).contiguous()
    soft = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    x = torch.lerp(x, soft, share[:, None, None, None])
    return x.round().to(torch.uint8).permute(0, 2, 3, 1)


def check_resolutions(resolutions: Sequence[int], smallest: int) -> None:
    """InputError unless these are sides of images in px, none under `smallest`, the last one 32."""
    sides = list(resolutions)
    whole = all(type(side) is int and smallest <= side <= IMAGE_SIZE for side in sides)
    if not (sides and whole and sides[-1] == IMAGE_SIZE):
        expected = f"whole numbers from {smallest} to {IMAGE_SIZE}, the last one {IMAGE_SIZE}"
        raise runs.InputError("resolutions", str(sides), expected)


def at_resolution(images: Tensor, side: int) -> Tensor:
    """Float images (N, 3, 32, 32) -> (N, 3, side, side), antialiased; at 32 the images themselves."""
    if side == images.shape[-1]:
        return images
    small = F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return small.contiguous(memory_format=torch.channels_last)


@dataclass
class Schedule:
    """How long and how fast: optimiser steps, images a step, peak learning rate of Adam, seed."""

    steps: int
    batch_size: int
    rate: float
    seed: int

    def images_compiled_for(self, resolutions: Sequence[int] = (IMAGE_SIZE,)) -> int:
        """Images a resolution: each is compiled by itself and must pay for that by itself."""
        return self.steps * self.batch_size // len(set(resolutions))

    def rows(self, count: int, step: int) -> Tensor:
        """Indices of a step's images: shuffled passes over `count` images, last short batch left out."""
        size, per_pass = self._pass(count)
        number, place = divmod(step, per_pass)
        return self._order(count, number)[place * size : (place + 1) * size]

    def batches(
        self, count: int, device: str, draw: Callable[[int, int], Sequence[Tensor]]
    ) -> Callable[[int], list[Tensor]]:
        """A function of the step: indices of its images and whatever `draw(step, images)` gives, on `device`.

        Drawn on the CPU and moved a pass at a time, so that an accelerator waits for nothing within a pass.
        """
        size, per_pass = self._pass(count)
        kept: dict[int, list[Tensor]] = {}

        def batch(step: int) -> list[Tensor]:
            number, place = divmod(step, per_pass)
            if number not in kept:
                kept.clear()
                steps = range(number * per_pass, min((number + 1) * per_pass, self.steps))
                drawn = [(self.rows(count, one), *draw(one, size)) for one in steps]
                kept[number] = [torch.stack(tensors).to(device) for tensors in zip(*drawn, strict=True)]
            return [tensors[place] for tensors in kept[number]]

        return batch

    def _pass(self, count: int) -> tuple[int, int]:
        """Images of a step, steps of a pass."""
        size = min(self.batch_size, count)
        return size, count // size

    def _order(self, count: int, number: int) -> Tensor:
        if getattr(self, "_last", None) is None or self._last[0] != (count, number):
            self._last = ((count, number), torch.randperm(count, generator=generator(self.seed, 1, number)))
        return self._last[1]
