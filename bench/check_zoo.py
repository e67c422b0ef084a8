#!/usr/bin/env python3
"""Every zoo network through octet and through ONNX Runtime: the same file, the same inputs, outputs compared.

    bench/check_zoo.py build/release/tools/octet [NAME...] [--int8] [--isa NAME] [--seq N]

Prints a line a network: the largest difference of any output relative to that output's largest magnitude, and fails when one is
beyond the bound (FP32: 1e-3; INT8: both run the portable file, whose ties may round apart, so only the direction is compared).
Needs numpy and onnxruntime.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

BOUND_FP32 = 1e-3
BOUND_COSINE = 0.99
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def make_input(info, rng):
    shape = [d if isinstance(d, int) else 1 for d in info.shape]
    if TYPES[info.type] == np.float32:
        return rng.standard_normal(shape).astype(np.float32)
    if "mask" in info.name:
        mask = np.ones(shape, np.int64)
        mask[..., shape[-1] - shape[-1] // 4 :] = 0  # padding at the end
        return mask
    if "type" in info.name:
        return rng.integers(0, 2, shape)
    if "position" in info.name:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(np.int64)
    return rng.integers(0, 30000, shape)


def compare(octet, name, args, folder):
    model = os.path.join(folder, name + ".onnx")
    command = [octet, "zoo", "export", name, model, "--quiet"]
    command += ["--int8"] if args.int8 else []
    command += ["--seq", str(args.seq)] if args.seq else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    feed = {i.name: make_input(i, rng) for i in session.get_inputs()}
    want = session.run(None, feed)
    command = [octet, "run", model, "--output-dir", folder, "--quiet"]
    command += ["--isa", args.isa] if args.isa else []
    for i, (key, value) in enumerate(feed.items()):
        path = os.path.join(folder, f"in{i}.npy")
        np.save(path, value)
        command += ["--input", f"{key}={path}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    worst, cosine = 0.0, 1.0
    for info, value in zip(session.get_outputs(), want):
        got = np.load(os.path.join(folder, info.name.replace("/", "_").replace(":", "_") + ".npy"))
        if got.shape != value.shape:
            sys.exit(f"{name}: output {info.name} is {got.shape}, ONNX Runtime's {value.shape}")
        a, b = got.astype(np.float64).ravel(), value.astype(np.float64).ravel()
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)))
        cosine = min(cosine, float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)))
    os.remove(model)
    good = cosine >= BOUND_COSINE if args.int8 else worst <= BOUND_FP32
    print(f"{name:20} largest difference {worst:.2e}  cosine {cosine:.6f}  {'' if good else 'BEYOND THE BOUND'}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("octet")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--isa")
    parser.add_argument("--seq", type=int)
    args = parser.parse_args()
    listing = subprocess.run([args.octet, "zoo", "list"], check=True, capture_output=True, text=True).stdout
    names = args.names or [line.split()[0] for line in listing.splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        good = [compare(args.octet, name, args, folder) for name in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
