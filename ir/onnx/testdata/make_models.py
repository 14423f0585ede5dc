"""Writes models.zip: small models of old operator sets, with control flow, functions and
unusual constants, each with random inputs and what onnxruntime computes for them.
usage: python3 make_models.py"""
import io, zipfile
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh

rng = np.random.default_rng(7)
cases = {}
KINDS = {np.dtype(k): v for k, v in {"float32": T.FLOAT, "float64": T.DOUBLE, "float16": T.FLOAT16, "int64": T.INT64, "int32": T.INT32, "bool": T.BOOL}.items()}

def f(*shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)

def case(name, opset, nodes, inputs, outputs, inits=None, domains=(), dynamic=False, functions=(), sparse=()):
    if not isinstance(nodes, list):
        nodes = [nodes]
    g = h.make_graph(nodes, name,
        [h.make_tensor_value_info(k, KINDS[v.dtype], [f"{k}{i}" for i in range(v.ndim)] if dynamic else v.shape) for k, v in inputs.items()],
        [h.make_tensor_value_info(k, t, None) for k, t in outputs.items()],
        [nh.from_array(np.asarray(v), k) for k, v in (inits or {}).items()])
    m = h.make_model(g, opset_imports=[h.make_opsetid("", opset)] + [h.make_opsetid(*d) for d in domains], ir_version=10 if functions else 4 if opset < 15 else 8, functions=functions)
    m.graph.sparse_initializer.extend(sparse)
    b = m.SerializeToString()
    s = ort.InferenceSession(b, providers=["CPUExecutionProvider"])
    names = [o.name for o in s.get_outputs()]
    outs = s.run(names, inputs)
    cases[name] = (b, {f"in_{k}": v for k, v in inputs.items()} | {f"out_{k}": v for k, v in zip(names, outs)})

N = h.make_node
F, I = T.FLOAT, T.INT64
for op, axis in (("Softmax", 1), ("Softmax", 0), ("Softmax", 2), ("Softmax", -2), ("LogSoftmax", 1), ("Hardmax", 1)):
    opset = 11 if axis < 0 else 9
    case(f"{op.lower()}{opset}_axis{axis}", opset, N(op, ["x"], ["y"], axis=axis), {"x": f(2, 3, 4)}, {"y": F})
case("softmax12_default", 12, N("Softmax", ["x"], ["y"]), {"x": f(2, 3, 4)}, {"y": F})
case("softmax10_dynamic", 10, N("Softmax", ["x"], ["y"], axis=1), {"x": f(2, 3, 4)}, {"y": F}, dynamic=True)
case("softmax10_unknown_rank", 10, [N("Reshape", ["x", "s"], ["r"]), N("Softmax", ["r"], ["y"], axis=2)], {"x": f(2, 3, 4), "s": np.array([2, 3, 4, 1])}, {"y": F})
case("softmax10_empty", 10, N("Softmax", ["x"], ["y"], axis=1), {"x": f(2, 0, 4)}, {"y": F}, dynamic=True)
for op in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"):
    x = {"x": np.abs(f(2, 3, 4)) + 0.1}
    opset = 12 if op == "Sum" else 17
    case(f"reduce{op.lower()}{opset}", opset, N("Reduce" + op, ["x"], ["y"], axes=[1], keepdims=0), x, {"y": F})
    case(f"reduce{op.lower()}{opset}_all", opset, N("Reduce" + op, ["x"], ["y"]), x, {"y": F})
case("reducemean11_negative", 11, N("ReduceMean", ["x"], ["y"], axes=[-1, 0]), {"x": f(2, 3, 4)}, {"y": F})
case("squeeze11", 11, N("Squeeze", ["x"], ["y"], axes=[0, 2]), {"x": f(1, 3, 1, 1)}, {"y": F})
case("squeeze7_all", 7, N("Squeeze", ["x"], ["y"]), {"x": f(1, 3, 1, 2)}, {"y": F})
case("unsqueeze9", 9, N("Unsqueeze", ["x"], ["y"], axes=[0, 3]), {"x": f(3, 2)}, {"y": F})
case("slice9", 9, N("Slice", ["x"], ["y"], starts=[1, -3], ends=[1000, -1], axes=[0, 2]), {"x": f(3, 2, 5)}, {"y": F})
case("slice7_noaxes", 7, N("Slice", ["x"], ["y"], starts=[1, 0], ends=[3, 1]), {"x": f(3, 2, 5)}, {"y": F})
case("clip7_both", 7, N("Clip", ["x"], ["y"], min=-0.5, max=0.25), {"x": f(3, 4)}, {"y": F})
case("clip10_min", 10, N("Clip", ["x"], ["y"], min=0.1), {"x": f(3, 4)}, {"y": F})
case("clip10_max", 10, N("Clip", ["x"], ["y"], max=0.1), {"x": f(3, 4)}, {"y": F})
case("clip10_none", 10, N("Clip", ["x"], ["y"]), {"x": f(3, 4)}, {"y": F})
case("clip8_f16", 8, [N("Cast", ["x"], ["h"], to=T.FLOAT16), N("Clip", ["h"], ["c"], min=-0.5, max=0.5), N("Cast", ["c"], ["y"], to=F)], {"x": f(3, 4).astype("float16").astype("float32")}, {"y": F})
case("pad10", 10, N("Pad", ["x"], ["y"], pads=[1, 0, 2, 1], value=2.5), {"x": f(2, 3)}, {"y": F})
case("pad10_edge", 10, N("Pad", ["x"], ["y"], pads=[1, 0, 2, 1], mode="edge"), {"x": f(2, 3)}, {"y": F})
case("pad7_reflect", 7, N("Pad", ["x"], ["y"], pads=[1, 2, 0, 1], mode="reflect"), {"x": f(3, 4)}, {"y": F})
case("topk9", 9, N("TopK", ["x"], ["v", "i"], k=2, axis=1), {"x": f(3, 5)}, {"v": F, "i": I})
case("topk10", 10, N("TopK", ["x", "k"], ["v", "i"]), {"x": f(3, 5)}, {"v": F, "i": I}, {"k": np.array([3])})
case("dropout7", 7, N("Dropout", ["x"], ["y"], ratio=0.7), {"x": f(3, 5)}, {"y": F})
case("dropout10", 10, N("Dropout", ["x"], ["y"], ratio=0.7), {"x": f(3, 5)}, {"y": F})
case("split7", 7, N("Split", ["x"], ["a", "b"], axis=1), {"x": f(3, 4)}, {"a": F, "b": F})
case("split11_sizes", 11, N("Split", ["x"], ["a", "b"], axis=1, split=[1, 3]), {"x": f(3, 4)}, {"a": F, "b": F})
case("split13_equal", 13, N("Split", ["x"], ["a", "b", "c"], axis=-1), {"x": f(3, 6)}, {"a": F, "b": F, "c": F})
case("upsample7", 7, N("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0]), {"x": f(1, 2, 2, 3)}, {"y": F})
case("upsample9_nearest", 9, N("Upsample", ["x", "s"], ["y"], mode="nearest"), {"x": f(1, 2, 2, 3)}, {"y": F}, {"s": np.array([1, 1, 2, 2], "float32")})
case("upsample9_linear", 9, N("Upsample", ["x", "s"], ["y"], mode="linear"), {"x": f(1, 2, 3, 3)}, {"y": F}, {"s": np.array([1, 1, 2, 2], "float32")})
case("resize10_up", 10, N("Resize", ["x", "s"], ["y"], mode="nearest"), {"x": f(1, 1, 4, 4)}, {"y": F}, {"s": np.array([1, 1, 1.7, 2], "float32")})
case("resize10_down", 10, N("Resize", ["x", "s"], ["y"], mode="nearest"), {"x": f(1, 1, 5, 7)}, {"y": F}, {"s": np.array([1, 1, 0.6, 0.6], "float32")})
case("resize10_mixed", 10, N("Resize", ["x", "s"], ["y"], mode="nearest"), {"x": f(1, 1, 5, 7)}, {"y": F}, {"s": np.array([1, 1, 0.6, 1.7], "float32")})
for name, v in (("down", [1, 1, 0.6, 0.6]), ("up", [1, 1, 2, 1.3]), ("mixed", [1, 1, 1.5, 0.4])):
    case("resize10_dynamic_" + name, 10, N("Resize", ["x", "s"], ["y"], mode="nearest"), {"x": f(1, 1, 5, 7), "s": np.array(v, "float32")}, {"y": F})
case("resize10_linear", 10, N("Resize", ["x", "s"], ["y"], mode="linear"), {"x": f(1, 1, 4, 4)}, {"y": F}, {"s": np.array([1, 1, 0.5, 2], "float32")})
case("resize11_empty_roi", 11, N("Resize", ["x", "roi", "s"], ["y"], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"), {"x": f(1, 1, 4, 4)}, {"y": F}, {"roi": np.zeros(0, "float32"), "s": np.array([1, 1, 1.5, 2], "float32")})
case("resize11_sizes", 11, N("Resize", ["x", "roi", "s", "z"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"), {"x": f(1, 1, 4, 4)}, {"y": F}, {"roi": np.zeros(0, "float32"), "s": np.zeros(0, "float32"), "z": np.array([1, 1, 7, 3])})
case("resize13_cubic", 13, N("Resize", ["x", "", "s"], ["y"], mode="cubic", cubic_coeff_a=-0.5), {"x": f(1, 1, 5, 5)}, {"y": F}, {"s": np.array([1, 1, 1.5, 2], "float32")})
case("batchnorm7", 7, N("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=0.01), {"x": f(2, 3, 4)}, {"y": F}, {"s": f(3), "b": f(3), "m": f(3), "v": np.abs(f(3)) + 0.1})
case("batchnorm9", 9, N("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"]), {"x": f(2, 3, 4)}, {"y": F}, {"s": f(3), "b": f(3), "m": f(3), "v": np.abs(f(3)) + 0.1})
case("scatter9", 9, N("Scatter", ["x", "i", "u"], ["y"], axis=1), {"x": f(3, 4), "u": f(3, 2)}, {"y": F}, {"i": np.array([[1, 0], [3, 2], [0, 1]])})
case("gemm7", 7, N("Gemm", ["a", "b", "c"], ["y"], alpha=0.5, beta=2.0, transB=1), {"a": f(2, 3), "b": f(4, 3), "c": f(4)}, {"y": F})
case("gemm9_scalar_c", 9, N("Gemm", ["a", "b", "c"], ["y"]), {"a": f(2, 3), "b": f(3, 4), "c": f(1)}, {"y": F})
case("groupnorm18", 18, N("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2), {"x": f(2, 6, 3)}, {"y": F}, {"s": f(2), "b": f(2)})
case("gridsample16_bilinear", 16, N("GridSample", ["x", "g"], ["y"], mode="bilinear"), {"x": f(1, 1, 4, 4), "g": f(1, 3, 3, 2)}, {"y": F})
case("gridsample16_bicubic", 16, N("GridSample", ["x", "g"], ["y"], mode="bicubic"), {"x": f(1, 1, 4, 4), "g": f(1, 3, 3, 2)}, {"y": F})
case("dft17", 17, N("DFT", ["x"], ["y"], axis=1), {"x": f(1, 5, 4, 1)}, {"y": F})
case("dft17_default", 17, N("DFT", ["x"], ["y"]), {"x": f(1, 5, 4, 1)}, {"y": F})
case("roialign10", 10, N("RoiAlign", ["x", "r", "b"], ["y"], output_height=2, output_width=2, sampling_ratio=2), {"x": f(1, 1, 6, 6)}, {"y": F}, {"r": np.array([[0, 0, 4, 4], [1, 1, 5, 3]], "float32"), "b": np.array([0, 0])})
case("maxpool8_ceil", 10, N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), {"x": f(1, 1, 5, 5)}, {"y": F})
case("averagepool7_pads", 7, N("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), {"x": f(1, 1, 5, 5)}, {"y": F})
case("lstm7", 7, N("LSTM", ["x", "w", "r", "b"], ["y", "h", "c"], hidden_size=3), {"x": f(4, 2, 5)}, {"y": F, "h": F, "c": F}, {"w": f(1, 12, 5), "r": f(1, 12, 3), "b": f(1, 24)})
case("gru7_bidirectional", 7, N("GRU", ["x", "w", "r"], ["y", "h"], hidden_size=3, direction="bidirectional", linear_before_reset=1), {"x": f(4, 2, 5)}, {"y": F, "h": F}, {"w": f(2, 9, 5), "r": f(2, 9, 3)})
case("prelu7", 7, N("PRelu", ["x", "s"], ["y"]), {"x": f(2, 3, 4)}, {"y": F}, {"s": f(3, 1)})
case("pow7", 7, N("Pow", ["x", "e"], ["y"]), {"x": np.abs(f(2, 3))}, {"y": F}, {"e": np.array([2, 0.5, 3], "float32")})
case("argmax11", 11, N("ArgMax", ["x"], ["y"], axis=1), {"x": f(2, 5)}, {"y": I})
case("flatten9", 9, N("Flatten", ["x"], ["y"], axis=2), {"x": f(2, 3, 4)}, {"y": F})
case("cast9_string_free", 9, N("Cast", ["x"], ["y"], to=I), {"x": f(2, 5) * 9}, {"y": I})
case("depthtospace7", 7, N("DepthToSpace", ["x"], ["y"], blocksize=2), {"x": f(1, 8, 2, 2)}, {"y": F})
case("quantize10", 10, [N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("DequantizeLinear", ["q", "s", "z"], ["y"])], {"x": f(2, 5)}, {"y": F}, {"s": np.float32(0.05), "z": np.uint8(3)})
case("convtranspose7", 7, N("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_padding=[1, 1], pads=[1, 1, 1, 1]), {"x": f(1, 2, 3, 3)}, {"y": F}, {"w": f(2, 3, 3, 3)})
case("instancenorm7", 7, N("InstanceNormalization", ["x", "s", "b"], ["y"]), {"x": f(2, 3, 4)}, {"y": F}, {"s": f(3), "b": f(3)})

# control flow and functions
def sub(name, nodes, ins, outs):
    return h.make_graph(nodes, name, [h.make_tensor_value_info(k, t, s) for k, t, s in ins], [h.make_tensor_value_info(k, t, s) for k, t, s in outs])
body = sub("body", [N("Add", ["s", "x"], ["s2"]), N("Mul", ["s2", "outer"], ["o"]), N("Identity", ["s2"], ["s3"])], [("s", F, [2]), ("x", F, [2])], [("s3", F, [2]), ("o", F, [2])])
case("scan9_capture", 9, N("Scan", ["i", "x"], ["f", "o"], num_scan_inputs=1, body=body), {"i": f(2), "x": f(4, 2), "outer": f(2)}, {"f": F, "o": F})
body8 = sub("body", [N("Add", ["s", "x"], ["s2"]), N("Mul", ["s2", "x"], ["o"])], [("s", F, [2]), ("x", F, [2])], [("s2", F, [2]), ("o", F, [2])])
case("scan8", 8, N("Scan", ["", "i", "x"], ["f", "o"], num_scan_inputs=1, body=body8), {"i": f(3, 2), "x": f(3, 4, 2)}, {"f": F, "o": F})
case("scan8_reverse", 8, N("Scan", ["", "i", "x"], ["f", "o"], num_scan_inputs=1, body=body8, directions=[1]), {"i": f(3, 2), "x": f(3, 4, 2)}, {"f": F, "o": F})
loop = sub("body", [N("Add", ["v", "step"], ["v2"]), N("Less", ["v2", "limit"], ["more"]), N("Mul", ["v2", "v2"], ["sq"])], [("it", I, []), ("c", T.BOOL, []), ("v", F, [1])], [("more", T.BOOL, [1]), ("v2", F, [1]), ("sq", F, [1])])
case("loop7_capture", 9, N("Loop", ["n", "", "v0"], ["v", "sqs"], body=loop), {"v0": f(1), "step": np.array([0.5], "float32"), "limit": np.array([3.0], "float32")}, {"v": F, "sqs": F}, {"n": np.array(10)})
deep = N("If", ["d"], ["y"], then_branch=sub("t", [N("If", ["c"], ["ty"], then_branch=sub("tt", [N("Softmax", ["x"], ["q"], axis=0)], [], [("q", F, None)]), else_branch=sub("te", [N("Mul", ["x", "k"], ["q2"])], [], [("q2", F, None)]))], [], [("ty", F, None)]), else_branch=sub("e", [N("Add", ["x", "k"], ["ey"])], [], [("ey", F, None)]))
for c in (True, False):
    for d in (True, False):
        case(f"if9_nested_{c}_{d}", 9, deep, {"x": f(2, 3), "c": np.array(c), "d": np.array(d)}, {"y": F}, {"k": f(3)})

# functions: attributes by reference, defaults, absent inputs, overloads, bodies in bodies
op18 = [h.make_opsetid("", 18)]
def fn(name, ins, outs, nodes, opsets=op18, attrs=(), defaults=(), domain="my.ops", overload=""):
    p = h.make_function(domain, name, ins, outs, nodes, opsets, list(attrs), list(defaults))
    if overload:
        p.overload = overload
    return p
def ref(node, attr, outer, typ):
    a = node.attribute.add()
    a.name, a.ref_attr_name, a.type = attr, outer, typ
    return node
A = onnx.AttributeProto
scaled = fn("Scaled", ["x", "bias"], ["y"], [
    ref(N("LeakyRelu", ["x"], ["r"]), "alpha", "slope", A.FLOAT),
    ref(N("Constant", [], ["k"]), "value_float", "by", A.FLOAT),
    N("Mul", ["r", "k"], ["m"]), N("Add", ["m", "bias"], ["y"])],
    attrs=["slope"], defaults=[h.make_attribute("by", 3.0)])
case("function_attributes", 18, [N("Scaled", ["x", "b"], ["t"], domain="my.ops", slope=0.5), N("Scaled", ["t", "b"], ["y"], domain="my.ops", slope=0.1, by=-1.0)],
     {"x": f(2, 3)}, {"y": F}, {"b": f(3)}, [("my.ops", 1)], functions=[scaled])
optional = fn("Bounded", ["x", "lo", "hi"], ["y"], [N("Clip", ["x", "lo", "hi"], ["y"])])
outer = fn("Outer", ["a", "c"], ["o", "same"], [
    N("Bounded", ["a", "", "c"], ["b"], domain="my.ops"), N("Identity", ["b"], ["y"]), N("Sqrt", ["x"], ["q"]), N("Abs", ["a"], ["x"]),
    N("If", ["w"], ["o"], then_branch=sub("t", [N("Add", ["y", "q"], ["z"])], [], [("z", F, None)]), else_branch=sub("e", [N("Sub", ["y", "q"], ["z2"])], [], [("z2", F, None)])),
    N("Greater", ["s", "c"], ["w"]), N("ReduceSum", ["a"], ["s"], keepdims=0), N("Identity", ["a"], ["same"])], opsets=op18 + [h.make_opsetid("my.ops", 1)])
order = [3, 0, 1, 2, 6, 5, 4, 7]
nodes = list(outer.node)
del outer.node[:]
outer.node.extend(nodes[i] for i in order)
case("function_nested", 18, [N("Outer", ["x", "c"], ["y", "x2"], domain="my.ops"), N("Outer", ["y", "c"], ["z", "z2"], domain="my.ops")], {"x": f(2, 3)}, {"y": F, "z": F, "x2": F, "z2": F}, {"c": np.float32(0.3)}, [("my.ops", 1)], functions=[optional, outer])
over = [fn("Pick", ["x"], ["y"], [N(op, ["x"], ["y"])], overload=o) for o, op in (("", "Neg"), ("abs", "Abs"), ("exp", "Exp"))]
picks = [N("Pick", ["x"], ["a"], domain="my.ops"), N("Pick", ["x"], ["b"], domain="my.ops"), N("Pick", ["x"], ["c"], domain="my.ops")]
picks[1].overload, picks[2].overload = "abs", "exp"
case("function_overloads", 18, picks, {"x": f(4)}, {"a": F, "b": F, "c": F}, None, [("my.ops", 1)], functions=over)
older = fn("OldSqueeze", ["x"], ["y"], [N("Squeeze", ["x"], ["y"], axes=[0])], opsets=[h.make_opsetid("", 11)])
case("function_own_opset", 12, N("OldSqueeze", ["x"], ["y"], domain="my.ops"), {"x": f(1, 4)}, {"y": F}, None, [("my.ops", 1)], functions=[fn("OldSqueeze", ["x"], ["y"], [N("Squeeze", ["x"], ["y"], axes=[0])], opsets=[h.make_opsetid("", 12)])])
pairs = fn("Swap", ["a", "b"], ["c", "d"], [N("Identity", ["b"], ["c"]), N("Identity", ["a"], ["d"])])
case("function_swap", 18, N("Swap", ["x", "y"], ["u", "v"], domain="my.ops"), {"x": f(2), "y": f(2)}, {"u": F, "v": F}, None, [("my.ops", 1)], functions=[pairs])

# constants
sparse = h.make_sparse_tensor(nh.from_array(np.array([1.5, -2], "float32"), "sp"), nh.from_array(np.array([1, 4]), "sp_i"), [2, 3])
case("sparse_initializer", 18, N("Add", ["x", "sp"], ["y"]), {"x": f(2, 3)}, {"y": F}, sparse=[sparse])
coo = h.make_sparse_tensor(nh.from_array(np.array([1.5, -2], "float32"), "v"), nh.from_array(np.array([[0, 1], [1, 2]]), "i"), [2, 3])
case("sparse_constant", 18, [N("Constant", [], ["k"], sparse_value=coo), N("Add", ["x", "k"], ["y"])], {"x": f(2, 3)}, {"y": F})
case("constant_forms", 18, [N("Constant", [], ["a"], value_float=1.5), N("Constant", [], ["b"], value_floats=[1.0, 2.0]), N("Constant", [], ["c"], value_int=3), N("Constant", [], ["d"], value_ints=[0]),
     N("Add", ["x", "a"], ["p"]), N("Mul", ["p", "b"], ["q"]), N("Cast", ["c"], ["cf"], to=F), N("Sub", ["q", "cf"], ["r"]), N("ReduceSum", ["r", "d"], ["y"], keepdims=0)], {"x": f(3, 2)}, {"y": F})
typed = [(T.FLOAT16, [15360, 49152]), (T.BFLOAT16, [16256, 49152]), (T.INT8, [-3, 7]), (T.UINT16, [3, 65535]), (T.BOOL, [1, 0])]
nodes, inits = [], []
for i, (t, v) in enumerate(typed):
    p = onnx.TensorProto(name=f"w{i}", data_type=t, dims=[2], int32_data=v)
    inits.append(p)
    nodes += [N("Cast", [f"w{i}"], [f"c{i}"], to=F), N("Add", [f"s{i}" if i else "x", f"c{i}"], [f"s{i+1}" if i < len(typed) - 1 else "y"])]
g = h.make_graph(nodes, "typed", [h.make_tensor_value_info("x", F, [2])], [h.make_tensor_value_info("y", F, [2])], inits)
m = h.make_model(g, opset_imports=op18, ir_version=8)
x = f(2)
cases["typed_initializers"] = (m.SerializeToString(), {"in_x": x, "out_y": ort.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0]})
case("names_collide", 18, [N("Neg", ["x"], ["%1"], name="n1"), N("Abs", ["%1"], ["n1"], name="n2"), N("Exp", ["n1"], ["%0"]), N("Neg", ["%0"], ["y"], name="n0")], {"x": f(2)}, {"y": F})
case("dims_like_arithmetic", 18, [N("Concat", ["x", "x"], ["c"], axis=0), N("Shape", ["c"], ["s"]), N("Reshape", ["c", "s"], ["y"])], {"x": f(4, 2)}, {"y": F})

with zipfile.ZipFile("models.zip", "w", zipfile.ZIP_DEFLATED) as z:
    def put(name, data):
        z.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    for name, (b, arrays) in sorted(cases.items()):
        put(f"{name}/model.onnx", b)
        o = io.BytesIO()
        np.savez(o, **arrays)
        put(f"{name}/sample.npz", o.getvalue())
print(len(cases), "cases")
