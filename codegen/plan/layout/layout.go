// Package layout packs the weights of matrix products into the order that the
// CPU kernels read them, and says where everything is. The compiler packs, the
// runtime reads; both see only this package.
//
// There is one order for every CPU, so that an artifact is the same bytes
// wherever it was made. A matrix of K rows (the reduction) and N columns is cut
// into panels of [NR] columns; in a panel one step holds four bytes of every
// column, for consecutive k:
//
//	f32   [N/32][K]  [32]      one k per step
//	bf16  [N/32][K/2][32][2]   two
//	int8  [N/32][K/4][32][4]   four, with a scale and a sum per column
//
// The last panel is padded with zeros to 16 columns if at most 16 remain (a half
// panel, so that experts of 16 units waste nothing), else to 32; K is padded with
// zeros to whole steps.
package layout

import (
	"fmt"
	"math"
)

// NR is the number of columns of a panel.
const NR = 32

// half is the number of columns of a half panel.
const half = NR / 2

// Precision is how the elements of a packed matrix are stored.
type Precision uint8

// The precisions.
const (
	F32  Precision = iota
	BF16           // bfloat16, rounded to nearest even
	I8             // signed 8 bits with one f32 scale per column, symmetric
)

// String names p as the command line does.
func (p Precision) String() string {
	switch p {
	case F32:
		return "f32"
	case BF16:
		return "bf16"
	case I8:
		return "int8"
	}
	return fmt.Sprintf("Precision(%d)", uint8(p))
}

// PerStep is the number of consecutive k in the four bytes of a step.
func (p Precision) PerStep() int { return 1 << p }

// Steps is the number of steps that k rows take.
func (p Precision) Steps(k int) int { return (k + p.PerStep() - 1) / p.PerStep() }

// ConvRows is the number of rows that the weights of a convolution by windows of n elements
// are packed in at p: in bf16, zeros complete what one load of a tile register spans, of
// which the last would have to be of another shape.
func (p Precision) ConvRows(n int) int {
	if p != BF16 || n <= ConvTile {
		return n
	}
	return (n + ConvTile - 1) / ConvTile * ConvTile
}

// ConvTile is the number of bf16 elements in a row of a tile register.
const ConvTile = 32

// Cols is n rounded up to whole and half panels.
func Cols(n int) int {
	switch tail := n % NR; {
	case tail == 0:
		return n
	case tail <= half:
		return n - tail + half
	default:
		return n - tail + NR
	}
}

// Bytes is the size of the packed elements of a k x n matrix, a multiple of 64.
// Scales and sums of int8 are apart: n words each.
func (p Precision) Bytes(k, n int) int { return 4 * p.Steps(k) * Cols(n) }

// Matrix is a packed matrix of K rows (the reduction) and N columns. Exactly one
// of F32, BF16 and I8 is set, of length Bytes(K, N) over the element size; data
// should be aligned to 64 bytes.
type Matrix struct {
	Precision Precision
	K, N      int
	F32       []float32
	BF16      []uint16
	I8        []int8
	Scale     []float32 // int8: value = Scale[n] * element; length N
	Sum       []uint32  // int8: sums of the columns' elements as [Digits]; length N

	// Width, if not zero, says that [Beside] made the matrix: its panels have that many
	// columns and lie Pitch bytes apart. Only the kernels for tile registers take such.
	Width, Pitch int
}

// Digits writes a column's sum as two signed 16-bit halves, lo + 128*hi, lo in
// the low half: the form from which one multiply-add of 16-bit pairs corrects
// for the zero point of the activations.
func Digits(sum int32) uint32 {
	lo, hi := sum&127, sum>>7
	return uint32(uint16(lo)) | uint32(uint16(int16(hi)))<<16
}

// Sum32 undoes [Digits].
func Sum32(d uint32) int32 { return int32(int16(d)) + 128*int32(int16(d>>16)) }

// MaxK8 is the largest K of an int8 matrix: beyond it 32-bit accumulators, or the
// digits of a sum, could overflow.
const MaxK8 = 1 << 16 / 2

// PanelWidth is the number of columns of the panels of m.
func (m *Matrix) PanelWidth() int {
	if m.Width != 0 {
		return m.Width
	}
	return NR
}

// Check reports an inconsistency between the shape and the lengths of m.
func (m *Matrix) Check() error {
	if m.K < 0 || m.N < 0 {
		return fmt.Errorf("layout: matrix %d x %d", m.K, m.N)
	}
	want, got := 0, 0
	switch m.Precision {
	case F32:
		want, got = m.Precision.Bytes(m.K, m.N)/4, len(m.F32)
	case BF16:
		want, got = m.Precision.Bytes(m.K, m.N)/2, len(m.BF16)
	case I8:
		want, got = m.Precision.Bytes(m.K, m.N), len(m.I8)
		if len(m.Scale) != m.N || len(m.Sum) != m.N {
			return fmt.Errorf("layout: int8 matrix %d x %d has %d scales and %d sums", m.K, m.N, len(m.Scale), len(m.Sum))
		}
		if m.K > MaxK8 {
			return fmt.Errorf("layout: int8 matrix with K = %d; at most %d", m.K, MaxK8)
		}
	default:
		return fmt.Errorf("layout: %v", m.Precision)
	}
	if want != got {
		return fmt.Errorf("layout: %v matrix %d x %d has %d elements, want %d", m.Precision, m.K, m.N, got, want)
	}
	return nil
}

// index is the element of column n at reduction index k, in units of elements of
// p; it is how packing and the portable readers find their way.
func (p Precision) index(k, n, rows int) int {
	per, steps := p.PerStep(), p.Steps(rows)
	panel, col, width := n/NR, n%NR, NR
	return panel*steps*NR*per + (k/per*width+col)*per + k%per
}

// indexTail is index in a half panel.
func (p Precision) indexTail(k, n, rows int) int {
	per, steps := p.PerStep(), p.Steps(rows)
	return n/NR*steps*NR*per + (k/per*half+n%NR)*per + k%per
}

// inHalf reports whether column n of a matrix of cols columns is in a half panel.
func inHalf(n, cols int) bool {
	return n >= cols/NR*NR && cols%NR <= half
}

// Index is the place of element (k, n) among the elements of m.
func (m *Matrix) Index(k, n int) int {
	if per := m.Precision.PerStep(); m.Width != 0 {
		return n/m.Width*m.Pitch*per/4 + (k/per*m.Width+n%m.Width)*per + k%per
	}
	if inHalf(n, m.N) {
		return m.Precision.indexTail(k, n, m.K)
	}
	return m.Precision.index(k, n, m.K)
}

// At is element (k, n) as a float32, scale included.
func (m *Matrix) At(k, n int) float32 {
	i := m.Index(k, n)
	switch m.Precision {
	case F32:
		return m.F32[i]
	case BF16:
		return math.Float32frombits(uint32(m.BF16[i]) << 16)
	default:
		return float32(m.I8[i]) * m.Scale[n]
	}
}
