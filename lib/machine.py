"""The machine that a notebook ran on: what decides the last digits of its numbers, and its times."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = (  # that decide how a sum is taken, hence its last digits, as /proc/cpuinfo calls them
    "fma", "avx2", "avx512f", "avx512vl", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_fp16",
    "asimd", "sve", "sve2", "bf16", "svebf16",
)  # fmt: skip


def _cpuinfo(name: str) -> str:
    """The first entry of this name (a pattern) in /proc/cpuinfo; empty where there is none."""
    try:
        found = re.search(rf"^(?:{name})\s*:\s*(.+)$", CPUINFO.read_text(encoding="utf-8"), re.M)
    except OSError:
        found = None
    return found[1].strip() if found else ""


def processor() -> str:
    """The processor's name as the system gives it, else its kind."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Which of INSTRUCTIONS the processor has, as its name is often generic; empty where unknown."""
    own = _cpuinfo("flags|Features").split()
    return [name for name in INSTRUCTIONS if name in own]


def gpu() -> str | None:
    """The name of the GPU that this process computed on; None where it did not."""
    torch = sys.modules.get("torch")  # not imported for this: it takes seconds
    return torch.cuda.get_device_name() if torch and torch.cuda.is_initialized() else None


def facts() -> dict[str, Any]:
    """Processor, GPU, system and versions, ready for JSON."""
    return {
        "processor": processor(), "instructions": instructions(), "cores": os.cpu_count(), "gpu": gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(), "torch": version("torch"), "numpy": version("numpy"),
    }  # fmt: skip
