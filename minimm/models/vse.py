"""VSE++: Faghri et al. 2018, "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives".

A heavy picture encoder, a light sentence encoder, and nothing between them but an inner product. What made it strong is
the loss: of all wrong partners in the batch only the hardest counts.

Letters: b pictures or sentences, l tokens, f width of the CNN's features, e width of the common space.
Where the paper and the authors' code differ, this file follows the code, which produced the released weights: losses
are summed over the batch, where the paper writes a mean. Different on purpose: a CNN feature of zeros stays zeros where
the authors divide 0 by 0; sentences need not come sorted by length; `training.fit` puts the model back into training
mode after every evaluation, where the authors by default stay in evaluation mode until the epoch ends.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torchvision.models import resnet152, vgg19
from torchvision.models.resnet import BasicBlock

from .._errors import expect
from ..layers import check_ids, check_images
from ..objectives.contrastive import inner_product, unit_length
from ..objectives.hinge import max_of_hinges, order_similarity, sum_of_hinges


@dataclass(frozen=True)
class VSEConfig:
    """Sizes and choices of a VSE++. The defaults are the course's; `VSEConfig.paper()` is the published one.

    The four rows of the authors' README: VSE++ is max_violation=True; VSE0 is max_violation=False AND no_imgnorm=True,
    two changes at once (change max_violation alone to see what hard negatives do); Order0 is measure="order",
    use_abs=True, margin=0.05, max_violation=False; Order++ is measure="order", max_violation=True without use_abs.
    """

    embed_dim: int = 128
    image: int = 64  # pixels; pictures are square
    cnn: str = "small"  # or "resnet152", "vgg19", or "precomputed": what comes in is a CNN's features `b f`
    cnn_width: int = 128  # of the features, if "small" or "precomputed"; the published networks have their own
    finetune: bool = True  # False: the CNN stays as it is loaded
    vocab: int = 256
    word_dim: int = 128
    pad_id: int = 0
    measure: str = "cosine"  # or "order"
    margin: float = 0.2
    max_violation: bool = True  # the hardest negative alone, else the sum over all
    warm_up: int = 400  # steps of the sum of hinges first: from scratch the max of hinges collapses. Not in the paper
    no_imgnorm: bool = False  # leave the picture's embedding at its length
    use_abs: bool = False  # embeddings without their signs
    spare_same_picture: bool = False  # captions of one picture (batch["index"]) are no negatives. Not in the paper

    @classmethod
    def paper(cls, cnn="resnet152", vocab=10_000):
        """ResNet-152 or VGG-19, not fine-tuned, or "precomputed" VGG features. The vocabulary is the words of the
        captions, about 10,000; a released file's own vocabulary says how many."""
        return cls(embed_dim=1024, image=224, cnn=cnn, cnn_width=4096, finetune=False, vocab=vocab, word_dim=300,
                   warm_up=0)

    def __post_init__(self):
        expect(self.cnn in ("small", "resnet152", "vgg19", "precomputed"), "cnn", repr(self.cnn),
               "small, resnet152, vgg19 or precomputed")
        expect(self.measure in ("cosine", "order"), "measure", repr(self.measure), "cosine or order")
        expect(0 <= self.pad_id < self.vocab, "pad_id", self.pad_id, f"an id below the vocabulary's {self.vocab}")
        expect(self.margin >= 0, "margin", self.margin, "0 or more")
        expect(self.warm_up >= 0, "warm_up", self.warm_up, "a number of steps, 0 or more")


class VSEOutput(NamedTuple):
    """image_features, text_features `b e`; scores `i t`, a row a picture."""

    image_features: torch.Tensor
    text_features: torch.Tensor
    scores: torch.Tensor


def small_resnet(width):
    """A residual network of seven 3x3 convolutions for pictures of 64 pixels, in place of a pre-trained one:
    `b 3 h w -> b f`, the mean over the places of a grid of 8-pixel steps."""

    def block(before, after, stride):
        shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        return BasicBlock(before, after, stride, shortcut)

    return nn.Sequential(
        nn.Conv2d(3, width // 4, 3, 2, 1, bias=False), nn.BatchNorm2d(width // 4), nn.ReLU(inplace=True),
        block(width // 4, width // 2, 2), block(width // 2, width, 2), BasicBlock(width, width),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())


def make_cnn(name, width):
    """(network without its classifier, width f of its features), with random weights."""
    if name == "resnet152":
        network = resnet152(weights=None)
        width, network.fc = network.fc.in_features, nn.Identity()
    elif name == "vgg19":  # its features end behind the second fully connected layer, with ReLU and dropout
        network = vgg19(weights=None)
        width, network.classifier = network.classifier[-1].in_features, network.classifier[:-1]
    else:
        network = small_resnet(width)
    return network, width


class FeatureEncoder(nn.Module):
    """The features of a CNN, computed before and taken as they are (the authors assume length 1): a linear map, then
    length 1. `b f -> b e`."""

    def __init__(self, width, config):
        super().__init__()
        self.config = config
        self.fc = nn.Linear(width, config.embed_dim)
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def features(self, x):
        """What the linear map starts from, `b f`; linear probes start here too."""
        width = self.fc.in_features
        expect(isinstance(x, torch.Tensor) and x.is_floating_point(), "images", getattr(x, "dtype", type(x).__name__),
               "floating-point features", TypeError)
        expect(x.ndim == 2 and x.shape[1] == width and len(x) > 0, "images", f"shape {tuple(x.shape)}",
               f"features of shape (b, {width}) with b > 0")
        expect(bool(x.isfinite().all()), "images", "NaN or infinity", "numbers")
        return x

    def forward(self, x):
        x = self.fc(self.features(x))
        if not self.config.no_imgnorm:
            x = unit_length(x)
        return x.abs() if self.config.use_abs else x


class ImageEncoder(FeatureEncoder):
    """A CNN in front: `b 3 h w -> b f -> b e`."""

    def __init__(self, config):
        cnn, width = make_cnn(config.cnn, config.cnn_width)
        super().__init__(width, config)
        # A frozen CNN gets no gradient. As with the authors it still follows the model into training mode: VGG's
        # dropout is active, and the running statistics of ResNet's batch normalisation move.
        self.cnn = cnn.requires_grad_(config.finetune)

    def features(self, images):
        check_images(images, self.config.image, self.config.image)
        # The CNN's feature has length 1 too; the encoder of precomputed features does not do this.
        return unit_length(self.cnn(images))


class TextEncoder(nn.Module):
    """Words, a GRU from left to right, its state at the last word: `b l -> b e`."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.word_dim)
        self.rnn = nn.GRU(config.word_dim, config.embed_dim, batch_first=True)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)

    def forward(self, ids):
        """ids `b l`, padded at the end with `pad_id`."""
        states, _ = self.rnn(self.embed(ids))  # b l e
        # Pads stand behind the last word: the state that we pick has not seen them, the very last state has.
        last = (ids != self.config.pad_id).sum(1) - 1
        x = unit_length(states[torch.arange(len(ids), device=ids.device), last])
        return x.abs() if self.config.use_abs else x


class VSE(nn.Module):
    """Two encoders and a similarity, and the loss that looks at the hardest negative."""

    def __init__(self, config=VSEConfig()):
        super().__init__()
        self.config = config
        self.vision = FeatureEncoder(config.cnn_width, config) if config.cnn == "precomputed" else ImageEncoder(config)
        self.text = TextEncoder(config)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))  # done so far, so that a resumed run knows

    def encode_image(self, images):
        """images `b 3 h w`, floating point, normalised (about -3 to 3), or with cnn="precomputed" features `b f`:
        `b e`, of length 1 unless no_imgnorm.

        Raises TypeError for another dtype, ValueError for another shape, an empty batch, values out of range or NaN.
        """
        return self.vision(images)

    def encode_text(self, ids):
        """ids `b l` of int64, padded at the end, as long as you like, in any order of lengths: `b e` of length 1.

        Raises TypeError for another dtype, ValueError for a wrong shape, an empty batch, an id outside the vocabulary,
        a text without a word or with padding in front of a word.
        """
        c = self.config
        check_ids(ids, c.vocab)
        words = ids != c.pad_id
        expect(bool(words[:, 0].all()) and bool((words[:, :-1] | ~words[:, 1:]).all()), "ids",
               "a text without a word, or with padding in front of one", f"words first, then padding (id {c.pad_id})")
        return self.text(ids)

    def similarity(self, image_features, text_features):
        """`i e`, `t e -> i t`: the inner product, which is the cosine if both have length 1; or what order says."""
        return (order_similarity if self.config.measure == "order" else inner_product)(image_features, text_features)

    def forward(self, images, ids):
        """images `i 3 h w` (or features `i f`), ids `t l`: VSEOutput."""
        image_features, text_features = self.encode_image(images), self.encode_text(ids)
        return VSEOutput(image_features, text_features, self.similarity(image_features, text_features))

    def loss(self, batch):
        """The hinges of a batch of pairs: {"hinges": 0-d}, a sum over the batch.

        batch: a mapping with `images` and `ids`, row i of both a pair, and `index` if spare_same_picture. A max of
        hinges of 2 * margin * b means that all scores are the same. Raises ValueError for fewer than two pairs.
        """
        c = self.config
        expect(len(batch["images"]) == len(batch["ids"]), "batch",
               f"{len(batch['images'])} pictures, {len(batch['ids'])} texts", "as many pictures as texts")
        scores = self(batch["images"], batch["ids"]).scores
        index = batch["index"] if c.spare_same_picture else None
        hinges = max_of_hinges if c.max_violation and self.steps >= c.warm_up else sum_of_hinges
        return {"hinges": hinges(scores, c.margin, index)}

    @torch.no_grad()
    def after_step(self):
        self.steps += 1
