package rows

// Moments sets, for each column of the rows of x, sum to the sum of d and squares to that of
// d^2, where d is x less the column's shift. x is rows times as long as the others, which
// are of one length.
//
// With a shift out of the column itself, of R rows, squares - sum^2/R loses no more than
// some R units in the last place: (shift-mean)^2 is at most the sum of all (x-mean)^2.
func (k *Kernels) Moments(sum, squares, shift, x []float32, rows int) {
	n := len(shift)
	sum, squares, x = sum[:n], squares[:n], x[:n*rows]
	if n == 0 {
		return
	}
	if rows == 0 {
		clear(sum)
		clear(squares)
		return
	}
	if k.momentsVector(sum, squares, shift, x, rows) {
		return
	}
	clear(sum)
	clear(squares)
	for r := range rows {
		for i, v := range x[r*n : (r+1)*n] {
			d := v - shift[i]
			sum[i] += d
			squares[i] += d * d
		}
	}
}

// AffineColumns sets dst to (x-mean)*factor + bias: of each column of the rows of x one of
// each. dst may be x.
func (k *Kernels) AffineColumns(dst, x, mean, factor, bias []float32, rows int) {
	n := len(mean)
	factor, bias, x, dst = factor[:n], bias[:n], x[:n*rows], dst[:n*rows]
	if n*rows == 0 || k.affineColumnsVector(dst, x, mean, factor, bias, rows) {
		return
	}
	for r := range rows {
		y := dst[r*n:][:n]
		for i, v := range x[r*n : (r+1)*n] {
			y[i] = (v-mean[i])*factor[i] + bias[i]
		}
	}
}
