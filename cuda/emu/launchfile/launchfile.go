// Package launchfile runs a kernel launch described by a JSON file: the grid,
// the parameters with their input arrays, and the outputs expected of it.
//
//	{"grid": [2,2,1], "block": [128,1,1], "dynamic_shared_bytes": 0,
//	 "params": [
//	   {"name": "x", "kind": "buffer", "dtype": "f32", "in": "x.in.npy"},
//	   {"name": "y", "kind": "buffer", "dtype": "f32", "in": "y.in.npy",
//	    "out": "y.out.npy", "tolerance": 1e-5},
//	   {"kind": "s32", "value": 96}]}
//
// Files are NumPy arrays beside the JSON file; a bf16 array is stored as its
// 16-bit patterns. A tolerance is relative to the largest expected magnitude.
package launchfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// File is the description of a launch.
type File struct {
	Note         string  `json:"note"`
	Kernel       string  `json:"kernel"` // needed when the module has several
	Grid         [3]int  `json:"grid"`
	Block        [3]int  `json:"block"`
	DynamicBytes int     `json:"dynamic_shared_bytes"`
	Cluster      [3]int  `json:"cluster"` // blocks of a cluster, when the kernel does not say it
	Params       []Param `json:"params"`
}

// Param is one kernel parameter: a buffer, or a scalar of kind s32, u32, s64,
// u64, f32, f64, s16, u16, s8, u8, f16 or bf16.
type Param struct {
	Name      string      `json:"name"`
	Kind      string      `json:"kind"`
	Value     json.Number `json:"value"`
	DType     string      `json:"dtype"`
	In        string      `json:"in"`
	Out       string      `json:"out"`
	Bytes     int         `json:"bytes"` // size of a buffer without an input file
	Tolerance float64     `json:"tolerance"`
}

// Output compares one buffer with what was expected.
type Output struct {
	Name      string
	Elements  int
	Error     float64 // largest difference over the largest expected magnitude
	Tolerance float64
	At        int // element of the largest difference
	Got, Want float64
}

// OK reports whether the buffer is within its tolerance.
func (o Output) OK() bool { return o.Error <= o.Tolerance }

// Result is what a launch did and how its outputs compare.
type Result struct {
	Kernel  string
	Stats   emu.Stats
	Outputs []Output
}

// Err lists the outputs outside their tolerance; nil when all match.
func (r *Result) Err() error {
	var errs []error
	for _, o := range r.Outputs {
		if !o.OK() {
			errs = append(errs, fmt.Errorf("output %s: element %d is %g, expected %g; relative error %.3g exceeds %.3g", o.Name, o.At, o.Got, o.Want, o.Error, o.Tolerance))
		}
	}
	return errors.Join(errs...)
}

// Load reads a launch description.
func Load(path string) (*File, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if err := json.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Run parses the PTX file, performs the launch that the JSON file describes
// on a fresh device and compares the outputs.
func Run(ctx context.Context, ptxPath, launchPath string, opt emu.Options) (*Result, error) {
	src, err := os.ReadFile(ptxPath)
	if err != nil {
		return nil, err
	}
	mod, err := emu.Parse(string(src))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ptxPath, err)
	}
	f, err := Load(launchPath)
	if err != nil {
		return nil, err
	}
	res, err := RunModule(ctx, mod, f, filepath.Dir(launchPath), opt)
	if err != nil {
		return res, fmt.Errorf("%s: %w", launchPath, err)
	}
	return res, nil
}

// Target is where a launch runs: a device with one module loaded.
type Target interface {
	Alloc(n int) (uint64, error)
	CopyIn(dst uint64, src []byte) error
	CopyOut(dst []byte, src uint64) error
	Launch(ctx context.Context, kernel string, l emu.Launch) (emu.Stats, error)
}

// emulator is the target of Run and RunModule.
type emulator struct {
	*emu.Device
	mod *emu.Module
}

func (e emulator) Launch(ctx context.Context, kernel string, l emu.Launch) (emu.Stats, error) {
	return e.Device.Launch(ctx, e.mod, kernel, l)
}

// RunModule performs the launch on a fresh emulated device; dir holds the
// array files.
func RunModule(ctx context.Context, mod *emu.Module, f *File, dir string, opt emu.Options) (*Result, error) {
	return RunOn(ctx, emulator{emu.NewDevice(opt), mod}, mod, f, dir)
}

// RunOn performs the launch on a target that has loaded the module.
func RunOn(ctx context.Context, dev Target, mod *emu.Module, f *File, dir string) (*Result, error) {
	name := f.Kernel
	if name == "" {
		names := mod.Kernels()
		if len(names) != 1 {
			return nil, fmt.Errorf("the module has kernels %v: name one in \"kernel\"", names)
		}
		name = names[0]
	}
	info, ok := mod.Kernel(name)
	if !ok {
		return nil, fmt.Errorf("the module has no kernel %q", name)
	}
	if len(f.Params) != len(info.Params) {
		return nil, fmt.Errorf("%d parameters, kernel %s takes %d", len(f.Params), name, len(info.Params))
	}
	args := make([]any, len(f.Params))
	addr := make([]uint64, len(f.Params))
	size := make([]int, len(f.Params))
	for i, p := range f.Params {
		var err error
		if p.Kind != "buffer" {
			if args[i], err = p.scalar(); err != nil {
				return nil, fmt.Errorf("parameter %d: %w", i, err)
			}
			continue
		}
		if addr[i], size[i], err = p.upload(dev, dir); err != nil {
			return nil, err
		}
		args[i] = addr[i]
	}
	res := &Result{Kernel: name}
	var err error
	res.Stats, err = dev.Launch(ctx, name, emu.Launch{Grid: f.Grid, Block: f.Block, SharedBytes: f.DynamicBytes, Cluster: f.Cluster, Args: args})
	if err != nil {
		return res, err
	}
	for i, p := range f.Params {
		if p.Out == "" {
			continue
		}
		got := make([]byte, size[i])
		if err := dev.CopyOut(got, addr[i]); err != nil {
			return res, fmt.Errorf("output %s: %w", p.label(i), err)
		}
		o, err := p.compare(i, got, filepath.Join(dir, p.Out))
		if err != nil {
			return res, err
		}
		res.Outputs = append(res.Outputs, o)
	}
	return res, nil
}

// upload allocates a buffer parameter and fills it from its file.
func (p Param) upload(dev Target, dir string) (addr uint64, size int, err error) {
	var data []byte
	size = p.Bytes
	if p.In != "" {
		a, err := readArray(filepath.Join(dir, p.In))
		if err != nil {
			return 0, 0, err
		}
		data, size = a.data, len(a.data)
	}
	if addr, err = dev.Alloc(max(size, 1)); err != nil {
		return 0, 0, err
	}
	return addr, size, dev.CopyIn(addr, data)
}

func (p Param) label(i int) string {
	if p.Name != "" {
		return p.Name
	}
	return fmt.Sprintf("parameter %d", i)
}

func (p Param) compare(i int, got []byte, path string) (Output, error) {
	o := Output{Name: p.label(i), Tolerance: p.Tolerance}
	want, err := readArray(path)
	if err != nil {
		return o, err
	}
	dt := p.DType
	if dt == "" {
		dt = want.dtype
	}
	w, err := decode(dt, want.data)
	if err != nil {
		return o, fmt.Errorf("%s: %w", path, err)
	}
	g, err := decode(dt, got)
	if err != nil {
		return o, err
	}
	if len(g) != len(w) {
		return o, fmt.Errorf("%s: %d elements expected, the buffer has %d", path, len(w), len(g))
	}
	o.Elements = len(w)
	scale, worst := 0.0, 0.0
	for k := range w {
		scale = math.Max(scale, math.Abs(w[k]))
		d := math.Abs(g[k] - w[k])
		if w[k] == g[k] || w[k] != w[k] && g[k] != g[k] {
			d = 0
		}
		if d > worst || d != d {
			worst, o.At, o.Got, o.Want = d, k, g[k], w[k]
			if d != d {
				worst = math.Inf(1)
			}
		}
	}
	o.Error = worst
	if scale > 0 && !math.IsInf(scale, 0) {
		o.Error = worst / scale
	}
	return o, nil
}
