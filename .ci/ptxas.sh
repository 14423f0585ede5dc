#!/usr/bin/env bash
# Installs NVIDIA's assembler from two PyPI wheels (CUDA 12.9 and the newest) into a cache folder and prints
# the value for MOEC_PTXAS, which makes the tests of codegen/ptx assemble every kernel they emit for sm_80,
# sm_86 and sm_90:
#
#   MOEC_PTXAS=$(.ci/ptxas.sh) go test ./codegen/ptx/...
#
# The wheels are zip files; nothing is installed into Python. CACHE is $MOEC_CACHE or ~/.cache/moec.
set -euo pipefail
cache=${MOEC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/moec}/ptxas
py=${PYTHON:-python3}
paths=()
for spec in nvidia-cuda-nvcc-cu12==12.9.86 nvidia-cuda-nvcc; do
  dir=$cache/${spec//=/_}
  if [ ! -x "$dir/ptxas" ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    "$py" -m pip download -q --no-deps --only-binary=:all: -d "$tmp" "$spec" >&2
    mkdir -p "$dir"
    "$py" - "$tmp" "$dir" <<'PY'
import glob, os, sys, zipfile
wheel = glob.glob(os.path.join(sys.argv[1], "*.whl"))[0]
with zipfile.ZipFile(wheel) as z:
    name = next(n for n in z.namelist() if n.endswith("/bin/ptxas"))
    out = os.path.join(sys.argv[2], "ptxas")
    with open(out + ".part", "wb") as f:
        f.write(z.read(name))
    os.chmod(out + ".part", 0o755)
    os.rename(out + ".part", out)
PY
    rm -rf "$tmp"
  fi
  paths+=("$dir/ptxas")
done
(IFS=:; printf '%s\n' "${paths[*]}")
