"""The authors' released weights in this library's models.

    model = pretrained.load("ViT-B/32")                        # downloaded once, or a path: "my/ViT-B-32.pt"
    ids = pretrained.tokenizer("clip")(["a photo of a cat"])   # `b l`
    images = torch.stack([pretrained.pictures("clip")(picture)])   # `b 3 h w`

data/pretrained.md says where they come from and under which licences.
"""

import torch

from .._errors import expect
from . import _reader, _sources, albef, clip, vilbert, vilt, vse
from .pictures import pad, pictures
from .text import tokenizer

__all__ = ["known", "load", "pad", "pictures", "tokenizer"]

# A name that only this layout has -> what makes the model from it. The first that fits counts.
LAYOUTS = {
    "text_projection": clip.openai,
    "visual_projection.weight": clip.hugging_face,
    "transformer.pos_embed": vilt.authors,
    "vilt.embeddings.position_embeddings": vilt.hugging_face,
    "bert.v_embeddings.image_embeddings.weight": vilbert.authors,
    "1.embed.weight": vse.authors,
    "visual_encoder.pos_embed": albef.authors,
}


def load(name_or_path, image=None):
    """A model with the weights that its authors released, on the CPU, in float32 and in evaluation mode.

    name_or_path: a file; a folder of Hugging Face's layout (config.json with model.safetensors or pytorch_model.bin);
    one of `known()`, which is downloaded to data/cache/pretrained on first use; or any OWNER/NAME on Hugging Face with
    a model of these kinds. image: pixels of a side, where it should not be the published one (CLIP, ALBEF, VSE++).

    Nothing that a file contains is executed. Raises FileNotFoundError for a path that is not there, OSError without a
    network, saying which file to put where, and ValueError for what is no file of weights, is damaged, or holds other
    names or shapes than its layout has.
    """
    path = _sources.find(name_or_path)
    checkpoint = _reader.read(path)
    try:
        return assemble(checkpoint, image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def known():
    """The names that `load` knows, each with its title."""
    return _sources.titles()


def assemble(checkpoint, image=None):
    """The model from a `_reader.Checkpoint`."""
    tensors = checkpoint.tensors
    if all(name.startswith("module.") for name in tensors):  # saved from within torch.nn.DataParallel
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    make = next((make for name, make in LAYOUTS.items() if name in tensors), None)
    expect(make, "weights", f"{len(tensors)} tensors: {', '.join(list(tensors)[:5])}, ...",
           f"a released CLIP, ViLT, ViLBERT, VSE++ or ALBEF, which has one of {', '.join(LAYOUTS)}")
    with torch.random.fork_rng(devices=[]):  # a model's random start leaves the caller's random numbers alone
        try:
            model = make(tensors, checkpoint.facts, image)
        except KeyError as error:  # the sizes are read off the weights
            raise ValueError(f"weights: expected all of the model's, but {error} is missing") from error
    return model.eval()
