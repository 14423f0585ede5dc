#!/usr/bin/env python3
"""Feedforward layers of moec beside those of other CPU engines, interleaved.

    pip install numpy onnx onnxruntime openvino        # torch, too, adds its rows
    go build -o moec ./cmd/moec
    python3 tests/bench/peers_layers.py [--kinds dense,moe,fine] [--d 256,512] [--tokens 1,64] [--threads 1] [--precisions f32,int8]

Layers: a dense MLP d-4d-d with ReLU; sigma-MoE of as many parameters (experts of --group
units, --k per token, sigmoid gates; router and sort included); and with --kinds fine the
experts that conversion makes (d 384, 96 experts of 16 units, 24 per token, gate none)
beside the dense layer of as many parameters, both by moec.

Every engine sees the same weights and the same tokens. A round runs each engine for
--seconds, one after the other, so that all see the same machine; a row gives the median
over the rounds of each round's minimum, and the least time of all. The ratio is the best
peer's time over moec's (above 1: moec is faster). "roof" is the least time that the machine
allows, max(FLOPs / peak, touched weight bytes / bandwidth of memory as large), both measured
by `moec bench` in the same rounds, over moec's median time. Outputs are held to float64
within TOLERANCE before anything is timed. Only ratios of one run count.
"""
import argparse, json, logging, os, shutil, statistics, subprocess, sys, tempfile, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--kinds", default="dense,moe,fine")
ap.add_argument("--d", default="256,512,1024,2048")
ap.add_argument("--tokens", default="1,8,64,512")
ap.add_argument("--threads", default="1,2")
ap.add_argument("--precisions", default="f32,bf16,int8")
ap.add_argument("--group", type=int, default=128, help="units of an expert")
ap.add_argument("--k", type=int, default=4, help="experts per token")
ap.add_argument("--rounds", type=int, default=3)
ap.add_argument("--seconds", type=float, default=0.2, help="of each engine in each round")
ap.add_argument("--moec", default="./moec")
ap.add_argument("--moec-flags", default="", help="more flags for moec bench")
ap.add_argument("--all", action="store_true", help="print every peer's time, not the best one's alone")
ap.add_argument("--json", help="append one JSON line per row to this file")
args = ap.parse_args()
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # long spins collapse on a shared machine
logging.disable(logging.WARNING)

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

try:
    import openvino as ov
except ImportError:
    ov = None
try:
    import torch
    import torch.nn.functional as F

    torch.set_grad_enabled(False)
except ImportError:
    torch = None

work = tempfile.mkdtemp(prefix="moec-layers-")
# What a precision may differ by from float64, of the largest output.
TOLERANCE = {"f32": 1e-4, "bf16": 0.05, "int8": 0.1}


class Layer:
    """One layer's weights: W1 [E,d,G], W2 [E,G,d] and, for mixtures, the router [d,E]."""

    def __init__(self, kind, d, group, k):
        self.kind, self.d, self.f, self.k = kind, d, 4 * d, k
        self.e, self.g = (1, self.f) if kind == "dense" else (self.f // group, group)
        self.k = min(k, self.e)
        rng = np.random.default_rng(d)
        self.w1 = (rng.standard_normal((self.e, d, self.g)) / np.sqrt(d)).astype(np.float32)
        self.w2 = (rng.standard_normal((self.e, self.g, d)) / np.sqrt(self.f)).astype(np.float32)
        self.router = (rng.standard_normal((d, self.e)) / np.sqrt(d)).astype(np.float32)

    def tokens(self, n):
        return np.random.default_rng(n).standard_normal((n, self.d)).astype(np.float32)

    def select(self, x):
        logits = x.astype(np.float64) @ self.router
        return logits, np.argsort(-logits, 1, kind="stable")[:, : self.k]

    def reference(self, x):
        """The layer in float64."""
        x = x.astype(np.float64)
        if self.kind == "dense":
            return np.maximum(x @ self.w1[0], 0) @ self.w2[0]
        logits, sel = self.select(x)
        y = np.zeros_like(x)
        for e in range(self.e):
            rows = np.nonzero((sel == e).any(1))[0]
            gate = 1 if self.kind == "fine" else 1 / (1 + np.exp(-logits[rows, e : e + 1]))
            y[rows] += gate * (np.maximum(x[rows] @ self.w1[e], 0) @ self.w2[e])
        return y

    def flops(self, n):
        if self.kind == "dense":
            return 4.0 * n * self.d * self.f
        return n * (4.0 * self.k * self.d * self.g + 2.0 * self.d * self.e)

    def touched(self, x):
        """Weights that the tokens need at least once, in elements."""
        experts = 1 if self.kind == "dense" else len(np.unique(self.select(x)[1]))
        return 2 * experts * self.d * self.g


def model(nodes, layer, inits, batch):
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, layer.d]) for n in "xy"]
    graph = helper.make_graph(nodes, "layer", io[:1], io[1:], [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in inits.items()])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("moec", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def dense_model(layer, batch):
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("Relu", ["h"], ["r"]), helper.make_node("MatMul", ["r", "w2"], ["y"])]
    return model(nodes, layer, {"w1": layer.w1[0], "w2": layer.w2[0]}, batch)


def moec_model(layer):
    """The layer for moec: plain ONNX if dense, else its own operator."""
    if layer.kind == "dense":
        return dense_model(layer, "n")
    gate = "none" if layer.kind == "fine" else "sigmoid"
    node = helper.make_node("MoE", ["x", "w1", "w2", "sel"], ["y"], domain="moec", gate=gate, activation="relu", selection="topk", k=layer.k)
    return model([node], layer, {"w1": layer.w1, "w2": layer.w2, "sel": layer.router.T}, "n")


def repeat(run, seconds):
    """The least time of a call of run, in ms, over so many seconds."""
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        t = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - t)
    return best * 1e3


class Moec:
    def __init__(self, layer, precision, threads, x):
        name = f"{layer.kind}{layer.d}"
        onnx_file, self.art = os.path.join(work, name + ".onnx"), os.path.join(work, f"{name}.{precision}.moec")
        if not os.path.exists(self.art):
            if not os.path.exists(onnx_file):
                onnx.save(moec_model(layer), onnx_file)
            self.call("compile", onnx_file, "-o", self.art, "--precision", precision, "--no-parity", "-q")
        self.file = os.path.join(work, "x.npy")
        self.x, self.threads, self.peaks = x, threads, []

    def call(self, *argv):
        return subprocess.run([args.moec, *argv], check=True, capture_output=True, text=True).stdout

    def output(self):
        out = os.path.join(work, "y.npz")
        np.save(self.file, self.x)
        self.call("run", self.art, "--in", f"x=@{self.file}", "--out", out, "--threads", str(self.threads))
        return np.load(out)["y"]

    def timed(self):
        np.save(self.file, self.x)
        argv = ["bench", self.art, "--in", f"x=@{self.file}", "--threads", str(self.threads), "--seconds", str(args.seconds), "--json"]
        r = json.loads(self.call(*argv, *args.moec_flags.split()))["results"][0]
        self.peaks.append(r["peaks"])
        return r["min_ms"]

    def roof(self, layer, precision):
        """The least time in ms by the median peaks of the rounds."""
        peak, read = (statistics.median(p[key] for p in self.peaks) for key in ("packed_gflops", "read_gbps"))
        size = {"f32": 4, "bf16": 2, "int8": 1}[precision]
        return max(layer.flops(len(self.x)) / peak, layer.touched(self.x) * size / read) / 1e6


class Callable:
    """A peer: call runs it, out gives the output of the last call."""

    def __init__(self, call, out):
        self.call, self.out = call, out

    def output(self):
        self.call()
        return np.asarray(self.out(), dtype=np.float64)

    def timed(self):
        return repeat(self.call, args.seconds)


def onnxruntime(m, threads, x):
    so = ort.SessionOptions()
    so.intra_op_num_threads, so.inter_op_num_threads, so.log_severity_level = threads, 1, 4
    so.add_session_config_entry("session.force_spinning_stop", "1")
    path = os.path.join(work, "peer.onnx")
    onnx.save(m, path)
    s = ort.InferenceSession(path, so, providers=["CPUExecutionProvider"])
    b = s.io_binding()
    b.bind_cpu_input("x", x)
    b.bind_output("y", "cpu")
    return Callable(lambda: s.run_with_iobinding(b), lambda: b.copy_outputs_to_cpu()[0])


def ort_dense(layer, threads, x):
    return onnxruntime(dense_model(layer, len(x)), threads, x)


def ort_dense_int8(layer, threads, x):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    a, b = os.path.join(work, "f32.onnx"), os.path.join(work, "q.onnx")
    onnx.save(dense_model(layer, len(x)), a)
    quantize_dynamic(a, b, weight_type=QuantType.QInt8, per_channel=True)
    return onnxruntime(onnx.load(b), threads, x)


def ort_moe(layer, threads, x):
    """onnxruntime's MoE normalises by softmax; fed the logarithms of the sigmoids, and its
    output times their sum, it gives sigma-MoE's gates exactly."""
    n = helper.make_node
    nodes = [
        n("MatMul", ["x", "w3"], ["l"]), n("Sigmoid", ["l"], ["s"]), n("Log", ["s"], ["ls"]), n("ReduceSum", ["s", "ax"], ["sum"], keepdims=1),
        n("MoE", ["x", "ls", "a", "", "b", ""], ["m"], domain="com.microsoft", k=layer.k, activation_type="relu", normalize_routing_weights=0),
        n("Mul", ["m", "sum"], ["y"]),
    ]
    inits = {"w3": layer.router, "a": layer.w1.transpose(0, 2, 1), "b": layer.w2.transpose(0, 2, 1), "ax": np.array([1], np.int64)}
    return onnxruntime(model(nodes, layer, inits, len(x)), threads, x)


def ort_qmoe(layer, threads, x):
    block = 32

    def quantised(w):  # [E,N,K] to bytes around 128 with a scale per block of K
        e, rows, cols = w.shape
        w = w.reshape(e, rows, cols // block, block)
        scale = (np.abs(w).max(3) / 127 + 1e-12).astype(np.float32)
        q = np.clip(np.rint(w / scale[..., None]), -127, 127) + 128
        return q.astype(np.uint8).reshape(e, rows, cols), scale

    n = helper.make_node
    nodes = [
        n("MatMul", ["x", "w3"], ["l"]), n("Sigmoid", ["l"], ["s"]),
        n("QMoE", ["x", "l", "a", "sa", "", "b", "sb", "", "", "", "", "", "", "", "s"], ["y"], domain="com.microsoft", k=layer.k,
          activation_type="relu", expert_weight_bits=8, block_size=block, accuracy_level=4, normalize_routing_weights=0),
    ]
    a, sa = quantised(layer.w1.transpose(0, 2, 1))
    b, sb = quantised(layer.w2.transpose(0, 2, 1))
    return onnxruntime(model(nodes, layer, {"w3": layer.router, "a": a, "sa": sa, "b": b, "sb": sb}, len(x)), threads, x)


def openvino(precision):
    def make(layer, threads, x):
        path = os.path.join(work, "ov.onnx")
        onnx.save(dense_model(layer, len(x)), path)
        m = ov.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1})
        r = m.create_infer_request()
        r.set_input_tensor(ov.Tensor(x, shared_memory=True))
        return Callable(r.infer, lambda: r.get_output_tensor().data)

    return make


def torch_dense(dtype):
    def make(layer, threads, x):
        torch.set_num_threads(threads)
        w1, w2 = (torch.from_numpy(w[0].T.copy()).to(dtype) for w in (layer.w1, layer.w2))
        xx, last = torch.from_numpy(x).to(dtype), [None]

        def call():
            last[0] = F.linear(F.relu(F.linear(xx, w1)), w2)

        return Callable(call, lambda: last[0].float().numpy())

    return make


def torch_grouped(dtype):
    def make(layer, threads, x):
        torch.set_num_threads(threads)
        grouped = getattr(F, "grouped_mm", None) or torch._grouped_mm
        w1, w2, w3 = torch.from_numpy(layer.w1).to(dtype), torch.from_numpy(layer.w2).to(dtype), torch.from_numpy(layer.router)
        tx, last = torch.from_numpy(x), [None]
        xx = tx.to(dtype)

        def call():
            p, sel = torch.topk(tx @ w3, layer.k, dim=-1, sorted=False)
            gates, flat = torch.sigmoid(p).reshape(-1).to(dtype), sel.reshape(-1)
            order = torch.argsort(flat)
            token = order // layer.k
            ends = torch.cumsum(torch.bincount(flat, minlength=layer.e), 0).to(torch.int32)
            h = grouped(xx.index_select(0, token), w1, offs=ends).relu_()
            h.mul_(gates[order].unsqueeze(1))
            last[0] = torch.zeros(len(x), layer.d, dtype=dtype).index_add_(0, token, grouped(h, w2, offs=ends))

        return Callable(call, lambda: last[0].float().numpy())

    return make


def torch_few(layer, threads, x):
    """One product per chosen expert: the fewest calls for few tokens."""
    torch.set_num_threads(threads)
    w1, w2, w3, tx, last = torch.from_numpy(layer.w1), torch.from_numpy(layer.w2), torch.from_numpy(layer.router), torch.from_numpy(x), [None]

    def call():
        p, sel = torch.topk(tx @ w3, layer.k, dim=-1, sorted=False)
        gates, y = torch.sigmoid(p), torch.zeros_like(tx)
        flat = sel.tolist()
        for t in range(len(x)):
            for j, e in enumerate(flat[t]):
                y[t].addmv_(w2[e].t(), torch.mv(w1[e].t(), tx[t]).relu_(), alpha=float(gates[t, j]))
        last[0] = y

    return Callable(call, lambda: last[0].numpy())


def peers(kind, precision, n):
    """Makers of peers by name."""
    table = {
        ("dense", "f32"): {"onnxruntime": ort_dense, "openvino": ov and openvino("f32"), "torch": torch and torch_dense(torch.float32)},
        ("dense", "bf16"): {"openvino bf16": ov and openvino("bf16"), "torch bf16": torch and torch_dense(torch.bfloat16)},
        ("dense", "int8"): {"onnxruntime dynamic int8": ort_dense_int8},
        ("moe", "f32"): {"onnxruntime MoE": ort_moe, "torch grouped_mm": torch and torch_grouped(torch.float32), "torch mv": torch and n <= 8 and torch_few},
        ("moe", "bf16"): {"torch grouped_mm bf16": torch and torch_grouped(torch.bfloat16)},
        ("moe", "int8"): {"onnxruntime QMoE": ort_qmoe},
    }
    return {name: make for name, make in table.get((kind, precision), {}).items() if make}


def check(name, got, want, precision):
    err = np.abs(got - want).max() / np.abs(want).max()
    if not err <= TOLERANCE[precision]:
        print(f"{name}: differs from float64 by {err:.2g} of the largest output, left out", file=sys.stderr)
        return False
    return True


def rounds(engines):
    """Times by engine: a list of each round's minimum."""
    times = {name: [] for name in engines}
    for _ in range(args.rounds):
        for name, e in engines.items():
            times[name].append(e.timed())
    return times


def emit(row):
    if args.json:
        with open(args.json, "a") as f:
            f.write(json.dumps(row) + "\n")


def compare(kind, d, n, threads, precision):
    layer = Layer(kind, d, args.group, args.k)
    x = layer.tokens(n)
    want = layer.reference(x)
    ours = Moec(layer, precision, threads, x)
    engines = {"moec": ours}
    for name, make in peers(kind, precision, n).items():
        try:
            engines[name] = make(layer, threads, x)
        except Exception as e:  # a peer without this op or shape
            print(f"{name}: {str(e)[:200]}", file=sys.stderr)
    engines = {name: e for name, e in engines.items() if check(name, e.output(), want, precision)}
    if "moec" not in engines:
        sys.exit(1)
    times = rounds(engines)
    med, least = ({name: f(t) for name, t in times.items()} for f in (statistics.median, min))
    others = [name for name in engines if name != "moec"]
    best = min(others, key=med.get) if others else None
    roof = ours.roof(layer, precision)
    ratio, ratio_min = (v[best] / v["moec"] if best else float("nan") for v in (med, least))
    print(f"{kind:>5} {d:>5} {n:>4} {threads:>3} {precision:>4}  {med['moec']:9.4f} {least['moec']:9.4f}  {med[best] if best else float('nan'):9.4f}"
          f"  {ratio:6.2f} {ratio_min:6.2f}  {100 * roof / med['moec']:4.0f} %  {best or '-'}", flush=True)
    if args.all:
        for name in others:
            print(f"{'':>25} {name}: {med[name]:.4f} ms, least {least[name]:.4f}", flush=True)
    emit({"kind": kind, "d": d, "tokens": n, "threads": threads, "precision": precision, "ms": med, "min_ms": least, "best": best, "ratio": ratio,
          "ratio_min": ratio_min, "roof_ms": roof, "peaks": ours.peaks})


def fine(n, threads, precision):
    """Fine experts beside the dense kernel: GFLOP/s of both by moec."""
    x = Layer("dense", 384, 16, 24).tokens(n)
    layers = {"dense": Layer("dense", 384, 16, 24), "fine": Layer("fine", 384, 16, 24)}
    engines = {name: Moec(layer, precision, threads, x) for name, layer in layers.items()}
    for name, e in engines.items():
        if not check("moec " + name, e.output(), layers[name].reference(x), precision):
            sys.exit(1)
    times = rounds(engines)
    rate = {name: layers[name].flops(n) / statistics.median(t) / 1e6 for name, t in times.items()}
    print(f" fine   384 {n:>4} {threads:>3} {precision:>4}  {statistics.median(times['fine']):9.4f} {min(times['fine']):9.4f}  {statistics.median(times['dense']):9.4f}"
          f"  {rate['fine']:.0f} of {rate['dense']:.0f} GFLOP/s: {100 * rate['fine'] / rate['dense']:.0f} % of dense", flush=True)
    emit({"kind": "fine", "tokens": n, "threads": threads, "precision": precision, "ms": times, "gflops": rate})


def main():
    numbers = lambda s: [int(v) for v in s.split(",")]
    print(f"{'layer':>5} {'d':>5} {'T':>4} {'thr':>3} {'prec':>4}  {'moec ms':>9} {'least':>9}  {'peer ms':>9}  {'ratio':>6} {'of min':>6}  {'roof':>6}  best peer")
    for kind in args.kinds.split(","):
        for d in numbers(args.d) if kind != "fine" else [384]:
            for precision in args.precisions.split(","):
                for threads in numbers(args.threads):
                    for n in numbers(args.tokens):
                        fine(n, threads, precision) if kind == "fine" else compare(kind, d, n, threads, precision)


try:
    main()
finally:
    shutil.rmtree(work, ignore_errors=True)
