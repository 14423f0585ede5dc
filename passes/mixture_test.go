package passes

import "testing"

func TestMixtures(t *testing.T) { testCases(t, Mixtures()) }
