"""The course's own runs, as data: a row for all that is trained, from a detector to the answering of questions.

Some rows start from models of other rows, as the authors start from networks trained on ImageNet and from BERT: ALBEF
and ViLT from a picture encoder that learnt labels, ViLBERT from a detector, every task from the pre-trained model.
"""

import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Callable

import torch

from .. import device as best_device
from .._errors import expect
from .._paths import write_whole
from ..layers import Projected
from ..models.albef import ALBEF, ALBEFConfig
from ..models.clip import CLIP, CLIPConfig
from ..models.detector import Detector, DetectorConfig
from ..models.labelled import Labelled, LabelledConfig
from ..models.moco import MoCo, MoCoConfig
from ..models.vilbert import ViLBERT, ViLBERTConfig
from ..models.vilt import ViLT, ViLTConfig
from ..models.vse import VSE, VSEConfig
from ..scenes import Batches, TaskBatches, load, tokenizer
from ..scenes.detection import DetectionBatches
from ..scenes.labels import LabelBatches
from ..scenes.noise import with_noise
from ..scenes.tasks import TASKS, as_words
from ..scenes.tokenizer import FUNCTION_WORDS
from . import tuning
from .hard import HardCaptions
from .loop import fit
from .regions import regions_of
from .views import Views


@dataclass(frozen=True)
class Recipe:
    """How one model is trained on the scenes: `steps` batches of `batch` examples, peak learning rate and the rest of
    `fit`.

    make: the models of the rows `starts`, in their order -> the model. sees: what its batches hold: "labels", "boxes",
    "views" (two of a picture), "captions", "descriptions" (and captions), "hard captions" (with one of a picture that
    looks alike), a task, or "multitask", all tasks in turn. form: what is made of a batch (if tasks take turns: of vqa).
    regions: pictures are seen as the regions that the course's detector finds. hide: "picture" or "text", for baselines.
    number: of training scenes (default: all); noise: the share of captions that are noisy.
    """

    make: Callable
    steps: int
    batch: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.02
    warmup: int = 100
    starts: tuple = ()
    sees: str = "captions"
    form: Callable | None = None
    regions: bool = False
    hide: str | None = None
    precision: str = "auto"
    number: int | None = None
    noise: float = 0.0


#: What is hidden to be guessed: words that say something of the picture, more of them than the authors hide of all words.
MASKING = {"mask_probability": 0.3, "never_masked": tuple(tokenizer.ids[word] for word in FUNCTION_WORDS)}
#: The tokens that continue a word, for ViLT's whole-word masking.
CONTINUES = torch.tensor([token.startswith("##") for token in tokenizer.vocabulary])
#: ViLT's depth and its linear patches: the start of ViLT, which has nothing else between pixels and transformer.
PATCHES = LabelledConfig(layers=ViLTConfig().layers, stem=False)


def vilt(patches):
    """A ViLT whose patches and blocks learnt labels."""
    model = ViLT(ViLTConfig(never_masked=MASKING["never_masked"]), CONTINUES)
    tuning.start_patches(model.encoder, patches.vision)
    return model


def albef(labelled, masking=MASKING, alpha=tuning.ALPHA):
    """An ALBEF whose picture encoder, and the momentum copy of it, learnt labels."""
    model = ALBEF(ALBEFConfig(momentum=tuning.MOMENTUM, alpha=alpha, alpha_steps=tuning.ALPHA_STEPS, **masking))
    for encoders in (model.online, model.momentum):
        encoders.vision.load_state_dict(labelled.vision.state_dict())
    return model


def untaught(width=LabelledConfig().width):
    """The picture encoder of `Labelled`, before it learnt anything, with a map to a space of MoCo's or CLIP's."""
    return Projected(Labelled().vision, width, CLIPConfig().embed_dim)


def moco():
    return MoCo(untaught(), MoCoConfig(dim=CLIPConfig().embed_dim, K=4096, m=0.99))


def clip_of_captions():
    """A CLIP with that picture encoder."""
    model = CLIP(CLIPConfig())
    model.vision = untaught()
    return model


RECIPES = {
    "labels": Recipe(Labelled, steps=400, warmup=50, sees="labels"),
    "labels-patches": Recipe(lambda: Labelled(PATCHES), steps=600, warmup=50, sees="labels"),
    "detector": Recipe(lambda: Detector(DetectorConfig()), steps=800, batch=16, lr=2e-3, sees="boxes"),
    "vse": Recipe(lambda: VSE(VSEConfig()), steps=1000),
    "clip": Recipe(lambda: CLIP(CLIPConfig()), steps=800, lr=7e-4, weight_decay=0.1),
    "vilbert": Recipe(lambda: ViLBERT(ViLBERTConfig(**MASKING)), steps=1500, regions=True, sees="descriptions"),
    "vilt": Recipe(vilt, steps=1900, starts=("labels-patches",), sees="descriptions"),
    "albef": Recipe(albef, steps=1000, starts=("labels",), sees="descriptions"),
}
#: What is trained without a task.
ARCHITECTURES = tuple(RECIPES)
#: Task -> how all five are tuned for it: the same data and the same number of steps.
TUNING = {
    "retrieval": Recipe(None, steps=200, lr=3e-4),
    "vqa": Recipe(None, steps=1400, batch=40),  # scenes, with some 6.6 questions each
    # The rate is a fifth of pre-training's, as the authors' is: where words alone get one far, as in entailment, a high
    # one unlearns in a few steps what was pre-trained (see the row "vilbert-entailment-fast").
    "entailment": Recipe(None, steps=800, batch=40, lr=2e-4),  # with 3 hypotheses each
    "pairs": Recipe(None, steps=1200, batch=32, lr=2e-4),  # with some 3.4 statements each
    "why": Recipe(None, steps=1200, batch=16, lr=2e-4),  # with 2 questions of 4 choices each
    "multitask": Recipe(None, steps=2400, batch=32, lr=5e-4),
}
#: Whose turn it is in multi-task training. Seven kinds of questions take the longest.
TURNS = ("vqa", "entailment", "vqa", "pairs", "why")
#: What differs for ViLT. It reads the picture anew with every sentence about it, and six minutes are short. Captions drawn
#: at random it tells apart before it is tuned for that (a loss of 0.02 in place of ln 4): a higher rate only unlearns.
VILT = {"vqa": {"batch": 20}, "pairs": {"batch": 14}, "retrieval": {"lr": 3e-5}}


def _tuned(architecture, task, make):
    sees, form = task, None
    if task == "retrieval":  # ViLBERT's authors bring hard negatives
        sees = "hard captions" if architecture == "vilbert" else "captions"
    # ALBEF says the answer, the others choose it from a list. A question about a scene has one answer: they learn it by
    # the cross-entropy, not by a yes or no to every answer of the list, as their authors where people disagree.
    if architecture == "albef" and task in ("vqa", "multitask"):
        form = as_words
    own = VILT.get(task, {}) if architecture == "vilt" else {}
    return replace(TUNING[task], **own, make=make, starts=(architecture,), sees=sees, form=form,
                   regions=RECIPES[architecture].regions)


RECIPES |= {f"{architecture}-{task}": _tuned(architecture, task, make)
            for architecture, heads in tuning.HEADS.items() for task, make in heads.items()}
# What is there to be had without eyes, and without reading: CLIP's towers, one of which sees the same all the time.
RECIPES |= {f"clip-{task}-without-{hide}": replace(RECIPES[f"clip-{task}"], hide=hide)
            for task in TASKS for hide in ("picture", "text")}


# What a picture encoder learns from labels (the row "labels"), from two views of a picture, and from captions.
RECIPES |= {
    "moco": Recipe(moco, steps=800, sees="views"),
    "captions": replace(RECIPES["clip"], make=clip_of_captions),
}
# How much data, and how clean: CLIP by the number of scenes and by the share of noisy captions, ALBEF with its authors'
# masking (any word), with and without its momentum model's word.
RECIPES |= {f"clip-of-{number}": replace(RECIPES["clip"], number=number) for number in (1000, 5000)}
RECIPES |= {f"clip-noise-{percent}": replace(RECIPES["clip"], noise=percent / 100) for percent in (20, 40, 60)}
RECIPES |= {
    f"albef-{name}{end}": replace(RECIPES["albef"], make=lambda labelled, alpha=alpha: albef(labelled, {}, alpha),
                                  sees="captions", noise=noise)
    for name, noise in (("captions", 0.0), ("noise-40", 0.4)) for end, alpha in (("", tuning.ALPHA), ("-undistilled", 0.0))}
# What fails: to fuse before anything is aligned, to tune at the rate of pre-training, and the row "albef-captions", to align
# by captions alone, of whose words any may be hidden. And what ViLT lacks is time: with two of three seeds it does not get
# as far as comparing two things; with twice the steps, and so as many questions as the others, it does.
RECIPES |= {
    "albef-vqa-unaligned": replace(RECIPES["albef-vqa"], starts=("labels",),
                                   make=lambda labelled: tuning.HEADS["albef"]["vqa"](albef(labelled))),
    "vilbert-entailment-fast": replace(RECIPES["vilbert-entailment"], lr=RECIPES["vilbert"].lr),
    "vilt-vqa-longer": replace(RECIPES["vilt-vqa"], steps=2 * RECIPES["vilt-vqa"].steps),
}


def row(architecture, task=None):
    """The name of a row of RECIPES. Raises ValueError, saying what there is, for an architecture or a task without one."""
    expect(architecture in ARCHITECTURES, "architecture", repr(architecture), f"one of {', '.join(ARCHITECTURES)}")
    if task is None:
        return architecture
    tasks = [t for t in TUNING if f"{architecture}-{t}" in RECIPES]
    expect(task in tasks, "task", repr(task), f"for {architecture} one of {', '.join(tasks)}" if tasks else "none")
    return f"{architecture}-{task}"


def regions(data, device=None, folder=None):
    """The regions of `data` for ViLBERT. As with the authors there is one detector for all runs: that of seed 0."""
    return regions_of(data, train("detector", 0, device=device, folder=folder)[0])


class InTurn:
    """Batches of several tasks, as a function of the step: one task a step, in turn; "task" says which.

    of_task: task -> its batches, a function of its own step; turns: the tasks in the order of their turns, over and
    over; what is to be learnt for longer stands there more than once.
    """

    def __init__(self, of_task, turns):
        self.of_task, self.turns = of_task, turns

    def __call__(self, step):
        rounds, number = divmod(step, len(self.turns))
        task = self.turns[number]
        own = rounds * self.turns.count(task) + self.turns[:number].count(task)
        return {**self.of_task[task](own), "task": task}


def batches(recipe, data, seed=0, device=None, found=None):
    """What a recipe trains on, as a function of the step. found: the regions of the data, if it wants them."""
    see = found and found.see
    if recipe.sees == "multitask":
        rows = {task: replace(recipe, sees=task, form=recipe.form if task == "vqa" else None) for task in TASKS}
        return InTurn({task: batches(row, data, seed, device, found) for task, row in rows.items()}, TURNS)
    if recipe.sees == "labels":
        made = LabelBatches(data, recipe.batch, seed, device)
    elif recipe.sees == "boxes":
        made = DetectionBatches(data, recipe.batch, seed, device)
    elif recipe.sees in TASKS:
        made = TaskBatches(data, recipe.sees, recipe.batch, seed, device, see, recipe.hide)
    else:
        made = Batches(data, recipe.batch, seed, device, see, recipe.sees == "descriptions")
        if recipe.sees == "views":
            made = Views(made)
        if recipe.sees == "hard captions":
            made = HardCaptions(made, found.tensors["regions"], found.tensors["region_mask"])
    return made if recipe.form is None else lambda step: recipe.form(made(step))


def settings(name, seed, steps=None):
    """A row as plain values, with its seed: what is written beside its weights."""
    recipe = RECIPES[name]
    told = {"name": name, "seed": seed, **asdict(recipe), "steps": steps or recipe.steps}
    del told["make"]
    return {**told, "form": recipe.form and recipe.form.__name__}


def same_row(told, now):
    """Whether a row as plain values, as a file has it, is the row as it is now. What rows did not have yet when the file
    was made had its default."""
    defaults = {field.name: field.default for field in fields(Recipe) if field.default is not MISSING}
    return {**defaults, **told} == {**defaults, **now}


def checkpoint_of(folder, name, seed, steps=None):
    """Where a run keeps its checkpoint."""
    return Path(folder) / f"{name}-seed{seed}-{steps or RECIPES[name].steps}.pt"


def train(name, seed=0, steps=None, device=None, folder=None, **options):
    """Train a model of the course by its recipe, and first what it starts from: (model, Run).

    name: a key of RECIPES; seed: of the weights, the order of the scenes and the choice of captions; steps: instead of
    the recipe's; folder: where every run keeps its checkpoint, with its settings beside it, and goes on from there;
    options: passed on to `fit`, for this run alone. Raises ValueError for an unknown name.
    """
    expect(name in RECIPES, "name", repr(name), f"one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    device = device or best_device()
    starts = [train(start, seed, device=device, folder=folder)[0].cpu() for start in recipe.starts]
    if steps is not None:
        recipe = replace(recipe, steps=steps, warmup=min(recipe.warmup, steps))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = recipe.make(*starts)
    # Convolutions on a CPU are faster with the channels last.
    model = model.to(device, memory_format=torch.channels_last)
    data = load("train")[:recipe.number]
    if recipe.noise:
        data = with_noise(data, recipe.noise)
    if folder is not None:
        options["checkpoint"] = checkpoint_of(folder, name, seed, steps)
        text = json.dumps(settings(name, seed, steps), indent=1) + "\n"
        write_whole(options["checkpoint"].with_suffix(".json"), lambda file: file.write(text.encode()))
    found = regions(data, device, folder) if recipe.regions else None
    of_step = batches(recipe, data, seed, device, found)
    run = fit(model, of_step, recipe.steps, lr=recipe.lr, weight_decay=recipe.weight_decay, warmup=recipe.warmup,
              seed=seed, **{"precision": recipe.precision, **options})
    return model.eval(), run
