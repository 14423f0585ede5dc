//go:build !amd64 && !arm64

package act

func (ks *Kernels) vector(k Kind, x []float32, gate float32) bool       { return false }
func (ks *Kernels) addVector(x, y []float32) bool                       { return false }
func (ks *Kernels) mulVector(x, y []float32) bool                       { return false }
func (ks *Kernels) expVector(x []float32) bool                          { return false }
func (ks *Kernels) axpyVector(x []float32, a float32, y []float32) bool { return false }
