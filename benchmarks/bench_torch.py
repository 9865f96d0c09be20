"""Workers of `benchmarks.bench` that compute with PyTorch.

    python -m benchmarks.bench_torch step|inference ours|eager [--network vae] [--device cuda] ...
    python -m benchmarks.bench_torch machine
    python -m benchmarks.bench_torch epoch --count 290207 [--crops crops.npy] [--resolutions 16 32] ...

"ours" is the library itself: `train_classifier` and `train_vae` run as in the notebooks, on the path that
`choose_path` picks, and are stopped between steps by their own schedule. "eager" is the same network as
people write it: float32, NCHW, plain Adam, batches of floats that were made before the clock runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.bench_protocol import Line, serve
from lib import quality
from lib.acceleration import ComputePath, choose_path
from lib.autoencoding import Objective, divergence, train_vae
from lib.batches import Schedule
from lib.generation import generate
from lib.models import IMAGE_SIZE, LATENT_DIM, VAE, build_classifier, build_vae
from lib.training import EVALUATION_BATCH, embed, predict, train_classifier

BETA = 0.02  # the evidence lower bound alone, in every variant
READY_BATCHES = 8
WARM_STEPS = 3  # compile, fill caches
WARM_EPOCH = 8  # steps at each resolution before an epoch is timed: all of its kernels were used once
CARS = 811  # as many real cars as the paper draws around
NEVER = 1_000_000  # steps of a training that the driver ends


class Work(NamedTuple):
    """What the convolutions of a network do in a forward pass."""

    flops: int  # of one image; a multiplication and an addition are two
    values: int  # read and written by one image, without weights
    weights: int  # read once a batch

    def step(self, batch: int) -> int:
        """Operations of a training step: each convolution forward, for its input and for its weights."""
        return 3 * batch * self.flops

    def step_bytes(self, batch: int, bytes_a_value: int) -> int:
        """Bytes that those must move at the least: each reads two of input, output, weights, writes one."""
        return 3 * bytes_a_value * (batch * self.values + self.weights)


def build(network: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_classifier() if network == "classifier" else build_vae()


def convolution_work(network: str) -> Work:
    """Count the convolutions of the network "classifier" or "vae" on tensors without content."""
    found = []

    def note(layer, inputs, output):
        x, transposed = inputs[0], isinstance(layer, torch.nn.ConvTranspose2d)
        # every weight meets every position of the output, in a transposed convolution of the input
        positions = (x if transposed else output).shape[2:].numel()
        found.append((2 * layer.weight.numel() * positions, x.numel() + output.numel(), layer.weight.numel()))

    with torch.device("meta"):
        model = build(network)
        for layer in model.modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
                layer.register_forward_hook(note)
        image = torch.empty(1, 3, IMAGE_SIZE, IMAGE_SIZE)
        model(*([image] if network == "classifier" else [image, torch.empty(1, LATENT_DIM)]))
    return Work(*(sum(column) for column in zip(*found, strict=True)))


def finish(device: str) -> None:
    """Wait until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 32, 32, 3): speed does not depend on what they show."""
    return np.random.default_rng(seed).integers(0, 256, (count, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)


class Stopped(Exception):
    """The driver has no more requests."""


class Paced(Schedule):
    """A schedule at whose goals the training answers the driver and waits for its next request.

    A training asks for the batch of a step first of all, so the time between two goals is that of whole
    steps, with everything that the library does around them.
    """

    goal, begun = 0, 0.0

    def start(self, line: Line, path: ComputePath) -> Paced:
        self.line, self.requests, self.path = line, line.requests(), path
        return self

    def batches(self, count: int, device: str, draw) -> Callable[[int], list[torch.Tensor]]:
        batch = super().batches(count, device, draw)

        def paced(step: int) -> list[torch.Tensor]:
            if step == self.goal:
                self.goal += self._wait(step)
            return batch(step)

        return paced

    def _wait(self, step: int) -> int:
        finish(self.path.device)
        if step == 0:
            return WARM_STEPS
        if step == WARM_STEPS:
            self.line.answer(ready={"path": self.path.describe(), "precision": self.path.precision})
        else:
            self.line.answer(seconds=time.perf_counter() - self.begun)
        request = next(self.requests, None)
        if request is None:
            raise Stopped
        self.begun = time.perf_counter()
        return request["steps"]


def the_path(device: str, compiler: str) -> ComputePath:
    """The path of a training; compiler "graphs": on a GPU as a short training, which is not compiled."""
    path = choose_path(device=device, compiler="auto" if compiler == "graphs" else compiler)
    return dataclasses.replace(path, compiler=False) if compiler == "graphs" else path


def our_steps(line: Line, network: str, batch: int, device: str, compiler: str) -> None:
    """A training of the library, step by step as the driver asks."""
    path = the_path(device, compiler)
    # On a GPU a pass as long as a measurement: what is drawn for it comes to the device at once, as usual.
    images = pictures(batch * (READY_BATCHES if device == "cuda" else 1))
    schedule = Paced(NEVER, batch, 1e-3, 0).start(line, path)
    try:
        if network == "classifier":
            labels = np.random.default_rng(1).integers(0, 6, len(images))
            train_classifier(build(network), images, labels, schedule, path=path)
        else:
            train_vae(build(network), images, schedule, path=path, objective=Objective(beta=BETA))
    except Stopped:
        pass


def eager_steps(line: Line, network: str, batch: int, device: str) -> None:
    """The same steps as people write them."""
    model = build(network).to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    shape = (batch, 3, IMAGE_SIZE, IMAGE_SIZE)
    batches = [
        (torch.rand(shape, device=device), torch.randint(6, (batch,), device=device))
        for _ in range(READY_BATCHES)
    ]

    def loss_of(images, labels):
        if network == "classifier":
            return F.cross_entropy(model(images), labels)
        made, mu, log_variance = model(images, torch.randn(batch, LATENT_DIM, device=device))
        squared = (made - images).square().sum((1, 2, 3)).mean()
        return squared + BETA * divergence(mu, log_variance).sum(1).mean()

    def steps(number: int) -> float:
        finish(device)
        start = time.perf_counter()
        for step in range(number):
            loss = loss_of(*batches[step % READY_BATCHES])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        finish(device)
        return time.perf_counter() - start

    steps(2)
    about = {"path": f"{device}, float32, channels-first, not compiled, {torch.get_num_threads()} threads"}
    line.answer_all(about, lambda request: {"seconds": steps(request["steps"])})


def floats(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).contiguous()


@torch.no_grad()
def eager_batches(function, inputs: np.ndarray) -> np.ndarray:
    blocks = range(0, len(inputs), EVALUATION_BATCH)
    return np.concatenate([function(inputs[i : i + EVALUATION_BATCH]) for i in blocks])


def eager_sample(vae: VAE, cars: np.ndarray, count: int) -> np.ndarray:
    """What `lib.generation.generate` makes, in plain PyTorch."""

    def codes(images):
        mu, log_variance = vae.encoder(floats(images))
        return torch.cat([mu, torch.exp(0.5 * log_variance)], 1).numpy()

    def pixels(z):
        made = vae.decoder(torch.from_numpy(z))
        return made.mul(255).round().byte().permute(0, 2, 3, 1).numpy()

    mu, sigma = np.split(eager_batches(codes, cars), 2, axis=1)
    base = np.arange(count) % len(cars)
    noise = np.random.default_rng(0).standard_normal((count, LATENT_DIM), np.float32)
    return eager_batches(pixels, mu[base] + sigma[base] * noise)


def inference(line: Line, variant: str, device: str, compiler: str) -> None:
    """Sampling, scoring, classifying; the scores are `set_quality` over the features of each side."""
    classifier, vae = build("classifier").eval(), build("vae").eval()
    cars = pictures(CARS, 1)
    if variant == "ours":
        path = choose_path(device=device, compiler=compiler)
        path.place(classifier), path.place(vae)
        about = {"path": path.describe()}
        tools = {
            "sampling": lambda count: generate(vae, cars, count, path),
            "features": lambda images: embed(classifier, images, path),
            "classifying": lambda images: predict(classifier, images, path),
        }
    else:
        about = {"path": "cpu, float32, channels-first"}
        tools = {
            "sampling": lambda count: eager_sample(vae, cars, count),
            "features": lambda x: eager_batches(lambda x: classifier.embed(floats(x)).numpy(), x),
            "classifying": lambda x: eager_batches(lambda x: classifier(floats(x)).softmax(1).numpy(), x),
        }

    def measure(request: dict) -> dict:
        count = request["images"]
        images = pictures(count)
        tasks = {
            "sampling": lambda: tools["sampling"](count),
            "scoring": lambda: quality.set_quality(images, cars, tools["features"]),
            "classifying": lambda: tools["classifying"](images),
        }
        start = time.perf_counter()
        tasks[request["task"]]()
        return {"seconds": time.perf_counter() - start}

    for task in ("sampling", "classifying"):
        measure({"task": task, "images": EVALUATION_BATCH})
    line.answer_all(about, measure)


def epoch(line: Line, options: argparse.Namespace) -> None:
    """Passes of the classifier's training over many crops, as notebook 02 trains it, set-up included."""
    path = choose_path(device=options.device, compiler="auto")
    own = np.load(options.crops, mmap_mode="r") if options.crops else pictures(READY_BATCHES * options.batch)
    images = np.resize(own, (options.count, IMAGE_SIZE, IMAGE_SIZE, 3))  # repeated to the size
    labels = np.random.default_rng(1).integers(0, 6, len(images))

    def measure(request: dict) -> dict:
        steps = max(1, int(request["passes"] * len(images) / options.batch))
        schedule = Schedule(steps, options.batch, 1e-3, 0)
        start = time.perf_counter()
        train_classifier(
            build("classifier"), images, labels, schedule, path=path, resolutions=options.resolutions
        )
        finish(path.device)
        return {"seconds": time.perf_counter() - start}

    measure({"passes": WARM_EPOCH * len(options.resolutions) * options.batch / len(images)})
    line.answer_all({"path": path.describe(len(images))}, measure)


def machine(line: Line, device: str, small: bool) -> None:
    """The machine's limits: operations a second of a matrix product, bytes a second of a copy."""
    path = choose_path(device=device)
    kind = torch.bfloat16 if path.precision == "bfloat16" else torch.float32
    sides = (256,) if small else (1024, 2048, 4096) if device == "cpu" else (4096, 8192)
    matrices = [torch.randn(side, side, device=device).to(kind) for side in sides]
    source = torch.ones((1 if small else 512) * 2**20 // 4, device=device)  # larger than the caches
    target = torch.zeros_like(source)

    def rate(work: float, function) -> float:
        finish(device)
        start = time.perf_counter()
        function()
        finish(device)
        return work / (time.perf_counter() - start)

    def measure(request: dict) -> dict:
        flops = max(rate(2 * len(m) ** 3, lambda m=m: m @ m) for m in matrices for _ in range(3))
        # a copy reads and writes every byte once
        moved = max(rate(2 * source.numel() * 4, lambda: target.copy_(source)) for _ in range(3))
        return {"flops": flops, "bytes": moved}

    measure({})
    line.answer_all({"precision": path.precision, "bytes_a_value": matrices[0].element_size()}, measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("step", "inference", "machine", "epoch"))
    parser.add_argument("variant", choices=("ours", "eager"), nargs="?", default="ours")
    parser.add_argument("--network", choices=("classifier", "vae"), default="classifier")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compiler", default="auto")
    parser.add_argument("--small", action="store_true", help="small matrices: a test of the worker")
    parser.add_argument("--count", type=int, default=READY_BATCHES * 128, help="crops of an epoch")
    parser.add_argument("--crops", default="", help="crops.npy of a store, for an epoch; else random")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[IMAGE_SIZE], help="of an epoch")
    options = parser.parse_args()
    if options.job == "epoch":
        serve(lambda line: epoch(line, options))
    elif options.job == "machine":
        serve(lambda line: machine(line, options.device, options.small))
    elif options.job == "inference":
        serve(lambda line: inference(line, options.variant, options.device, options.compiler))
    elif options.variant == "ours":
        serve(lambda line: our_steps(line, options.network, options.batch, options.device, options.compiler))
    else:
        serve(lambda line: eager_steps(line, options.network, options.batch, options.device))


if __name__ == "__main__":
    main()
