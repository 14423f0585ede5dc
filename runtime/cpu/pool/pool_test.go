package pool

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type counter struct {
	hits    []atomic.Int32
	workers int
	bad     atomic.Int32
	work    int
}

func (c *counter) Do(i, worker int) {
	if worker < 0 || worker >= c.workers {
		c.bad.Add(1)
	}
	for range c.work {
		nop()
	}
	c.hits[i].Add(1)
}

func TestEveryPieceOnce(t *testing.T) {
	for _, threads := range []int{0, 1, 2, 3, 8} {
		p := New(threads)
		for _, n := range []int{0, 1, 2, 3, 7, 64} {
			for range 50 {
				c := &counter{hits: make([]atomic.Int32, n), workers: p.Workers(), work: n * 10}
				if err := p.Run(n, c); err != nil {
					t.Fatal(err)
				}
				for i := range c.hits {
					if h := c.hits[i].Load(); h != 1 {
						t.Fatalf("%d threads, %d pieces: piece %d ran %d times", threads, n, i, h)
					}
				}
				if c.bad.Load() != 0 {
					t.Fatal("worker number out of range")
				}
			}
		}
		p.Close()
	}
}

// Workers that have gone to sleep are woken again.
func TestAfterSleep(t *testing.T) {
	p := New(4)
	defer p.Close()
	for range 20 {
		c := &counter{hits: make([]atomic.Int32, 16), workers: 4}
		if err := p.Run(16, c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestConcurrentCallers(t *testing.T) {
	p := New(3)
	defer p.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 100 {
				c := &counter{hits: make([]atomic.Int32, 9), workers: 3, work: 50}
				if err := p.Run(9, c); err != nil {
					t.Error(err)
				}
				for i := range c.hits {
					if c.hits[i].Load() != 1 {
						t.Error("piece not run once")
					}
				}
			}
		}()
	}
	wg.Wait()
}

type faulty struct{ at int }

func (f faulty) Do(i, _ int) {
	if i == f.at {
		panic("broken kernel")
	}
}

func TestPanicIsAnError(t *testing.T) {
	p := New(2)
	defer p.Close()
	for _, r := range []Runner{p, Serial{}} {
		for at := range 8 {
			err := r.Run(8, faulty{at})
			if err == nil || !strings.Contains(err.Error(), "broken kernel") {
				t.Fatalf("%T: error = %v", r, err)
			}
		}
		if err := r.Run(8, faulty{-1}); err != nil {
			t.Fatalf("%T after a panic: %v", r, err)
		}
	}
}

func TestCloseEndsThreads(t *testing.T) {
	before := runtime.NumGoroutine()
	p := New(8)
	c := &counter{hits: make([]atomic.Int32, 8), workers: 8}
	if err := p.Run(8, c); err != nil {
		t.Fatal(err)
	}
	p.Close()
	p.Close()
	if err := p.Run(8, c); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func TestRunAllocatesNothing(t *testing.T) {
	p := New(2)
	defer p.Close()
	c := &counter{hits: make([]atomic.Int32, 8), workers: 2}
	if a := testing.AllocsPerRun(100, func() { _ = p.Run(8, c) }); a != 0 {
		t.Errorf("%v allocations per dispatch", a)
	}
}

func BenchmarkDispatch(b *testing.B) {
	for _, gap := range []time.Duration{0, 200 * time.Microsecond} {
		b.Run(gap.String(), func(b *testing.B) {
			p := New(2)
			defer p.Close()
			c := &counter{hits: make([]atomic.Int32, 2), workers: 2}
			var spent time.Duration
			for range b.N {
				if gap > 0 {
					time.Sleep(gap)
				}
				t0 := time.Now()
				_ = p.Run(2, c)
				spent += time.Since(t0)
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/dispatch")
		})
	}
}

// slow lets the last worker of a dispatch lag behind the caller's pieces.
type slow struct{ inside atomic.Int32 }

func (s *slow) Do(i, _ int) {
	s.inside.Add(1)
	if i%3 == 0 {
		time.Sleep(joinSpin + joinSpin/2) // longer than the caller looks before it sleeps
	}
	s.inside.Add(-1)
}

// No piece is under way when Run returns, whichever side sleeps first.
func TestRunWaitsForEveryWorker(t *testing.T) {
	p := New(4)
	defer p.Close()
	s := &slow{}
	for i := range 400 {
		if err := p.Run(2+i%7, s); err != nil {
			t.Fatal(err)
		}
		if n := s.inside.Load(); n != 0 {
			t.Fatalf("dispatch %d: %d pieces still under way", i, n)
		}
	}
}

// A dispatch whose pieces the caller has all done does not wait for a worker that has not begun.
func TestRunTakesBackWhatNobodyBegan(t *testing.T) {
	p := &Pool{workers: make([]worker, 2), ranges: make([]pieces, 3), done: make(chan struct{}, 1)} // no threads
	for range 3 {
		c := &counter{hits: make([]atomic.Int32, 7), workers: 1}
		if err := p.Run(7, c); err != nil {
			t.Fatal(err)
		}
		for i := range c.hits {
			if c.hits[i].Load() != 1 {
				t.Fatalf("piece %d ran %d times", i, c.hits[i].Load())
			}
		}
	}
}

// Workers that come late, about when they go to sleep and when dispatches are taken back, do
// pieces of the dispatch at hand or none.
func TestLateWorkers(t *testing.T) {
	p := New(3)
	defer p.Close()
	for i := range 3000 {
		c := &counter{hits: make([]atomic.Int32, 1+i%5), workers: 3, work: i % 7}
		if err := p.Run(len(c.hits), c); err != nil {
			t.Fatal(err)
		}
		for j := range c.hits {
			if c.hits[j].Load() != 1 {
				t.Fatalf("dispatch %d: piece %d ran %d times", i, j, c.hits[j].Load())
			}
		}
		for begin := time.Now(); time.Since(begin) < time.Duration(i%9)*10*time.Microsecond; {
			pause()
		}
	}
}
