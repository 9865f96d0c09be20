"""One place decides how a run computes: device, precision, memory format, compiler.

`choose_path` picks the fastest safe path and says why; each choice can be overridden
by a parameter of the notebooks. On a CPU the path is deterministic run to run at a
fixed number of threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path as FilePath

import torch

# Images of a training under which compiling costs more time than it saves, by device. On an H200 it saves the
# classifier 7 microseconds an image (figures/benchmarks/bench_gpu.json), and compiling took 26 s.
WORTH_COMPILING = {"cpu": 400_000, "cuda": 4_000_000, "mps": 400_000}
TakeStep = Callable[[Hashable, Sequence[torch.Tensor]], dict[str, torch.Tensor]]
EAGER_STEPS = 3  # of a training, before its step is recorded as a CUDA graph: buffers are allocated in them
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt(3)


@dataclass(frozen=True)
class ComputePath:
    """The choices of a run; `why` explains the ones that were not the fastest."""

    device: str  # "cpu", "cuda" or "mps"
    precision: str  # "bfloat16" (autocast) or "float32"
    channels_last: bool
    compiler: bool  # torch.compile may be used
    threads: int
    why: str = ""
    graphs: bool = False  # a training step is recorded once and replayed as a CUDA graph
    forced: bool = False  # torch.compile is used however short the training

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        """Move a network to the device, in the memory format of the path."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        with torch.inference_mode(False):  # asked first and trained later, it needs weights with gradients
            return model.to(self.device, memory_format=layout)

    def autocast(self) -> torch.autocast:
        """Context in which the forward pass runs."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")

    def compiles(self, images: int | None) -> bool:
        """Whether the path allows to compile, and it pays in a training on `images` images or is forced.

        None, an unknown number, only where it is forced.
        """
        return self.compiler and (self.forced or images >= WORTH_COMPILING[self.device])

    def compile(self, function, images: int):
        """`function`, compiled if that pays for itself in a training on `images` images."""
        if not self.compiles(images):
            return function
        avoid_spaces()
        return _or_plain(function, torch.compile(function, dynamic=False))

    def steps(self, take_step: TakeStep) -> TakeStep:
        """`take_step(phase, tensors)`, replayed as a CUDA graph where the path says so (`GraphedSteps`)."""
        return GraphedSteps(take_step) if self.graphs else take_step

    def describe(self, images: int | None = None) -> str:
        """One line for logs and the final table; with `images`, of a training on so many."""
        layout = "channels-last" if self.channels_last else "channels-first"
        if not self.compiler:
            compiled = "not compiled"
        elif images is None and not self.forced:
            compiled = "torch.compile for long trainings"
        elif self.compiles(images):
            compiled = "torch.compile"
        else:
            least = WORTH_COMPILING[self.device]
            compiled = f"not compiled (pays from {least:,} images on, here {images:,})"
        compiled += ", CUDA graphs" if self.graphs else ""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        line = f"{self.device}, {self.precision}, {layout}, {compiled}, {threads}"
        return line + (f" ({self.why})" if self.why else "")

    def asdict(self) -> dict:
        return asdict(self)


class GraphedSteps:
    """A training step as a CUDA graph: recorded once, then replayed by one call instead of hundreds.

    `take_step(phase, tensors)` does a whole step (forward, backward, optimiser) and returns tensors by name.
    It must do the same on the device for every step of a phase, with tensors of the same shapes. The first
    steps of a phase run as they are; then one is recorded, which computes nothing, and replayed.
    """

    def __init__(self, take_step: TakeStep):
        self._take_step, self._stream = take_step, torch.cuda.Stream()
        self._kind: Hashable = None
        self._eager, self._graph, self._given, self._made = 0, None, [], {}

    def __call__(self, phase: Hashable, tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        kind = (phase, *(tuple(tensor.shape) for tensor in tensors))
        if kind != self._kind:
            self._kind, self._eager, self._graph, self._made = kind, 0, None, {}
        if self._eager < EAGER_STEPS:
            self._eager += 1
            here = torch.cuda.current_stream()
            self._stream.wait_stream(here)  # recording wants the warm-up on another stream than the usual
            with torch.cuda.stream(self._stream):
                found = self._take_step(phase, tensors)
            here.wait_stream(self._stream)
            return found
        if self._graph is None:
            self._given = [tensor.clone() for tensor in tensors]
            self._graph = torch.cuda.CUDAGraph()
            with _uncollected(), torch.cuda.graph(self._graph):
                self._made = self._take_step(phase, self._given)
        for kept, new in zip(self._given, tensors, strict=True):
            kept.copy_(new)
        self._graph.replay()
        return {name: tensor.clone() for name, tensor in self._made.items()}


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing is collected as garbage meanwhile: freeing another graph's memory would break a recording."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@functools.cache
def _native_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 itself (emulation is slower than float32)."""
    if device != "cpu":
        return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capability and capability())


def _compiler_obstacle(device: str) -> str:
    """Why torch.compile cannot be used here; empty if it can."""
    if sys.platform == "win32":
        return "no compiler: Windows"
    if device == "cpu":
        if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
            return "not compiled: no C++ compiler found"
    if device == "mps":
        return "not compiled on MPS"
    return ""


def _or_plain(function, compiled):
    """`compiled`, until a call shows that this machine cannot compile; from then on `function`.

    Shapes and the backward pass are compiled when they are first met. The backward pass is compiled
    with the forward one, so that a failure comes before anything has been computed.
    """
    import torch._functorch.config

    torch._functorch.config.force_non_lazy_backward_lowering = True
    works = True

    def call(*arguments):
        nonlocal works
        if works:
            try:
                return compiled(*arguments)
            except torch._dynamo.exc.TorchDynamoException as error:
                print(f"torch.compile failed ({type(error).__name__}); the training goes on without it")
                works = False
        return function(*arguments)

    return call


@functools.cache
def avoid_spaces() -> FilePath | None:
    """Show PyTorch's C++ build a path without spaces: a link to its folder beside the compiled code.

    The build breaks at a space in the path of the headers and libraries. Returns the link; None
    where no link is needed.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir
    from torch.utils import cpp_extension

    home = FilePath(torch.__file__).resolve().parent
    if " " not in str(home):
        return None
    link = FilePath(cache_dir()) / f"torch-{hashlib.sha256(str(home).encode()).hexdigest()[:8]}"
    if not (link.is_symlink() and link.resolve() == home):
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f"{link.name}.{os.getpid()}")
        temporary.symlink_to(home)
        os.replace(temporary, link)
    cpp_extension._TORCH_PATH = str(link)
    cpp_extension.TORCH_LIB_PATH = str(link / "lib")
    return link


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep the memory that tensors free, for the next ones; True if that worked.

    A training step frees and asks again for blocks of up to 70 MB. glibc hands such blocks back to the
    system, which must fill every new page with zeros: a third of a step's time. Other C libraries
    are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def choose_path(
    device: str = "auto", precision: str = "auto", memory_format: str = "auto", compiler: str = "auto"
) -> ComputePath:
    """Decide once. Each argument is "auto" or one of: cpu/cuda/mps; bfloat16/float32;
    channels_last/contiguous; on/off. The compiler "on" compiles short trainings too, "off" means no CUDA
    graphs either. Raises ValueError for any other word.
    """
    allowed = {
        "device": (device, ("auto", "cpu", "cuda", "mps")),
        "precision": (precision, ("auto", "bfloat16", "float32")),
        "memory_format": (memory_format, ("auto", "channels_last", "contiguous")),
        "compiler": (compiler, ("auto", "on", "off")),
    }
    for name, (value, words) in allowed.items():
        if value not in words:
            raise ValueError(f"{name}: found {value!r}, expected one of {', '.join(words)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    why = []
    if precision == "auto":
        precision = "bfloat16" if _native_bfloat16(device) else "float32"
    if device == "cpu":
        keep_freed_memory()
    obstacle = "" if compiler == "off" else _compiler_obstacle(device)
    if obstacle:
        why.append(obstacle)
    if device == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32, in matrices as in convolutions
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads such memory
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return ComputePath(
        device=device,
        precision=precision,
        channels_last=memory_format != "contiguous",
        compiler=compiler != "off" and not obstacle,
        threads=torch.get_num_threads(),
        why="; ".join(why),
        graphs=device == "cuda" and compiler != "off",
        forced=compiler == "on",
    )
