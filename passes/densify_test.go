package passes

import "testing"

func TestDensify(t *testing.T) { testCases(t, Densify()) }
