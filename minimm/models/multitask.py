"""Many tasks in one model: Lu et al. 2020, "12-in-1: Multi-Task Vision and Language Representation Learning".

The tasks share all but their heads, so that one set of weights serves them all, and one task learns from the data of
another. Each step is a batch of one task; the tasks take turns.
"""

from torch import nn

from .._errors import expect
from ..layers import init_normal
from .heads import Answerer, PairBody, vilbert_head


class MultiTask(nn.Module):
    """heads: task -> a model of `heads`; all of them stand on `trunk`, which is the same module in each."""

    def __init__(self, trunk, heads):
        super().__init__()
        self.config, self.trunk, self.heads = trunk.config, trunk, nn.ModuleDict(heads)

    def loss(self, batch):
        """{task: 0-d}. batch: what the head of its "task" takes. Raises ValueError for a task without a head."""
        task = batch["task"]
        expect(task in self.heads, "task", repr(task), f"one of {', '.join(self.heads)}")
        return {task: sum(self.heads[task].loss(batch).values())}


def answerer_on(body, encoders):
    """An Answerer that reads with a Body: its decoder, which is its own, starts from the `Encoders`."""
    answerer = Answerer(body.config).start_from(encoders)
    answerer.body = body
    return answerer


def pair_body_on(body):
    """A PairBody that reads with a Body. The second layer of each pair, which starts as the first, is its own, but for
    the keys and values that a pair shares."""
    pairs = PairBody(body.config).start_from(body)
    pairs.vision, pairs.text.embed, pairs.text.layers = body.vision, body.text.embed, body.text.layers
    for number, block in enumerate(body.text.fusion):
        pairs.text.fusion[2 * number], second = block, pairs.text.fusion[2 * number + 1]
        second.xattn.k, second.xattn.v = block.xattn.k, block.xattn.v
    return pairs


class ViLBERTTasks(nn.Module):
    """ViLBERT with the heads of its multi-task training (Lu et al. 2020, "12-in-1"), under one roof as released."""

    def __init__(self, backbone, answers=3129, gqa_answers=1533):
        super().__init__()
        c, d = backbone.config, backbone.config.co_width
        self.backbone = backbone
        self.vqa, self.gqa = vilbert_head(d, 2 * d, answers), vilbert_head(d, 2 * d, gqa_answers)
        self.pairs = vilbert_head(2 * d, 2 * d, 2)  # on two joint vectors side by side
        self.match, self.entailment = nn.Linear(d, 1), nn.Linear(d, 3)
        self.region, self.word = nn.Linear(c.vision_width, 1), nn.Linear(c.text_width, 1)  # one score a region, a token
        for head in [head for name, head in self.named_children() if name != "backbone"]:
            head.apply(init_normal())

    def forward(self, picture, ids, **task):
        """Scores by task: vqa, gqa `b c`, match `b 1`, entailment `b 3`, region `b r 1`, word `b l 1`."""
        out = self.backbone(ids=ids, **picture, **task)
        of_pair = {name: getattr(self, name)(out.fused) for name in ("vqa", "gqa", "match", "entailment")}
        return {**of_pair, "region": self.region(out.vision), "word": self.word(out.text)}
