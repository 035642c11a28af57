"""ViLT: the authors' checkpoints (PyTorch Lightning), and Hugging Face's layout."""

import torch

from .._errors import expect
from ..models.heads import Classifier, Pairs, vilt_head
from ..models.vilt import ViLT, ViLTConfig, ViLTEncoder, ViLTRetrieval
from ._names import fill, language_head, rename, text_embedding, vision_sizes, vision_transformer

AUTHORS = [
    *text_embedding(r"text_embeddings", r"encoder.text."),
    *vision_transformer(r"transformer", r"encoder."),
    (r"token_type_embeddings\.weight", r"encoder.modality.weight"),  # not to be taken for BERT's, which is above
    (r"pooler\.dense\.(weight|bias)", r"encoder.pooler.\1"),
    *language_head(r"mlm_score", r"mlm."),
    (r"mlm_score\.decoder\.weight", r"mlm.decoder.weight"),  # of its own: not tied to the word embedding
    (r"itm_score\.fc\.(weight|bias)", r"itm.\1"),
    (r"rank_output\.(weight|bias)", r"rank.\1"),
    (r"(?:vqa|nlvr2)_classifier\.(\d)\.(weight|bias)", r"head.\1.\2"),
]

HUGGING_FACE = [
    *text_embedding(r"vilt\.embeddings\.text_embeddings", r"encoder.text."),
    (r"vilt\.embeddings\.cls_token", r"encoder.cls"),
    (r"vilt\.embeddings\.position_embeddings", r"encoder.pos"),
    (r"vilt\.embeddings\.patch_embeddings\.projection\.(weight|bias)", r"encoder.patch.conv.\1"),
    (r"vilt\.embeddings\.token_type_embeddings\.weight", r"encoder.modality.weight"),
    (r"vilt\.encoder\.layer\.(\d+)\.attention\.attention\.(q|k|v)(?:uery|ey|alue)\.(weight|bias)",
     r"encoder.blocks.\1.attn.\2.\3"),
    (r"vilt\.encoder\.layer\.(\d+)\.attention\.output\.dense\.(weight|bias)", r"encoder.blocks.\1.attn.o.\2"),
    (r"vilt\.encoder\.layer\.(\d+)\.layernorm_before\.(weight|bias)", r"encoder.blocks.\1.ln1.\2"),
    (r"vilt\.encoder\.layer\.(\d+)\.layernorm_after\.(weight|bias)", r"encoder.blocks.\1.ln2.\2"),
    (r"vilt\.encoder\.layer\.(\d+)\.intermediate\.dense\.(weight|bias)", r"encoder.blocks.\1.mlp.fc1.\2"),
    (r"vilt\.encoder\.layer\.(\d+)\.output\.dense\.(weight|bias)", r"encoder.blocks.\1.mlp.fc2.\2"),
    (r"vilt\.layernorm\.(weight|bias)", r"encoder.ln_final.\1"),
    (r"vilt\.pooler\.dense\.(weight|bias)", r"encoder.pooler.\1"),
    *language_head(r"mlm_score", r"mlm."),
    (r"mlm_score\.decoder\.weight", r"mlm.decoder.weight"),
    (r"classifier\.(\d)\.(weight|bias)", r"head.\1.\2"),
]


def authors(tensors, facts, image=None):
    """From the authors' names: a ViLT; for questions a Classifier, for two pictures Pairs, for retrieval a
    ViLTRetrieval."""
    return _model(rename(tensors, AUTHORS), facts, image)


def hugging_face(tensors, facts, image=None):
    """From Hugging Face's names; facts: its config.json, where there is one. Its masked-language model has no matching
    head: ours is 0, it says neither yes nor no. Recent releases tie its last matrix to the word embedding unless they
    find two in the file, and then save one name alone."""
    weights = rename(tensors, HUGGING_FACE)
    if "mlm.bias" in weights and facts.get("tie_word_embeddings"):
        weights.setdefault("mlm.decoder.weight", weights["encoder.text.tok.weight"])
    return _model(weights, facts, image)


def _model(weights, facts, image):
    expect(image is None, "image", image, "None: ViLT takes pictures of all sizes, and resizes its positions for each")
    sizes = vision_sizes(weights, "encoder.")
    sizes["heads"] = facts.get("num_attention_heads", sizes["heads"])
    vocab, context, modalities = (len(weights[f"encoder.{name}.weight"])
                                  for name in ("text.tok", "text.pos", "modality"))
    config = ViLTConfig.paper(**sizes, vocab=vocab, context=context, modalities=modalities)
    if "mlm.bias" in weights:
        model = ViLT(config)
        if "itm.weight" not in weights:
            weights |= {"itm.weight": torch.zeros(2, config.width), "itm.bias": torch.zeros(2)}
        return fill(model, weights)
    if "rank.weight" in weights:
        # The matching head is still in the file, frozen and not used.
        return fill(ViLTRetrieval(config), {name: w for name, w in weights.items() if not name.startswith("itm.")})
    weights = {name.replace("encoder.", "backbone.", 1): w for name, w in weights.items()}
    answers, hidden = weights["head.3.weight"].shape
    kind = Pairs if modalities == 3 else Classifier
    return fill(kind(ViLTEncoder(config), answers, vilt_head, hidden), weights)
