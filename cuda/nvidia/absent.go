//go:build !cuda

package nvidia

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/cuda"
)

func absent() error {
	return fmt.Errorf("%w: this binary was built without GPU support; build it with -tags cuda (see docs/GPU.md), or run on the emulator with --device emu", cuda.ErrNoDevice)
}

// Devices reports that the binary has no GPU support.
func (Driver) Devices() ([]cuda.Info, error) { return nil, absent() }

// Open reports that the binary has no GPU support.
func (Driver) Open(int) (cuda.Device, error) { return nil, absent() }
