#!/usr/bin/env python3
"""octet against ONNX Runtime on the same files, in turn, in one go.

    pip install onnxruntime numpy
    bench/compare_onnxruntime.py build/release/tools/octet zoo:resnet50 [more models] [--threads 1] [--isa avx2] [--rounds 5]

A zoo model is exported first, in FP32 and as INT8 in the portable style, which ONNX Runtime fuses completely; octet runs the
same two files, and its own fused style besides. Each round times octet, then ONNX Runtime: medians of runs in milliseconds, batch 1.
Printed are the medians over the rounds and their ratio, and the same of the best round of each, which is the steadier one on a shared
host, where a neighbour slows whole rounds.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy
import onnxruntime


def octet_ms(program, model, threads, isa, seconds, precision):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [program, "bench", model, "--precision", precision, "--threads", str(threads), "--seconds", str(seconds),
                   "--json", out.name, "--quiet"]
        if isa:
            command += ["--isa", isa]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        runs = json.load(open(out.name))["runs"]
        return [r["latency_ms"]["median"] for r in runs if r["precision"] == precision][0]


class OnnxRuntime:
    DTYPES = {"tensor(float)": numpy.float32, "tensor(uint8)": numpy.uint8, "tensor(int8)": numpy.int8, "tensor(int64)": numpy.int64}

    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        random = numpy.random.default_rng(0)
        self.feeds = {i.name: random.random([d if isinstance(d, int) else 1 for d in i.shape]).astype(self.DTYPES[i.type])
                      for i in self.session.get_inputs()}
        self.session.run(None, self.feeds)

    def ms(self, seconds):
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 5:
            begin = time.perf_counter()
            self.session.run(None, self.feeds)
            times.append((time.perf_counter() - begin) * 1e3)
        return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()
    print(f"{'model':<16}{'form':<10}{'octet ms':>10}{'ORT ms':>10}{'ORT/octet':>11}{'best':>10}{'ORT best':>10}{'ORT/octet':>11}   ORT {onnxruntime.__version__}, {args.threads} thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            name = model.removeprefix("zoo:") if model.startswith("zoo:") else pathlib.Path(model).parent.name
            forms = [("file", model, model, "fp32")]
            if model.startswith("zoo:"):
                fp32, int8 = f"{folder}/{name}.onnx", f"{folder}/{name}_int8.onnx"
                subprocess.run([args.program, "zoo", "export", name, fp32], check=True, stdout=subprocess.DEVNULL)
                subprocess.run([args.program, "zoo", "export", name, int8, "--int8", "--style", "portable"], check=True,
                               stdout=subprocess.DEVNULL)
                forms = [("fp32", fp32, fp32, "fp32"), ("int8", int8, int8, "int8"), ("int8 fused", fp32, int8, "int8")]
            for form, ours, theirs, precision in forms:
                peer, octet, other = OnnxRuntime(theirs, args.threads), [], []
                for _ in range(args.rounds):
                    octet.append(octet_ms(args.program, ours, args.threads, args.isa, args.seconds, precision))
                    other.append(peer.ms(args.seconds))
                a, b = statistics.median(octet), statistics.median(other)
                best, peer_best = min(octet), min(other)
                print(f"{name:<16}{form:<10}{a:>10.2f}{b:>10.2f}{b / a:>11.2f}{best:>10.2f}{peer_best:>10.2f}{peer_best / best:>11.2f}", flush=True)


if __name__ == "__main__":
    main()
