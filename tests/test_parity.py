"""The same weights in, the same outputs out, as in the libraries that people use."""

import pytest
import torch

from benchmarks import peers
from minimm.layers import Attention
from minimm.layers.attention import causal_mask
from minimm.models.clip import CLIP, CLIPConfig
from minimm.objectives.contrastive import symmetric_cross_entropy

SIZES = [
    CLIPConfig(embed_dim=12, image=24, patch=8, vision_width=24, vision_layers=2, vision_heads=3, context=9, vocab=50,
               text_width=16, text_layers=3, text_heads=2, eot_id=49, stem=False),
    CLIPConfig(embed_dim=20, image=32, patch=16, vision_width=32, vision_layers=3, vision_heads=4, context=12, vocab=40,
               text_width=24, text_layers=2, text_heads=4, eot_id=39, stem=False),
]


@pytest.mark.parametrize("config", SIZES)
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
    torch.testing.assert_close(out.logits_per_image, reference.logits_per_image, rtol=1e-5, atol=1e-5)
    embeds = torch.nn.functional.normalize(out.text_features, dim=-1)
    torch.testing.assert_close(embeds, reference.text_embeds, rtol=1e-5, atol=1e-5)
    # Every parameter got its weight from ours: none was left as it was made.
    named, mapped = dict(theirs.named_parameters()), peers.hugging_face_weights(ours)
    assert named.keys() == mapped.keys()
    # All gradients of the loss, too.
    symmetric_cross_entropy(out.logits_per_image).backward()
    symmetric_cross_entropy(reference.logits_per_image).backward()
    for name, weight in mapped.items():
        torch.testing.assert_close(weight.grad, named[name].grad, rtol=1e-4, atol=1e-4, msg=lambda m: f"{name}: {m}")


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
    torch.testing.assert_close(came, reference, rtol=1e-5, atol=1e-5)
    up = torch.randn_like(came)
    came.backward(up), reference.backward(up)
    stacked = torch.cat([ours.q.weight.grad, ours.k.weight.grad, ours.v.weight.grad])
    torch.testing.assert_close(stacked, theirs.in_proj_weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.o.weight.grad, theirs.out_proj.weight.grad, rtol=1e-4, atol=1e-4)
