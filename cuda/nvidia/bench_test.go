package nvidia_test

import (
	"testing"

	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/nvidia"
)

// BenchmarkLaunch is the time from one empty launch to the next, on a stream
// and in a graph of 100.
func BenchmarkLaunch(b *testing.B) {
	dev, s := openBench(b)
	mod, err := dev.Load(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k() { ret; }")
	if err != nil {
		b.Fatal(err)
	}
	k, err := mod.Kernel("k")
	if err != nil {
		b.Fatal(err)
	}
	l := cuda.Launch{Kernel: k, Grid: [3]int{1}, Block: [3]int{32}}
	b.Run("stream", func(b *testing.B) {
		for b.Loop() {
			if err := s.Launch(l); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Synchronize(); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("graph100", func(b *testing.B) {
		g, err := s.Capture(func() error {
			for range 100 {
				if err := s.Launch(l); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		defer g.Close()
		for b.Loop() {
			if err := g.Launch(s); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Synchronize(); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkCopy is the bandwidth of copies from pageable and pinned memory.
func BenchmarkCopy(b *testing.B) {
	dev, s := openBench(b)
	const n = 64 << 20
	p, err := dev.Alloc(n)
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Free(p)
	h, err := dev.AllocHost(n)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Free()
	for _, c := range []struct {
		name string
		src  []byte
	}{{"pageable", make([]byte, n)}, {"pinned", h.Bytes()}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(n)
			for b.Loop() {
				if err := s.CopyIn(p, c.src); err != nil {
					b.Fatal(err)
				}
				if err := s.Synchronize(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func openBench(b *testing.B) (cuda.Device, cuda.Stream) {
	b.Helper()
	dev, err := nvidia.Driver{}.Open(0)
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() {
		if err := dev.Close(); err != nil {
			b.Error(err)
		}
	})
	s, err := dev.NewStream()
	if err != nil {
		b.Fatal(err)
	}
	return dev, s
}
