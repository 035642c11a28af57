"""Learning rates as the papers' own code has them; the course's own is in `loop`."""

import math


def albef_learning_rate(epoch, iteration, peak, least, warmup_lr, epochs, warmup_epochs, block=100):
    """ALBEF's rate in an iteration of an epoch, both from 0.

    The first epoch rises by a step every `block` iterations, from warmup_lr towards the peak in warmup_epochs steps, and
    stays where it is after the last (warmup_epochs * 100 = 2,000 iterations in the released code, 1,000 in the paper).
    From the second epoch on the rate is constant within an epoch and falls as half a cosine from peak to least.
    """
    if epoch == 0:
        done = min(iteration, warmup_epochs * block)
        blocks = 0 if done == 0 else (done - 1) // block  # a step that is taken in an iteration counts from the next on
        if blocks < warmup_epochs:
            return warmup_lr + (peak - warmup_lr) * blocks / warmup_epochs
        epoch = 0
    return least + (peak - least) * (1 + math.cos(math.pi * epoch / epochs)) / 2
