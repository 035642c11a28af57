"""Right and wrong ways to do the exercises of lesson 12."""

import torch


def edges_of(bands, low, high, even=False):
    def mel(hertz):
        return (1 + torch.as_tensor(hertz, dtype=torch.float64) / 700).log()  # another stretch of the scale: the same edges

    if even:
        return low + (high - low) * torch.arange(bands + 2, dtype=torch.float64) / (bands + 1)
    part = torch.arange(bands + 2, dtype=torch.float64) / (bands + 1)
    return 700 * (torch.exp(mel(low) * (1 - part) + mel(high) * part) - 1)


def triangles(frequencies, edges):
    """Filter by filter, place by place."""
    rows = torch.zeros(len(edges) - 2, len(frequencies), dtype=frequencies.dtype)
    for n in range(len(rows)):
        left, peak, right = edges[n : n + 3].tolist()
        for k, f in enumerate(frequencies.tolist()):
            if left < f <= peak:
                rows[n, k] = (f - left) / (peak - left)
            elif peak < f < right:
                rows[n, k] = 1 - (f - peak) / (right - peak)
    return rows


def mel_by_loop(frequencies, bands, low, high):
    return triangles(frequencies, edges_of(bands, low, high))


def mel_by_hats(frequencies, bands, low, high):
    """A triangle from the distance to its peak, with another width on either side."""
    edges, f = edges_of(bands, low, high), frequencies.double()
    peak = edges[1:-1, None]
    width = torch.where(f < peak, peak - edges[:-2, None], edges[2:, None] - peak)
    return (1 - (f - peak).abs() / width).relu().to(frequencies.dtype)


def mel_lines(frequencies, bands, low, high):
    edges = edges_of(bands, low, high).to(frequencies.dtype)[:, None]
    left, peak, right = edges[:-2], edges[1:-1], edges[2:]
    return (frequencies - left) / (peak - left), (right - frequencies) / (right - peak), right - left


def mel_slopes_in_mel(frequencies, bands, low, high):
    return triangles((1 + frequencies / 700).log(), (1 + edges_of(bands, low, high) / 700).log())


def bands_of(filters):
    return lambda power, *given: filters(*given) @ power


def bands_one_by_one(power, frequencies, bands, low, high):
    rows = mel_by_hats(frequencies, bands, low, high)
    return torch.stack([(row[:, None] * power).sum(0) for row in rows])


def step_by_step(pictures, noise, betas, t, last=0):
    """The variance of the noise, followed through all steps, picture by picture."""
    out = []
    for x, e, n in zip(pictures, noise, t.tolist()):
        signal, variance = 1.0, 0.0
        for beta in betas.tolist()[: n + last]:
            signal, variance = signal * (1 - beta) ** 0.5, (1 - beta) * variance + beta
        out.append(signal * x + variance**0.5 * e)
    return torch.stack(out)


def by_logarithms(pictures, noise, betas, t):
    kept = torch.log1p(-betas.double()).cumsum(0).exp().gather(0, t - 1)
    mixed = torch.einsum("b, b ... -> b ...", kept.sqrt(), pictures.double())
    return (mixed + torch.einsum("b, b ... -> b ...", (1 - kept).sqrt(), noise.double())).to(pictures.dtype)


def weighted(signal, spread):
    def student(pictures, noise, betas, t):
        kept = (1 - betas).cumprod(0)[t - 1].reshape(-1, 1, 1, 1)
        return signal(kept) * pictures + spread(kept) * noise

    return student


def last_step(pictures, noise, betas, t):
    beta = betas[t - 1].reshape(-1, 1, 1, 1)
    return (1 - beta).sqrt() * pictures + beta.sqrt() * noise


def along_channels(pictures, noise, betas, t):
    """The t of a picture in the place of a channel's: the first c of them, repeated."""
    kept = (1 - betas).cumprod(0)[t - 1].repeat(pictures.shape[1])[: pictures.shape[1], None, None]
    return kept.sqrt() * pictures + (1 - kept).sqrt() * noise


def steps_of(number):
    return lambda x, e, b, t: step_by_step(x, e, b, number(t, len(b)))


RIGHT = {
    "mel_bands": [bands_of(mel_by_loop), bands_of(mel_by_hats), bands_one_by_one],
    "diffuse": [step_by_step, by_logarithms],
}

WRONG = {
    "mel_bands": {
        name: (bands_of(filters), word) for name, (filters, word) in {
            "even in hertz": (lambda f, m, a, b: triangles(f, edges_of(m, a, b, even=True)), "evenly spaced in hertz"),
            "slopes in mel": (mel_slopes_in_mel, "straight over the mels"),
            "no floor": (lambda f, m, a, b: torch.minimum(*mel_lines(f, m, a, b)[:2]), "no floor"),
            "maximum": (lambda f, m, a, b: torch.maximum(*mel_lines(f, m, a, b)[:2]).clamp(min=0), "under the triangles"),
            "rising side": (lambda f, m, a, b: mel_lines(f, m, a, b)[0].clamp(0, 1), "rising side alone"),
            "falling side": (lambda f, m, a, b: mel_lines(f, m, a, b)[1].clamp(0, 1), "falling side alone"),
            "boxes": (lambda f, m, a, b: (torch.minimum(*mel_lines(f, m, a, b)[:2]) > 0).to(f), "ones from edge to edge"),
            "unit area": (lambda f, m, a, b: mel_by_loop(f, m, a, b) * 2 / mel_lines(f, m, a, b)[2], "area 1"),
            "unit sum": (
                lambda f, m, a, b: mel_by_loop(f, m, a, b) / mel_by_loop(f, m, a, b).sum(1, keepdim=True).clamp(min=1e-12),
                "add up to 1",
            ),
            "highest first": (lambda f, m, a, b: mel_by_loop(f, m, a, b).flip(0), "highest band first"),
            "one band more": (lambda f, m, a, b: mel_by_loop(f, m + 1, a, b), "shape"),
            "one band less": (lambda f, m, a, b: mel_by_loop(f, m + 1, a, b)[:-1], "under the triangles"),
            "squared": (lambda f, m, a, b: mel_by_loop(f, m, a, b) ** 2, "under the triangles"),
            "up to the top": (lambda f, m, a, b: mel_by_loop(f, m, a, f[-1].item()), "under the triangles"),
            "from zero": (lambda f, m, a, b: mel_by_loop(f, m, 0.0, b), "under the triangles"),
        }.items()
    } | {
        "transposed": (lambda p, *given: (mel_by_loop(*given) @ p).T, "shape"),
        "logarithm": (lambda p, *given: (mel_by_loop(*given) @ p).log(), "logarithm|negative"),
        "amplitude": (lambda p, *given: mel_by_loop(*given) @ p.sqrt(), "root of the power"),
        "double": (lambda p, *given: mel_by_loop(*given).double() @ p.double(), "dtype"),
        "the filters alone": (lambda p, *given: mel_by_loop(*given), "shape"),
        "all times added": (lambda p, *given: mel_by_loop(*given) @ p.sum(1), "shape"),
    },
    "diffuse": {
        "last step only": (last_step, "last step's beta"),
        "no roots": (weighted(lambda k: k, lambda k: 1 - k), "roots left out"),
        "no root of the signal": (weighted(lambda k: k, lambda k: (1 - k).sqrt()), "signal's weight"),
        "no root of the noise": (weighted(lambda k: k.sqrt(), lambda k: 1 - k), "noise's weight"),
        "sum to one": (weighted(lambda k: k.sqrt(), lambda k: 1 - k.sqrt()), "their squares"),
        "swapped": (weighted(lambda k: (1 - k).sqrt(), lambda k: k.sqrt()), "swapped"),
        "signal kept": (weighted(lambda k: 1, lambda k: (1 - k).sqrt()), "not made smaller"),
        "noise of variance 1": (weighted(lambda k: k.sqrt(), lambda k: 1), "variance 1"),
        "no noise": (weighted(lambda k: k.sqrt(), lambda k: 0), "without noise"),
        "one step too many": (steps_of(lambda t, s: (t + 1).clamp(max=s)), "too many"),
        "one step too few": (steps_of(lambda t, s: t - 1), "too few"),
        "first picture's t": (steps_of(lambda t, s: t[:1].expand(len(t))), "first picture"),
        "all steps": (steps_of(lambda t, s: torch.full_like(t, s)), "all steps"),
        "noise of its own": (lambda x, e, b, t: step_by_step(x, torch.randn_like(e), b, t), "signal and its noise"),
        "minus": (lambda x, e, b, t: step_by_step(x, -e, b, t), "signal and its noise"),
        "along the channels": (along_channels, "signal and its noise"),
        "half precision": (lambda x, e, b, t: step_by_step(x.bfloat16(), e.bfloat16(), b, t).to(x), "precision|noise"),
        "the mean picture": (lambda x, e, b, t: step_by_step(x, e, b, t).mean(0), "shape"),
    },
}
