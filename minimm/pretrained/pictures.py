"""Pictures as the released models want them: torchvision's transforms with the authors' sizes, means and deviations."""

import torch
from torchvision.transforms import InterpolationMode, v2

from .._errors import expect

BICUBIC, BILINEAR = InterpolationMode.BICUBIC, InterpolationMode.BILINEAR

# means, standard deviations (RGB, of values from 0 to 1)
CLIP_COLOURS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_COLOURS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VILT_COLOURS = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def pictures(kind, image=None):
    """A transform of one picture (PIL, or a tensor `3 h w` of uint8) into what the model takes: `3 h w` of float32.

    kind: "clip" (224 pixels): the shorter side is scaled, the centre cut out. "albef" (256; the fine-tuned models 384):
    squeezed to a square. "vilt" (384): the shorter side 384 and the longer at most 639, both rounded down to multiples
    of 32, so sizes differ (`pad` makes a batch). "vse" (224): the shorter side 256, the centre of 224 cut out. ViLBERT
    takes regions, not pictures. image: pixels of a side, or of the shorter one, if not the published number.
    """
    expect(kind in _RESIZE, "kind", repr(kind), ", ".join(_RESIZE))
    resize, colours, published = _RESIZE[kind]
    return v2.Compose([v2.Lambda(_rgb), *resize(image or published), v2.ToImage(),
                       v2.ToDtype(torch.float32, scale=True), v2.Normalize(*colours)])


def pad(images):
    """Pictures `3 h w` of different sizes as ViLT takes them: (`b 3 h w`, filled with zeros to the right and below;
    their sizes `b 2`, height and width)."""
    expect(len(images) > 0, "images", "none", "at least one")
    sizes = torch.tensor([x.shape[1:] for x in images])
    batch = torch.zeros(len(images), 3, *sizes.amax(0).tolist())
    for canvas, x in zip(batch, images):
        canvas[:, :x.shape[1], :x.shape[2]] = x
    return batch, sizes


def _rgb(picture):
    if isinstance(picture, torch.Tensor):
        expect(picture.dtype == torch.uint8 and picture.ndim == 3 and len(picture) == 3, "picture",
               f"{picture.dtype}, shape {tuple(picture.shape)}", "a PIL picture, or a tensor `3 h w` of uint8")
        return picture
    return picture.convert("RGB")


def _clip(image):
    return v2.Resize(image, BICUBIC, antialias=True), v2.CenterCrop(image)


def _albef(image):
    return (v2.Resize((image, image), BICUBIC, antialias=True),)


def _vse(image):
    return v2.Resize(round(image * 256 / 224), BILINEAR, antialias=True), v2.CenterCrop(image)


def _vilt(image):
    def resize(picture):
        height, width = v2.functional.get_size(picture)
        return v2.functional.resize(picture, list(vilt_size(height, width, image)), BICUBIC, antialias=True)

    return (v2.Lambda(resize),)


def vilt_size(height, width, shorter=384, multiple=32):
    """(height, width) of a picture in ViLT's code: the shorter side `shorter`, the longer at most int(1333 / 800 *
    shorter), which makes very long pictures smaller on both sides; then both down to a multiple."""
    longest = int(1333 / 800 * shorter)
    scale = shorter / min(height, width)
    height, width = height * scale, width * scale
    if max(height, width) > longest:
        scale = longest / max(height, width)
        height, width = height * scale, width * scale
    return tuple(max(multiple, int(side + 0.5) // multiple * multiple) for side in (height, width))


_RESIZE = {"clip": (_clip, CLIP_COLOURS, 224), "albef": (_albef, CLIP_COLOURS, 256), "vilt": (_vilt, VILT_COLOURS, 384),
           "vse": (_vse, IMAGENET_COLOURS, 224)}
