"""Benchmarks, each a command. Standard library only: Keras' worker runs where nothing of this project is."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "figures" / "benchmarks"  # what they write, and `lib.claims` reads
