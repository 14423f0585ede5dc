package main

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
	"github.com/seed-c851cfd2/moec/runtime"
)

const inHelp = "an input: NAME=@FILE (.npy, .pb, FILE.npz#KEY), @FILE.npz for all of its keys, or NAME=rand:2x128"

// readInputs fills a model's inputs from --in arguments; what is left out and has a
// guessable shape is not made up: the run says what is missing.
func readInputs(args []string, s runner, seed uint64) (map[string]*tensor.Tensor, error) {
	ports := s.Inputs()
	in := map[string]*tensor.Tensor{}
	byName := map[string]runtime.Port{}
	for _, p := range ports {
		byName[p.Name] = p
	}
	for _, a := range args {
		if file, ok := strings.CutPrefix(a, "@"); ok {
			list, err := tensorio.ReadFile(file, maxInputBytes)
			if err != nil {
				return nil, err
			}
			for _, e := range list {
				if _, ok := byName[e.Name]; ok {
					in[e.Name] = e.Tensor
				}
			}
			continue
		}
		name, spec, ok := cutArg(a)
		if !ok {
			return nil, fmt.Errorf("--in %q: want %s", a, inHelp)
		}
		t, err := oneTensor(spec, s, name, seed)
		if err != nil {
			return nil, fmt.Errorf("--in %s: %w", name, err)
		}
		in[name] = t
	}
	return in, nil
}

// inputNames lists the inputs that --in arguments name, files of many entries aside.
func inputNames(args []string) []string {
	var names []string
	for _, a := range args {
		if name, _, ok := cutArg(a); ok && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// cutArg splits NAME=SPEC at the "=" before "@" or "rand:", so that names may hold "=".
func cutArg(a string) (name, spec string, ok bool) {
	for _, sep := range []string{"=@", "=rand:"} {
		if i := strings.Index(a, sep); i >= 0 {
			return a[:i], a[i+1:], true
		}
	}
	return "", "", false
}

func oneTensor(spec string, s runner, name string, seed uint64) (*tensor.Tensor, error) {
	if shape, ok := strings.CutPrefix(spec, "rand:"); ok {
		for i, p := range s.Inputs() {
			if p.Name == name {
				return randomTensor(p, shape, s.IndexBounds()[i], seed)
			}
		}
		return nil, fmt.Errorf("the model has no such input")
	}
	return readTensor(strings.TrimPrefix(spec, "@"))
}

// maxInputBytes bounds one file of inputs, unpacked.
const maxInputBytes = 16 << 30

// readTensor reads FILE.npy, FILE.pb, or one entry of several: FILE.npz#KEY.
func readTensor(file string) (*tensor.Tensor, error) {
	path, key, keyed := file, "", false
	if i := strings.LastIndex(file, ".npz#"); i >= 0 {
		path, key, keyed = file[:i+4], file[i+5:], true
	}
	list, err := tensorio.ReadFile(path, maxInputBytes)
	if err != nil {
		return nil, err
	}
	if !keyed {
		if len(list) != 1 {
			return nil, fmt.Errorf("%s holds %d arrays: name one, %s#KEY", path, len(list), path)
		}
		return list[0].Tensor, nil
	}
	var names []string
	for _, e := range list {
		if e.Name == key {
			return e.Tensor, nil
		}
		names = append(names, strconv.Quote(e.Name))
	}
	return nil, fmt.Errorf("%s has no entry %q; it has %s", path, key, strings.Join(names, ", "))
}

// randomTensor makes an input up: floats N(0,1), integers below bound (the length of the
// table they index) or, where there is none, 0 and 1 with a 1 first, as in masks; the same
// for the same seed, name and shape.
func randomTensor(p runtime.Port, spec string, bound int, seed uint64) (*tensor.Tensor, error) {
	var shape []int
	if spec != "" {
		for _, s := range strings.Split(spec, "x") {
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("rand:%s: want sizes such as 2x128", spec)
			}
			shape = append(shape, n)
		}
	}
	if n, ok := tensor.CheckedElems(shape); !ok || n > 1<<30 {
		return nil, fmt.Errorf("rand:%s: too many elements", spec)
	}
	h := fnv.New64a()
	h.Write([]byte(p.Name))
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	t := tensor.New(p.Type.DType, shape...)
	fillRandom(t, bound, rng)
	return t, nil
}

func fillRandom(t *tensor.Tensor, bound int, rng *rand.Rand) {
	switch t.DType() {
	case tensor.F32:
		fill(tensor.Data[float32](t), func() float32 { return float32(rng.NormFloat64()) })
	case tensor.F64:
		fill(tensor.Data[float64](t), rng.NormFloat64)
	case tensor.F16:
		fill(tensor.Data[tensor.Float16](t), func() tensor.Float16 { return tensor.ToFloat16(float32(rng.NormFloat64())) })
	case tensor.BF16:
		fill(tensor.Data[tensor.BFloat16](t), func() tensor.BFloat16 { return tensor.ToBFloat16(float32(rng.NormFloat64())) })
	case tensor.Bool:
		fill(tensor.Data[bool](t), func() bool { return rng.IntN(2) == 1 })
	case tensor.I64:
		fill(tensor.Data[int64](t), func() int64 { return rng.Int64N(int64(max(bound, 2))) })
		if bound == 0 && t.Len() > 0 {
			tensor.Data[int64](t)[0] = 1
		}
	case tensor.I32:
		fill(tensor.Data[int32](t), func() int32 { return rng.Int32N(int32(max(bound, 2))) })
		if bound == 0 && t.Len() > 0 {
			tensor.Data[int32](t)[0] = 1
		}
	case tensor.String:
	default:
		b := t.Bytes()
		size := max(t.DType().Size(), 1)
		for i := 0; i < len(b); i += size { // small integers of any width, little-endian
			b[i] = byte(rng.IntN(2))
		}
	}
}

func fill[T any](s []T, f func() T) {
	for i := range s {
		s[i] = f()
	}
}

// writeOutputs writes outputs as FILE.npz or as one .npy each into a folder.
func writeOutputs(dest string, outs []tensorio.Named) error {
	if strings.HasSuffix(dest, ".npz") {
		return writeFile(dest, func(w io.Writer) error { return tensorio.WriteNPZ(w, outs) })
	}
	if err := distinctFiles(outs); err != nil {
		return err
	}
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return err
	}
	for _, o := range outs {
		file := filepath.Join(dest, safeName(o.Name)+".npy")
		if err := writeFile(file, func(w io.Writer) error { return tensorio.WriteNPY(w, o.Tensor) }); err != nil {
			return err
		}
	}
	return nil
}

// distinctFiles refuses outputs whose names differ only in what safeName replaces.
func distinctFiles(outs []tensorio.Named) error {
	used := map[string]string{}
	for _, o := range outs {
		file := safeName(o.Name) + ".npy"
		if other, ok := used[file]; ok && other != o.Name {
			return fmt.Errorf("outputs %q and %q would both be written to %s: use --out FILE.npz, which keeps names as they are", other, o.Name, file)
		}
		used[file] = o.Name
	}
	return nil
}

// writeFile writes a temporary file beside path and renames it: a failure leaves nothing.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".moec*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// safeName turns every character outside A-Za-z0-9._- into "_".
func safeName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, name)
}

// summary describes a tensor in a line: type, range, mean.
func summary(t *tensor.Tensor) string {
	if t.DType() == tensor.String {
		return fmt.Sprintf("%s %.60q", t, t.Strings())
	}
	w, err := tensorio.Widen(t)
	if err != nil {
		return t.String()
	}
	v, err := w.Float64s()
	if err != nil || len(v) == 0 {
		return t.String()
	}
	lo, hi, sum, bad := v[0], v[0], 0.0, 0
	for _, x := range v {
		if x != x {
			bad++
			continue
		}
		lo, hi, sum = min(lo, x), max(hi, x), sum+x
	}
	s := fmt.Sprintf("%s min %.6g max %.6g mean %.6g", t, lo, hi, sum/float64(len(v)-bad))
	if bad > 0 {
		s += fmt.Sprintf(" NaN %d", bad)
	}
	if len(v) <= 8 {
		s += fmt.Sprintf(" %.6g", v)
	}
	return s
}
