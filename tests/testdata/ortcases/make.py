"""Makes the cases of this folder: one-node models of standard operators in forms that the
node tests of onnx leave out, with random inputs and the outputs of onnxruntime on the CPU
(pip install onnx onnxruntime).

    python make.py
"""
import itertools

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

rng = np.random.default_rng(11)


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def case(name, op, ins, outs, opset=17, domain="", fixed=(), **attrs):
    """ins: arrays or None; fixed: which of them are constants of the model."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(ins)]
    consts = [onnx.numpy_helper.from_array(ins[i], names[i]) for i in fixed]
    feeds = {n: a for i, (n, a) in enumerate(zip(names, ins)) if n and i not in fixed}
    node = helper.make_node(op, names, outs, domain=domain, **attrs)
    graph = helper.make_graph(
        [node], name,
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), [None] * a.ndim) for n, a in feeds.items()],
        [helper.make_empty_tensor_value_info(n) for n in outs if n], consts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    opts = ort.SessionOptions()
    opts.log_severity_level = 4
    try:
        s = ort.InferenceSession(model.SerializeToString(), opts, providers=["CPUExecutionProvider"])
        got = s.run(None, feeds)
    except Exception as e:  # noqa: BLE001 - what onnxruntime refuses is printed and left out
        print("left out:", name, str(e)[:160])
        return
    for o, a in zip(graph.output, got):
        o.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(a.dtype)
    onnx.save(model, name + ".onnx")
    np.savez_compressed(name + ".npz", **{"in_" + n: a for n, a in feeds.items()}, **{"out_" + n: a for n, a in zip([o for o in outs if o], got)})


# Convolutions: 1, 2 and 3 axes, strides, dilations, groups, padding by hand and by rule.
case("conv_1d", "Conv", [f(2, 4, 11), f(6, 2, 3), f(6)], ["y"], group=2, strides=[2], dilations=[2], pads=[1, 3])
case("conv_depthwise", "Conv", [f(1, 4, 7, 6), f(8, 1, 3, 2), f(8)], ["y"], group=4, pads=[1, 0, 2, 1])
case("conv_3d", "Conv", [f(1, 2, 5, 6, 7), f(3, 2, 2, 3, 1)], ["y"], strides=[1, 2, 3], pads=[1, 0, 0, 0, 2, 0])
for pad, s in itertools.product(["SAME_UPPER", "SAME_LOWER", "VALID"], [1, 2]):
    case(f"conv_{pad.lower()}_{s}", "Conv", [f(1, 2, 7, 8), f(3, 2, 4, 3)], ["y"], auto_pad=pad, strides=[s, s])
case("conv_big_pad", "Conv", [f(1, 1, 2, 2), f(1, 1, 3, 3)], ["y"], pads=[3, 3, 3, 3], strides=[2, 2])
case("convt_1d", "ConvTranspose", [f(2, 4, 6), f(4, 3, 3), f(6)], ["y"], group=2, strides=[2], output_padding=[1], pads=[1, 0])
case("convt_dilated", "ConvTranspose", [f(1, 2, 4, 5), f(2, 3, 3, 2)], ["y"], dilations=[2, 3], strides=[2, 1], pads=[1, 0, 0, 1])
case("convt_shape", "ConvTranspose", [f(1, 2, 4, 5), f(2, 3, 3, 3)], ["y"], strides=[2, 3], output_shape=[8, 15])
for pad in ["SAME_UPPER", "SAME_LOWER"]:
    case(f"convt_{pad.lower()}", "ConvTranspose", [f(1, 2, 4, 5), f(2, 3, 4, 3)], ["y"], strides=[2, 2], auto_pad=pad)
case("convt_3d", "ConvTranspose", [f(1, 2, 2, 3, 4), f(2, 1, 2, 2, 3)], ["y"], strides=[1, 2, 2])
u8 = lambda *s: rng.integers(0, 255, s).astype(np.uint8)  # noqa: E731
i8 = lambda *s: rng.integers(-128, 127, s).astype(np.int8)  # noqa: E731
sc = lambda v: np.array(v, np.float32)  # noqa: E731
case("conv_integer", "ConvInteger", [u8(1, 2, 5, 5), u8(3, 2, 3, 3), np.array(120, np.uint8), np.array(131, np.uint8)], ["y"], pads=[1, 1, 1, 1])
case("qlinear_conv", "QLinearConv", [u8(1, 4, 6, 6), sc(0.02), np.array(120, np.uint8), i8(4, 2, 3, 3), sc([0.01, 0.02, 0.015, 0.03]), np.zeros(4, np.int8), sc(0.05), np.array(100, np.uint8), rng.integers(-500, 500, 4).astype(np.int32)], ["y"], group=2, pads=[1, 1, 1, 1])

# Pools.
x = f(2, 3, 9, 8)
for mode, ceil in itertools.product(["MaxPool", "AveragePool"], [0, 1]):
    case(f"{mode.lower()}_ceil{ceil}", mode, [x], ["y"], kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 1, 1], ceil_mode=ceil)
case("maxpool_indices", "MaxPool", [x], ["y", "i"], kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 1])
case("maxpool_columns", "MaxPool", [x], ["y", "i"], kernel_shape=[2, 2], strides=[2, 2], storage_order=1)
case("maxpool_dilated", "MaxPool", [x], ["y"], kernel_shape=[3, 3], dilations=[2, 3])
case("maxpool_1d", "MaxPool", [f(1, 2, 9)], ["y"], kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER")
case("maxpool_3d_u8", "MaxPool", [u8(1, 2, 4, 4, 4)], ["y"], kernel_shape=[2, 2, 2])
case("avgpool_count_pad", "AveragePool", [x], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1, strides=[2, 2])
case("avgpool_same", "AveragePool", [x], ["y"], kernel_shape=[3, 3], auto_pad="SAME_LOWER", strides=[2, 2])
case("avgpool_3d", "AveragePool", [f(1, 2, 4, 5, 6)], ["y"], kernel_shape=[2, 3, 2], pads=[0, 1, 0, 1, 1, 0])
case("lppool", "LpPool", [x], ["y"], kernel_shape=[2, 3], strides=[1, 2], pads=[1, 0, 0, 1], p=3)
case("global_lppool", "GlobalLpPool", [x], ["y"], p=3)
case("global_max_3d", "GlobalMaxPool", [f(1, 2, 3, 4, 5)], ["y"])
case("max_roi_pool", "MaxRoiPool", [f(2, 3, 8, 9), np.array([[0, 0, 0, 8, 6], [1, 2, 2, 5, 7], [0, 6, 3, 6, 3]], np.float32)], ["y"], pooled_shape=[2, 3])
case("max_roi_pool_scaled", "MaxRoiPool", [f(1, 1, 8, 8), np.array([[0, 1, 3, 14, 13]], np.float32)], ["y"], pooled_shape=[3, 2], spatial_scale=0.5)
rois, bi = np.array([[0.5, 1, 6.2, 5], [2, 2, 9, 9]], np.float32), np.array([1, 0], np.int64)
case("roi_align", "RoiAlign", [f(2, 3, 8, 9), rois, bi], ["y"], output_height=3, output_width=2, sampling_ratio=2, spatial_scale=0.7)
case("roi_align_max", "RoiAlign", [f(2, 3, 8, 9), rois, bi], ["y"], output_height=2, output_width=2, mode="max", sampling_ratio=0, coordinate_transformation_mode="output_half_pixel")
case("max_unpool", "MaxUnpool", [f(1, 1, 2, 2), np.array([[[[5, 7], [13, 15]]]], np.int64)], ["y"], kernel_shape=[2, 2], strides=[2, 2])

# Norms.
case("batchnorm_3d", "BatchNormalization", [f(2, 3, 4, 2, 2), f(3), f(3), f(3), np.abs(f(3))], ["y"], epsilon=1e-3)
case("instancenorm_1d", "InstanceNormalization", [f(2, 3, 7), f(3), f(3)], ["y"], epsilon=1e-2)
case("lrn", "LRN", [f(1, 6, 3, 3)], ["y"], size=5, alpha=0.1, beta=0.5, bias=2.0)
case("layernorm_axis", "LayerNormalization", [f(2, 3, 4), f(3, 4), f(3, 4)], ["y", "m", "s"], axis=1, epsilon=1e-3)
case("lpnorm_1", "LpNormalization", [f(2, 3, 4)], ["y"], axis=1, p=1)
case("mvn_axes", "MeanVarianceNormalization", [f(2, 3, 4, 5)], ["y"], axes=[0, 2])
case("softmax_old", "Softmax", [f(2, 3, 4)], ["y"], opset=11, axis=1)
case("logsoftmax_axis0", "LogSoftmax", [f(4, 3)], ["y"], axis=0)

# Recurrent layers: directions, lengths, states, activations, clip, peepholes.
T, B, I, H = 5, 3, 4, 6
lens = np.array([5, 2, 0], np.int32)
for op, g in [("RNN", 1), ("GRU", 3), ("LSTM", 4)]:
    for d, n in [("forward", 1), ("reverse", 1), ("bidirectional", 2)]:
        ins = [f(T, B, I), f(n, g * H, I), f(n, g * H, H), f(n, 2 * g * H), lens, f(n, B, H)]
        outs = ["y", "h"]
        extra = {}
        if op == "LSTM":
            ins += [f(n, B, H), f(n, 3 * H)]
            outs.append("c")
        if op == "GRU" and d != "forward":
            extra["linear_before_reset"] = 1
        case(f"{op.lower()}_{d}", op, ins, outs, hidden_size=H, direction=d, **extra)
case("rnn_relu_clip", "RNN", [f(T, B, I), f(1, H, I), f(1, H, H)], ["y", "h"], hidden_size=H, activations=["Relu"], clip=0.7)
case("lstm_activations", "LSTM", [f(T, B, I), f(1, 4 * H, I), f(1, 4 * H, H)], ["y", "h", "c"], hidden_size=H, activations=["HardSigmoid", "Softsign", "Elu"], activation_alpha=[0.3, 1.2], activation_beta=[0.4], clip=2.0)
case("lstm_coupled", "LSTM", [f(T, B, I), f(1, 4 * H, I), f(1, 4 * H, H)], ["", "h"], hidden_size=H, input_forget=1)
case("gru_activations", "GRU", [f(T, B, I), f(2, 3 * H, I), f(2, 3 * H, H)], ["y"], hidden_size=H, direction="bidirectional", activations=["Sigmoid", "Relu", "HardSigmoid", "Tanh"])

# Resize and sampling.
im = f(1, 2, 5, 6)
none = np.array([], np.float32)
for mode in ["nearest", "linear", "cubic"]:  # onnxruntime and the specification differ on fractional lengths here
    case(f"resize_{mode}_align_corners", "Resize", [im, None, None, np.array([1, 2, 8, 3])], ["y"], opset=19, fixed=[3], mode=mode, coordinate_transformation_mode="align_corners", nearest_mode="floor")
for mode, coord in itertools.product(["nearest", "linear", "cubic"], ["half_pixel", "asymmetric", "pytorch_half_pixel"]):
    case(f"resize_{mode}_{coord}", "Resize", [im, None, sc([1, 1, 1.7, 0.6])], ["y"], opset=19, mode=mode, coordinate_transformation_mode=coord, nearest_mode="floor")
for nm in ["round_prefer_floor", "round_prefer_ceil", "ceil"]:
    case(f"resize_{nm}", "Resize", [im, None, sc([1, 1, 0.5, 2.5])], ["y"], opset=19, nearest_mode=nm)
for mode in ["linear", "cubic"]:
    case(f"resize_antialias_{mode}", "Resize", [f(1, 1, 9, 11), None, None, np.array([1, 1, 4, 5])], ["y"], opset=19, fixed=[3], mode=mode, antialias=1)
case("resize_rounded_length", "Resize", [f(1, 1, 10, 10), None, sc([1, 1, 0.7, 1.1])], ["y"], opset=19, mode="linear")
case("resize_opset10", "Resize", [im, sc([1, 1, 2, 2])], ["y"], opset=10, mode="nearest")
case("resize_opset11_linear", "Resize", [im, none, none, np.array([1, 2, 8, 3])], ["y"], opset=11, fixed=[3], mode="linear", coordinate_transformation_mode="align_corners")
case("resize_u8", "Resize", [u8(1, 1, 4, 4), None, None, np.array([1, 1, 7, 3])], ["y"], opset=19, fixed=[3], mode="nearest")
case("upsample_linear", "Upsample", [im, sc([1, 1, 2, 2])], ["y"], opset=9, mode="linear")
case("crop_and_resize", "Resize", [im, sc([0, 0, 0.2, 0.1, 1, 1, 0.9, 1.3]), None, np.array([1, 2, 4, 5])], ["y"], opset=19, fixed=[3], mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0)
for mode, pad, al in itertools.product(["linear", "nearest", "cubic"], ["zeros", "border", "reflection"], [0, 1]):
    case(f"grid_{mode}_{pad}_{al}", "GridSample", [im, (f(1, 3, 4, 2) * 1.5).astype(np.float32)], ["y"], opset=20, mode=mode, padding_mode=pad, align_corners=al)
case("grid_3d", "GridSample", [f(1, 2, 3, 4, 5), f(1, 2, 2, 2, 3)], ["y"], opset=20)

# Signals, boxes, losses.
for n, inv, one in [(16, 0, 0), (12, 0, 1), (7, 1, 0), (30, 0, 0)]:
    case(f"dft_{n}_{inv}{one}", "DFT", [f(2, n, 2 if inv or not one else 1)], ["y"], axis=1, inverse=inv, onesided=one)
case("dft_padded", "DFT", [f(2, 10, 1), np.array(16)], ["y"], axis=1)
case("stft", "STFT", [f(2, 40, 1), np.array(5), np.hanning(12).astype(np.float32), np.array(12)], ["y"])
for w in ["HannWindow", "HammingWindow", "BlackmanWindow"]:
    case(w.lower(), w, [np.array(9)], ["y"], periodic=0)
case("mel", "MelWeightMatrix", [np.array(8), np.array(64), np.array(16000), sc(20.0), sc(7000.0)], ["y"])
boxes = np.sort(rng.random((2, 20, 2, 2)), axis=2).reshape(2, 20, 4).astype(np.float32)
case("nms", "NonMaxSuppression", [boxes, rng.random((2, 3, 20)).astype(np.float32), np.array([4]), sc([0.3]), sc([0.4])], ["y"])
case("nms_center", "NonMaxSuppression", [rng.random((1, 9, 4)).astype(np.float32), rng.random((1, 1, 9)).astype(np.float32), np.array([9]), sc([0.5])], ["y"], center_point_box=1)
case("affine_grid_3d", "AffineGrid", [f(2, 3, 4), np.array([2, 1, 2, 3, 4])], ["y"], opset=20)
case("col2im", "Col2Im", [f(1, 2 * 6, 12), np.array([5, 6]), np.array([2, 3])], ["y"], opset=18, strides=[1, 2], pads=[0, 1, 0, 1])
case("tfidf_weights", "TfIdfVectorizer", [rng.integers(0, 4, (3, 9))], ["y"], mode="TFIDF", min_gram_length=1, max_gram_length=2, max_skip_count=1, ngram_counts=[0, 3], ngram_indexes=[0, 1, 2, 3, 4], pool_int64s=[0, 2, 3, 0, 1, 2, 2], weights=[0.5, 1.0, 2.0, 3.0, 0.1])
