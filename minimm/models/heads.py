"""Task heads: what is put on a pre-trained model to answer, to judge and to choose, as the papers do it.

- questions: a classifier over a list of answers (ViLBERT, ViLT) or a decoder that says the answer (ALBEF, section 5)
- entailment (SNLI-VE), two pictures (NLVR2), why-questions (VCR): classifiers on one vector a pair
Of ViLT and ALBEF the heads take what fine-tuning goes on with, `vilt.encoder` and a Body (`albef.online` is one).
CLIP and VSE++ have no joint vector: they get their two embeddings and the product of these, and the same heads.

Letters: b pairs, l tokens, d width of the joint vector, c classes or choices. A picture is a mapping with `images`, or
with what ViLBERT takes: `regions`, `boxes` and so on; where several texts are about one, `of` `b` says which each is about.
"""

from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import nn

from .._errors import expect
from ..layers import MaskedLanguageHead, check_ids, check_numbers, init_normal, key_mask, take_weights
from ..objectives.answers import answer_loss, weighted_answers
from ..objectives.contrastive import distilled_targets, soft_cross_entropy, unit_length
from ..objectives.masking import IGNORE, causal_cross_entropy
from ..objectives.momentum import Distilling
from .albef import Body, TextTransformer
from .clip import CLIP
from .vilbert import ViLBERT
from .vilt import ViLTEncoder
from .vse import VSE


@singledispatch
def joint(model, picture, ids, number=0):
    """One vector for a picture with a sentence, `b d`: where the heads start. number: 0, or 1 for a second picture.

    Raises TypeError for a model that it does not know."""
    raise TypeError(f"model: expected a CLIP, VSE, ViLBERT, ViLTEncoder or ALBEF Body, but got a {type(model).__name__}")


def of_each(states, picture, ids):
    """Rows of pictures as rows of texts: `picture["of"]` `b` says which picture each text is about; default: one each."""
    return states[check_numbers(picture["of"], len(ids), len(states), "of")] if "of" in picture else states


@joint.register(CLIP)
@joint.register(VSE)
def two_towers(model, picture, ids, number=0):
    image = of_each(unit_length(model.encode_image(picture["images"])), picture, ids)
    text = unit_length(model.encode_text(ids))
    expect(len(image) == len(text), "ids", f"{len(text)} texts for {len(image)} pictures", "one for each")
    return torch.cat([image, text, image * text], dim=-1)


@joint.register(ViLBERT)
def vilbert_joint(model, picture, ids, number=0):
    names = ("regions", "boxes", "region_mask", "sizes")
    return model(ids=ids, **{name: of_each(picture[name], picture, ids) for name in names if name in picture}).fused


@joint.register(ViLTEncoder)
def vilt_joint(model, picture, ids, number=0):
    images, sizes = (None if t is None else of_each(t, picture, ids) for t in (picture["images"], picture.get("sizes")))
    return model(images, ids, sizes, modality=1 + number).pooled


@joint.register(Body)
def albef_joint(model, picture, ids, number=0):
    return model.fused(ids, ids != model.config.pad_id, of_each(model.vision(picture["images"]), picture, ids))[:, 0]


def joint_width(model):
    """d of `joint`."""
    c = model.config
    if isinstance(model, (CLIP, VSE)):
        return 3 * c.embed_dim
    return c.co_width if isinstance(model, ViLBERT) else c.width if isinstance(model, ViLTEncoder) else c.text_width


def vilt_head(width, hidden, classes):
    """Linear, LayerNorm, GELU, linear: ViLT's."""
    return nn.Sequential(nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, classes))


def vilbert_head(width, hidden, classes):
    """Linear, GELU, LayerNorm, linear: ViLBERT's."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.LayerNorm(hidden, eps=1e-12), nn.Linear(hidden, classes))


def albef_head(width, hidden, classes):
    """Linear, ReLU, linear: ALBEF's."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))


class Classifier(nn.Module):
    """A head on the joint vector: answers to questions, or entailment.

    head: a function such as `vilt_head`; hidden: its inner width (default: that of the joint vector).
    """

    pictures = 1

    def __init__(self, backbone, classes, head=vilt_head, hidden=None):
        super().__init__()
        self.backbone = backbone
        width = self.pictures * joint_width(backbone)
        self.head = head(width, hidden or width, classes).apply(init_normal())

    def vector(self, batch):
        return joint(self.backbone, batch, batch["ids"])

    def forward(self, batch):
        """batch: a picture's mapping and `ids` `b l`; logits `b c`."""
        return self.head(self.vector(batch))

    def loss(self, batch):
        """{"answer": 0-d}. With `answers` `b c` in the batch, how right each is (VQA's soft scores, 0 to 1), it is the
        binary cross-entropy of `answer_loss`; with `label` `b`, the one right class, the cross-entropy.

        Raises ValueError for labels that are no classes.
        """
        logits = self(batch)
        if "answers" in batch:
            return {"answer": answer_loss(logits, batch["answers"])}
        return {"answer": F.cross_entropy(logits, check_numbers(batch["label"], *logits.shape, "label"))}


class Pairs(Classifier):
    """Is a sentence true of two pictures (NLVR2)? Each picture is read with the sentence, the two vectors stand side by
    side (ViLBERT, ViLT). batch: `left` and `right`, mappings of pictures, `ids` and `label` (1: true)."""

    pictures = 2

    def vector(self, batch):
        left, right = (joint(self.backbone, batch[side], batch["ids"], n) for n, side in enumerate(("left", "right")))
        return torch.cat([left, right], dim=-1)


class Choices(nn.Module):
    """Which of c sentences fits the picture (VCR: an answer, or a reason): one score each (Lu et al. 2019, section 3.2).
    batch: a picture's mapping, `ids` `b c l` and `label` `b`."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(joint_width(backbone), 1).apply(init_normal())

    def forward(self, batch):
        """Scores `b c`."""
        ids = batch["ids"]
        expect(ids.ndim == 3 and ids.shape[1] > 0, "ids", f"shape {tuple(ids.shape)}", "`b c l`: choices for each picture")
        of = batch.get("of", torch.arange(len(ids), device=ids.device)).repeat_interleave(ids.shape[1])
        return self.head(joint(self.backbone, {**batch, "of": of}, ids.flatten(0, 1))).view(ids.shape[:2])

    def loss(self, batch):
        scores = self(batch)
        return {"choice": F.cross_entropy(scores, check_numbers(batch["label"], *scores.shape, "label"))}


class Distilled(Distilling):
    """A classifier, `online`, that also learns from its own momentum copy: ALBEF's fine-tuning for entailment and for two
    pictures (section 5)."""

    def forward(self, batch):
        return self.online(batch)

    def loss(self, batch):
        logits = self(batch)
        with torch.no_grad():
            self.update_momentum()
            teacher = self.momentum(batch)
        hard = F.one_hot(check_numbers(batch["label"], *logits.shape, "label"), logits.shape[1]).to(logits.dtype)
        return {"answer": soft_cross_entropy(logits, distilled_targets(hard, teacher, self.alpha()))}


class PairBody(Body):
    """ALBEF's body for two pictures (section 5): every fusion layer twice, for the left picture and for the right one; both
    share the maps of keys and values."""

    def __init__(self, config):
        super().__init__(config)
        text = TextTransformer(config, config.text_layers, 2 * config.fusion_layers, config.vision_width)
        self.text = text.apply(init_normal(config.text_width))
        for first, second in zip(self.text.fusion[::2], self.text.fusion[1::2]):
            second.xattn.k, second.xattn.v = first.xattn.k, first.xattn.v

    def start_from(self, body):
        """Take the weights of a pre-trained body: both layers of a pair start as the one that they stand for."""
        weights = {}
        for name, weight in body.state_dict().items():
            if name.startswith("text.fusion."):
                _, _, number, rest = name.split(".", 3)
                weights |= {f"text.fusion.{2 * int(number) + twin}.{rest}": weight for twin in (0, 1)}
            elif name.startswith(("vision.", "text.")):
                weights[name] = weight
        take_weights(self, weights, "body")
        return self


class ALBEFPairs(Classifier):
    """Two pictures as ALBEF does it. backbone: a PairBody; batch as for `Pairs`."""

    def vector(self, batch):
        body, mask = self.backbone, batch["ids"] != self.backbone.config.pad_id
        pictures = [of_each(body.vision(batch[side]["images"]), batch[side], mask) for side in ("left", "right")]
        for side, picture in zip(("left", "right"), pictures):
            expect(len(picture) == len(mask), side, f"{len(picture)} pictures for {len(mask)} texts", "one for each")
        states = body.text.read(batch["ids"], mask)
        for number, block in enumerate(body.text.fusion):
            states = block(states, key_mask(mask, "ids"), pictures[number % 2])
        return states[:, 0]


class Answerer(nn.Module):
    """ALBEF for questions (section 5): a decoder says the answer, word by word, looking at question and picture."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.body = Body(config)
        self.decoder = TextTransformer(config, 0, config.fusion_layers, config.text_width).apply(init_normal())
        self.mlm = MaskedLanguageHead(config.vocab, config.text_width).apply(init_normal())

    def start_from(self, encoders):
        """Take the weights of pre-trained `Encoders`; the decoder starts from their fusion layers and their head. Raises
        ValueError unless pictures and text are of one width: it looks at text where the fusion looked at pictures."""
        c = self.config
        expect(c.vision_width == c.text_width, "encoders", f"widths {c.vision_width} and {c.text_width}", "one width")
        expect(encoders.mlm is not None, "encoders", "those of retrieval, without a language head", "one with that head")
        body = {name: w for name, w in encoders.state_dict().items() if name.startswith(("vision.", "text."))}
        take_weights(self.body, body, "encoders")
        for part in ("embed", "fusion"):
            take_weights(self.decoder.get_submodule(part), encoders.text.get_submodule(part).state_dict(), "encoders")
        take_weights(self.mlm, encoders.mlm.state_dict(), "encoders")
        return self

    def question(self, picture, ids):
        """(states of the question with the picture `b l d`, where they are real `b l`). picture: images, perhaps `of`."""
        mask = ids != self.config.pad_id
        return self.body.fused(ids, mask, of_each(self.body.vision(picture["images"]), picture, ids)), mask

    def forward(self, states, mask, answers):
        """Question states `n l d` with their mask, answers `n a` of ids: logits of the next word, `n a v`."""
        check_ids(answers, self.config.vocab, self.config.context, "answers")
        words, real = self.decoder.embed(answers), answers != self.config.pad_id
        expect(bool(real[:, 0].all()), "answers", "one that begins with padding", "answers that begin with [CLS]")
        return self.mlm(self.decoder.fuse(words, real, states, mask, causal=True), self.decoder.embed.tok.weight)

    def said(self, batch):
        """What it says of every answer, `n a v`; batch as for `loss`."""
        of = check_numbers(batch["question"], len(batch["answers"]), len(batch["ids"]), "question")
        states, mask = self.question(batch, batch["ids"])
        return self(states[of], mask[of], batch["answers"])

    def loss(self, batch, teacher=None, alpha=0.0):
        """{"answer": 0-d}: every answer's loss times its weight, summed, over the number of questions.

        batch: images, ids `b l`, answers `n a` ([CLS], words, [SEP]), question `n` (which one each answers), weights `n`.
        teacher `n a v`: what a momentum copy says, which counts alpha.
        """
        answers, said = batch["answers"], self.said(batch)
        labels = torch.where(answers == self.config.pad_id, IGNORE, answers)
        of_answer = causal_cross_entropy(said, labels, teacher, alpha)
        return {"answer": weighted_answers(of_answer, batch["weights"], len(batch["ids"]))}

    @torch.no_grad()
    def rank(self, picture, ids, answers, k):
        """The best of a fixed list of answers `n a`: (scores `b k`, their numbers `b k`), the best first.

        The k answers with the likeliest first word are scored whole, by the sum of their words' log-probabilities. As in
        the authors' code the first word counts twice. Raises ValueError unless k is 1 to n.
        """
        expect(answers.ndim == 2 and answers.shape[1] > 1, "answers", f"shape {tuple(answers.shape)}", "[CLS] and words")
        expect(1 <= k <= len(answers), "k", k, f"1 to {len(answers)}, the number of answers")
        states, mask = self.question(picture, ids)
        first = self(states, mask, answers[:1, :1].expand(len(ids), 1))[:, 0].log_softmax(-1)  # b v
        likely, numbers = first[:, answers[:, 1]].topk(k)  # b k
        chosen = answers[numbers.flatten()]  # (b k) a
        logits = self(states.repeat_interleave(k, 0), mask.repeat_interleave(k, 0), chosen)
        said = -causal_cross_entropy(logits, torch.where(chosen == self.config.pad_id, IGNORE, chosen))
        scores, order = (likely + said.view(-1, k)).sort(1, descending=True)
        return scores, numbers.gather(1, order)


class ALBEFAnswers(Distilling):
    """ALBEF's fine-tuning for questions, with momentum distillation; `online` is an Answerer."""

    def loss(self, batch):
        """{"answer": 0-d}, see `Answerer.loss`."""
        with torch.no_grad():
            self.update_momentum()
            teacher = self.momentum.said(batch)
        return self.online.loss(batch, teacher, self.alpha())

    def rank(self, picture, ids, answers, k):
        """See `Answerer.rank`."""
        return self.online.rank(picture, ids, answers, k)
