"""ViLBERT: the pre-trained model, and the multi-task one with its heads."""

import re

from .._errors import expect
from ..models.multitask import ViLBERTTasks
from ..models.vilbert import ViLBERT, ViLBERTConfig
from ._names import bert_blocks, count, fill, language_head, rename, text_embedding

# In a co-attention layer of theirs 1 is the vision stream and 2 the text: each one's queries meet the other's keys and
# values.
CO = r"bert\.encoder\.c_layer\.(\d+)"
NAMES = [
    *text_embedding(r"bert\.embeddings", r"text_embed."),
    (r"bert\.embeddings\.task_embeddings\.weight", r"task.weight"),
    (r"bert\.v_embeddings\.image_embeddings\.(weight|bias)", r"vision_embed.feat.\1"),
    (r"bert\.v_embeddings\.image_location_embeddings\.(weight|bias)", r"vision_embed.loc.\1"),
    (r"bert\.v_embeddings\.LayerNorm\.(weight|bias)", r"vision_embed.ln.\1"),
    *bert_blocks(r"bert\.encoder\.layer", r"text_blocks."),
    *bert_blocks(r"bert\.encoder\.v_layer", r"vision_blocks."),
    (rf"{CO}\.biattention\.query1\.(weight|bias)", r"co.\1.vision.attn.q.\2"),
    (rf"{CO}\.biattention\.(k|v)(?:ey|alue)2\.(weight|bias)", r"co.\1.vision.attn.\2.\3"),
    (rf"{CO}\.biattention\.query2\.(weight|bias)", r"co.\1.text.attn.q.\2"),
    (rf"{CO}\.biattention\.(k|v)(?:ey|alue)1\.(weight|bias)", r"co.\1.text.attn.\2.\3"),
    (rf"{CO}\.biOutput\.dense1\.(weight|bias)", r"co.\1.vision.attn.o.\2"),
    (rf"{CO}\.biOutput\.LayerNorm1\.(weight|bias)", r"co.\1.vision.ln1.\2"),
    (rf"{CO}\.biOutput\.dense2\.(weight|bias)", r"co.\1.text.attn.o.\2"),
    (rf"{CO}\.biOutput\.LayerNorm2\.(weight|bias)", r"co.\1.text.ln1.\2"),
    (rf"{CO}\.biOutput\.q_dense[12]\.(weight|bias)", None),  # stored, never used
    (rf"{CO}\.v_intermediate\.dense\.(weight|bias)", r"co.\1.vision.mlp.fc1.\2"),
    (rf"{CO}\.v_output\.dense\.(weight|bias)", r"co.\1.vision.mlp.fc2.\2"),
    (rf"{CO}\.v_output\.LayerNorm\.(weight|bias)", r"co.\1.vision.ln2.\2"),
    (rf"{CO}\.t_intermediate\.dense\.(weight|bias)", r"co.\1.text.mlp.fc1.\2"),
    (rf"{CO}\.t_output\.dense\.(weight|bias)", r"co.\1.text.mlp.fc2.\2"),
    (rf"{CO}\.t_output\.LayerNorm\.(weight|bias)", r"co.\1.text.ln2.\2"),
    (r"bert\.t_pooler\.dense\.(weight|bias)", r"text_pool.\1"),
    (r"bert\.v_pooler\.dense\.(weight|bias)", r"vision_pool.\1"),
    *language_head(r"cls\.predictions", r"mlm."),
    (r"cls\.predictions\.decoder\.weight", r"text_embed.tok.weight"),  # tied
    (r"cls\.bi_seq_relationship\.(weight|bias)", r"itm.\1"),
    *language_head(r"cls\.imagePredictions", r"mrm."),
    (r"cls\.imagePredictions\.decoder\.weight", r"mrm.decoder.weight"),
]
HEADS = [
    (r"vil_prediction\.logit_fc\.(\d)\.(weight|bias)", r"vqa.\1.\2"),
    (r"vil_prediction_gqa\.logit_fc\.(\d)\.(weight|bias)", r"gqa.\1.\2"),
    (r"vil_binary_prediction\.logit_fc\.(\d)\.(weight|bias)", r"pairs.\1.\2"),
    (r"vil_logit\.(weight|bias)", r"match.\1"),
    (r"vil_tri_prediction\.(weight|bias)", r"entailment.\1"),
    (r"vision_logit\.(weight|bias)", r"region.\1"),
    (r"linguisic_logit\.(weight|bias)", r"word.\1"),  # spelled like this
]


def authors(tensors, facts, image=None):
    """A ViLBERT; from the multi-task file a ViLBERTTasks."""
    expect(image is None, "image", image, "None: ViLBERT takes regions, not pictures")
    # Files that come from the first BERT call the two numbers of a LayerNorm gamma and beta.
    old = {"gamma": "weight", "beta": "bias"}
    tensors = {re.sub(r"(?<=LayerNorm\.)(gamma|beta)$", lambda m: old[m[1]], name): t for name, t in tensors.items()}
    heads = {name: t for name, t in tensors.items() if name.partition(".")[0] not in ("bert", "cls")}
    weights = rename({name: t for name, t in tensors.items() if name not in heads}, NAMES)
    config = _config(weights)
    if not heads:
        return fill(ViLBERT(config), weights)
    heads = rename(heads, HEADS)
    answers, gqa_answers = (len(heads[f"{name}.3.weight"]) for name in ("vqa", "gqa"))
    model = ViLBERTTasks(ViLBERT(config), answers, gqa_answers)
    return fill(model, {f"backbone.{name}": w for name, w in weights.items()} | heads)


def _config(weights):
    """The sizes, as the shapes tell them. Heads of the text are 64 wide, the others 128; co-attention stands before the
    last text blocks and the first vision blocks."""
    vocab, text_width = weights["text_embed.tok.weight"].shape
    vision_width, features = weights["vision_embed.feat.weight"].shape
    text_layers, layers = count(weights, "text_blocks."), count(weights, "co.")
    co_width = len(weights["text_pool.weight"])
    return ViLBERTConfig.paper(
        context=len(weights["text_embed.pos.weight"]), vocab=vocab, text_width=text_width, text_layers=text_layers,
        text_heads=max(1, text_width // 64), text_hidden=len(weights["text_blocks.0.mlp.fc1.weight"]),
        region_features=features, region_classes=len(weights["mrm.bias"]), vision_width=vision_width,
        vision_layers=count(weights, "vision_blocks."), vision_heads=max(1, vision_width // 128),
        vision_hidden=len(weights["vision_blocks.0.mlp.fc1.weight"]), co_width=co_width,
        co_heads=max(1, co_width // 128),
        text_co=tuple(range(text_layers - layers, text_layers)), vision_co=tuple(range(layers)),
        tasks=len(weights["task.weight"]) if "task.weight" in weights else 0)
