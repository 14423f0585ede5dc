package emu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// Limits of the hardware that a launch is held to.
const (
	maxThreads      = 1024
	maxStaticShared = 48 << 10
	maxShared       = 227 << 10
)

// workspaceBytes is what cooperative groups keep of a grid: its size, then the
// barrier's counter.
const workspaceBytes = 64

// Launch describes one kernel launch.
type Launch struct {
	Grid, Block [3]int // zero components count as 1
	SharedBytes int    // dynamic shared memory
	Cluster     [3]int // blocks of a cluster, when the kernel does not say it; zero components count as 1
	// Args are the parameters in order: integers and floats of any Go type
	// (converted to the parameter's size, bits unchanged for the same kind),
	// and []byte for structures. An address is a uint64.
	Args []any
	// Params, when not nil, is the packed parameter block instead of Args.
	Params []byte
}

// launch is one launch under way.
type launch struct {
	dev   *Device
	ctx   context.Context
	p     *program
	grid  [3]int
	block [3]int
	// blocks of a cluster in each dimension
	cluster [3]int
	dyn     int
	params  []byte
	// the parameters as memory, when the kernel takes their address
	paramRegion *region
	consts      []uint64 // values of p.consts
	rng         *rand.Rand
	counts      counts
	steps       int64
	id          uint32

	workspace uint64 // of cooperative groups' grid barrier; 0 when not asked for

	// of the race rules
	racesOff  bool
	seq       uint64 // accesses so far
	gen       uint32 // shadows of shared memory given out
	globalGen uint32 // of the shadows of global memory
	order     []int  // in which blocks start
	started   int
	flags     map[flagKey][]*released
	older     map[flagKey]*oldValue
}

// Launch runs a kernel to completion. The error is a *Fault when the kernel
// did something wrong; the memory then holds what it had written so far.
func (d *Device) Launch(ctx context.Context, m *Module, kernel string, l Launch) (st Stats, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := m.programs[kernel]
	if p == nil {
		return st, fmt.Errorf("emu: the module has no kernel %q (it has %v)", kernel, m.names)
	}
	run, err := d.prepare(m, p, l)
	if err != nil {
		return st, fmt.Errorf("emu: kernel %s: %w", kernel, err)
	}
	// A fault unwinds the interpreter to here.
	defer func() {
		if run.workspace != 0 {
			d.release(d.mem.find(run.workspace))
		}
		if r := recover(); r != nil {
			f, ok := r.(*Fault)
			if !ok {
				panic(r)
			}
			st, err = run.counts.stats(run), f
		}
	}()
	if err := run.execute(ctx); err != nil {
		return run.counts.stats(run), fmt.Errorf("emu: kernel %s: %w", kernel, err)
	}
	return run.counts.stats(run), nil
}

// CheckLaunch says what stands against a launch before it runs: sizes past the hardware's limits or the kernel's
// own, and arguments that are not those it takes.
func (m *Module) CheckLaunch(kernel string, l Launch) error {
	p := m.programs[kernel]
	if p == nil {
		return fmt.Errorf("emu: the module has no kernel %q (it has %v)", kernel, m.names)
	}
	_, _, err := p.sizes(l)
	if err == nil {
		_, err = packParams(p, l)
	}
	if err != nil {
		return fmt.Errorf("emu: kernel %s: %w", kernel, err)
	}
	return nil
}

// sizes are a launch's grid and block, within the limits.
func (p *program) sizes(l Launch) (grid, block [3]int, err error) {
	blocks := 1.0
	for i := range 3 {
		grid[i], block[i] = max(l.Grid[i], 1), max(l.Block[i], 1)
		if l.Grid[i] < 0 || l.Block[i] < 0 {
			return grid, block, fmt.Errorf("negative grid or block size")
		}
		blocks *= float64(grid[i])
	}
	threads := block[0] * block[1] * block[2]
	lim := p.fn.MaxNTid
	switch {
	case block[0] > maxThreads || block[1] > maxThreads || block[2] > 64 || threads > maxThreads:
		err = fmt.Errorf("block %v has more than %d threads", block, maxThreads)
	case grid[1] > 65535 || grid[2] > 65535 || blocks > 1<<31:
		err = fmt.Errorf("grid %v is too large", grid)
	case p.fn.ReqNTid[0] != 0 && p.fn.ReqNTid != block:
		err = fmt.Errorf("the kernel requires blocks of %v threads, the launch has %v", p.fn.ReqNTid, block)
	case lim[0] != 0 && threads > lim[0]*lim[1]*lim[2]:
		err = fmt.Errorf("the kernel allows %d threads per block, the launch has %d", lim[0]*lim[1]*lim[2], threads)
	case p.staticShared > maxStaticShared:
		err = fmt.Errorf("%d bytes of static shared memory, the limit is %d", p.staticShared, maxStaticShared)
	case l.SharedBytes < 0 || p.staticShared+l.SharedBytes > maxShared:
		err = fmt.Errorf("%d bytes of shared memory, the limit is %d", p.staticShared+l.SharedBytes, maxShared)
	}
	return grid, block, err
}

func (d *Device) prepare(m *Module, p *program, l Launch) (*launch, error) {
	run := &launch{dev: d, p: p, dyn: l.SharedBytes}
	var err error
	if run.grid, run.block, err = p.sizes(l); err != nil {
		return nil, err
	}
	if err = run.setCluster(p.fn.Cluster, l.Cluster); err != nil {
		return nil, err
	}
	if run.params, err = packParams(p, l); err != nil {
		return nil, err
	}
	syms, err := d.load(m)
	if err != nil {
		return nil, err
	}
	for _, c := range p.consts {
		v := c.value
		switch {
		case c.sym == dynamicMark:
			v += uint64(p.dynamicBase())
		case c.sym != nil:
			r := syms[c.sym.Name]
			if r == nil {
				return nil, fmt.Errorf("variable %s is not defined", c.sym.Name)
			}
			v += r.base
		}
		run.consts = append(run.consts, v)
	}
	for _, s := range p.specials {
		if s.name == "%envreg2" {
			r := d.mem.alloc(workspaceBytes, true, "the grid barrier's workspace")
			r.defineAll(0, workspaceBytes, true)
			le.PutUint32(r.data, workspaceBytes)
			run.workspace = r.base
		}
	}
	d.launch++
	run.id = d.launch
	run.globalGen = d.launch
	run.racesOff = float64(run.grid[0])*float64(run.grid[1])*float64(run.grid[2]) >= maxBlocks
	run.rng = rand.New(rand.NewPCG(d.opt.Seed, uint64(run.id)))
	run.counts.init(len(p.code))
	return run, nil
}

// maxCluster is how many blocks a cluster may have.
const maxCluster = 16

// setCluster takes the kernel's cluster or the launch's.
func (l *launch) setCluster(kernel, asked [3]int) error {
	if kernel == [3]int{} {
		kernel = asked
	}
	for i := range 3 {
		l.cluster[i] = max(kernel[i], 1)
	}
	for i := range 3 {
		if asked[i] > 1 && asked[i] != l.cluster[i] {
			return fmt.Errorf("clusters of %v blocks, the kernel has %v", asked, kernel)
		}
		if l.grid[i]%l.cluster[i] != 0 {
			return fmt.Errorf("grid %v is no whole number of clusters of %v", l.grid, l.cluster)
		}
	}
	if l.clusterSize() > maxCluster {
		return fmt.Errorf("clusters of %v blocks, the limit is %d", l.cluster, maxCluster)
	}
	return nil
}

func (l *launch) clusterSize() int { return l.cluster[0] * l.cluster[1] * l.cluster[2] }

// dynamicBase is the shared address of dynamic memory: aligned more strictly
// than any variable asks.
func (p *program) dynamicBase() int { return align(p.sharedSpan, 1024) }

func packParams(p *program, l Launch) ([]byte, error) {
	out := make([]byte, p.paramBytes)
	if l.Params != nil {
		if len(l.Params) < p.paramBytes {
			return nil, fmt.Errorf("%d bytes of parameters, the kernel takes %d", len(l.Params), p.paramBytes)
		}
		copy(out, l.Params)
		return out, nil
	}
	if len(l.Args) != len(p.params) {
		return nil, fmt.Errorf("%d arguments, the kernel takes %d", len(l.Args), len(p.params))
	}
	for i, a := range l.Args {
		q := p.params[i]
		b := out[q.Offset : q.Offset+q.Size]
		if raw, ok := a.([]byte); ok {
			if len(raw) != q.Size {
				return nil, fmt.Errorf("argument %d has %d bytes, parameter %s has %d", i, len(raw), q.Name, q.Size)
			}
			copy(b, raw)
			continue
		}
		v, size, err := scalarBits(a, q)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i, err)
		}
		if size > q.Size {
			return nil, fmt.Errorf("argument %d has %d bytes, parameter %s has %d", i, size, q.Name, q.Size)
		}
		if q.Size > 8 {
			return nil, fmt.Errorf("argument %d is a scalar, parameter %s has %d bytes", i, q.Name, q.Size)
		}
		var full [8]byte
		le.PutUint64(full[:], v)
		copy(b, full[:])
	}
	return out, nil
}

// scalarBits is a Go number as parameter bits and the size it must have at
// least; an untyped int fits any integer parameter that can hold it.
func scalarBits(a any, q Param) (uint64, int, error) {
	switch v := a.(type) {
	case uint64:
		return v, 8, nil
	case int64:
		return uint64(v), 8, nil
	case uint32:
		return uint64(v), 4, nil
	case int32:
		return uint64(int64(v)), 4, nil
	case uint16:
		return uint64(v), 2, nil
	case int16:
		return uint64(int64(v)), 2, nil
	case uint8:
		return uint64(v), 1, nil
	case int8:
		return uint64(int64(v)), 1, nil
	case bool:
		if v {
			return 1, 1, nil
		}
		return 0, 1, nil
	case float32:
		if q.Size == 8 && q.Type == syntax.F64.String() {
			return math.Float64bits(float64(v)), 8, nil
		}
		return uint64(math.Float32bits(v)), 4, nil
	case float64:
		if q.Size == 4 {
			return uint64(math.Float32bits(float32(v))), 4, nil
		}
		return math.Float64bits(v), 8, nil
	case int:
		if n := 8 * q.Size; n < 64 && (v >= 1<<n || v < -1<<(n-1)) {
			return 0, 0, fmt.Errorf("%d does not fit parameter %s of %d bytes", v, q.Name, q.Size)
		}
		return uint64(v), 1, nil
	}
	return 0, 0, fmt.Errorf("type %T cannot be a parameter", a)
}
