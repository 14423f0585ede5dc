package plan

// IndexBounds finds, for inputs of the program that index constant tables (token ids,
// directly or through views and casts), the length of the shortest one: what made-up
// inputs must stay below. Keys are positions in Main().Inputs.
func (p *Program) IndexBounds() map[int]int {
	f := p.Main()
	from := map[int]int{} // value -> input it is a copy of
	for i, v := range f.Inputs {
		from[v] = i
	}
	bounds := map[int]int{}
	for _, s := range f.Steps {
		switch s.Op.Name {
		case "Cast", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten":
			if i, ok := from[s.In[0]]; ok && s.Out[0] >= 0 {
				from[s.Out[0]] = i
			}
		case "Gather":
			i, ok := from[s.In[1]]
			table := s.In[0]
			if !ok || table < 0 || f.Values[table].Const < 0 {
				continue
			}
			shape := p.Consts[f.Values[table].Const].Shape
			if len(shape) == 0 {
				continue
			}
			if was, ok := bounds[i]; !ok || shape[0] < was {
				bounds[i] = shape[0]
			}
		}
	}
	return bounds
}
