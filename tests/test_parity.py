"""The same weights in, the same outputs and gradients out, as in the libraries that people use."""

import re

import pytest
import torch
from torch import nn

from benchmarks import peers
from minimm.layers import Attention, causal_mask
from minimm.models.clip import CLIP, CLIPConfig
from minimm.models.heads import Classifier, vilt_head
from minimm.models.vilt import ViLT, ViLTConfig
from minimm.objectives.contrastive import symmetric_cross_entropy
from minimm.objectives.masking import IGNORE, masked_cross_entropy

OUTPUT, GRADIENT = {"rtol": 1e-5, "atol": 1e-5}, {"rtol": 1e-4, "atol": 1e-4}
CLIP_SIZES = [
    CLIPConfig(embed_dim=12, image=24, patch=8, vision_width=24, vision_layers=2, vision_heads=3, context=9, vocab=50,
               text_width=16, text_layers=3, text_heads=2, eot_id=49, stem=False),
    CLIPConfig(embed_dim=20, image=32, patch=16, vision_width=32, vision_layers=3, vision_heads=4, context=12, vocab=40,
               text_width=24, text_layers=2, text_heads=4, eot_id=39, stem=False),
]
VILT_SIZES = [
    ViLTConfig(image=24, patch=8, width=24, layers=2, heads=3, hidden=40, context=9, vocab=50),
    ViLTConfig(image=32, patch=4, width=32, layers=3, heads=4, hidden=64, context=12, vocab=40, modalities=3),
]
ANSWERS = 7


@pytest.mark.parametrize("config", CLIP_SIZES)
def test_hugging_face_clip(config, monkeypatch):
    pytest.importorskip("transformers", reason="the extra `test` is not installed")
    monkeypatch.setattr(peers, "CONFIG", config)
    torch.manual_seed(3)
    ours = CLIP(config).eval()
    theirs, _ = peers.hugging_face(ours)
    theirs.eval()
    images = torch.randn(5, 3, config.image, config.image)
    ids = torch.randint(2, config.eot_id, (5, config.context))
    for row, end in zip(ids, (2, 5, 3, config.context - 1, 4)):
        row[end], row[end + 1:] = config.eot_id, 0
    out, reference = ours(images, ids), theirs(pixel_values=images, input_ids=ids)
    torch.testing.assert_close(out.logits_per_image, reference.logits_per_image, **OUTPUT)
    embeds = torch.nn.functional.normalize(out.text_features, dim=-1)
    torch.testing.assert_close(embeds, reference.text_embeds, **OUTPUT)
    # Every parameter got its weight from ours: none was left as it was made.
    named, mapped = dict(theirs.named_parameters()), peers.hugging_face_weights(ours)
    assert named.keys() == mapped.keys()
    # All gradients of the loss, too.
    symmetric_cross_entropy(out.logits_per_image).backward()
    symmetric_cross_entropy(reference.logits_per_image).backward()
    for name, weight in mapped.items():
        torch.testing.assert_close(weight.grad, named[name].grad, **GRADIENT, msg=lambda m: f"{name}: {m}")


@pytest.mark.parametrize("causal", [False, True])
def test_torch_attention(causal):
    torch.manual_seed(0)
    ours, theirs = Attention(24, 3), torch.nn.MultiheadAttention(24, 3, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]))
        theirs.out_proj.load_state_dict(ours.o.state_dict())
    x = torch.randn(2, 7, 24)
    mask = causal_mask(7) if causal else None
    reference, _ = theirs(x, x, x, attn_mask=None if mask is None else ~mask)
    came = ours(x, mask=mask)
    torch.testing.assert_close(came, reference, **OUTPUT)
    up = torch.randn_like(came)
    came.backward(up), reference.backward(up)
    stacked = torch.cat([ours.q.weight.grad, ours.k.weight.grad, ours.v.weight.grad])
    torch.testing.assert_close(stacked, theirs.in_proj_weight.grad, **GRADIENT)
    torch.testing.assert_close(ours.o.weight.grad, theirs.out_proj.weight.grad, **GRADIENT)


def vilt_name(name):
    """A name of ours as Hugging Face's."""
    for ours, theirs in (
            (r"^blocks\.(\d+)\.attn\.o", r"encoder.layer.\1.attention.output.dense"),
            (r"^blocks\.(\d+)\.ln1", r"encoder.layer.\1.layernorm_before"),
            (r"^blocks\.(\d+)\.ln2", r"encoder.layer.\1.layernorm_after"),
            (r"^blocks\.(\d+)\.mlp\.fc1", r"encoder.layer.\1.intermediate.dense"),
            (r"^blocks\.(\d+)\.mlp\.fc2", r"encoder.layer.\1.output.dense"),
            (r"^ln_final", "layernorm"), (r"^pooler", "pooler.dense"),
            (r"^cls$", "embeddings.cls_token"), (r"^pos$", "embeddings.position_embeddings"),
            (r"^patch\.conv", "embeddings.patch_embeddings.projection"),
            (r"^modality", "embeddings.token_type_embeddings"),
            (r"^text\.tok\b", "embeddings.text_embeddings.word_embeddings"),
            (r"^text\.pos", "embeddings.text_embeddings.position_embeddings"),
            (r"^text\.token_type", "embeddings.text_embeddings.token_type_embeddings"),
            (r"^text\.ln", "embeddings.text_embeddings.LayerNorm")):
        name = re.sub(ours, theirs, name)
    return re.sub(r"^blocks\.(\d+)\.attn\.([qkv])", lambda m: f"encoder.layer.{m[1]}.attention.attention."
                  + {"q": "query", "k": "key", "v": "value"}[m[2]], name)


def mlm_name(name):
    """A name in our masked-language head as Hugging Face's."""
    last = {"bias": "decoder.bias", "decoder.weight": "decoder.weight"}
    return last.get(name) or f"transform.{name.replace('ln.', 'LayerNorm.')}"


def both(config, kind, monkeypatch):
    """Our ViLT, ours with a head for answers, theirs of that kind with the same weights, pairs of ours and theirs."""
    transformers = pytest.importorskip("transformers", reason="the extra `test` is not installed")
    torch.manual_seed(3)
    ours = ViLT(config)
    answers = Classifier(ours.encoder, ANSWERS, vilt_head, hidden=2 * config.width)
    for p in [*ours.parameters(), *answers.head.parameters()]:
        p.data += 0.1 * torch.randn_like(p)  # so that nothing is as it was made
    theirs = getattr(transformers, kind)(transformers.ViltConfig(
        vocab_size=config.vocab, hidden_size=config.width, num_hidden_layers=config.layers,
        num_attention_heads=config.heads, intermediate_size=config.hidden, max_position_embeddings=config.context,
        image_size=config.image, patch_size=config.patch, modality_type_vocab_size=config.modalities,
        layer_norm_eps=1e-6, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=config.pad_id,
        num_labels=ANSWERS))
    # Its configuration has one eps for all; the authors have BERT's where words come in and go out.
    trunk = theirs if kind == "ViltModel" else theirs.vilt
    trunk.embeddings.text_embeddings.LayerNorm.eps = 1e-12
    names = {f"{'' if trunk is theirs else 'vilt.'}{vilt_name(name)}": p for name, p in ours.encoder.named_parameters()}
    if kind == "ViltForMaskedLM":
        theirs.mlm_score.transform.LayerNorm.eps = 1e-12
        # It ties the output matrix to the word embedding whatever its configuration says; the authors do not.
        theirs.mlm_score.decoder.weight = nn.Parameter(theirs.mlm_score.decoder.weight.detach().clone())
        names |= {f"mlm_score.{mlm_name(name)}": p for name, p in ours.mlm.named_parameters()}
    if kind == "ViltForQuestionAnswering":
        names |= {f"classifier.{name}": p for name, p in answers.head.named_parameters()}
    named = dict(theirs.named_parameters())
    assert named.keys() == names.keys(), named.keys() ^ names.keys()  # none is left as it was made
    with torch.no_grad():
        for name, p in names.items():
            named[name].copy_(p.view_as(named[name]))
    # It shuffles the places and fills up with padding at random, by this function.
    monkeypatch.setattr(torch, "multinomial", lambda weights, n, replacement=False: torch.arange(int(n)) % len(weights))
    return ours, answers, theirs, [(p, named[name]) for name, p in names.items()]


def inputs(config):
    p, context = config.patch, config.context
    sizes = torch.tensor([[3, 2], [1, 4], [3, 4], [2, 1]]) * p
    canvas = (3 * p, 4 * p)
    images = torch.randn(4, 3, *canvas)
    rows, columns = (torch.arange(side) for side in canvas)
    pixel_mask = (rows[:, None] < sizes[:, :1, None]) & (columns < sizes[:, 1:, None])
    ids = torch.randint(4, config.vocab, (4, context))
    mask = torch.arange(context) < torch.tensor([[context], [4], [context - 1], [2]])
    ids = ids.where(mask, config.pad_id)
    images = images * pixel_mask[:, None]
    return (images, ids, sizes), {"pixel_values": images, "pixel_mask": pixel_mask.long(), "input_ids": ids,
                                  "attention_mask": mask.long()}


def same_gradients(loss, reference, weights):
    torch.testing.assert_close(loss, reference, **OUTPUT)
    loss.backward(), reference.backward()
    for ours, theirs in weights:
        torch.testing.assert_close(ours.grad, theirs.grad.view_as(ours), **GRADIENT)


@pytest.mark.parametrize("config", VILT_SIZES)
def test_hugging_face_vilt(config, monkeypatch):
    ours, _, theirs, weights = both(config, "ViltModel", monkeypatch)
    mine, its = inputs(config)
    for modality in range(1, config.modalities):
        out, reference = ours.encoder(*mine, modality), theirs(**its, image_token_type_idx=modality)
        text, image = reference.last_hidden_state.split([config.context, out.image.shape[1]], 1)
        torch.testing.assert_close(out.pooled, reference.pooler_output, **OUTPUT)
        torch.testing.assert_close(out.text, text, **OUTPUT)
        torch.testing.assert_close(out.image[out.image_mask], image[out.image_mask], **OUTPUT)
    places = torch.randn(int(out.image_mask.sum()), config.width)
    same_gradients((out.image[out.image_mask] * places).mean() + out.pooled.sum(),
                   (image[out.image_mask] * places).mean() + reference.pooler_output.sum(), weights)


@pytest.mark.parametrize("config", VILT_SIZES)
def test_hugging_face_vilt_masked_language(config, monkeypatch):
    ours, _, theirs, weights = both(config, "ViltForMaskedLM", monkeypatch)
    mine, its = inputs(config)
    labels = mine[1].where((torch.rand(mine[1].shape) < 0.5) & (mine[1] != config.pad_id), IGNORE)
    logits, reference = ours.mlm(ours.encoder(*mine).text), theirs(**its, labels=labels)
    torch.testing.assert_close(logits, reference.logits, **OUTPUT)
    for p, other in weights:  # the pooler plays no part
        p.grad, other.grad = torch.zeros_like(p), torch.zeros_like(other)
    same_gradients(masked_cross_entropy(logits, labels), reference.loss, weights)


@pytest.mark.parametrize("config", VILT_SIZES)
def test_hugging_face_vilt_question_answering(config, monkeypatch):
    _, answers, theirs, weights = both(config, "ViltForQuestionAnswering", monkeypatch)
    mine, its = inputs(config)
    batch = dict(zip(("images", "ids", "sizes"), mine), answers=torch.rand(4, ANSWERS))
    reference = theirs(**its, labels=batch["answers"])
    torch.testing.assert_close(answers(batch), reference.logits, **OUTPUT)
    same_gradients(answers.loss(batch)["answer"], reference.loss, weights)
