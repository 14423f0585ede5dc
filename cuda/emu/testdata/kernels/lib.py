"""Writes launches of compiled kernels in the corpus's form.

Tools come from the environment:
  OUT       folder to write to
  CUDA      root of the wheels nvidia-cuda-nvcc, -nvvm, -crt, -runtime and -cccl (.../nvidia/cu13)
  CUTLASS   include folder of CUTLASS, for one kernel
  CLANG, CLANG_OLD   clang 19 and clang 14
"""
import json
import os
import shutil
import subprocess
import tempfile

import ml_dtypes
import numpy as np

bf16 = ml_dtypes.bfloat16
OUT = os.environ.get("OUT", "out")
rng = np.random.default_rng(1)
DT = {
    np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.float16): "f16", np.dtype(bf16): "bf16",
    np.dtype(np.int8): "s8", np.dtype(np.uint8): "u8", np.dtype(np.int16): "s16", np.dtype(np.uint16): "u16",
    np.dtype(np.int32): "s32", np.dtype(np.uint32): "u32", np.dtype(np.int64): "s64", np.dtype(np.uint64): "u64",
}


class Buf:
    """A buffer parameter: its input, and the output expected of it."""

    def __init__(self, name, inp, out=None, tol=None):
        self.name, self.inp, self.out, self.tol = name, np.ascontiguousarray(inp), out, tol


def save(path, a):
    np.save(path, a.view(np.uint16) if a.dtype == bf16 else a)


def case(name, ptx, grid, block, params, shared=0, note="", kernel=None):
    """Writes one folder. params: Buf, or (kind, value) of a scalar."""
    d = os.path.join(OUT, name)
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    with open(d + "/kernel.ptx", "w") as f:
        f.write(ptx)
    ps = []
    for p in params:
        if not isinstance(p, Buf):
            ps.append({"kind": p[0], "value": p[1]})
            continue
        e = {"name": p.name, "kind": "buffer", "dtype": DT[p.inp.dtype], "in": p.name + ".in.npy"}
        save(d + "/" + e["in"], p.inp)
        if p.out is not None:
            o = np.ascontiguousarray(np.asarray(p.out).astype(p.inp.dtype))
            assert o.shape == p.inp.shape, (name, p.name, o.shape, p.inp.shape)
            e["out"] = p.name + ".out.npy"
            save(d + "/" + e["out"], o)
            e["tolerance"] = p.tol if p.tol is not None else 0
        ps.append(e)
    three = lambda v: list(v) + [1] * (3 - len(v))
    launch = {"note": note, "grid": three(grid), "block": three(block), "dynamic_shared_bytes": int(shared), "params": ps}
    if kernel:
        launch["kernel"] = kernel
    with open(d + "/launch.json", "w") as f:
        json.dump(launch, f, indent=1)
    print("case", name, len(ptx))


def run(cmd, src):
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/k.cu", "w") as f:
            f.write(src)
        r = subprocess.run([*cmd, d + "/k.cu", "-o", d + "/k.ptx"], capture_output=True, text=True)
        if r.returncode:
            print(r.stderr[:6000])
            raise SystemExit(cmd[0] + " failed")
        with open(d + "/k.ptx") as f:
            return f.read()


def nvcc(src, arch="sm_80", flags=()):
    cuda = os.environ["CUDA"]
    inc = [cuda + "/include", cuda + "/include/cccl", os.environ.get("CUTLASS", cuda + "/include")]
    return run([cuda + "/bin/nvcc", *("-I" + i for i in inc), "-std=c++17", "-arch=" + arch, "-O3", *flags, "-ptx"], src)


def clang(src, arch="sm_80", flags=(), old=False):
    tool = os.environ.get("CLANG_OLD", "clang-14") if old else os.environ.get("CLANG", "clang-19")
    feature = ["-Xclang", "-target-feature", "-Xclang", "+ptx75" if old else "+ptx85"]
    return run([tool, *feature, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=" + arch, "-nocudainc", "-nocudalib", "-O3", "-S", *flags], src)
