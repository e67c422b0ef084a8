"""Writes the node tests of the installed Python package onnx (pip install onnx) as test-case folders.

    python3 tools/onnx_node_cases.py /tmp/onnx_cases && octet test /tmp/onnx_cases/node

The package itself carries only the older suites as files; its node tests are made by its own generator, which is told here to
collect those instead of its models. They are newer than Debian's libonnx-testdata (opset 17).
"""
import sys
import types

import onnx.backend.test.case.node
import onnx.backend.test.cmd_tools

if len(sys.argv) != 2:
    sys.exit(__doc__)
onnx.backend.test.cmd_tools.model_test = types.SimpleNamespace(
    collect_testcases=onnx.backend.test.case.node.collect_testcases)
onnx.backend.test.cmd_tools.generate_data(types.SimpleNamespace(output=sys.argv[1]))
