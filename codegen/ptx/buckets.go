package ptx

import "math"

// maxTokens is the largest number of tokens that the planner looks at; the choice for it holds beyond.
const maxTokens = 1 << 17

// switchGain is what a further variant must save to be worth its code: the sum, over the sampled numbers of tokens
// that it serves, of the logarithm of the times' ratio. 0.5 is 28 % at two samples, or 8 % over a factor of eight.
const switchGain = .5

// samples are the numbers of tokens from one to another at which choices are compared: two per power of two, and both
// ends.
func samples(from, to int) []int {
	out := []int{from}
	for n := 1; n < to; n *= 2 {
		for _, v := range []int{n, n + n/2} {
			if v > out[len(out)-1] && v < to {
				out = append(out, v)
			}
		}
	}
	if to > from {
		out = append(out, to)
	}
	return out
}

// cuts gives the numbers of tokens, in ascending order, up to which one of n candidates serves and past which
// another should. Candidates are in order, from those for few tokens to those for many, and are taken in this
// order only, so that the steps of whole waves do not make the choice flicker: among all such assignments to the
// samples it is the one with the least sum of logarithms of times, each change counted as switchGain.
func cuts(n int, time func(candidate, tokens int) float64) []int {
	at := samples(1, maxTokens)
	cost := make([][]float64, len(at)) // least cost of the samples so far when the last one goes to a candidate
	from := make([][]int, len(at))     // the candidate of the sample before
	for i, t := range at {
		cost[i], from[i] = make([]float64, n), make([]int, n)
		for c := range n {
			from[i][c] = c
			if i > 0 {
				cost[i][c] = cost[i-1][c]
				for b := range c {
					if v := cost[i-1][b] + switchGain; v < cost[i][c] {
						cost[i][c], from[i][c] = v, b
					}
				}
			}
			cost[i][c] += logTime(time(c, t))
		}
	}
	pick := 0
	for c := range n {
		if cost[len(at)-1][c] < cost[len(at)-1][pick] {
			pick = c
		}
	}
	var out []int
	for i := len(at) - 1; i > 0; i-- {
		before := from[i][pick]
		if before != pick {
			// the last number up to which the earlier candidate is as good, between the two samples
			lo, hi := at[i-1], at[i]
			for hi-lo > 1 {
				if mid := (lo + hi) / 2; time(before, mid) <= time(pick, mid) {
					lo = mid
				} else {
					hi = mid
				}
			}
			out = append([]int{lo}, out...)
		}
		pick = before
	}
	return out
}

// logTime keeps a time of nothing finite.
func logTime(micros float64) float64 { return math.Log(max(micros, 1e-9)) }

// pick is the candidate with the least sum of logarithms of times over the range of tokens that the planner chooses
// for.
func (p Planner) pick(n int, time func(candidate, tokens int) float64) int {
	at := []int{max(p.Tokens, 1)}
	if p.From > 0 {
		to := p.To
		if to == 0 {
			to = max(maxTokens, p.From)
		}
		at = samples(p.From, to)
	}
	best, least := 0, math.Inf(1)
	for c := range n {
		sum := 0.0
		for _, t := range at {
			sum += logTime(time(c, t))
		}
		if sum < least {
			best, least = c, sum
		}
	}
	return best
}
