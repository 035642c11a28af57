"""Regions of the scenes of a part, found once and kept in a file: ViLBERT reads them, and trains no detector."""

import hashlib
import json
import time
from dataclasses import asdict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .._errors import expect
from .._paths import cache_dir, write_whole
from ..scenes import normalise


class PrecomputedRegions:
    """Regions of the scenes of a part, as `see` for batches of them.

    tensors: what `Detector.regions` returns, for all scenes; seconds: that finding them took, when it was done.
    """

    def __init__(self, tensors, seconds):
        self.tensors, self.seconds = tensors, seconds

    def __len__(self):
        return len(self.tensors["regions"])

    def see(self, index):
        """The regions of some scenes, by their numbers within the data, `b` of int64: {"regions": `b r f`,
        "boxes": `b r 4`, "region_mask": `b r`, "region_classes": `b r c`}, see `Detector.regions`."""
        return {name: rows if rows.dtype == torch.bool else rows.float()
                for name, rows in ((name, t[index]) for name, t in self.tensors.items())}


def key(data, detector):
    """A number, in 16 hexadecimal digits, for the detector (its sizes and weights) and the pictures."""
    digest = hashlib.sha256(json.dumps(asdict(detector.config)).encode())
    for tensor in (*detector.state_dict().values(), data.pictures):
        digest.update(tensor.cpu().reshape(-1).numpy())
    return digest.hexdigest()[:16]


@torch.no_grad()
def find(data, detector, size):
    """The regions of all scenes, `size` at a time, on the CPU, numbers in half precision, and the seconds that it took.
    """
    start, device = time.perf_counter(), next(detector.parameters()).device
    parts = [detector.regions(normalise(data.pictures[i:i + size]).to(device)) for i in range(0, len(data), size)]
    tensors = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    # Boxes are then exact to 1/64 of a pixel, features and probabilities to one part in 2,000.
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    return tensors, time.perf_counter() - start


def regions_of(data, detector, size=250):
    """What a trained detector finds in all scenes of a part: PrecomputedRegions.

    data: Scenes; detector: a Detector in evaluation mode; size: of its batches. What is found is kept in the cache,
    in a file for each detector and its pictures; one that cannot be read is made anew.
    Raises ValueError for a detector in training mode.
    """
    expect(not detector.training, "detector", "in training mode", "in evaluation mode: call detector.eval()")
    path = cache_dir() / "regions" / f"{data.split}-{len(data)}-{key(data, detector)}.safetensors"
    if path.exists():
        try:
            with safe_open(path, "pt") as file:
                return PrecomputedRegions({name: file.get_tensor(name) for name in file.keys()},
                                          float(file.metadata()["seconds"]))
        except SafetensorError as error:
            print(f"{path} cannot be read ({error}): the regions are found anew.")
    tensors, seconds = find(data, detector, size)
    written = save(tensors, {"seconds": str(seconds)})
    write_whole(path, lambda file: file.write(written))
    return PrecomputedRegions(tensors, seconds)
