package asmgen

import "fmt"

// General registers by their number in an instruction.
var gprs = map[string]byte{
	"AX": 0, "CX": 1, "DX": 2, "BX": 3, "SP": 4, "BP": 5, "SI": 6, "DI": 7,
	"R8": 8, "R9": 9, "R10": 10, "R11": 11, "R12": 12, "R13": 13, "R14": 14, "R15": 15,
}

// vex3 is the three-byte VEX prefix of map 0F38, W0, L0. r, x and b are the high
// bits of the register numbers, vvvv the second source, 0 where there is none.
func vex3(r, x, b, vvvv, pp byte) []byte {
	return []byte{0xc4, ^r&1<<7 | ^x&1<<6 | ^b&1<<5 | 2, ^vvvv&15<<3 | pp}
}

// TileOp is an instruction of AMX on tiles and memory, missing from Go's assembler.
type TileOp struct {
	name   string
	pp, op byte
}

// AMX-TILE, AMX-BF16 and AMX-INT8. A tile register holds up to 16 rows of up to 64
// bytes, as LDTILECFG has set.
var (
	// TILELOADD reads rows at base, base+stride, ... into a tile.
	TILELOADD = TileOp{"TILELOADD", 3, 0x4b}
	// TILELOADDT1 is TILELOADD with the hint that the lines are not wanted in L1 for long.
	TILELOADDT1 = TileOp{"TILELOADDT1", 1, 0x4b}
	// TILESTORED writes a tile to rows at base, base+stride, ...
	TILESTORED = TileOp{"TILESTORED", 2, 0x4b}
	// TDPBF16PS: dst[m][n] += sum over k of a.bf16[m][k] * b, where row r of b holds
	// the pair of k 2r and 2r+1 for each n. f32, denormals are zero.
	TDPBF16PS = TileOp{"TDPBF16PS", 2, 0x5c}
	// TDPBUSD: dst.s32[m][n] += sum over k of a.u8[m][k] * b.s8, four k in a word of b.
	TDPBUSD = TileOp{"TDPBUSD", 1, 0x5e}
)

// Mem encodes a load or store of tile t at disp+(base), rows stride bytes apart,
// where base and stride name general registers.
func (o TileOp) Mem(t int, disp int32, base, stride string) string {
	b, s := gprs[base], gprs[stride]
	code := append(vex3(0, s>>3, b>>3, 0, o.pp), o.op, 2<<6|byte(t)<<3|4, s&7<<3|b&7,
		byte(disp), byte(disp>>8), byte(disp>>16), byte(disp>>24))
	return bytesOf(code, fmt.Sprintf("%s %d(%s)(%s*1), T%d", o.name, disp, base, stride, t))
}

// RRR encodes dst += a * b on tiles.
func (o TileOp) RRR(dst, a, b int) string {
	code := append(vex3(0, 0, 0, byte(b), o.pp), o.op, 3<<6|byte(dst)<<3|byte(a))
	return bytesOf(code, fmt.Sprintf("%s T%d, T%d, T%d", o.name, b, a, dst))
}

// TileZero clears tile t.
func TileZero(t int) string {
	return bytesOf(append(vex3(0, 0, 0, 0, 3), 0x49, 3<<6|byte(t)<<3), fmt.Sprintf("TILEZERO T%d", t))
}

// LoadTileConfig sets the shapes of the tiles from 64 bytes at disp+(base).
func LoadTileConfig(disp int32, base string) string {
	b := gprs[base]
	code := append(vex3(0, 0, b>>3, 0, 0), 0x49, 2<<6|b&7)
	if b&7 == 4 {
		code = append(code, 4<<3|4)
	}
	code = append(code, byte(disp), byte(disp>>8), byte(disp>>16), byte(disp>>24))
	return bytesOf(code, fmt.Sprintf("LDTILECFG %d(%s)", disp, base))
}

// TileRelease returns the tiles to their initial state, which a context switch need
// not save.
func TileRelease() string {
	return bytesOf(append(vex3(0, 0, 0, 0, 0), 0x49, 0xc0), "TILERELEASE")
}

// bytesOf is an assembly line of raw bytes with the mnemonic in a comment.
func bytesOf(code []byte, comment string) string {
	line := ""
	for i, c := range code {
		if i > 0 {
			line += "; "
		}
		line += fmt.Sprintf("BYTE $0x%02x", c)
	}
	return line + " // " + comment
}
