"""Makes the cases of this folder: models of one com.microsoft MoE or QMoE node, with inputs and the outputs that
onnxruntime's CPU provider computes. Needs numpy, onnx and onnxruntime (made with 1.32).

    python3 make.py FOLDER
"""
import os
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

OUT = sys.argv[1]
rng = np.random.default_rng(7)


def case(name, op, inputs, **attrs):
    """inputs: (name, array or None); names in upper case are inputs of the model, the others weights."""
    feeds = {n: a for n, a in inputs if a is not None and n.isupper()}
    weights = [onnx.numpy_helper.from_array(a, n) for n, a in inputs if a is not None and not n.isupper()]
    node = helper.make_node(op, [n if a is not None else "" for n, a in inputs], ["Y"], domain="com.microsoft", **attrs)
    x = feeds["X"]
    graph = helper.make_graph(
        [node], name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(a.shape)) for n, a in feeds.items()],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, list(x.shape))], weights)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="msmoe")
    path = os.path.join(OUT, name)
    onnx.save(model, path + ".onnx")
    session = ort.InferenceSession(path + ".onnx", providers=["CPUExecutionProvider"])
    y = session.run(None, feeds)[0]
    np.savez(path + ".npz", **{"in_" + n: a for n, a in feeds.items()}, out_Y=y)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


def moe(name, lead, e, d, g, bias=False, **attrs):
    f = 2 if attrs["activation_type"] == "swiglu" else 1
    tokens = int(np.prod(lead))
    case(name, "MoE", [
        ("X", normal(*lead, d)), ("R", normal(tokens, e)),
        ("fc1", normal(e, f * g, d)), ("b1", normal(e, f * g) if bias else None),
        ("fc2", normal(e, d, g)), ("b2", normal(e, d) if bias else None)], **attrs)


def packed(q, bits):
    per = 8 // bits
    q = np.pad(q, [(0, 0)] * (q.ndim - 1) + [(0, -q.shape[-1] % per)])
    q = q.reshape(q.shape[:-1] + (-1, per)).astype(np.uint8)
    return sum(q[..., i] << (bits * i) for i in range(per)).astype(np.uint8)


def qmoe(name, e, d, g, bits, block=0, zero=False, router=False, **attrs):
    f = 2 if attrs["activation_type"] == "swiglu" else 1

    def layer(n, k):
        q = packed(rng.integers(0, 2**bits, size=(e, n, k)), bits)
        s = rng.random((e, n) + ((k // block,) if block else ())).astype(np.float32) * 0.1
        z = packed(rng.integers(0, 2**bits, size=s.shape), bits) if zero else None
        return q, s, z

    (w1, s1, z1), (w2, s2, z2) = layer(f * g, d), layer(d, g)
    if block:
        attrs["block_size"] = block
    case(name, "QMoE", [
        ("X", normal(5, d)), ("R", normal(5, e)), ("w1", w1), ("s1", s1), ("b1", normal(e, f * g)),
        ("w2", w2), ("s2", s2), ("b2", normal(e, d)), ("w3", None), ("s3", None), ("b3", None),
        ("z1", z1), ("z2", z2), ("z3", None), ("W", rng.random((5, e)).astype(np.float32) if router else None)],
        expert_weight_bits=bits, **attrs)


for act in ("relu", "gelu", "silu", "identity"):
    moe(f"moe_{act}", (5,), 4, 7, 3, activation_type=act, k=2, bias=act in ("gelu", "silu"), normalize_routing_weights=int(act < "i"))
moe("moe_swiglu", (2, 3), 4, 6, 5, activation_type="swiglu", k=2, bias=True, swiglu_fusion=1, activation_alpha=1.0, activation_beta=0.0)
moe("moe_swiglu_limit", (4,), 3, 6, 5, activation_type="swiglu", k=3, bias=True, swiglu_fusion=1, activation_alpha=1.7, activation_beta=1.0,
    swiglu_limit=1.5, normalize_routing_weights=1)
moe("moe_one_expert", (3,), 1, 5, 2, activation_type="relu", k=1)
for bits in (8, 4, 2):
    qmoe(f"qmoe{bits}", 3, 16, 8, bits, activation_type="silu", k=2)
    qmoe(f"qmoe{bits}_zero", 3, 16, 8, bits, zero=True, activation_type="relu", k=2, normalize_routing_weights=1)
    qmoe(f"qmoe{bits}_router", 3, 16, 8, bits, router=True, activation_type="gelu", k=2, normalize_routing_weights=int(bits != 4))
    if bits == 8:  # blocks of 8 bits: onnxruntime rounds the activations to 8 bits too
        continue
    qmoe(f"qmoe{bits}_block", 3, 32, 16, bits, block=16, zero=True, activation_type="swiglu", k=2, swiglu_fusion=1, activation_alpha=1.2, activation_beta=0.5,
         swiglu_limit=3.0)
