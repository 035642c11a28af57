"""The course's CLIP, trained once by its recipe, and what it then finds."""

from minimm.evaluation.report import dual_encoder
from minimm.scenes import load
from minimm.training import train


def main():
    model, run = train("clip")
    on = load("train")[:6000]
    print(f"CLIP at course size: {run} (bar: 240 s on two cores)")
    bars = {"text": 78, "image": 72, "icon": 88, "colour": 95, "background": 95}
    for split in ("test", "novel"):
        result = dual_encoder(model, on, load(split))
        print(f"  {split}, gallery of {result['gallery']}:")
        for side in ("text", "image"):
            found = result[f"{side} retrieval"]
            bar = f" (bar: {bars[side]})" if split == "test" else ""
            print(f"    {side} R@1 {found['r1']:.1f}{bar}, R@10 {found['r10']:.1f}, median rank {found['median']:.0f}, "
                  f"best possible R@1 {found['best possible r1']:.1f}")
        for name, probe in result["probes"].items():
            bar = f" (bar: {bars[name]})" if split == "test" and name in bars else ""
            print(f"    probe {name} {probe['accuracy']:.1f}{bar}, without looking {probe['chance']:.1f}")
        zero = result["zero-shot icon"]
        print(f"    zero-shot icon: one prompt {zero['one prompt']:.1f}, ensemble {zero['ensemble']:.1f}, "
              f"chance {zero['chance']:.1f}")
        print("    told apart (chance 50): "
              + ", ".join(f"{kind} {foil['told apart']:.1f}" for kind, foil in result["foils"].items()))
