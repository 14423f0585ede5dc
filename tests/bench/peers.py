#!/usr/bin/env python3
"""moec beside other CPU engines on whole models, interleaved, min and median of rounds.

    pip install numpy onnx onnxruntime openvino
    go build -o moec ./cmd/moec
    python3 tests/bench/peers.py MODEL.onnx [--shapes 1x16,8x128] [--threads 1,2] [--rounds 5] [--moec ./moec]
    python3 tests/bench/peers.py DECODER.onnx --dims "batch=1,past=128;batch=8,past=128"

Every engine runs the same file on the same inputs. Their shapes are the one given (--shapes), or those
of the model with its named dimensions set (--dims). Floats are normal (images: --shapes 1x3x224x224),
whole numbers are token ids below the vocabulary, a mask of ones, types of zeros, positions at the end of
the past. In each round each engine runs for --seconds, one after the other, so that all see the same
machine; ratios are of medians over rounds of each round's minimum. Numbers of one machine are no
numbers of another: only ratios of one run count.

The last columns are errors against onnxruntime in f32, moec's and the peer's: in f32 the largest
|difference| / max(1, |value|), below that |difference| / |values| as vectors; of the worst output.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

ap = argparse.ArgumentParser()
ap.add_argument("model")
ap.add_argument("--shapes", default="1x16,1x128,8x128")
ap.add_argument("--dims", help="NAME=SIZE,...;NAME=SIZE,... instead of shapes")
ap.add_argument("--threads", default="1,2")
ap.add_argument("--precisions", default="f32,bf16,int8")
ap.add_argument("--rounds", type=int, default=5)
ap.add_argument("--seconds", type=float, default=0.5)
ap.add_argument("--moec", default="./moec")
ap.add_argument("--moec-model", help="the file that moec runs instead of MODEL, such as MODEL converted to a sparse one")
ap.add_argument("--vocab", type=int, default=30000)
ap.add_argument("--json", help="append one JSON line per row to this file")
args = ap.parse_args()

import numpy as np
import onnx
import onnxruntime as ort

try:
    import openvino as ov
except ImportError:
    ov = None

work = tempfile.mkdtemp(prefix="moec-peers-")


def inputs(text):
    """Feeds of a shape, or of the sizes of named dimensions."""
    rng = np.random.default_rng(0)
    sizes = {k: int(v) for k, v in (p.split("=") for p in text.split(","))} if args.dims else None
    given = None if args.dims else tuple(int(n) for n in text.split("x"))
    feeds = {}
    for i in ort.InferenceSession(args.model, providers=["CPUExecutionProvider"]).get_inputs():
        # exporters write sums as names: "past + 1"
        shape = given or tuple(d if isinstance(d, int) else sum(int(sizes.get(t.strip(), t)) for t in d.split("+")) for d in i.shape)
        if i.type == "tensor(float)":
            feeds[i.name] = rng.standard_normal(shape, np.float32)
        elif "mask" in i.name:
            feeds[i.name] = np.ones(shape, np.int64)
        elif "type" in i.name:
            feeds[i.name] = np.zeros(shape, np.int64)
        elif "position" in i.name:
            feeds[i.name] = np.broadcast_to(sizes.get("past", 0) + np.arange(shape[-1]), shape).copy()
        else:
            feeds[i.name] = rng.integers(args.vocab // 30, args.vocab, shape)
    return feeds


def timed(run):
    run()
    best, end = float("inf"), time.perf_counter() + args.seconds
    while time.perf_counter() < end:
        t = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - t)
    return best * 1e3


# An engine is a pair of functions: milliseconds of the fastest run, and the outputs in the model's order.


def onnxruntime(path, threads, feeds):
    so = ort.SessionOptions()
    so.intra_op_num_threads, so.inter_op_num_threads, so.log_severity_level = threads, 1, 4
    so.add_session_config_entry("session.force_spinning_stop", "1")
    s = ort.InferenceSession(path, so, providers=["CPUExecutionProvider"])
    return lambda: timed(lambda: s.run(None, feeds)), lambda: s.run(None, feeds)


def openvino(path, threads, feeds, precision):
    core = ov.Core()
    m = core.compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1})
    r = m.create_infer_request()
    return lambda: timed(lambda: r.infer(feeds)), lambda: [np.array(v) for v in r.infer(feeds).values()]


def moec(precision, threads, feeds):
    art = os.path.join(work, precision + ".moec")
    if not os.path.exists(art):
        subprocess.run([args.moec, "compile", args.moec_model or args.model, "-o", art, "--precision", precision, "--no-parity", "-q"], check=True, stdout=subprocess.DEVNULL)
    ins = ["--threads", str(threads)]
    for k, v in feeds.items():
        f = os.path.join(work, f"{k}_{'x'.join(map(str, v.shape))}.npy")
        np.save(f, v)
        ins += ["--in", f"{k}=@{f}"]

    def time_it():
        out = subprocess.run([args.moec, "bench", art, *ins, "--seconds", str(args.seconds), "--json"], check=True, capture_output=True, text=True).stdout
        return json.loads(out)["results"][0]["min_ms"]

    def outputs():
        npz = os.path.join(work, "out.npz")
        subprocess.run([args.moec, "run", art, *ins, "--out", npz], check=True, stdout=subprocess.DEVNULL)
        with np.load(npz) as z:
            return [z[o.name] for o in onnx.load(args.model, load_external_data=False).graph.output]

    return time_it, outputs


def quantised():
    """The model with its products in int8, convolutions left in f32 as moec leaves them. Weights that reach a MatMul
    through a Transpose or the like are folded first: quantize_dynamic passes over products whose weights are no initialisers."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    whole, folded, path = (os.path.join(work, n) for n in ("whole.onnx", "folded.onnx", "int8.onnx"))
    onnx.save(onnx.load(args.model), whole)  # external data with it
    so = ort.SessionOptions()
    so.graph_optimization_level, so.optimized_model_filepath = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, folded
    ort.InferenceSession(whole, so, providers=["CPUExecutionProvider"])
    quantize_dynamic(folded, path, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm", "Attention", "LSTM", "Gather"])
    ops = [n.op_type for n in onnx.load(path, load_external_data=False).graph.node]
    print(f"int8 peer: {sum('MatMulInteger' in o for o in ops)} of its products in int8, {ops.count('MatMul')} not", flush=True)
    return path


def error(precision, got, want):
    worst = 0.0
    for g, w in zip(got, want):
        if w.dtype.kind != "f":
            continue
        g, w = g.astype(np.float64), w.astype(np.float64)
        if g.shape != w.shape or not np.isfinite(g).all():
            return float("inf")
        e = np.max(np.abs(g - w) / np.maximum(1, np.abs(w))) if precision == "f32" else np.linalg.norm(g - w) / np.linalg.norm(w)
        worst = max(worst, float(e))
    return worst


int8_model = quantised() if "int8" in args.precisions else None
cases = args.dims.split(";") if args.dims else args.shapes.split(",")
wide = max(8, *map(len, cases))
print(f"{'shape':>{wide}} {'threads':>7} {'precision':>9}  {'moec ms':>9} {'peer ms':>9}  {'ratio':>6}  {'error':>7} {'peer':>7}  peer")
for text in cases:
    feeds = inputs(text)
    want = onnxruntime(args.model, 1, feeds)[1]()
    for threads in (int(t) for t in args.threads.split(",")):
        for precision in args.precisions.split(","):
            engines = {"moec": moec(precision, threads, feeds)}
            if precision == "f32":
                engines["onnxruntime f32"] = onnxruntime(args.model, threads, feeds)
                if ov:
                    engines["openvino f32"] = openvino(args.model, threads, feeds, "f32")
            elif precision == "bf16" and ov:
                engines["openvino bf16"] = openvino(args.model, threads, feeds, "bf16")
            elif precision == "int8":
                engines["onnxruntime dynamic int8"] = onnxruntime(int8_model, threads, feeds)
            rounds = {name: [] for name in engines}
            for _ in range(args.rounds):
                for name, (run, _) in engines.items():
                    rounds[name].append(run())
            errors = {name: error(precision, outputs(), want) for name, (_, outputs) in engines.items()}
            med = {name: statistics.median(r) for name, r in rounds.items()}
            peers = {n: v for n, v in med.items() if n != "moec"}
            best = min(peers, key=peers.get) if peers else None
            ratio = med[best] / med["moec"] if best else float("nan")
            print(f"{text:>{wide}} {threads:>7} {precision:>9}  {med['moec']:9.3f} {med[best] if best else float('nan'):9.3f}  {ratio:5.2f}x  {errors['moec']:7.1e} {errors[best] if best else float('nan'):7.1e}  {best}", flush=True)
            if args.json:
                with open(args.json, "a") as f:
                    f.write(json.dumps({"model": os.path.basename(args.model), "shape": text, "threads": threads, "precision": precision, "ms": med, "min_ms": {n: min(r) for n, r in rounds.items()}, "ratio": ratio, "errors": errors}) + "\n")
