package ptx

// PKMKeys are one key table of a product-key memory as a model stores it, and what its query goes through.
type PKMKeys struct {
	H, N, Len int       // heads, keys per head, length of a key
	From      int       // first element of a head's query that the table meets
	QueryLen  int       // length of a head's query
	Keys      []float32 // [H, N, Len]
	KeyBias   []float32 // [H, N] or nil
	Query     []float32 // projection [H*QueryLen, D], or nil: the query is x
	QueryBias []float32 // [H*QueryLen] or nil
	D         int       // length of x
}

// Fold turns a table into one weight [depth, columns] and a bias per column: scores = x[From:From+depth] weight
// + bias, with a column per head and key, or per key when heads are added. Without a projection depth is Len;
// with one, x meets all of it: depth is D and the table starts at 0.
func (k PKMKeys) Fold(addHeads bool) (weight, bias []float32) {
	depth := k.Len
	if k.Query != nil {
		depth = k.D
	}
	cols := k.H * k.N
	if addHeads {
		cols = k.N
	}
	w, b := make([]float64, depth*cols), make([]float64, cols)
	for h := range k.H {
		for n := range k.N {
			col := h*k.N + n
			if addHeads {
				col = n
			}
			if k.KeyBias != nil {
				b[col] += float64(k.KeyBias[h*k.N+n])
			}
			for i := range k.Len {
				key := float64(k.Keys[(h*k.N+n)*k.Len+i])
				row := h*k.QueryLen + k.From + i
				if k.QueryBias != nil {
					b[col] += key * float64(k.QueryBias[row])
				}
				if k.Query == nil {
					w[i*cols+col] += key
					continue
				}
				for d := range k.D {
					w[d*cols+col] += key * float64(k.Query[row*k.D+d])
				}
			}
		}
	}
	weight, bias = make([]float32, len(w)), make([]float32, len(b))
	for i, x := range w {
		weight[i] = float32(x)
	}
	for i, x := range b {
		bias[i] = float32(x)
	}
	return weight, bias
}
