#!/bin/bash
# Runs moec's tests and benchmarks on this machine's NVIDIA GPU and collects
# what to send back in gpu-report/. Needs Go, gcc and the NVIDIA driver.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu-report}
mkdir -p "$out"
eval "$(scripts/cuda-env.sh)"
failed=0
run() { # run NAME COMMAND...: keeps the output and goes on
	local name=$1
	shift
	echo "== $name: $*"
	if ! "$@" >"$out/$name.txt" 2>&1; then
		echo "   FAILED, see $out/$name.txt"
		failed=1
	fi
}
run machine sh -c 'uname -a; nvidia-smi -q; nvidia-smi topo -m; go version; git rev-parse HEAD'
run devices go run -tags cuda ./cmd/moec devices
run doctor go run -tags cuda ./cmd/moec doctor
run driver go test -count=1 -tags cuda -v ./cuda/...
export MOEC_DEVICE=cuda
# Damaged kernels are for the emulator: a GPU may hang on them.
run kernels go test -count=1 -tags cuda -v -skip 'Mutant|Damage' ./codegen/ptx/...
run bench go test -tags cuda -run '^$' -bench . -benchtime 2s ./cuda/nvidia
tar czf "$out.tar.gz" "$out"
echo "send back: $out.tar.gz"
exit $failed
