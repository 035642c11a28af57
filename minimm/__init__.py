"""minimm: multimodal learning from scratch, a course and the small library that drives it."""

import torch

from ._paths import data_dir

__all__ = ["data_dir", "device", "load"]
__version__ = "0.1.0"


def device():
    """The device that the course computes on: CUDA when there is a GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load(name, task=None):
    """A trained model of the course, such as `load("clip")` or `load("albef", task="vqa")`; see
    `minimm.training.weights.load`."""
    from .training import weights  # only here, so that `import minimm` stays quick

    return weights.load(name, task)
