"""minimm: multimodal learning from scratch, a course and the small library that drives it."""

import torch

from ._paths import data_dir

__all__ = ["data_dir", "device"]
__version__ = "0.1.0"


def device():
    """The device that the course computes on: CUDA when there is a GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
