"""Makes the cases of this folder: one-node models of onnxruntime's contributed operators
with random inputs and the outputs of onnxruntime on the CPU (pip install onnx onnxruntime).

    python make.py
"""
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

rng = np.random.default_rng(7)


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def i32(values):
    return np.array(values, np.int32)


def case(name, op, ins, outs, domain="com.microsoft", like=None, **attrs):
    """ins: list of arrays or None; outs: names, "" for one that is not asked for. like, for
    layouts that onnxruntime lacks on the CPU: the arrays in a layout that it has."""
    feeds, outputs = run(name, op, like or ins, outs, domain, attrs)
    if outputs is None:
        return
    model, feeds = build(name, op, ins, outs, domain, attrs)
    for o, a in zip(model.graph.output, outputs):
        o.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(a.dtype)
    onnx.save(model, name + ".onnx")
    np.savez_compressed(name + ".npz", **{"in_" + n: a for n, a in feeds.items()}, **{"out_" + n: a for n, a in zip([o for o in outs if o], outputs)})


def build(name, op, ins, outs, domain, attrs):
    names = ["" if a is None else f"x{i}" for i, a in enumerate(ins)]
    feeds = {n: a for n, a in zip(names, ins) if n}
    node = helper.make_node(op, names, outs, domain=domain, **attrs)
    types = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in feeds.items()}
    graph = helper.make_graph(
        [node], name,
        [helper.make_tensor_value_info(n, types[n], a.shape) for n, a in feeds.items()],
        [helper.make_empty_tensor_value_info(n) for n in outs if n])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
    return model, feeds


def run(name, op, ins, outs, domain, attrs):
    model, feeds = build(name, op, ins, outs, domain, attrs)
    opts = ort.SessionOptions()
    opts.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    opts.log_severity_level = 4
    try:
        s = ort.InferenceSession(model.SerializeToString(), opts, providers=["CPUExecutionProvider"])
        return feeds, s.run(None, feeds)
    except Exception as e:  # noqa: BLE001 - what onnxruntime lacks is printed and left out
        print("left out:", name, str(e)[:200])
        return feeds, None



B, S, H = 2, 5, 8
x, skip, g, b, bias = f(B, S, H), f(B, S, H), f(H), f(H), f(H)
case("skip_norm", "SkipLayerNormalization", [x, skip, g, b, bias], ["y", "", "", "sum"], epsilon=1e-5)
case("skip_norm_broadcast", "SkipLayerNormalization", [x, f(1, S, H), g, b], ["y"], epsilon=1e-5)
case("skip_norm_2d", "SkipLayerNormalization", [x, f(S, H), g], ["y"])
case("skip_rms", "SkipSimplifiedLayerNormalization", [x, skip, g, bias], ["y", "", "", "sum"], epsilon=1e-6)
case("rms", "SimplifiedLayerNormalization", [x, g], ["y"], domain="", axis=-1, epsilon=1e-6)
ids, seg = i32(rng.integers(0, 11, (B, S))), i32(rng.integers(0, 2, (B, S)))
mask = i32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
case("embed_norm", "EmbedLayerNormalization", [ids, seg, f(11, H), f(7, H), f(2, H), g, b, mask], ["y", "m", "sum"], epsilon=1e-5)
case("embed_norm_positions", "EmbedLayerNormalization", [ids, None, f(11, H), f(7, H), None, g, b, None, i32([[3, 1, 0, 2, 6]])], ["y", "m"])

N, D = 2, 4
w, wb = f(H, 3 * N * D), f(3 * N * D)
case("attention", "Attention", [x, w, wb], ["y"], num_heads=N)
case("attention_lengths", "Attention", [x, w, wb, i32([3, 5])], ["y"], num_heads=N)
case("attention_mask", "Attention", [x, w, wb, mask], ["y"], num_heads=N)
case("attention_causal", "Attention", [x, w, wb, mask], ["y"], num_heads=N, unidirectional=1)
case("attention_causal_mask3", "Attention", [x, w, wb, i32(rng.integers(0, 2, (B, S, S)) | np.eye(S, dtype=int))], ["y"], num_heads=N, unidirectional=1)
case("attention_bias", "Attention", [x, w, wb, None, None, f(1, N, S, S)], ["y"], num_heads=N, scale=0.3)
case("attention_past", "Attention", [x, w, wb, None, f(2, B, N, 3, D)], ["y", "present"], num_heads=N, unidirectional=1)
case("attention_sizes", "Attention", [x, f(H, 8 + 8 + 12), f(28)], ["y"], num_heads=N, qkv_hidden_sizes=[8, 8, 12])

q, k, v = f(B, S, N * D), f(B, 6, N * D), f(B, 6, N * D)
case("mha", "MultiHeadAttention", [q, k, v], ["y"], num_heads=N)
case("mha_bias", "MultiHeadAttention", [q, k, v, f(3 * N * D)], ["y"], num_heads=N, scale=0.2)
case("mha_padding", "MultiHeadAttention", [q, k, v, None, i32(rng.integers(0, 2, (B, 6)) | np.eye(1, 6, dtype=int))], ["y"], num_heads=N)
case("mha_lengths", "MultiHeadAttention", [q, k, v, None, i32([4, 6])], ["y"], num_heads=N)
case("mha_additive", "MultiHeadAttention", [q, k, v, None, None, f(B, 1, S, 6)], ["y"], num_heads=N)
case("mha_causal", "MultiHeadAttention", [q, f(B, S, N * D), f(B, S, N * D)], ["y"], num_heads=N, unidirectional=1)
case("mha_wide_values", "MultiHeadAttention", [q, k, f(B, 6, N * 6)], ["y"], num_heads=N)
case("mha_by_head", "MultiHeadAttention", [q, f(B, N, 6, D), f(B, N, 6, D)], ["y"], num_heads=N)
case("mha_past", "MultiHeadAttention", [f(B, 1, N * D), f(B, 1, N * D), f(B, 1, N * D), None, None, None, f(B, N, 3, D), f(B, N, 3, D)], ["y", "pk", "pv"], num_heads=N)
kv, qkv = f(B, 6, N, 2, D), f(B, S, N, 3, D)
flat = lambda a, i: a[:, :, :, i].reshape(a.shape[0], a.shape[1], -1).copy()  # noqa: E731
case("mha_packed_kv", "MultiHeadAttention", [q, kv], ["y"], like=[q, flat(kv, 0), flat(kv, 1)], num_heads=N)
case("mha_packed_qkv", "MultiHeadAttention", [qkv], ["y"], like=[flat(qkv, i) for i in range(3)], num_heads=N)

QN, KN, D = 4, 2, 16
cos, sin = np.cos(f(16, D // 2)).astype(np.float32), np.sin(f(16, D // 2)).astype(np.float32)
total = lambda n: np.array(n, np.int32)  # noqa: E731
gq, gk, gv = f(B, S, QN * D), f(B, S, KN * D), f(B, S, KN * D)
gqa = dict(num_heads=QN, kv_num_heads=KN)
outs = ["y", "pk", "pv"]
empty = np.zeros((B, KN, 0, D), np.float32)
case("gqa_prompt", "GroupQueryAttention", [gq, gk, gv, empty, empty, i32([S - 1] * B), total(S)], outs, **gqa)
case("gqa_rotary", "GroupQueryAttention", [gq, gk, gv, empty, empty, i32([S - 1] * B), total(S), cos, sin], outs, do_rotary=1, **gqa)
case("gqa_rotary_interleaved", "GroupQueryAttention", [gq, gk, gv, empty, empty, i32([S - 1] * B), total(S), cos, sin], outs, do_rotary=1, rotary_interleaved=1, **gqa)
case("gqa_packed", "GroupQueryAttention", [f(B, S, (QN + 2 * KN) * D), None, None, empty, empty, i32([S - 1] * B), total(S), cos, sin], outs, do_rotary=1, **gqa)
case("gqa_window_softcap", "GroupQueryAttention", [gq, gk, gv, empty, empty, i32([S - 1] * B), total(S)], outs, local_window_size=2, softcap=1.5, scale=0.7, **gqa)
case("gqa_smooth", "GroupQueryAttention", [gq, gk, gv, empty, empty, i32([S - 1] * B), total(S)], outs, smooth_softmax=1, **gqa)
case("gqa_decode", "GroupQueryAttention", [f(B, 1, QN * D), f(B, 1, KN * D), f(B, 1, KN * D), f(B, KN, 6, D), f(B, KN, 6, D), i32([6, 6]), total(7), cos, sin], outs, do_rotary=1, **gqa)
case("gqa_bias", "GroupQueryAttention", [gq, gk, gv, empty, empty, i32([S - 1] * B), total(S), None, None, None, f(1, QN, S, S)], outs, **gqa)

case("rotary", "RotaryEmbedding", [f(B, S, 2 * D), np.array([[0, 1, 2, 3, 4], [3, 5, 7, 9, 11]]), cos, sin], ["y"])
case("rotary_offset", "RotaryEmbedding", [f(B, 3, S, D), np.array([2]), cos, sin], ["y"], interleaved=1)
case("rotary_partial", "RotaryEmbedding", [f(B, S, 2 * D), np.array([4]), cos[:, :2].copy(), sin[:, :2].copy()], ["y"], num_heads=2, rotary_embedding_dim=4)

im, cw, cb = f(1, 3, 6, 6), f(4, 3, 3, 3), f(4)
case("fused_conv", "FusedConv", [im, cw, cb], ["y"], activation="Relu", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
case("fused_conv_sum", "FusedConv", [im, cw, cb, f(1, 4, 6, 6)], ["y"], activation="LeakyRelu", activation_params=[0.2], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
case("fused_conv_clip", "FusedConv", [im, cw], ["y"], activation="Clip", activation_params=[-0.5, 0.7], strides=[2, 2], kernel_shape=[3, 3])
