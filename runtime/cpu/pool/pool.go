// Package pool runs the tasks of a kernel on a fixed set of threads.
//
// A pool's workers sleep when there is nothing to do. After a dispatch they look
// for the next one for a while before they go to sleep, because the
// steps of a model follow each other more closely than a sleeping thread wakes.
package pool

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Task is work that is cut into numbered pieces. Do runs piece i; worker numbers
// the thread (0 is the caller of Run), for scratch memory. Pieces run in any order
// and at the same time, so that they must not depend on each other.
type Task interface {
	Do(i, worker int)
}

// Runner is what kernels ask of a pool.
type Runner interface {
	// Workers is the number of threads, the caller's included.
	Workers() int
	// Run does pieces 0 to n-1 of t and returns when all are done. A panic in a
	// piece becomes its error, and pieces not yet begun are dropped.
	Run(n int, t Task) error
}

// Serial is a Runner that uses the caller's thread alone.
type Serial struct{}

// Workers is 1.
func (Serial) Workers() int { return 1 }

// Run does the pieces in order.
func (Serial) Run(n int, t Task) (err error) {
	for i := 0; i < n && err == nil; i++ {
		err = do(t, i, 0)
	}
	return err
}

// do runs one piece and turns a panic into an error.
func do(t Task, i, worker int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			buf := make([]byte, 4<<10)
			err = fmt.Errorf("pool: panic in piece %d of %T: %v\n%s", i, t, r, buf[:runtime.Stack(buf, false)])
		}
	}()
	t.Do(i, worker)
	return nil
}

// ErrClosed is returned by Run after Close.
var ErrClosed = errors.New("pool: closed")

const (
	// spin is how long an idle worker looks for more before it sleeps. Between two shared steps
	// of a small model pass up to 50 us, where those between are not worth sharing: MiniLM-L6 and 16
	// tokens take 0.8 of the time that they take with 30 us.
	spin = 100 * time.Microsecond
	// crowdedSpin replaces both where threads have no processors of their own.
	crowdedSpin = 30 * time.Microsecond
	// joinSpin is how long the caller looks for the end of workers that have begun, where each thread has a
	// processor, before it sleeps: longer than a sleeping thread takes to wake, 150 us on a
	// virtual machine. With 30 us an MLP of d 1024 and one token took 989 us on two threads instead of 592.
	joinSpin = 200 * time.Microsecond
)

// sleeping in Pool.running says that the caller waits on done. It lives in the same word
// as the count, so that only the worker whose own decrement ends the dispatch sees it: a
// flag beside the count could be read by a worker still on its way out of the dispatch
// before, which would end the next one early.
const sleeping = 1 << 30

// Pool is a Runner with threads of its own. Several goroutines may call Run; a
// call that finds the workers taken runs on its own thread alone.
type Pool struct {
	mu      sync.Mutex // held by the Run that has the workers
	workers []worker
	done    chan struct{}
	look    time.Duration // how long the caller looks for the last worker's end
	idle    time.Duration // how long a worker looks for more
	closed  bool

	task    Task
	ranges  []pieces     // of each worker, the caller's first
	running atomic.Int32 // workers that have not finished the dispatch, plus sleeping
	failed  atomic.Bool
	errMu   sync.Mutex
	err     error
}

// pieces is the range of pieces that a worker starts with; others take from it
// when they have finished theirs. Padded to a pair of cache lines.
type pieces struct {
	next, end atomic.Int64
	_         [112]byte
}

// worker is one thread. epoch counts dispatches; asleep says that it waits on wake. offer is
// set while a dispatch is there for it that neither it has taken nor the caller taken back.
type worker struct {
	epoch  atomic.Uint32
	offer  atomic.Bool
	asleep atomic.Bool
	wake   chan struct{}
	_      [112]byte
}

// New starts a pool of n threads, the caller's included; n < 1 means one.
func New(n int) *Pool {
	n = max(1, n)
	p := &Pool{workers: make([]worker, n-1), ranges: make([]pieces, n), done: make(chan struct{}, 1), look: joinSpin, idle: spin}
	if n > runtime.GOMAXPROCS(0) {
		p.look, p.idle = crowdedSpin, crowdedSpin // others may be waiting for the processor
	}
	for i := range p.workers {
		p.workers[i].wake = make(chan struct{}, 1)
		go p.loop(i)
	}
	return p
}

// Workers is the number of threads, the caller's included.
func (p *Pool) Workers() int { return len(p.ranges) }

// Close ends the threads once they are idle. Run fails afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.task = nil
	for i := range p.workers {
		p.start(&p.workers[i])
	}
}

// Run does pieces 0 to n-1 of t; see Runner. Worker w starts with the w-th share
// of the pieces, the same in each call, so that the caches of its core keep what
// those pieces read.
func (p *Pool) Run(n int, t Task) error {
	if n <= 1 || len(p.workers) == 0 || !p.mu.TryLock() {
		return Serial{}.Run(n, t)
	}
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	w := len(p.ranges)
	for i := range p.ranges {
		p.ranges[i].next.Store(int64(i * n / w))
		p.ranges[i].end.Store(int64((i + 1) * n / w))
	}
	p.task, p.err = t, nil
	p.failed.Store(false)
	helpers := min(n, w) - 1
	p.running.Store(int32(helpers))
	for i := range helpers {
		p.start(&p.workers[i])
	}
	p.work(t, 0)
	p.join(p.workers[:helpers])
	p.task = nil
	return p.err
}

// start hands the dispatch to a worker.
func (p *Pool) start(w *worker) {
	w.offer.Store(true)
	w.epoch.Add(1)
	if w.asleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// join waits until no worker is running, after it has taken back what workers have not
// begun: nothing is left to do then, and one that sleeps takes 150 us to wake on a virtual
// machine.
func (p *Pool) join(workers []worker) {
	for i := range workers {
		if workers[i].offer.CompareAndSwap(true, false) {
			p.running.Add(-1)
		}
	}
	for begin := time.Now(); ; {
		left := p.running.Load()
		switch {
		case left == 0:
			return
		case time.Since(begin) < p.look:
			pause()
		case p.running.CompareAndSwap(left, left|sleeping):
			<-p.done
			return
		}
	}
}

// loop is a worker's life.
func (p *Pool) loop(i int) {
	w := &p.workers[i]
	for seen := uint32(0); ; {
		for begin := time.Now(); w.epoch.Load() == seen; {
			if time.Since(begin) < p.idle {
				pause()
				continue
			}
			w.asleep.Store(true)
			if w.epoch.Load() != seen && w.asleep.CompareAndSwap(true, false) {
				break
			}
			<-w.wake
		}
		// A dispatch that was taken back may have been followed by one that is taken here: then
		// the next look finds its epoch, and no offer.
		seen = w.epoch.Load()
		if !w.offer.CompareAndSwap(true, false) {
			continue
		}
		t := p.task
		if t == nil {
			return
		}
		p.work(t, i+1)
		if p.running.Add(-1) == sleeping {
			p.done <- struct{}{}
		}
	}
}

// work does pieces until none is left: worker's own first, then the others'.
func (p *Pool) work(t Task, worker int) {
	for v := range p.ranges {
		r := &p.ranges[(worker+v)%len(p.ranges)]
		for !p.failed.Load() {
			i := r.next.Add(1) - 1
			if i >= r.end.Load() {
				break
			}
			if err := do(t, int(i), worker); err != nil {
				p.errMu.Lock()
				if p.err == nil {
					p.err = err
				}
				p.errMu.Unlock()
				p.failed.Store(true)
			}
		}
	}
}

// pause lets some 100 ns pass before the next look at a shared variable.
func pause() {
	for range 64 {
		nop()
	}
}

//go:noinline
func nop() {}
