"""Writes the files the tests read, with NumPy's, safetensors' and onnx's own writers,
and one JSON line per array saying what is in it.  usage: python3 make.py"""
import json
import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

base = np.arange(24).reshape(2, 3, 4)
arrays = {k: base.astype(k) - (0 if k[0] in "u?" else 7) for k in
          ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]}
arrays["bool"] = base % 3 == 0
arrays["complex64"] = (base + 1j * base[::-1]).astype("complex64")
arrays["scalar"] = np.float32(2.5)
arrays["empty"] = np.zeros((3, 0, 2), "float32")
arrays["fortran"] = np.asfortranarray(base.astype("float32"))
arrays["big"] = base.astype(">i4")
arrays["bigcomplex"] = arrays["complex64"].astype(">c8")
arrays["text"] = np.array([["é", "", "long one"], ["日本", "a\0b", "x"]])
arrays["bytes"] = np.array([b"ab", b"c"])
arrays["odd/name: \"q\" \u00e9"] = np.arange(3)
np.savez("numpy.npz", **arrays)
np.savez_compressed("packed.npz", a=arrays["float32"], b=arrays["bool"])
np.save("bf16.npy", base.astype(ml_dtypes.bfloat16))
def plain(a):
    if a.dtype.kind == "S": return [x.decode() for x in a.ravel()]
    if a.dtype.kind == "c": return [[float(x.real), float(x.imag)] for x in a.ravel()]
    return a.ravel().tolist()
json.dump({k: {"shape": list(np.shape(v)), "values": plain(np.asarray(v))} for k, v in arrays.items()}, open("numpy.json", "w"), ensure_ascii=False, indent=0)
st = {k: np.array(v, order="C") for k, v in arrays.items() if v.dtype.kind in "iufb" and k not in ("fortran", "big", "odd/name: \"q\" \u00e9")}
st["bfloat16"] = base.astype(ml_dtypes.bfloat16)
save_file(st, "numpy.safetensors", metadata={"made": "here"})
for k in ["float32", "bool", "uint64", "float16"]:
    with open(f"{k}.pb", "wb") as f:
        f.write(numpy_helper.from_array(arrays[k], k).SerializeToString())
with open("int4.pb", "wb") as f:
    f.write(numpy_helper.from_array(np.arange(-8, 7).reshape(3, 5).astype(ml_dtypes.int4), "int4").SerializeToString())
