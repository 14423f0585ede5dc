#!/usr/bin/env python3
"""moec beside other CPU engines on whole models, interleaved, min and median of rounds.

    pip install numpy onnx onnxruntime openvino
    go build -o moec ./cmd/moec
    python3 tests/bench/peers.py MODEL.onnx [--shapes 1x16,8x128] [--threads 1,2] [--rounds 5] [--moec ./moec]

Every engine runs the same file on the same inputs, all of the shape given: floats are
normal (images: --shapes 1x3x224x224 --precisions f32), whole numbers are token ids below
the vocabulary, a mask of ones, types of zeros. In each round each engine runs for --seconds, one after the
other, so that all see the same machine; ratios are of medians over rounds of each round's
minimum. Numbers of one machine are no numbers of another: only ratios of one run count.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

ap = argparse.ArgumentParser()
ap.add_argument("model")
ap.add_argument("--shapes", default="1x16,1x128,8x128")
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
import onnxruntime as ort

try:
    import openvino as ov
except ImportError:
    ov = None

work = tempfile.mkdtemp(prefix="moec-peers-")


def inputs(shape):
    rng = np.random.default_rng(0)
    feeds = {}
    for i in ort.InferenceSession(args.model, providers=["CPUExecutionProvider"]).get_inputs():
        if i.type == "tensor(float)":
            feeds[i.name] = rng.standard_normal(shape, np.float32)
        elif "mask" in i.name:
            feeds[i.name] = np.ones(shape, np.int64)
        elif "type" in i.name:
            feeds[i.name] = np.zeros(shape, np.int64)
        else:
            feeds[i.name] = rng.integers(1000, args.vocab, shape)
    return feeds


def timed(run):
    run()
    best, end = float("inf"), time.perf_counter() + args.seconds
    while time.perf_counter() < end:
        t = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - t)
    return best * 1e3


def onnxruntime(path, threads, feeds):
    so = ort.SessionOptions()
    so.intra_op_num_threads, so.inter_op_num_threads, so.log_severity_level = threads, 1, 4
    so.add_session_config_entry("session.force_spinning_stop", "1")
    s = ort.InferenceSession(path, so, providers=["CPUExecutionProvider"])
    return lambda: timed(lambda: s.run(None, feeds))


def openvino(path, threads, feeds, precision):
    core = ov.Core()
    m = core.compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1})
    r = m.create_infer_request()
    return lambda: timed(lambda: r.infer(feeds))


def moec(precision, threads, feeds):
    art = os.path.join(work, precision + ".moec")
    if not os.path.exists(art):
        subprocess.run([args.moec, "compile", args.moec_model or args.model, "-o", art, "--precision", precision, "--no-parity", "-q"], check=True, stdout=subprocess.DEVNULL)
    cmd = [args.moec, "bench", art, "--threads", str(threads), "--seconds", str(args.seconds), "--json"]
    for k, v in feeds.items():
        f = os.path.join(work, f"{k}_{'x'.join(map(str, v.shape))}.npy")
        np.save(f, v)
        cmd += ["--in", f"{k}=@{f}"]
    return lambda: json.loads(subprocess.run(cmd, check=True, capture_output=True, text=True).stdout)["results"][0]["min_ms"]


def quantised():
    """The model with its products in int8. Weights that reach a MatMul through a Transpose or the like
    are folded first: quantize_dynamic passes over products whose weights are no initialisers."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    whole, folded, path = (os.path.join(work, n) for n in ("whole.onnx", "folded.onnx", "int8.onnx"))
    onnx.save(onnx.load(args.model), whole)  # external data with it
    so = ort.SessionOptions()
    so.graph_optimization_level, so.optimized_model_filepath = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, folded
    ort.InferenceSession(whole, so, providers=["CPUExecutionProvider"])
    quantize_dynamic(folded, path, weight_type=QuantType.QInt8)
    ops = [n.op_type for n in onnx.load(path, load_external_data=False).graph.node]
    print(f"int8 peer: {sum('MatMulInteger' in o for o in ops)} of its products in int8, {ops.count('MatMul')} not", flush=True)
    return path


int8_model = quantised() if "int8" in args.precisions else None
print(f"{'shape':>8} {'threads':>7} {'precision':>9}  {'moec ms':>9} {'peer ms':>9}  {'ratio':>6}  peer")
for shape_text in args.shapes.split(","):
    shape = tuple(int(n) for n in shape_text.split("x"))
    feeds = inputs(shape)
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
                for name, run in engines.items():
                    rounds[name].append(run())
            med = {name: statistics.median(r) for name, r in rounds.items()}
            peers = {n: v for n, v in med.items() if n != "moec"}
            best = min(peers, key=peers.get) if peers else None
            ratio = med[best] / med["moec"] if best else float("nan")
            print(f"{shape_text:>8} {threads:>7} {precision:>9}  {med['moec']:9.2f} {med[best] if best else float('nan'):9.2f}  {ratio:5.2f}x  {best}", flush=True)
            if args.json:
                with open(args.json, "a") as f:
                    f.write(json.dumps({"model": os.path.basename(args.model), "shape": shape_text, "threads": threads, "precision": precision, "ms": med, "min_ms": {n: min(r) for n, r in rounds.items()}, "ratio": ratio}) + "\n")
