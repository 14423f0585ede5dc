package asmgen

import (
	"regexp"
	"strings"
	"testing"
)

// The expected bytes are those of GNU as, with 32-bit displacements, for the same
// operands.
func TestAMXBytes(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{TILELOADD.Mem(3, 0x1234, "SI", "DI"), "c4 e2 7b 4b 9c 3e 34 12 00 00"},
		{TILELOADD.Mem(7, -64, "R12", "R9"), "c4 82 7b 4b bc 0c c0 ff ff ff"},
		{TILELOADD.Mem(0, 0x10, "R13", "BP"), "c4 c2 7b 4b 84 2d 10 00 00 00"},
		{TILELOADDT1.Mem(3, 0x1234, "SI", "DI"), "c4 e2 79 4b 9c 3e 34 12 00 00"},
		{TILESTORED.Mem(2, 0x1000, "AX", "R15"), "c4 a2 7a 4b 94 38 00 10 00 00"},
		{TDPBF16PS.RRR(3, 5, 7), "c4 e2 42 5c dd"},
		{TDPBUSD.RRR(1, 4, 6), "c4 e2 49 5e cc"},
		{TileZero(5), "c4 e2 7b 49 e8"},
		{LoadTileConfig(0x40, "DI"), "c4 e2 78 49 87 40 00 00 00"},
		{LoadTileConfig(0x40, "R12"), "c4 c2 78 49 84 24 40 00 00 00"},
		{TileRelease(), "c4 e2 78 49 c0"},
	} {
		var got []string
		for _, m := range regexp.MustCompile(`BYTE \$0x(..)`).FindAllStringSubmatch(c.line, -1) {
			got = append(got, m[1])
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s = %s, want %s", c.line[strings.Index(c.line, "//"):], g, c.want)
		}
	}
}
