"""Mistakes of ALBEF, of masking and of the BERT blocks."""

_STEP, _ALBEF = "tests/test_golden.py::test_albef_pretrain_tiny", "minimm/models/albef.py"
_RETRIEVAL, _CONTRASTIVE = "tests/test_golden.py::test_albef_retrieval_tiny", "minimm/objectives/contrastive.py"
_QUEUE = "tests/test_golden.py::test_albef_queue_ema"
_MASKING = "minimm/objectives/masking.py"

MISTAKES = [
    ("ALBEF: momentum encoder used before its update", _ALBEF, """            self.update_momentum()
            image_states_m, image_features_m = self.momentum.image(images)
            _, text_features_m = self.momentum.sentence(ids, mask)
""", """            image_states_m, image_features_m = self.momentum.image(images)
            _, text_features_m = self.momentum.sentence(ids, mask)
            self.update_momentum()
""", _STEP),
    ("ALBEF: online features of the batch as keys", _ALBEF, "image_keys = torch.cat([image_features_m.T",
     "image_keys = torch.cat([image_features.T", _STEP),
    ("ALBEF: gradient of the temperature through the soft targets", _CONTRASTIVE,
     "(1 - alpha) * hard).detach()", "(1 - alpha) * hard)", _STEP),
    ("ALBEF: soft targets without the hard part", _CONTRASTIVE, "alpha * teacher_logits.softmax(-1) + (1 - alpha) * hard",
     "alpha * teacher_logits.softmax(-1)", _STEP),
    ("ALBEF: text index used for the picture", _ALBEF, "torch.cat([image_states[image_of], image_states])",
     "torch.cat([image_states[text_of], image_states])", _STEP),
    ("ALBEF: mask of the negative text not swapped along", _ALBEF, "torch.cat([mask, mask[text_of]])",
     "torch.cat([mask, mask])", _STEP),
    ("ALBEF: negatives detached", _ALBEF, "torch.cat([states, states[text_of]])",
     "torch.cat([states, states[text_of].detach()])", _STEP),
    ("ALBEF: matching label 0 = match", _ALBEF, "torch.arange(3 * b, device=ids.device) < b",
     "torch.arange(3 * b, device=ids.device) >= b", _STEP),
    ("ALBEF: weights of the negatives normalised again", "minimm/objectives/matching.py",
     "weights = similarity.softmax(1).masked_fill(own, 0)",
     "weights = torch.nn.functional.normalize(similarity.softmax(1).masked_fill(own, 0), p=1, dim=1)", _STEP),
    ("ALBEF: the teacher of masked language sees the online picture", _ALBEF,
     "self.momentum.language(masked.ids, mask, image_states_m)", "self.momentum.language(masked.ids, mask, image_states)",
     _STEP),
    ("ALBEF: output matrix of masked language not tied", _ALBEF, "image_states), self.text.embed.tok.weight)",
     "image_states), self.text.embed.tok.weight.detach())", _STEP),
    ("ALBEF: enqueued before the loss", _ALBEF, """            image_keys = torch.cat([image_features_m.T, self""",
     """            self.image_queue.enqueue(image_features_m)
            image_keys = torch.cat([image_features_m.T, self""", _STEP),
    ("ALBEF: masked language averaged over all tokens", _MASKING, "loss = F.cross_entropy(logits, truth)",
     "loss = F.cross_entropy(logits, truth, reduction='sum') / labels.numel()", _STEP),
    ("ALBEF: temperature multiplied", _CONTRASTIVE, "inner_product(features, keys.T) / temperature",
     "inner_product(features, keys.T) * temperature",
     "tests/test_golden.py::test_albef_itc"),
    ("ALBEF retrieval: all positives with weight 1", _CONTRASTIVE, "return same / number", "return same", _RETRIEVAL),
    ("ALBEF retrieval: other captions of the picture allowed as negatives", "minimm/objectives/matching.py",
     "index = torch.arange(len(similarity), device=similarity.device) if index is None else index",
     "index = torch.arange(len(similarity), device=similarity.device)", _RETRIEVAL),
    ("ALBEF re-ranking: cosine added to the score", _ALBEF, "of_text[i, best] = matched(best, torch.full_like(best, i))",
     "of_text[i, best] = cosines[i, best] + matched(best, torch.full_like(best, i))",
     "tests/test_golden.py::test_albef_rerank"),
    ("ALBEF: alpha without a ramp", "minimm/objectives/momentum.py", "min(1.0, self.steps.item() / self._alpha_steps)", "1.0",
     "tests/test_golden.py::test_albef_schedules"),
    ("queue: the pointer does not wrap", "minimm/objectives/momentum.py", "(at + len(keys)) % k", "(at + len(keys)) % (k + 1)",
     _QUEUE),
    ("momentum: m on the wrong model", "minimm/objectives/momentum.py", "slow.mul_(m).add_(fast, alpha=1 - m)",
     "slow.mul_(1 - m).add_(fast, alpha=m)", _QUEUE),
    ("BERT blocks: LayerNorm eps 1e-5", "minimm/layers/blocks.py", "context_width=None, eps=1e-12",
     "context_width=None, eps=1e-5", _STEP),
    ("ViT: LayerNorm eps 1e-5", "minimm/layers/vit.py", "stem=False, eps=1e-6", "stem=False, eps=1e-5", _STEP),
    ("tanh GELU instead of erf GELU", "minimm/layers/blocks.py", "        self.activation = activation()",
     "        self.activation = nn.GELU('tanh') if activation is nn.GELU else activation()", _STEP),
    ("BERT: token type left out", "minimm/layers/language.py", " + self.token_type.weight[0]", "", _STEP),
    ("BERT: MLP before the cross-attention", "minimm/layers/blocks.py", """        if context is not None:
            x = self.lnx(x + self.drop(self.xattn(x, context, context_mask)))
        return self.ln2(x + self.drop(self.mlp(x)))
""", """        x = self.ln2(x + self.drop(self.mlp(x)))
        return x if context is None else self.lnx(x + self.drop(self.xattn(x, context, context_mask)))
""", _STEP),
    ("masking: [MASK] always", _MASKING, "torch.where(selected & drawn.replace, mask_id, ids)",
     "torch.where(selected, mask_id, ids)", "tests/test_golden.py::test_albef_mlm_masking"),
    ("masking: asked for everything", _MASKING, "torch.where(selected, ids, IGNORE)", "torch.where(ids >= 0, ids, IGNORE)",
     "tests/test_golden.py::test_albef_mlm_masking"),
    ("whole words: a word that exceeds the budget ends the search", _MASKING,
     "            if row.sum() + there.sum() <= budget:\n", "            if row.sum() + there.sum() > budget:\n                break\n"
     "            if True:\n", "tests/test_golden.py::test_vilt_whole_word_mask"),
    ("whole words: single pieces", _MASKING, "starts = ~special & ~continues[ids]", "starts = ~special",
     "tests/test_golden.py::test_vilt_whole_word_mask"),
]
