package cuda

import (
	"fmt"
	"sync"
)

// Pool hands out device memory and keeps what is given back for the next
// request of the same size class, since allocating on a GPU waits for it. It
// may be used from several goroutines.
type Pool struct {
	dev Device

	mu   sync.Mutex
	idle map[int64][]Ptr // by size class
	size map[Ptr]int64   // of everything allocated
	used int64
	held int64
}

// NewPool makes an empty pool on a device.
func NewPool(dev Device) *Pool {
	return &Pool{dev: dev, idle: map[int64][]Ptr{}, size: map[Ptr]int64{}}
}

// SizeClass rounds a number of bytes up so that nearby sizes share allocations and no
// more than an eighth is wasted.
func SizeClass(n int64) int64 {
	step := int64(512)
	for n > 8*step {
		step *= 2
	}
	return (n + step - 1) / step * step
}

// Get returns at least n bytes with undefined content. When the device is
// full, what the pool keeps idle is freed before giving up.
func (p *Pool) Get(n int64) (Ptr, error) {
	if n < 0 {
		return 0, fmt.Errorf("cuda: pool request of %d bytes", n)
	}
	c := SizeClass(max(n, 1))
	p.mu.Lock()
	defer p.mu.Unlock()
	if list := p.idle[c]; len(list) > 0 {
		ptr := list[len(list)-1]
		p.idle[c] = list[:len(list)-1]
		p.used += c
		return ptr, nil
	}
	ptr, err := p.dev.Alloc(c)
	if err != nil {
		if terr := p.trim(); terr != nil {
			return 0, err
		}
		if ptr, err = p.dev.Alloc(c); err != nil {
			return 0, fmt.Errorf("cuda: %d bytes do not fit beside the %d in use: %w", c, p.used, err)
		}
	}
	p.size[ptr] = c
	p.used += c
	p.held += c
	return ptr, nil
}

// Put gives memory back to the pool. The operations that use it must be
// ordered before those of its next user, as on one stream they are.
func (p *Pool) Put(ptr Ptr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.size[ptr]
	if !ok {
		return fmt.Errorf("cuda: %#x is not from this pool", uint64(ptr))
	}
	for _, q := range p.idle[c] {
		if q == ptr {
			return fmt.Errorf("cuda: %#x was given back already", uint64(ptr))
		}
	}
	p.idle[c] = append(p.idle[c], ptr)
	p.used -= c
	return nil
}

// Trim frees the idle memory.
func (p *Pool) Trim() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trim()
}

func (p *Pool) trim() error {
	for c, list := range p.idle {
		for len(list) > 0 {
			ptr := list[len(list)-1]
			if err := p.dev.Free(ptr); err != nil {
				return err
			}
			list = list[:len(list)-1]
			p.idle[c] = list
			delete(p.size, ptr)
			p.held -= c
		}
		delete(p.idle, c)
	}
	return nil
}

// InUse is the bytes handed out, Held those allocated on the device.
func (p *Pool) InUse() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Held is the bytes that the pool has allocated on the device.
func (p *Pool) Held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}
