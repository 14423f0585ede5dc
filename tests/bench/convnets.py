#!/usr/bin/env python3
"""Writes convolutional models with random weights, for peers.py: NAME.onnx in a folder.

    pip install numpy onnx
    python3 tests/bench/convnets.py DIR

The shapes are those of the networks the names say (ResNet, MobileNet V2 and V3,
ConvNeXt, VGG), some cut short; batch normalisation is a node of its own, as training
leaves it. conv1d is a stack of dilated residual convolutions of sequences, misc has
groups, dilations, concatenations and pools side by side.
"""
import os, sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

out = sys.argv[1]


class Net:
    """A graph of one input "x", [n, *shape], built node by node; methods return names."""

    def __init__(self, name, *shape):
        self.name, self.nodes, self.consts, self.count = name, [], [], 0
        self.rng = np.random.default_rng(1)
        self.input = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])

    def fresh(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def const(self, a):
        name = self.fresh("w")
        self.consts.append(numpy_helper.from_array(np.asarray(a, np.float32), name))
        return name

    def normal(self, scale, *shape):
        return self.const(self.rng.standard_normal(shape) * scale)

    def uniform(self, lo, hi, n):
        return self.const(self.rng.uniform(lo, hi, n))

    def op(self, op, *ins, **attrs):
        y = self.fresh("t")
        self.nodes.append(helper.make_node(op, list(ins), [y], name=f"{op}_{self.count}", **attrs))
        return y

    def act(self, y, kind):
        if kind == "relu6":
            return self.op("Clip", y, self.const(0), self.const(6))
        if kind == "silu":
            return self.op("Mul", y, self.op("Sigmoid", y))
        if kind == "gelu":
            erf = self.op("Erf", self.op("Div", y, self.const(2**0.5)))
            return self.op("Mul", self.op("Mul", y, self.op("Add", erf, self.const(1))), self.const(0.5))
        return self.op({"relu": "Relu", "hardswish": "HardSwish"}[kind], y) if kind else y

    def conv(self, x, c, m, k, stride=1, groups=1, pad=None, norm=True, act=None, dilation=1, axes=2):
        pad = dilation * (k - 1) // 2 if pad is None else pad
        per = c // groups
        ins = [x, self.normal((per * k**axes) ** -0.5, m, per, *[k] * axes)]
        if not norm:
            ins.append(self.normal(0.1, m))
        y = self.op("Conv", *ins, kernel_shape=[k] * axes, strides=[stride] * axes, pads=[pad] * 2 * axes, group=groups, dilations=[dilation] * axes)
        if norm:
            y = self.op("BatchNormalization", y, self.uniform(0.8, 1.2, m), self.uniform(-0.1, 0.1, m), self.uniform(-0.1, 0.1, m), self.uniform(0.8, 1.2, m))
        return self.act(y, act)

    def squeeze(self, x, c, r):
        z = self.conv(self.op("GlobalAveragePool", x), c, r, 1, norm=False, act="relu")
        return self.op("Mul", x, self.op("HardSigmoid", self.conv(z, r, c, 1, norm=False), alpha=1 / 6.0, beta=0.5))

    def linear(self, x, i, o):
        return self.op("Add", self.op("MatMul", x, self.normal(i**-0.5, i, o)), self.normal(0.1, o))

    def save(self, x, c, classes=100):
        y = self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)
        self.op("Gemm", y, self.normal(c**-0.5, classes, c), self.normal(0.1, classes), transB=1)
        self.nodes[-1].output[0] = "y"
        g = helper.make_graph(self.nodes, self.name, [self.input], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], self.consts)
        m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)])
        m.ir_version = 8
        onnx.save(onnx.shape_inference.infer_shapes(m), os.path.join(out, self.name + ".onnx"))


def resnet(name, blocks, bottleneck, side=224):
    b, c = Net(name, 3, side, side), 64
    x = b.op("MaxPool", b.conv("x", 3, 64, 7, 2, act="relu"), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for i, n in enumerate(blocks):
        w = 64 << i
        o = 4 * w if bottleneck else w
        for j in range(n):
            stride = 2 if i > 0 and j == 0 else 1
            if bottleneck:
                y = b.conv(b.conv(b.conv(x, c, w, 1, act="relu"), w, w, 3, stride, act="relu"), w, o, 1)
            else:
                y = b.conv(b.conv(x, c, w, 3, stride, act="relu"), w, w, 3)
            if stride != 1 or c != o:
                x = b.conv(x, c, o, 1, stride)
            x, c = b.op("Relu", b.op("Add", y, x)), o
    b.save(x, c)


def inverted(b, x, c, hidden, o, k, stride, act, squeeze):
    y = b.conv(x, c, hidden, 1, act=act) if hidden != c else x
    y = b.conv(y, hidden, hidden, k, stride, groups=hidden, act=act)
    if squeeze:
        y = b.squeeze(y, hidden, max(8, hidden // 4))
    y = b.conv(y, hidden, o, 1)
    return b.op("Add", y, x) if stride == 1 and c == o else y


def mobilenet():
    b, c = Net("mobilenetv3", 3, 224, 224), 16
    x = b.conv("x", 3, 16, 3, 2, act="hardswish")
    for k, hidden, o, squeeze, act, stride in [
        (3, 16, 16, 0, "relu", 1), (3, 64, 24, 0, "relu", 2), (3, 72, 24, 0, "relu", 1), (5, 72, 40, 1, "relu", 2),
        (5, 120, 40, 1, "relu", 1), (3, 240, 80, 0, "hardswish", 2), (3, 200, 80, 0, "hardswish", 1),
        (3, 480, 112, 1, "hardswish", 1), (5, 672, 160, 1, "hardswish", 2), (5, 960, 160, 1, "hardswish", 1),
    ]:
        x, c = inverted(b, x, c, hidden, o, k, stride, act, squeeze), o
    b.save(b.conv(x, c, 960, 1, act="hardswish"), 960)
    b, c = Net("mobilenetv2", 3, 224, 224), 32
    x = b.conv("x", 3, 32, 3, 2, act="relu6")
    for e, o, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for j in range(n):
            x, c = inverted(b, x, c, c * e, o, 3, s if j == 0 else 1, "relu6", False), o
    b.save(b.conv(x, c, 1280, 1, act="relu6"), 1280)


def convnext():
    b, x, c = Net("convnext", 3, 224, 224), "x", 3
    norm = lambda x, c: b.op("LayerNormalization", x, b.uniform(0.8, 1.2, c), b.normal(0.1, c), axis=-1, epsilon=1e-6)
    last = lambda x: b.op("Transpose", x, perm=[0, 2, 3, 1])
    first = lambda x: b.op("Transpose", x, perm=[0, 3, 1, 2])
    for d, n in [(96, 2), (192, 2), (384, 3), (768, 2)]:
        if c == 3:
            x = first(norm(last(b.conv(x, 3, d, 4, 4, pad=0, norm=False)), d))
        else:
            x = b.conv(first(norm(last(x), c)), c, d, 2, 2, pad=0, norm=False)
        c = d
        for _ in range(n):
            y = norm(last(b.conv(x, d, d, 7, groups=d, norm=False)), d)
            y = b.linear(b.act(b.linear(y, d, 4 * d), "gelu"), 4 * d, d)
            x = b.op("Add", first(b.op("Mul", y, b.uniform(0.1, 1, d))), x)
    b.save(x, c)


def vgg():
    b, x, c = Net("vgg", 3, 224, 224), "x", 3
    for o, n in [(64, 1), (128, 1), (256, 2), (512, 2), (512, 2)]:
        for _ in range(n):
            x, c = b.conv(x, c, o, 3, norm=False, act="relu"), o
        x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    b.save(x, c)


def conv1d():
    b = Net("conv1d", 80, 1000)
    x = b.conv("x", 80, 256, 5, axes=1, act="relu")
    for d in (1, 2, 3, 4):
        y = b.conv(b.conv(x, 256, 256, 3, axes=1, dilation=d, act="relu"), 256, 256, 1, axes=1)
        x = b.op("Relu", b.op("Add", x, y))
    b.save(b.conv(x, 256, 384, 3, 2, axes=1, norm=False, act="gelu"), 384)


def misc():
    b = Net("misc", 3, 64, 64)
    x = b.conv(b.conv("x", 3, 48, 3, act="silu"), 48, 96, 3, 2, act="silu")
    y = b.conv(b.conv(x, 96, 96, 3, groups=4, act="relu"), 96, 96, 3, dilation=2, act="relu")
    y = b.conv(b.op("Add", x, y), 96, 48, 1, act="silu")
    x = b.op("Concat", y, b.conv(y, 48, 48, 5, act="silu"), axis=1)
    pools = [b.op("MaxPool", x, kernel_shape=[5, 5], pads=[2] * 4), b.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)]
    x = b.conv(b.op("Concat", x, *pools, axis=1), 288, 200, 1, act="silu")
    b.save(b.conv(x, 200, 200, 3, 2, act="silu"), 200)


resnet("resnet18", [2, 2, 2, 2], False)
resnet("resnet18_64", [2, 2, 2, 2], False, 64)
resnet("resnet50", [3, 4, 6, 3], True)
mobilenet()
convnext()
vgg()
conv1d()
misc()
