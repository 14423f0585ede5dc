#!/bin/bash
# Tests everything that needs the CUDA headers: gorgonia.org/cu on the emulator
# in this process, the binary that finds the driver at run time, and the
# emulator as libcuda.so.1. On a machine with a GPU the same tests run on it.
set -euo pipefail
cd "$(dirname "$0")/.."
eval "$(scripts/cuda-env.sh)"
go vet -tags cuda,cudaemu ./cuda/...
go test -tags cuda,cudaemu ./cuda/nvidia ./cuda/session
# Every kernel of ours by the driver's own launch. The checks are the other run's; here a fault would stay.
MOEC_DEVICE=cuda MOEC_EMU_CHECKS=0 go test -tags cuda,cudaemu -skip 'Mutant|Damage' ./codegen/ptx
go test -tags cuda -v ./cuda/nvidia | grep -v '^===' # says why it skips without a GPU

# The shared library takes the driver's place for a program that loads it.
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
go build -tags cudaemu -buildmode=c-shared -o "$out/libcuda.so.1" ./cuda/emu/libcuda
go test -tags cuda -c -o "$out/nvidia.test" ./cuda/nvidia
(cd cuda/nvidia && LD_LIBRARY_PATH="$out" "$out/nvidia.test" -test.v | grep -v '^===')
