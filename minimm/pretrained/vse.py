"""VSE++: `model_best.pth.tar`, with ResNet-152, VGG-19 or for precomputed features."""

from dataclasses import replace

from .._errors import expect
from ..models.vse import VSE, VSEConfig
from ._names import fill, rename

# The first number says which of two state dicts: 0 the pictures' encoder, 1 the sentences'. Somewhere in the names of
# the first stands DataParallel's `module`. Older torchvision counted VGG's classifier from a dropout in front of it.
NAMES = [
    (r"0\.cnn\.(?:module\.)?((?:conv1|bn1|layer[1-4])\..+)", r"vision.cnn.\1"),
    (r"0\.cnn\.features\.(?:module\.)?(\d+\.(?:weight|bias))", r"vision.cnn.features.\1"),
    (r"0\.cnn\.classifier\.[01]\.(weight|bias)", r"vision.cnn.classifier.0.\1"),
    (r"0\.cnn\.classifier\.[34]\.(weight|bias)", r"vision.cnn.classifier.3.\1"),
    (r"0\.fc\.(weight|bias)", r"vision.fc.\1"),
    (r"1\.embed\.weight", r"text.embed.weight"),
    (r"1\.rnn\.(weight_ih_l0|weight_hh_l0|bias_ih_l0|bias_hh_l0)", r"text.rnn.\1"),
]


def authors(tensors, facts, image=None):
    """A VSE. facts: the training script's options `opt`, which say how embeddings are compared; without them (a file
    that someone saved anew) it is VSE++ with cosines."""
    weights = rename(tensors, NAMES)
    cnn = ("vgg19" if "vision.cnn.classifier.0.weight" in weights else
           "resnet152" if "vision.cnn.layer4.0.conv1.weight" in weights else "precomputed")
    said = facts.get("cnn_type", cnn)
    expect(cnn == "precomputed" or said == cnn, "cnn_type in opt", repr(said), repr(cnn))
    (embed_dim, features), (vocab, word_dim) = weights["vision.fc.weight"].shape, weights["text.embed.weight"].shape
    options = ("finetune", "measure", "margin", "max_violation", "no_imgnorm", "use_abs")
    config = replace(VSEConfig.paper(cnn, vocab), embed_dim=embed_dim, word_dim=word_dim,
                     **{name: facts[name] for name in options if name in facts},
                     **({"cnn_width": features} if cnn == "precomputed" else {}), **({"image": image} if image else {}))
    return fill(VSE(config), weights, besides=r"steps|.*num_batches_tracked")
