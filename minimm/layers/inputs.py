"""What the inputs of every model must be."""

import torch

from .._errors import expect


def check_ids(ids, vocab, context=None, name="ids"):
    """Raise a clear error unless ids are `b l` of int64, within the vocabulary and no longer than the context, if any."""
    expect(isinstance(ids, torch.Tensor) and ids.dtype == torch.int64, name, getattr(ids, "dtype", type(ids).__name__),
           "a tensor of int64", TypeError)
    expect(ids.ndim == 2 and ids.numel() > 0, name, f"shape {tuple(ids.shape)}", "shape (b, l), not empty")
    expect(context is None or ids.shape[1] <= context, name, f"texts of {ids.shape[1]} tokens", f"at most {context}")
    low, high = (int(v) for v in torch.aminmax(ids))
    expect(0 <= low and high < vocab, name, f"ids from {low} to {high}", f"ids from 0 to {vocab - 1}")


def check_numbers(numbers, count, below, name):
    """`numbers`, checked: `count` whole numbers from 0 to below - 1, such as classes. Raises a clear error for others."""
    expect(isinstance(numbers, torch.Tensor) and numbers.dtype == torch.int64, name,
           getattr(numbers, "dtype", type(numbers).__name__), "a tensor of int64", TypeError)
    expect(numbers.shape == (count,) and count > 0, name, f"shape {tuple(numbers.shape)}", f"shape ({max(count, 1)},)")
    low, high = (int(v) for v in torch.aminmax(numbers))
    expect(0 <= low and high < below, name, f"{low} to {high}", f"numbers from 0 to {below - 1}")
    return numbers


def check_images(images, height=None, width=None):
    """Raise a clear error unless images are `b 3 h w`, floating point and normalised (about -3 to 3).

    height, width: in pixels, where the model takes one size only.
    """
    expect(isinstance(images, torch.Tensor) and images.is_floating_point(), "images",
           getattr(images, "dtype", type(images).__name__), "a tensor of normalised floating-point pixels", TypeError)
    size = f"(b, 3, {height or 'h'}, {width or 'w'})"
    expect(images.ndim == 4 and images.shape[1] == 3 and len(images) > 0 and height in (None, images.shape[2])
           and width in (None, images.shape[3]), "images", f"shape {tuple(images.shape)}", f"shape {size} with b > 0")
    low, high = (float(v) for v in torch.aminmax(images.detach()))
    expect(-20 < low and high < 20, "images", f"values from {low:.3g} to {high:.3g}",
           "normalised pixels, about -3 to 3 (not 0 to 255, no NaN)")


def check_sizes(sizes, images, patch):
    """The sizes of pictures that stand in the upper left corner of a canvas, checked: `b 2` of int64.

    sizes `b 2`: height and width in pixels, None for the whole canvas; images `b 3 h w`. Raises a clear error unless all
    are multiples of the patch, canvas included, and none is larger than the canvas.
    """
    height, width = images.shape[2:]
    expect(height % patch == 0 and width % patch == 0, "images", f"{height} x {width} pixels",
           f"height and width that are multiples of the patch {patch}")
    canvas = torch.tensor([height, width], device=images.device)
    if sizes is None:
        return canvas.expand(len(images), 2)
    expect(isinstance(sizes, torch.Tensor) and sizes.dtype == torch.int64, "sizes",
           getattr(sizes, "dtype", type(sizes).__name__), "a tensor of int64", TypeError)
    expect(sizes.shape == (len(images), 2), "sizes", f"shape {tuple(sizes.shape)}", f"({len(images)}, 2)")
    sizes = sizes.to(images.device)
    wrong = ((sizes <= 0) | (sizes > canvas) | (sizes % patch != 0)).any(1)
    expect(not bool(wrong.any()), "sizes", f"{sizes[wrong][:1].tolist()}",
           f"height and width in pixels, multiples of the patch {patch}, within the canvas of {height} x {width}")
    return sizes


def take_weights(module, weights, name):
    """Give a module the weights of a pre-trained one, by their names. Raises ValueError, saying the first difference,
    unless names and shapes are all the same."""
    own, came = ({key: tuple(t.shape) for key, t in tensors.items()} for tensors in (module.state_dict(), weights))
    wrong = min((key for key in own.keys() | came.keys() if own.get(key) != came.get(key)), default=None)
    expect(wrong is None, name, f"{wrong} of shape {came.get(wrong)}", f"the same sizes, {wrong} of {own.get(wrong)}")
    module.load_state_dict(weights)
