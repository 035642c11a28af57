"""Parameters and operations of the parts of every model, against formulas written out by hand."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from minimm.evaluation.cost import cost, metered, parameters, parts
from minimm.layers import Attention
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.models.clip import CLIP, CLIPConfig
from minimm.models.detector import Detector
from minimm.models.vilbert import ViLBERT, ViLBERTConfig
from minimm.models.vilt import ViLT, ViLTConfig
from minimm.models.vse import VSE, VSEConfig

B, L, N, R = 3, 6, 64, 5  # pairs, tokens, patches, regions
MODELS = {
    "vse": lambda: VSE(VSEConfig(embed_dim=24, cnn_width=16, word_dim=20)),
    "clip": lambda: CLIP(CLIPConfig(stem=False, vision_width=32, text_width=48, embed_dim=24, vision_layers=2)),
    "vilbert": lambda: ViLBERT(ViLBERTConfig(
        text_width=32, vision_width=48, co_width=24, text_hidden=80, vision_hidden=40, text_layers=5, vision_layers=3,
        text_co=(2, 4), vision_co=(1, 2))),
    "vilt": lambda: ViLT(ViLTConfig(width=32, layers=3, hidden=80)),
    "albef": lambda: ALBEF(ALBEFConfig(stem=False, vision_width=48, vision_hidden=80, text_width=32, text_hidden=64,
                                       embed_dim=24, text_layers=1, fusion_layers=3, vision_layers=2)),
}


def pairs(name, seed=0):
    torch.manual_seed(seed)
    ids = torch.cat([torch.ones(B, 1), torch.randint(10, 200, (B, L - 2)), torch.full((B, 1), 2)], 1).long()
    if name == "vilbert":
        box = torch.tensor([0.0, 0, 20, 30]).expand(B, R, 4)
        return {"regions": torch.randn(B, R, 128), "boxes": box}, ids
    return torch.randn(B, 3, 64, 64), ids


def attention(q, k, d, context=None, inner=None):
    inner, context = inner or d, context or d
    return 2 * (2 * q * d * inner) + 2 * (2 * k * context * inner) + 2 * (2 * q * k * inner)


def block(n, d, hidden=None):
    return attention(n, n, d) + 2 * (2 * n * d * (hidden or 4 * d))


def expected(name):
    """(picture, text, pair) of MODELS, operations."""
    patches = N * 2 * 3 * 64
    if name == "vse":
        return None, L * 2 * 3 * 24 * (20 + 24), 2 * 24
    if name == "clip":
        return patches * 32 + 2 * block(N + 1, 32) + 2 * 32 * 24, 2 * block(L, 48) + 2 * 48 * 24, 2 * 24
    if name == "vilt":
        return patches * 32, 0, 3 * block(L + 1 + N, 32, 80) + 2 * 32 * 32 + 2 * 32 * 2
    if name == "albef":
        fusion = block(L, 32, 64) + attention(L, N + 1, 32, 48)
        picture = patches * 48 + 2 * block(N + 1, 48, 80) + 2 * 48 * 24
        return picture, block(L, 32, 64) + 2 * 32 * 24, 3 * fusion + 2 * 32 * 2
    r = R + 1
    co = attention(L, r, 32, 48, 24) + 4 * L * 32 * 80 + attention(r, L, 48, 32, 24) + 4 * r * 48 * 40
    pair = 3 * block(L, 32, 80) + 2 * block(r, 48, 40) + 2 * co + 2 * 32 * 24 + 2 * 48 * 24 + 2 * 24 * 2
    return 2 * r * (128 + 5) * 48 + block(r, 48, 40), 2 * block(L, 32, 80), pair


@pytest.mark.parametrize("name", MODELS)
def test_operations_are_those_that_one_counts_by_hand(name):
    got = cost(MODELS[name](), *pairs(name), repeats=1)
    for part, by_hand in zip(("picture", "text", "pair"), expected(name)):
        assert by_hand is None or got[part].flops == by_hand, part
        assert got[part].seconds > 0


def test_a_linear_layer_and_an_attention_layer():
    for module, inputs, by_hand in ((nn.Linear(7, 5), [torch.randn(3, 4, 7)], 2 * 3 * 4 * 7 * 5),
                                    (Attention(12, 3, 10, 6), [torch.randn(2, 4, 12), torch.randn(2, 9, 10)],
                                     2 * attention(4, 9, 12, 10, 6))):
        with FlopCounterMode(display=False) as counter:
            gained = metered(lambda: module(*inputs), {"text": [module], "picture": []}, counter.get_total_flops)
        assert gained == {"text": by_hand, "picture": 0, "pair": 0}
        assert not module._forward_hooks and not module._forward_pre_hooks


def test_what_is_outside_of_the_modules_is_the_pairs():
    first, second, ticks = nn.Linear(2, 2), nn.Linear(2, 2), iter(range(100))
    within = {"picture": [first, first.weight], "text": []}
    gained = metered(lambda: second(first(torch.zeros(1, 2))), within, lambda: next(ticks))
    assert gained == {"picture": 1, "text": 0, "pair": 2}  # readings: start, in, out, end


@pytest.mark.parametrize("name", MODELS)
def test_parts_have_nothing_in_common_and_leave_out_what_only_training_needs(name):
    model = MODELS[name]()
    held = [id(p) for things in parts(model).values() for thing in things
            for p in (thing.parameters() if isinstance(thing, nn.Module) else [thing])]
    assert len(held) == len(set(held))
    left = {key for key, p in model.named_parameters() if id(p) not in held}
    assert all(key.startswith(("mlm.", "mrm.", "online.mlm.", "momentum.", "temperature")) for key in left), left
    assert sum(parameters(things) for things in parts(model).values()) == parameters([model]) - sum(
        p.numel() for key, p in model.named_parameters() if key in left)


def test_parameters_of_a_linear_layer_and_of_a_parameter():
    assert parameters([nn.Linear(7, 5), nn.Parameter(torch.zeros(4, 2))]) == 7 * 5 + 5 + 8


def test_parameters_of_published_sizes_need_no_memory():
    with torch.device("meta"):
        model = CLIP(CLIPConfig.paper())
    assert parameters(parts(model)["text"]) > 49408 * 512 and next(model.parameters()).is_meta


def test_finding_regions_belongs_to_reading_a_picture():
    model, detector = ViLBERT(), Detector().eval()
    images, ids = torch.randn(B, 3, 64, 64), pairs("vilbert")[1]
    found, given = cost(model, images, ids, detector, 1), cost(model, detector.regions(images), ids, repeats=1)
    assert found["picture"].parameters == given["picture"].parameters + parameters([detector])
    with FlopCounterMode(display=False) as counter:
        detector.regions(images)
    assert found["picture"].flops == pytest.approx(given["picture"].flops + counter.get_total_flops() / B)
    assert found["text"].flops == given["text"].flops and found["pair"].flops == given["pair"].flops


def test_the_model_keeps_its_mode_and_wrong_inputs_are_told():
    model = MODELS["vilt"]().train()
    cost(model, *pairs("vilt"), repeats=1)
    assert model.training
    with pytest.raises(TypeError, match="Linear"):
        parts(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="repeats"):
        cost(model, *pairs("vilt"), repeats=0)
