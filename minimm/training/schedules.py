"""Learning rates as the papers' own code has them; the course's own is in `loop`."""

import math


def albef_learning_rate(epoch, iteration, peak, least, warmup_lr, epochs, warmup_epochs, block=100):
    """ALBEF's rate in an iteration of an epoch, both from 0.

    The first epoch rises by a step every `block` iterations, from warmup_lr to the peak in warmup_epochs steps, as far as
    it gets (warmup_epochs * 100 = 2,000 iterations in the released code, 1,000 in the paper). From the second epoch on
    the rate is constant within an epoch and falls as half a cosine from peak to least, where it stays.
    """
    steps = max(iteration - 1, 0) // block  # a step that is taken in an iteration counts from the next one on
    if epoch == 0 and steps < warmup_epochs:
        return warmup_lr + (peak - warmup_lr) * steps / warmup_epochs
    return least + (peak - least) * (1 + math.cos(math.pi * min(epoch / epochs, 1))) / 2
