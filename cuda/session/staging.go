package session

import "github.com/seed-c851cfd2/moec/cuda"

// staging is the session's page-locked host memory. Transfers go through it: the device fetches and delivers while
// the host goes on, and the caller's own memory is never the device's to use. What does not fit goes directly.
type staging struct {
	buf  cuda.HostBuffer
	used int64
	full bool // the driver has no such memory to give
}

// stagingLimit bounds the page-locked memory, which other programs then lack.
const stagingLimit = 64 << 20

// staged is the space that a transfer of n bytes takes.
func staged(n int64) int64 { return (n + 255) / 256 * 256 }

// reserve makes room for n bytes per segment, as far as the limit goes. Nothing may be in flight.
func (g *staging) reserve(dev cuda.Device, n int64) {
	g.used = 0
	n = min(n, stagingLimit)
	if g.full || g.buf != nil && int64(len(g.buf.Bytes())) >= n || n == 0 {
		return
	}
	size := int64(1 << 16)
	for size < n {
		size *= 2
	}
	g.free()
	buf, err := dev.AllocHost(int(size))
	if err != nil {
		g.full = true
		return
	}
	g.buf = buf
}

// take is n bytes until the next wait, or nil where there is no room.
func (g *staging) take(n int) []byte {
	if g.buf == nil || g.used+int64(n) > int64(len(g.buf.Bytes())) {
		return nil
	}
	b := g.buf.Bytes()[g.used : g.used+int64(n) : g.used+int64(n)]
	g.used += staged(int64(n))
	return b
}

func (g *staging) free() {
	if g.buf != nil {
		g.buf.Free()
		g.buf = nil
	}
}
