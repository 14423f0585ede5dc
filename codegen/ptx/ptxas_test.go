package ptx

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// ptxasPath is NVIDIA's assembler: $MOEC_PTXAS (several separated by the list separator), or ptxas in PATH.
func ptxasPath() []string {
	if p := os.Getenv("MOEC_PTXAS"); p != "" {
		return filepath.SplitList(p)
	}
	if p, err := exec.LookPath("ptxas"); err == nil {
		return []string{p}
	}
	return nil
}

func TestAssemblerPresent(t *testing.T) {
	if len(ptxasPath()) == 0 {
		t.Skip("no ptxas: kernels ran on the emulator only. Install it with .ci/ptxas.sh and set MOEC_PTXAS, or put it in PATH")
	}
}

// assembled remembers kernels that passed, by name, which holds a hash of the text.
var assembled sync.Map

// assemble runs every ptxas there is over an Op's kernels for the three architectures and holds them to
// their limits.
func assemble(t testing.TB, op *Op) {
	t.Helper()
	type job struct {
		bin, arch string
		k         *Kernel
		use       usage
		err       error
	}
	var jobs []*job
	for _, bin := range ptxasPath() {
		for _, l := range op.Launches {
			for _, arch := range []string{"sm_80", "sm_86", "sm_90"} {
				if _, seen := assembled.LoadOrStore(bin+arch+l.Kernel.Name, true); !seen {
					jobs = append(jobs, &job{bin: bin, arch: arch, k: l.Kernel})
				}
			}
		}
	}
	var wg sync.WaitGroup
	slots := make(chan bool, runtime.NumCPU())
	for _, j := range jobs {
		wg.Go(func() {
			slots <- true
			j.use, j.err = runPtxas(j.bin, j.arch, j.k)
			<-slots
		})
	}
	wg.Wait()
	for _, j := range jobs {
		k, u := j.k, j.use
		switch {
		case j.err != nil:
			t.Fatalf("%s for %s: %v", k.Name, j.arch, j.err)
		case u.regs > k.Limits.Registers || u.spill > k.Limits.Spills:
			t.Errorf("%s for %s by %s: %d registers, %d bytes spilled; the limits are %d and %d", k.Name, j.arch, j.bin, u.regs, u.spill, k.Limits.Registers, k.Limits.Spills)
		case j.arch == "sm_80":
			t.Logf("%s: %d threads, %d registers, %d B static + %d B dynamic shared", k.Name, k.Threads, u.regs, k.StaticShared, k.DynamicShared)
		}
	}
}

type usage struct{ regs, spill int }

func runPtxas(bin, arch string, k *Kernel) (usage, error) {
	dir, err := os.MkdirTemp("", "ptx")
	if err != nil {
		return usage{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, k.Name+".ptx")
	if err := os.WriteFile(file, []byte(k.PTX), 0o600); err != nil {
		return usage{}, err
	}
	out, err := exec.Command(bin, "-v", "-arch="+arch, file, "-o", filepath.Join(dir, "out.cubin")).CombinedOutput()
	if err != nil {
		return usage{}, fmt.Errorf("%w: %s", err, out)
	}
	var u usage
	for _, line := range strings.Split(string(out), "\n") {
		if i := strings.Index(line, "Used "); i >= 0 {
			_, _ = fmt.Sscanf(line[i:], "Used %d registers", &u.regs)
		}
		if i := strings.Index(line, "bytes stack frame, "); i >= 0 {
			var s, l int
			if _, err := fmt.Sscanf(line[i:], "bytes stack frame, %d bytes spill stores, %d bytes spill loads", &s, &l); err == nil {
				u.spill += s + l
			}
		}
	}
	if u.regs == 0 {
		return u, fmt.Errorf("ptxas did not say how many registers it used: %s", out)
	}
	return u, nil
}
