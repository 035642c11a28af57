"""Mistakes of CLIP."""

_LOSS, _TINY = "tests/test_golden.py::test_clip_loss", "tests/test_golden.py::test_clip_tiny"
_CONTRASTIVE, _CLIP = "minimm/objectives/contrastive.py", "minimm/models/clip.py"

MISTAKES = [
    ("CLIP: one direction only", _CONTRASTIVE, "return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
     "return F.cross_entropy(logits, pairs)", _LOSS),
    ("CLIP: sum of the directions", _CONTRASTIVE, "F.cross_entropy(logits.T, pairs)) / 2", "F.cross_entropy(logits.T, pairs))",
     _LOSS),
    ("CLIP: gradient of the scale instead of its logarithm", _CONTRASTIVE, "inner_product(log_scale.exp() * unit",
     "inner_product((log_scale - log_scale.detach() + log_scale.detach().exp()) * unit", _LOSS),
    ("CLIP: features not normalised", _CONTRASTIVE, "* unit_length(images), unit_length(texts))", "* images, texts)", _LOSS),
    ("CLIP: exact GELU", "minimm/layers/blocks.py", "return F.silu(1.702 * x) * (1 / 1.702)", "return F.gelu(x)", _TINY),
    ("CLIP: no causal mask", _CLIP, "x = block(x, self.mask[:length, :length])", "x = block(x)", _TINY),
    ("CLIP: pooled at the last position", _CLIP, "end = (ids == self.config.eot_id).int().argmax(1)",
     "end = torch.full((len(ids),), ids.shape[1] - 1)", _TINY),
    ("CLIP: no LayerNorm before the vision blocks", _CLIP, "        x = self.ln_pre(x)\n", "", _TINY),
    ("CLIP: LayerNorm eps 1e-6", "minimm/layers/blocks.py", "activation=nn.GELU, eps=1e-5", "activation=nn.GELU, eps=1e-6", _TINY),
    ("CLIP: the class token last", _CLIP, "torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1) + self.pos",
     "torch.cat([x, self.cls.expand(len(x), 1, -1)], dim=1) + self.pos", _TINY),
    ("CLIP: the mean is not among the keys of the attention pool", _CLIP, "self.attn(x[:, :1], x)", "self.attn(x[:, :1], x[:, 1:])",
     "tests/test_golden.py::test_clip_attnpool"),
    ("attention: scores not scaled", "minimm/layers/attention.py", "(q * q.shape[-1] ** -0.5) @", "q @", _TINY),
]
