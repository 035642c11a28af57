"""Where each of the five looks, for each word: shapes, invariances, each method against its definition, bad input."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import vgg19

from minimm.evaluation.masked import language
from minimm.explain import METHODS, Look, Maps, maps, methods, record, word_at
from minimm.explain.architectures import Grid, anatomy, score
from minimm.models import heads
from minimm.models.albef import ALBEF
from minimm.models.clip import CLIP
from minimm.models.vilbert import ViLBERT
from minimm.models.vse import VSE, VSEConfig
from test_albef import SMALL
from test_clip import SMALL as SMALL_CLIP
from test_explain import hooks, models, with_heads
from test_heads import ONE_WIDTH, backbones, picture, texts

TARGETS = (None, "word")
HAVE = {"CLIP": ("attention", "rollout", "gradient", "grad-cam", "relevancy", "similarity"), "VSE": ("grad-cam",),
        "ViLBERT": ("attention", "rollout", "gradient", "grad-cam", "relevancy"),
        "ViLT": ("attention", "rollout", "gradient", "grad-cam", "relevancy", "transport"),
        "ALBEF": ("attention", "rollout", "gradient", "grad-cam", "relevancy")}
#: Pieces of words: the third token continues the second.
PIECES = torch.tensor([[-1, 0, 0, 1, 2, -1]]).expand(3, -1)


def looks(name, seed=1, pad=0, target=None, rows=slice(None), **options):
    """A Look of one of the five at three pairs, `pad` tokens of padding behind the texts."""
    ids = nn.functional.pad(texts(seed), (0, pad))[rows]
    words = nn.functional.pad(PIECES, (0, pad), value=-1)[rows]
    seen = {key: t[rows] for key, t in picture(name, seed).items()}
    return Look(models()[name], seen, ids, words, target, **options)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", HAVE)
def test_all_methods(name, target):
    look = looks(name, target=target)
    assert look.methods == HAVE[name] and set(look.methods) <= set(METHODS)
    for method in look.methods:
        found = look.maps(method)
        if name == "ViLBERT":
            assert found.values.shape == (3, 6, 4) and found.grid is None
            assert found.boxes.equal(picture(name)["boxes"])
        else:
            assert found.values.shape == (3, 6, 2, 2) and found.boxes is None and found.grid[:3] == (2, 2, 8)
        assert found.values.isfinite().all() and found.values.abs().sum() > 0 and not found.values.requires_grad
        assert found.values[:, 1].equal(found.values[:, 2])  # pieces of one word
        assert method in ("gradient", "similarity") or (found.values >= 0).all()
        if target == "word" and (name, method) not in {("CLIP", "attention"), ("CLIP", "rollout")}:
            assert not torch.allclose(found.values[:, 3], found.values[:, 4], rtol=1e-3, atol=0)  # words differ
        if target is None and name in ("CLIP", "VSE"):  # one vector for all words: one map
            assert found.values.equal(found.values[:, :1].expand_as(found.values))
    torch.testing.assert_close(look.maps("grad-cam").values,
                               maps(models()[name], picture(name), texts(), target=target, words=PIECES).values)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", HAVE)
def test_invariances(name, target):
    """Another order of the batch, another batch, more padding: the same maps."""
    order, look = torch.tensor([2, 0, 1]), looks(name, target=target)
    for method in look.methods:
        expected = look.maps(method).values
        same = {"rtol": 1e-4, "atol": 1e-4 * expected.abs().max().item()}
        torch.testing.assert_close(looks(name, rows=order, target=target).maps(method).values, expected[order], **same)
        torch.testing.assert_close(looks(name, rows=[1], target=target).maps(method).values, expected[1:2], **same)
        padded = looks(name, pad=3, target=target)
        torch.testing.assert_close(padded.maps(method).values[:, :6], expected, **same)
        assert not padded.maps(method).values[:, 6:].any()
    torch.testing.assert_close(padded.score, look.score)
    if name != "VSE" and target is None:
        torch.testing.assert_close(padded.word_relevance()[:, :6], look.word_relevance(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", with_heads())
def test_scores_and_modes(name):
    """The score is the model's own; the model is left as it was."""
    model, kind = with_heads()[name]
    model.train()
    look = Look(model, picture(kind), texts())
    assert all(part.training for part in model.modules()) and hooks(model) == 0
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(look.score, score(model.eval(), picture(kind), texts()))
    found = look.maps()
    assert found.values.shape[:2] == (3, 6) and found.values.abs().sum() > 0
    batch = {**{k: t.repeat_interleave(2, 0) for k, t in picture(kind).items()}}
    several = Look(model, {**picture(kind), "of": torch.arange(3).repeat_interleave(2)}, texts().repeat_interleave(2, 0))
    torch.testing.assert_close(several.score, look.score.repeat_interleave(2))
    assert len(batch) and several.maps().values.shape[0] == 6


def test_scores_of_heads():
    batch = {**picture("ViLT"), "ids": texts()}
    model = heads.Classifier(backbones()["ViLT"], 5).eval()
    logits = model(batch)
    inputs = picture("ViLT"), texts()
    assert Look(model, *inputs).score.equal(logits.amax(1))
    assert Look(model, *inputs, target=3).score.equal(logits[:, 3])
    assert Look(model, *inputs, target=torch.tensor([4, 0, 2])).score.equal(logits[[0, 1, 2], [4, 0, 2]])
    assert not torch.allclose(maps(model, *inputs, target=3).values, maps(model, *inputs, target=2).values)
    own = Look(model, *inputs, target=lambda model, picture, ids: model({**picture, "ids": ids})[:, 0])
    assert own.score.equal(logits[:, 0])

    torch.manual_seed(0)
    answerer = heads.Answerer(ONE_WIDTH).eval()
    inputs, answers = (picture("ALBEF"), texts()), torch.tensor([[1, 5, 2], [1, 6, 2], [1, 7, 2]])
    states, mask = answerer.question(*inputs)
    first = answerer(states, mask, torch.tensor([[1]]).expand(3, 1))[:, 0].log_softmax(-1)
    torch.testing.assert_close(Look(answerer, *inputs).score, first.amax(1).detach())
    said = answerer(states, mask, answers).log_softmax(-1)
    expected = said[:, 0].gather(1, answers[:, 1:2])[:, 0] + said[:, 1, 2]
    torch.testing.assert_close(Look(answerer, *inputs, target=answers).score, expected.detach())


def test_raw_attention():
    """Of every layer, of each head: what was recorded, without the queries and keys that are no words or no places."""
    for name, layer, places in (("ALBEF", "text.fusion.0.xattn", slice(1, None)), ("ViLBERT", "co.0.text.attn", slice(1, None)),
                                ("ViLT", "blocks.1.attn", slice(7, None)), ("CLIP", "vision.blocks.0.attn", slice(1, None))):
        look, model = Look(models()[name], picture(name), texts()), models()[name].eval()
        with record(model) as recorded:
            score(model, picture(name), texts())
        weights = next(w for key, w in recorded.items() if key.endswith(layer))
        assert layer in look.layers("attention")
        for head in (None, 0, 1):
            expected = (weights.mean(1) if head is None else weights[:, head])[..., places]
            expected = expected[:, :1].expand(-1, 6, -1) if name == "CLIP" else expected[:, :6]
            torch.testing.assert_close(look.maps("attention", layer, head).values.flatten(2), expected)
    assert look.maps("attention", head=0).values.ne(look.maps("attention", head=1).values).any()


def test_pieces_of_words():
    token = Look(models()["ALBEF"], picture("ALBEF"), texts()).maps("attention").values
    word = Look(models()["ALBEF"], picture("ALBEF"), texts(), PIECES).maps("attention").values
    torch.testing.assert_close(word[:, 1], token[:, 1:3].mean(1))
    torch.testing.assert_close(word[:, [0, 3, 4, 5]], token[:, [0, 3, 4, 5]])


def test_default_layers():
    """Of a sentence's score the words' rows in the last layer have no gradient."""
    look = looks("ViLT")
    assert look.layers("grad-cam") == ("blocks.0.attn", "blocks.1.attn")
    assert look.maps("grad-cam").values.equal(look.maps("grad-cam", "blocks.0.attn").values)
    assert look.maps("attention").values.equal(look.maps("attention", "blocks.1.attn").values)
    assert not look.maps("grad-cam", "blocks.1.attn").values[:, 1:].any()
    asked = looks("ViLT", target="word")
    assert asked.maps("grad-cam").values.equal(asked.maps("grad-cam", "blocks.1.attn").values)
    deep = Look(ALBEF(replace(SMALL, fusion_layers=6)), picture("ALBEF"), texts())
    assert deep.maps("grad-cam").values.equal(deep.maps("grad-cam", "text.fusion.2.xattn").values)  # the authors' eighth


@pytest.mark.parametrize("name", ["ViLBERT", "ViLT", "ALBEF"])
def test_words_that_are_filled_in(name):
    """Asking for a word is explaining the logits of its tokens where [MASK] stands."""
    asked, ids = looks(name, target="word"), texts()
    hidden = ids.clone()
    hidden[:, 1:3] = models()[name].config.mask_id

    def both(model, picture, read):
        return language(model, picture, read).gather(2, ids[..., None])[:, 1:3, 0].sum(1)
    by_hand = Look(models()[name], picture(name), hidden, PIECES, both)
    for method in asked.methods:
        layer = asked.layers(method)[-1] if method in ("attention", "gradient", "grad-cam") else None
        torch.testing.assert_close(asked.maps(method, layer).values[:, 1], by_hand.maps(method, layer).values[:, 1],
                                   rtol=1e-4, atol=1e-7)
    # The sentence is read as it is, and asked for the words that count.
    some = torch.where(PIECES == 1, PIECES, -1)
    sentence = Look(models()[name], picture(name), ids, target=lambda model, picture, read: language(
        model, picture, read).gather(2, ids[..., None])[:, 3, 0])
    torch.testing.assert_close(Look(models()[name], picture(name), ids, some, "word").maps("relevancy").values[:, 0],
                               sentence.maps("relevancy").values[:, 0], rtol=1e-4, atol=1e-7)
    one = Look(models()[name], picture(name), ids, target=word_at(3, word=7))
    torch.testing.assert_close(one.score, language(models()[name].eval(), picture(name), ids)[:, 3, 7].detach())


@pytest.mark.parametrize("name", ["CLIP", "VSE"])
def test_words_on_their_own(name):
    """With one vector for a text a word is read between the first token and the last, as a text of its own."""
    asked, ids = looks(name, target="word"), texts()
    for at in ([1, 2], [3], [4]):
        alone = Look(models()[name], picture(name), ids[:, [0, *at, 5]])
        for method in asked.methods:
            torch.testing.assert_close(asked.maps(method).values[:, at[0]], alone.maps(method).values[:, 0], rtol=1e-4, atol=1e-6)
    whole = Look(models()[name], picture(name), ids)
    one_word = Look(models()[name], picture(name), ids, torch.where(PIECES == 1, PIECES, -1), "word")
    for found in (asked, one_word):  # special tokens, and what is no word: the whole sentence
        torch.testing.assert_close(found.maps("grad-cam").values[:, 0], whole.maps("grad-cam").values[:, 0], rtol=1e-4, atol=1e-6)


def test_transport_and_similarity():
    model, inputs = models()["ViLT"].eval(), (picture("ViLT")["images"], texts())
    plan = model.align(model(*inputs).states, texts()).plan
    found = looks("ViLT").maps("transport").values
    torch.testing.assert_close(found.flatten(2)[:, 3:], plan[:, 3:, 1:].detach())
    torch.testing.assert_close(found.sum((1, 2, 3)), torch.ones(3))  # all mass goes from words to places
    clip = models()["CLIP"].eval()
    tokens = clip.vision.proj(clip.vision.ln_final(clip.vision.tokens(inputs[0])))
    cosines = nn.functional.cosine_similarity(tokens, clip.encode_text(texts())[:, None], dim=-1)
    torch.testing.assert_close(looks("CLIP").maps("similarity").values[:, 0].flatten(1), cosines[:, 1:].detach())


def test_relevancy_of_each():
    """By hand from what was recorded: two layers of ViLT are (I + A_2)(I + A_1); a ViLBERT with one co-attention."""
    look = Look(models()["ViLT"], picture("ViLT"), texts())
    first, second = (methods.grad_cam(look.weights[f"blocks.{i}.attn"], look.gradients[f"blocks.{i}.attn"]) for i in (0, 1))
    one = torch.eye(first.shape[-1])
    expected = (one + second) @ (one + first)
    torch.testing.assert_close(look.maps("relevancy").values.flatten(2), expected[:, :6, 7:])
    torch.testing.assert_close(look.maps("relevancy", "blocks.1.attn").values.flatten(2), second[:, :6, 7:])
    torch.testing.assert_close(look.word_relevance(), expected[:, 0, :6] * (torch.arange(6) > 0))

    look = Look(models()["ViLBERT"], picture("ViLBERT"), texts())
    cam = {name: methods.grad_cam(w, look.gradients[name]) for name, w in look.weights.items()}
    one = torch.eye(6)
    expected = (one + cam["text_blocks.0.attn"]) @ cam["co.0.text.attn"]  # the co-attention came first
    torch.testing.assert_close(look.maps("relevancy").values, expected[..., 1:], rtol=1e-4, atol=1e-8)
    assert list(look.weights) == ["co.0.text.attn", "co.0.vision.attn", "text_blocks.0.attn", "vision_blocks.0.attn"]


def test_order_of_layers():
    """The steps are the layers in the order in which they run, each once."""
    torch.manual_seed(0)
    config = replace(models()["ViLBERT"].config, text_layers=4, vision_layers=3, text_co=(1, 3), vision_co=(1, 3))
    for name, model in {**models(), "ViLBERT": ViLBERT(config), "ALBEF": ALBEF(replace(SMALL, fusion_layers=2))}.items():
        if name == "VSE":
            continue
        look = Look(model, picture(name), texts())
        steps = [list(step.values()) for step in look.anatomy.steps]
        assert sorted(sum(steps, [])) == sorted(look.weights)
        ran = list(look.weights)
        for stream in ("text", "vision", "co"):  # towers, and the two streams between co-attentions, run side by side
            assert [n for n in sum(steps, []) if n.startswith(stream)] == [n for n in ran if n.startswith(stream)]
        if name == "ViLBERT":
            assert [step[0] for step in steps] == [
                "text_blocks.0.attn", "vision_blocks.0.attn", "co.0.text.attn", "text_blocks.1.attn", "text_blocks.2.attn",
                "vision_blocks.1.attn", "vision_blocks.2.attn", "co.1.text.attn", "text_blocks.3.attn"]


def test_pictures_of_two_sizes():
    """ViLT's pictures stand on a canvas: the maps of a smaller one are those that it has alone, and 0 beside it."""
    images = torch.zeros(2, 3, 16, 24)
    images[0], images[1, :, :8, :16] = torch.randn(3, 16, 24), torch.randn(3, 8, 16)
    sizes, ids = torch.tensor([[16, 24], [8, 16]]), texts(b=2)
    look = Look(models()["ViLT"], {"images": images, "sizes": sizes}, ids)
    alone = Look(models()["ViLT"], {"images": images[1:, :, :8, :16]}, ids[1:])
    for method in look.methods:
        values, expected = look.maps(method).values, alone.maps(method).values
        assert values.shape == (2, 6, 2, 3) and expected.shape == (1, 6, 1, 2)
        torch.testing.assert_close(values[1:, :, :1, :2], expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
        assert not values[1, :, 1].any() and not values[1, :, :, 2].any() and values[0].abs().sum() > 0


def test_padded_regions():
    seen = picture("ViLBERT")
    more = {"regions": nn.functional.pad(seen["regions"], (0, 0, 0, 2), value=3.0),
            "boxes": nn.functional.pad(seen["boxes"], (0, 0, 0, 2)),
            "region_mask": nn.functional.pad(torch.ones(3, 4, dtype=torch.bool), (0, 2), value=False)}
    look, padded = Look(models()["ViLBERT"], seen, texts()), Look(models()["ViLBERT"], more, texts())
    for method in look.methods:
        values = padded.maps(method).values
        expected = look.maps(method).values
        torch.testing.assert_close(values[..., :4], expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
        assert not values[..., 4:].any()


@pytest.mark.parametrize("name", HAVE)
def test_half_precision(name):
    """A model in bfloat16 takes pictures as they are, and its maps are those of the model to its precision."""
    look, half = Look(models()[name], picture(name), texts()), Look(models()[name].bfloat16(), picture(name), texts())
    for method in ("attention", "grad-cam"):
        if method in look.methods:
            expected, came = look.maps(method).values, half.maps(method).values
            assert came.dtype == torch.float32
            assert (came - expected).abs().max() < 0.1 * expected.abs().max()


def test_resnets():
    """CLIP's ResNet attends once, in its pool; VSE's CNNs are explained by their last convolution."""
    clip = CLIP(replace(SMALL_CLIP, image=64, patch=32, vision_width=8, resnet=(1, 1, 1, 1)))
    images = {"images": torch.randn(3, 3, 64, 64)}
    look = Look(clip, images, texts())
    assert look.methods == ("attention", "gradient", "grad-cam", "relevancy")
    assert look.layers() == ("vision.pool.attn",) and look.maps("attention").values.shape == (3, 6, 2, 2)
    torch.testing.assert_close(look.maps("relevancy").values, look.maps("grad-cam").values)
    assert look.word_relevance().sum(1).allclose(torch.ones(3))
    with torch.device("meta"):
        for name, layer in (("resnet152", "layer4"), ("vgg19", "features")):
            found = anatomy(VSE(VSEConfig.paper(name)), {}, None)
            assert found.convolution == f"vision.cnn.{layer}" and found.grid[:3] == (7, 7, 32)


def centre(network, side, channels=3):
    """At which pixel the middle place of a network has the middle of what it sees, and the number of the place: all
    weights are the same, and what is above 0 passes through all activations."""
    network = network.double().eval()
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.constant_(part.weight, 1 / part.weight[0].numel())
    x = torch.ones(1, channels, side, side, dtype=torch.double, requires_grad=True)
    y = network(x)
    y = y.unflatten(1, (int(y.shape[1] ** 0.5),) * 2).permute(0, 3, 1, 2) if y.ndim == 3 else y  # b n d or b d h w
    place = y.shape[-1] // 2
    seen = torch.autograd.grad(y[0, :, place, place].sum(), x)[0][0].sum((0, 1))
    assert seen[0] == 0 and seen[-1] == 0, "the place sees beyond the picture"
    return (seen * torch.arange(side)).sum() / seen.sum(), place


def test_where_places_lie():
    """The middle of what a place sees, through convolutions with padding, is not the middle of its tile."""
    clip = CLIP(replace(SMALL_CLIP, image=64, patch=32, vision_width=8, resnet=(1, 1, 1, 1))).vision
    for part in clip.modules():  # the residual branch, which starts at 0
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
    vgg = vgg19(weights=None).features[:10]  # two of its five steps
    vgg = nn.Sequential(*[nn.AvgPool2d(2) if isinstance(m, nn.MaxPool2d) else m for m in vgg])  # a maximum has many middles
    plain = CLIP(replace(SMALL_CLIP, stem=False))
    for name, model in (("ALBEF", models()["ALBEF"]), ("ViLT", models()["ViLT"]), ("CLIP", plain)):
        assert Look(model, picture(name), texts()).anatomy.grid == Grid(2, 2, 8, 3.5)
    stem = Look(models()["CLIP"], picture("CLIP"), texts()).anatomy.grid
    assert stem == Look(ALBEF(replace(SMALL, stem=True)), picture("ALBEF"), texts()).anatomy.grid
    small = Look(models()["VSE"], picture("VSE"), texts()).anatomy.grid
    resnet = Look(CLIP(replace(SMALL_CLIP, image=64, patch=32, vision_width=8, resnet=(1, 1, 1, 1))),
                  {"images": torch.randn(3, 3, 64, 64)}, texts()).anatomy.grid
    for network, side, grid in (
            (models()["CLIP"].vision.patch, 64, stem), (plain.vision.patch, 64, Grid(2, 2, 8, 3.5)),
            (models()["VSE"].vision.cnn[:-2], 160, small),
            (nn.Sequential(clip.stem, clip.blocks), 512, resnet),
            (vgg, 96, Grid(24, 24, 4, 1.5))):
        at, place = centre(network, side)
        assert at.item() == pytest.approx(grid.first + grid.step * place, abs=1e-6)
    with torch.device("meta"):
        assert anatomy(VSE(VSEConfig.paper("vgg19")), {}, None).grid.first == 15.5  # 1.5 after two, and so on
        assert anatomy(VSE(VSEConfig.paper("resnet152")), {}, None).grid.first == 0


def test_pixels():
    values = torch.arange(4.0).view(1, 1, 2, 2)
    patches = Maps(values, Grid(2, 2, 8, 3.5))
    assert patches.pixels(16, 16).equal(values.repeat_interleave(8, 2).repeat_interleave(8, 3))
    assert patches.pixels(32, 8).equal(values.repeat_interleave(16, 2).repeat_interleave(4, 3))
    # Behind a stem of convolutions place 1 has its middle at pixel 8: it is the nearest from pixel 4 on.
    stem = Maps(values, Grid(2, 2, 8, 0)).pixels(16, 16)[0, 0]
    assert (stem[:4, :4] == 0).all() and (stem[:4, 4:] == 1).all() and (stem[4:, :4] == 2).all() and (stem[4:, 4:] == 3).all()
    smooth = patches.pixels(16, 16, smooth=True)[0, 0, :, 0]
    torch.testing.assert_close(smooth, ((torch.arange(16) - 3.5) / 4).clamp(0, 2))  # 0 at 3.5, 2 at 11.5
    boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 6.0, 3.0], [0.0, 0.0, 0.0, 0.0]]])
    painted = Maps(torch.tensor([[[1.0, 5.0, 9.0], [-1.0, -2.0, 9.0]]]), boxes=boxes).pixels(8, 8)
    assert painted.shape == (1, 2, 8, 8)
    assert painted[0, 0, 2, 2:6].tolist() == [5, 5, 5, 5] and painted[0, 0, :2, :4].eq(1).all() and painted[0, 0].sum() == 16 + 4 * 2 + 5 * 2
    assert painted[0, 1, 2, 1:7].tolist() == [-1, -1, -1, -2, -2, 0]  # the highest of those that cover it


def test_bad_input():
    look, inputs = looks("ALBEF"), (picture("ALBEF"), texts())
    for arguments, message in (
            (("transport",), "method: expected for a Encoders one of attention, .*'transport'"),
            (("similarity",), "one of attention"),
            (("attention", "text.fusion.7.xattn"), "layer: expected for attention one of text.fusion.0.xattn.*7"),
            (("grad-cam", "vision.blocks.0.attn"), "layer: expected for grad-cam one of text.fusion.0.xattn"),
            (("attention", None, 2), "head: expected None, or 0 to 1, but got 2"),
            (("attention", None, 0.5), "head: expected"),
            (("rollout", None, 0), "head: expected None: rollout is of no head here"),
            (("relevancy", "nowhere"), "layer: expected for relevancy one of vision.blocks.0.attn, text.layers.0.attn")):
        with pytest.raises(ValueError, match=message):
            look.maps(*arguments)
    with pytest.raises(ValueError, match="layer: expected None: transport is of no layer"):
        looks("ViLT").maps("transport", "blocks.0.attn")
    with pytest.raises(ValueError, match="for a VSE one of grad-cam"):
        looks("VSE").maps("attention")
    with pytest.raises(ValueError, match="is of no head here"):
        looks("VSE").maps("grad-cam", head=0)
    with pytest.raises(ValueError, match="a VSE.*|attention among its words"):
        looks("VSE").word_relevance()
    with pytest.raises(ValueError, match="a score of the whole sentence"):
        looks("ALBEF", target="word").word_relevance()

    vilt, pairs = heads.Classifier(backbones()["ViLT"], 5), heads.Pairs(backbones()["ViLT"], 2)
    for model, target, error, message in (
            (models()["ALBEF"], "sentence", ValueError, "target: expected None, 'word'"),
            (models()["ALBEF"], 1, ValueError, "target: expected None, or a function"),
            (models()["CLIP"], 1, ValueError, "target: expected None, or a function"),
            (models()["ALBEF"], lambda *pair: score(*pair) + score(*pair), ValueError, "runs it once, but got one that ran .* 2"),
            (models()["ALBEF"], lambda model, *pair: model.temperature, ValueError, "ran the model 0 times"),
            (vilt, "word", ValueError, "target: expected one of the five pre-trained models, but got 'word' for a Classifier"),
            (vilt, 5, ValueError, "target"), (pairs, None, ValueError, "a Pairs, which reads two pictures"),
            (heads.Answerer(ONE_WIDTH), 3, ValueError, "target: expected ids of an answer for each question"),
            (heads.Body(SMALL), None, TypeError, "expected a ViLT, ViLTRetrieval, ViLBERT or ALBEF, but got a Body"),
            (nn.Linear(2, 2), None, TypeError, "expected a CLIP, VSE, ViLBERT, ViLT or ALBEF, .*got a Linear")):
        with pytest.raises(error, match=message):
            Look(model, *inputs, target=target)
    with pytest.raises(ValueError, match="features computed before"):
        Look(VSE(VSEConfig(cnn="precomputed", vocab=30)), {"images": torch.randn(3, 128)}, texts())
    with pytest.raises(ValueError, match="under torch.compile"):
        Look(torch.compile(models()["ALBEF"], backend="eager"), *inputs)
    with pytest.raises(ValueError, match=r"images: expected shape \(b, 3, 16, 16\)"):
        Look(models()["ALBEF"], {"images": torch.randn(3, 3, 24, 24)}, texts())
    with pytest.raises(ValueError, match="words: expected that of ids"):
        Look(models()["ALBEF"], *inputs, PIECES[:, :4])
    with pytest.raises(ValueError, match="without a head for masked words|fine-tuned for retrieval"):
        Look(ALBEF(replace(SMALL, index_targets=True)), *inputs, target="word")


def test_freed():
    """Behind a Look no graph is left, and no hook, also where the model fails."""
    model = models()["ALBEF"]
    look = Look(model, picture("ALBEF"), texts())
    assert not any(t.requires_grad for t in (*look.weights.values(), *look.gradients.values(), look.score))
    model.train()
    with pytest.raises(ZeroDivisionError):
        Look(model, picture("ALBEF"), texts(), target=lambda model, picture, ids: model(picture["images"], ids) and 1 / 0)
    assert hooks(model) == 0 and model.training


def test_the_task_is_no_word():
    """A multi-task ViLBERT reads a token for its task behind [CLS]: the words stand behind that."""
    torch.manual_seed(0)
    model = ViLBERT(replace(models()["ViLBERT"].config, tasks=3))
    seen, ids = {**picture("ViLBERT"), "task": torch.tensor([0, 1, 2])}, texts()
    look = Look(model, seen, ids)
    weights = look.weights["co.0.text.attn"].mean(1)
    assert weights.shape[1] == ids.shape[1] + 1
    words = weights[:, [0, *range(2, weights.shape[1])], 1:]
    torch.testing.assert_close(look.maps("attention").values, words)
    assert (look.maps("attention").values[ids == model.config.pad_id] == 0).all()
    assert look.word_relevance().shape == ids.shape and (look.word_relevance()[:, 0] == 0).all()
    assert look.maps("relevancy").values.shape == words.shape
    other = Look(model, {**seen, "task": torch.tensor([1, 1, 1])}, ids)
    assert (look.score == other.score).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="task: expected given"):
        Look(model, picture("ViLBERT"), ids)
