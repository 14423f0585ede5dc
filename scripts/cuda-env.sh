#!/bin/sh
# Prints the environment that `go build -tags cuda` needs, to be evaluated:
#
#   eval "$(scripts/cuda-env.sh)"
#
# CUDA 12 headers come from CUDA_HOME, /usr/local/cuda, or the PyPI wheel
# nvidia-cuda-runtime-cu12 (10 MB, unpacked into the cache; no Python package
# is installed). The empty libcuda.a satisfies gorgonia.org/cu's -lcuda: the
# driver's functions come from cuda/nvidia/loader or, with the tag cudaemu,
# from the emulator.
set -eu
cache=${MOEC_CUDA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/moec/cuda}
wheel=nvidia-cuda-runtime-cu12==12.9.79
include=
for dir in "${CUDA_HOME:-/nonexistent}/include" /usr/local/cuda/include "$cache/nvidia/cuda_runtime/include"; do
	# cuda.h of CUDA 13 drops functions that gorgonia.org/cu calls.
	if [ -f "$dir/cuda.h" ] && grep -q '#define CUDA_VERSION 12' "$dir/cuda.h"; then
		include=$dir
		break
	fi
done
if [ -z "$include" ]; then
	mkdir -p "$cache"
	python3 -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux2014_x86_64 \
		--platform manylinux_2_17_x86_64 -d "$cache" "$wheel" >&2
	(cd "$cache" && python3 -m zipfile -e nvidia_cuda_runtime_cu12-*.whl .) >&2
	include=$cache/nvidia/cuda_runtime/include
fi
mkdir -p "$cache/lib"
[ -f "$cache/lib/libcuda.a" ] || ar rcs "$cache/lib/libcuda.a"
echo "export CGO_ENABLED=1"
echo "export CGO_CFLAGS='${CGO_CFLAGS:--O2 -g} -I$include'"
echo "export CGO_LDFLAGS='${CGO_LDFLAGS:-} -L$cache/lib'"
