"""`make bench`: prints every figure that the course claims of itself, measured now, on this machine."""

import argparse
import os
import statistics
import subprocess
import sys

from . import course, peers


def start_up():
    """`import minimm` against `import torch`: seconds, in processes of their own."""
    def seconds(code):
        probe = f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
        return float(subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout)
    seconds("import torch")  # warms the disk cache
    both = [(seconds("import torch"), seconds("import torch, minimm")) for _ in range(5)]
    torch_alone, with_minimm = (statistics.median(column) for column in zip(*both))
    print(f"start: import torch {torch_alone:.2f} s, with minimm {with_minimm:.2f} s, "
          f"so minimm adds {with_minimm - torch_alone:.2f} s (bar: 0.5 s)")


def scenes():
    """20,000 training scenes, drawn, with all their language, on one core."""
    code = ("import time, torch; torch.set_num_threads(1); from minimm.scenes import data;"
            "t = time.perf_counter(); loaded = data.load('train'); [getattr(loaded, name) for name in data.LANGUAGE];"
            "print(time.perf_counter() - t)")
    seconds = [float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                                    env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout) for _ in range(3)]
    print(f"scenes: 20,000 with pictures and language ready in {statistics.median(seconds):.1f} s (bar: 8 s)")


def main():
    parts = {"start": start_up, "scenes": scenes, "peers": peers.main, "course": course.main}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*parts, []], help="only these (default: all)")
    for name in parser.parse_args().part or parts:
        parts[name]()
        print(flush=True)


if __name__ == "__main__":
    main()
