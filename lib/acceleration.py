"""One place decides how a run computes: device, precision, memory format, compiler.

`choose_path` picks the fastest safe path and says why; each choice can be overridden
by a parameter of the notebooks. On a CPU the path is deterministic run to run at a
fixed number of threads.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path as FilePath

import torch

WORTH_COMPILING = 150  # optimiser steps of 128 images under which compiling costs more than it saves


@dataclass(frozen=True)
class ComputePath:
    """The choices of a run; `why` explains the ones that were not the fastest."""

    device: str  # "cpu", "cuda" or "mps"
    precision: str  # "bfloat16" (autocast) or "float32"
    channels_last: bool
    compiler: bool  # torch.compile may be used
    threads: int
    why: str = ""

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        """Move a network to the device, in the memory format of the path."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(self.device, memory_format=layout)

    def autocast(self) -> torch.autocast:
        """Context in which the forward pass runs."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")

    def compile(self, function, steps: int):
        """`function` compiled if the path allows it and `steps` steps pay for it."""
        if not (self.compiler and steps >= WORTH_COMPILING):
            return function
        return torch.compile(function, dynamic=False)

    def describe(self) -> str:
        """One line for logs and the final table."""
        layout = "channels-last" if self.channels_last else "channels-first"
        compiled = "torch.compile for long trainings" if self.compiler else "not compiled"
        line = f"{self.device}, {self.precision}, {layout}, {compiled}, {self.threads} threads"
        return line + (f" ({self.why})" if self.why else "")

    def asdict(self) -> dict:
        return asdict(self)


@functools.cache
def _native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (emulation is slower than float32)."""
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capability and capability())


def _compiler_obstacle(device: str) -> str:
    """Why torch.compile cannot be used here; empty if it can."""
    if sys.platform == "win32":
        return "no compiler: Windows"
    if device == "cpu":
        if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
            return "not compiled: no C++ compiler found"
        if " " in str(FilePath(torch.__file__).parent):
            return "not compiled: PyTorch's C++ build cannot stand the space in the path of .venv"
    if device == "mps":
        return "not compiled on MPS"
    return ""


def choose_path(
    device: str = "auto", precision: str = "auto", memory_format: str = "auto", compiler: str = "auto"
) -> ComputePath:
    """Decide once. Each argument is "auto" or one of: cpu/cuda/mps; bfloat16/float32;
    channels_last/contiguous; on/off. Raises ValueError for any other word.
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
        fast = torch.cuda.is_bf16_supported() if device == "cuda" else device == "cpu" and _native_bfloat16()
        precision = "bfloat16" if fast else "float32"
    obstacle = "" if compiler == "off" else _compiler_obstacle(device)
    if obstacle:
        why.append(obstacle)
    if device == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return ComputePath(
        device=device,
        precision=precision,
        channels_last=memory_format != "contiguous",
        compiler=compiler != "off" and not obstacle,
        threads=torch.get_num_threads(),
        why="; ".join(why),
    )
