"""Mistakes in VSE++, its caption encoder, the measures of retrieval and MoCo: each makes its golden test fail.

(name, file, what stands there once, what to put in its place, the test).
"""

MISTAKES = [
    ("VSE++: mean over the batch instead of sum", "minimm/objectives/hinge.py",
     "    return texts.masked_fill(own, 0), images.masked_fill(own, 0)",
     "    return texts.masked_fill(own, 0) / len(scores), images.masked_fill(own, 0) / len(scores)",
     "tests/test_golden.py::test_vsepp_loss"),
    ("VSE++: diagonal not cleared", "minimm/objectives/hinge.py",
     "    return texts.masked_fill(own, 0), images.masked_fill(own, 0)",
     "    return texts, images",
     "tests/test_golden.py::test_vsepp_loss"),
    ("VSE++: hardest negative taken along the wrong axis", "minimm/objectives/hinge.py",
     "texts.max(1).values.sum() + images.max(0).values.sum()",
     "texts.max(0).values.sum() + images.max(1).values.sum()",
     "tests/test_golden.py::test_vsepp_loss"),
    ("VSE++: only one retrieval direction", "minimm/objectives/hinge.py",
     "    return texts.sum() + images.sum()",
     "    return texts.sum()",
     "tests/test_golden.py::test_vsepp_loss"),
    ("order embedding: max(0, image-caption) instead of max(0, caption-image)", "minimm/objectives/hinge.py",
     "(texts[None] - images[:, None])",
     "(images[:, None] - texts[None])",
     "tests/test_golden.py::test_vsepp_loss"),
    ("text GRU: state at the padded end instead of at the last word", "minimm/models/vse.py",
     "last = (ids != self.config.pad_id).sum(1) - 1",
     "last = torch.full((len(ids),), ids.shape[1] - 1)",
     "tests/test_golden.py::test_vsepp_encoders"),
    ("metrics: rank by the worst of the 5 captions", "minimm/evaluation/retrieval.py",
     'similarity.masked_fill(~own, float("-inf")).amax(1, keepdim=True)',
     'similarity.masked_fill(~own, float("inf")).amin(1, keepdim=True)',
     "tests/test_golden.py::test_retrieval_metrics"),
    ("metrics: ordinary median (no floor)", "minimm/evaluation/retrieval.py",
     "ranks.quantile(0.5).floor().item()",
     "ranks.quantile(0.5).item()",
     "tests/test_golden.py::test_retrieval_metrics"),
    ("MoCo: enqueue before the logits", "minimm/models/moco.py",
     """        negative = key_similarity(q, self.queue(), c.T)  # b k, the queue as it was before this batch
        if self.training:
            self.queue.enqueue(k)
""",
     """        if self.training:
            self.queue.enqueue(k)
        negative = key_similarity(q, self.queue(), c.T)
""",
     "tests/test_golden.py::test_moco"),
    ("MoCo: keys encoded before the momentum update", "minimm/models/moco.py",
     """            if self.training:
                ema_update(self.encoder_k, self.encoder_q, c.m)  # equation 2; before the keys, not after
            k = unit_length(self.encoder_k(view_k))
""",
     """            k = unit_length(self.encoder_k(view_k))
            if self.training:
                ema_update(self.encoder_k, self.encoder_q, c.m)
""",
     "tests/test_golden.py::test_moco"),
    ("MoCo: temperature on the negatives only", "minimm/models/moco.py",
     "positive = (q * k).sum(1, keepdim=True) / c.T",
     "positive = (q * k).sum(1, keepdim=True)",
     "tests/test_golden.py::test_moco"),
]
