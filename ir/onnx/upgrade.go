package onnx

// rule rewrites a call that a model of an operator set below `before` makes into one
// that means the same in `before`.
type rule struct {
	before int
	apply  func(*call) error
}

// upgrade applies the rules of the op that lie between the model's operator set and the
// newest, oldest first.
func (c *call) upgrade() error {
	for _, r := range c.s.im.upgrades[c.key()] {
		if c.version >= r.before || c.done {
			continue
		}
		if err := r.apply(c); err != nil {
			return err
		}
	}
	return nil
}
