package runtime_test

import (
	"context"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// TestDroppedSessionEndsItsWorkers: a session that nobody holds leaves no goroutines behind,
// run or not, without Close.
func TestDroppedSessionEndsItsWorkers(t *testing.T) {
	p, err := codegen.Compile(context.Background(), model(t), codegen.Target{})
	if err != nil {
		t.Fatal(err)
	}
	// More than other tests may have left that end while this one runs.
	const threads = 64
	for _, runs := range []int{0, 3} {
		before := goruntime.NumGoroutine()
		func() {
			s, err := runtime.New(p, runtime.Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			for i := range runs {
				goruntime.GC() // the session is in use: its workers stay
				if _, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": input(1, 8, 40+i, 3)}); err != nil {
					t.Fatal(err)
				}
			}
		}()
		for end := time.Now().Add(10 * time.Second); goruntime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after %d runs a dropped session of %d threads leaves %d goroutines", runs, threads, goruntime.NumGoroutine()-before)
			}
			goruntime.GC()
		}
	}
}
