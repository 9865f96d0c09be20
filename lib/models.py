"""The SE-SOTA-ConvNet template: one design, a classifier and a variational autoencoder.

Four numbers make a network: `groups` (dense groups), `width` (channels that a dense
group adds), `compression` (what a transition keeps) and, for the autoencoder,
`latent_dim`. With the paper's values (4, 64, 0.8) the counts are the published ones
to the unit (paper, section 5): classifier 801,980 parameters in 12 convolutional
layers, autoencoder 2,243,960 in 24. The layout is that of a pre-activation
DenseNet-BC (Huang et al., arXiv 1608.06993) with squeeze-and-excitation
(Hu et al., arXiv 1709.01507); the sizes marked "chosen" below are not recovered
facts: they were chosen so that the totals are met.

Images are float tensors (N, 3, 32, 32) with values in [0, 1]; the classifier takes smaller ones too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_SIZE = 32  # pixels; the power of two nearest to the median width of 26 (paper, section 5)
BOTTLENECK = 4  # a 1x1 convolution widens to 4 x width before the 3x3 one (DenseNet-BC)
SE_RATIO = 16  # squeeze-and-excitation: width -> width / 16 -> width
EMBEDDING = 290  # chosen: the classifier's embedding, which makes 801,980
GRID = 2  # the autoencoder's code sees a 2 x 2 grid of the body's features, so it knows positions
ENCODER_HIDDEN, DECODER_HIDDEN = 176, 168  # chosen: with latent_dim 128 they make 2,243,960
LATENT_DIM = 128  # chosen with the two above


class ParameterCount(NamedTuple):
    """Numbers of parameters as Keras counts them, and of convolutional layers."""

    total: int
    trainable: int
    non_trainable: int  # running means and variances of the batch normalisations
    convolutions: int


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count weights, running statistics and convolutional layers of a network.

    Weights count as trainable also while they are frozen; PyTorch's batch counter is
    not a parameter.
    """
    trainable = sum(p.numel() for p in model.parameters())
    fixed = sum(
        b.numel() for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var"))
    )
    convolutions = sum(isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)) for m in model.modules())
    return ParameterCount(trainable + fixed, trainable, fixed, convolutions)


class SqueezeExcitation(nn.Module):
    """Weigh channels by what the whole picture holds (N, C, H, W) -> same shape."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(1, channels // SE_RATIO)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


class DenseGroup(nn.Module):
    """Bottleneck block that adds `width` channels to its input (N, C, H, W) -> (N, C + width, H, W)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, BOTTLENECK * width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * width)
        self.conv2 = nn.Conv2d(BOTTLENECK * width, width, 3, padding=1, bias=False)
        self.se = SqueezeExcitation(width)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv1(F.relu(self.norm1(x)))
        new = self.conv2(F.relu(self.norm2(new)))
        return torch.cat([x, self.se(new)], 1)


class Transition(nn.Module):
    """Compress channels and halve the resolution (N, C, H, W) -> (N, kept, H / 2, W / 2)."""

    def __init__(self, channels: int, kept: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, kept, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # pooling and a 1x1 convolution commute; in this order the convolution costs a quarter
        return self.conv(F.avg_pool2d(F.relu(self.norm(x)), 2))


def channel_plan(groups: int, width: int, compression: float) -> list[int]:
    """Channels entering each dense group, then those leaving the last one.

    (4, 64, 0.8) gives [32, 76, 112, 140, 204]. Raises ValueError for values outside
    groups 1..6 (32 pixels halve five times), width >= 4 and even, 0 < compression <= 1,
    or a compression that leaves no channel.
    """
    if not (isinstance(groups, int) and 1 <= groups <= 6):
        raise ValueError(f"groups: found {groups!r}, expected a whole number from 1 to 6")
    if not (isinstance(width, int) and width >= 4 and width % 2 == 0):
        raise ValueError(f"width: found {width!r}, expected an even whole number of at least 4")
    if not 0 < compression <= 1:
        raise ValueError(f"compression: found {compression!r}, expected a number in (0, 1]")
    plan = [width // 2]
    for _ in range(groups - 1):
        plan.append(int(compression * (plan[-1] + width) + 1e-9))
        if plan[-1] < 1:
            raise ValueError(f"compression: found {compression!r}, expected one that leaves a channel")
    return [*plan, plan[-1] + width]


class Body(nn.Module):
    """The template's feature half, shared by classifier and encoder.

    (N, 3, 32, 32) -> (N, 204, 4, 4) for the paper's numbers: 32 -> 16 -> 8 -> 4 pixels,
    32 -> 96 -> 76 -> 140 -> 112 -> 176 -> 140 -> 204 channels.
    """

    def __init__(self, groups: int, width: int, compression: float):
        super().__init__()
        plan = channel_plan(groups, width, compression)
        self.stem = nn.Conv2d(3, plan[0], 3, padding=1, bias=False)
        self.groups = nn.ModuleList(DenseGroup(c, width) for c in plan[:-1])
        self.transitions = nn.ModuleList(
            Transition(c + width, kept) for c, kept in zip(plan[:-2], plan[1:-1], strict=True)
        )
        self.norm = nn.BatchNorm2d(plan[-1])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for group, transition in zip(self.groups, self.transitions, strict=False):
            x = transition(group(x))
        return F.relu(self.norm(self.groups[-1](x)))


class Classifier(nn.Module):
    """SE-SOTA-ConvNN: body, average pooling, embedding, class scores (N, classes)."""

    def __init__(self, groups: int, width: int, compression: float, classes: int):
        super().__init__()
        self.body = Body(groups, width, compression)
        self.embedding = nn.Linear(channel_plan(groups, width, compression)[-1], EMBEDDING)
        self.output = nn.Linear(EMBEDDING, classes)

    def embed(self, x: Tensor) -> Tensor:
        """Features before the last layer (N, 290), not negative."""
        return F.relu(self.embedding(self.body(x).mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.embed(x))


class MirrorGroup(nn.Module):
    """A dense group backwards: split, transposed convolutions, add (N, C + width, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.channels = channels
        self.se = SqueezeExcitation(width)
        self.conv2 = nn.ConvTranspose2d(width, BOTTLENECK * width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * width)
        self.conv1 = nn.ConvTranspose2d(BOTTLENECK * width, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        kept, new = x[:, : self.channels], x[:, self.channels :]  # what `cat` joined
        new = F.relu(self.norm2(self.conv2(self.se(new))))
        return kept + self.norm1(self.conv1(new))


class MirrorTransition(nn.Module):
    """A transition backwards: double the resolution, widen (N, kept, H, W) -> (N, C, 2 H, 2 W)."""

    def __init__(self, channels: int, kept: int):
        super().__init__()
        self.conv = nn.ConvTranspose2d(kept, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        # batch normalisation, a 1x1 convolution and this upsampling commute: done small, then copied
        return F.interpolate(F.relu(self.norm(self.conv(x))), scale_factor=2, mode="nearest")


class MirrorBody(nn.Module):
    """The body read backwards, every convolution a transposed one (N, 204, 4, 4) -> (N, 3, 32, 32)."""

    def __init__(self, groups: int, width: int, compression: float):
        super().__init__()
        plan = channel_plan(groups, width, compression)
        self.norm = nn.BatchNorm2d(plan[-1])
        self.groups = nn.ModuleList(MirrorGroup(c, width) for c in plan[:-1])
        self.transitions = nn.ModuleList(
            MirrorTransition(c + width, kept) for c, kept in zip(plan[:-2], plan[1:-1], strict=True)
        )
        self.stem = nn.ConvTranspose2d(plan[0], 3, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.groups[-1](F.relu(self.norm(x)))
        for group, transition in zip(reversed(self.groups[:-1]), reversed(self.transitions), strict=True):
            x = group(transition(x))
        return self.stem(x)


class Encoder(nn.Module):
    """Body and head: images (N, 3, 32, 32) -> mu and log variance, each (N, latent_dim)."""

    def __init__(self, groups: int, width: int, compression: float, latent_dim: int):
        super().__init__()
        self.body = Body(groups, width, compression)
        self.grid = min(GRID, IMAGE_SIZE >> (groups - 1))
        features = channel_plan(groups, width, compression)[-1] * self.grid**2
        self.hidden = nn.Linear(features, ENCODER_HIDDEN)
        self.mu = nn.Linear(ENCODER_HIDDEN, latent_dim)
        self.log_variance = nn.Linear(ENCODER_HIDDEN, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        step = x.shape[-1] // self.grid
        hidden = F.relu(self.hidden(F.avg_pool2d(x, step).flatten(1)))
        return self.mu(hidden), self.log_variance(hidden)


class Decoder(nn.Module):
    """Head and mirrored body: codes (N, latent_dim) -> images (N, 3, 32, 32) in [0, 1]."""

    def __init__(self, groups: int, width: int, compression: float, latent_dim: int):
        super().__init__()
        self.size = IMAGE_SIZE >> (groups - 1)
        self.channels = channel_plan(groups, width, compression)[-1]
        self.hidden = nn.Linear(latent_dim, DECODER_HIDDEN)
        self.features = nn.Linear(DECODER_HIDDEN, self.channels * self.size**2)
        self.body = MirrorBody(groups, width, compression)

    def forward(self, z: Tensor) -> Tensor:
        x = self.features(F.relu(self.hidden(z)))
        return torch.sigmoid(self.body(x.view(-1, self.channels, self.size, self.size)))


class VAE(nn.Module):
    """VAENN: the variational autoencoder of the template (paper, section 5)."""

    def __init__(self, groups: int, width: int, compression: float, latent_dim: int):
        super().__init__()
        self.encoder = Encoder(groups, width, compression, latent_dim)
        self.decoder = Decoder(groups, width, compression, latent_dim)

    def forward(self, x: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mu and log variance; epsilon (N, latent_dim) is standard normal.

        z = mu + sigma * epsilon (paper, equation 1).
        """
        mu, log_variance = self.encoder(x)
        return self.decoder(mu + torch.exp(0.5 * log_variance) * epsilon), mu, log_variance


def build_classifier(
    groups: int = 4, width: int = 64, compression: float = 0.8, classes: int = 6
) -> Classifier:
    """The discriminative network from the paper's three numbers.

    Raises ValueError for numbers that make no network (see `channel_plan`).
    """
    if not (isinstance(classes, int) and classes >= 2):
        raise ValueError(f"classes: found {classes!r}, expected a whole number of at least 2")
    return Classifier(groups, width, compression, classes)


def build_vae(
    groups: int = 4, width: int = 64, compression: float = 0.8, latent_dim: int = LATENT_DIM
) -> VAE:
    """The generative network from the paper's four numbers.

    Any latent dimension works; the default has the published count. Raises ValueError
    for numbers that make no network (see `channel_plan`).
    """
    if not (isinstance(latent_dim, int) and latent_dim >= 1):
        raise ValueError(f"latent_dim: found {latent_dim!r}, expected a whole number of at least 1")
    return VAE(groups, width, compression, latent_dim)


def main() -> None:
    """Print the counts of both networks: `python -m lib.models`."""
    for name, model in (("classifier", build_classifier()), ("autoencoder", build_vae())):
        count = count_parameters(model)
        print(f"{name:<11} {count.total:>9,} parameters, {count.trainable:>9,} trainable, "
              f"{count.convolutions} convolutional layers")  # fmt: skip


if __name__ == "__main__":
    main()
