// Package syntax reads PTX text into a tree of modules, functions and
// instructions. It resolves register names through nested scopes, so that
// what follows works with register numbers; it does not know what an
// instruction means.
package syntax

import "fmt"

// Module is one PTX file.
type Module struct {
	Version     string // of the .version directive, such as "7.0"
	Target      string // of the .target directive, such as "sm_80"
	AddressSize int    // 32 or 64
	Vars        []*Var // module-scope .global, .const and .shared variables
	Funcs       []*Func
}

// Func returns the function or kernel called name that has a body, or, when
// there is only its declaration, that; nil when there is neither.
func (m *Module) Func(name string) *Func {
	var decl *Func
	for _, f := range m.Funcs {
		if f.Name == name {
			if !f.Extern {
				return f
			}
			decl = f
		}
	}
	return decl
}

// Space is a PTX state space.
type Space uint8

// The state spaces. Generic is the space of an access that names none.
const (
	Generic Space = iota
	Global
	Shared
	Const
	Local
	Param
)

var spaceNames = [...]string{"generic", "global", "shared", "const", "local", "param"}

func (s Space) String() string { return spaceNames[s] }

// Var is a variable: a kernel parameter, a shared array, a module constant.
type Var struct {
	Name   string
	Space  Space
	Type   Type
	Align  int  // bytes
	Len    int  // elements; 1 for a scalar
	Array  bool // declared with brackets
	Extern bool // .extern, such as dynamic shared memory
	Init   []Init
	Line   int
}

// Size is the variable's size in bytes.
func (v *Var) Size() int { return v.Len * v.Type.Size() }

// Init is one element of an initialiser: a value, or the address of a symbol.
type Init struct {
	Value   uint64 // as bits of the variable's element type
	Sym     string // when not empty, the address of this symbol plus Value
	Generic bool   // the address is a generic one
}

// Reg is a declared register.
type Reg struct {
	Name string
	Type Type
}

// Func is a kernel (.entry) or device function (.func).
type Func struct {
	Name   string
	Entry  bool
	Extern bool // a declaration without a body
	Params []*Var
	Rets   []*Var
	Regs   []Reg // every register of every scope; operands hold indices
	Vars   []*Var
	Body   []*Instr
	Labels map[string]int      // label to index in Body
	Tables map[string][]string // .branchtargets lists

	ReqNTid, MaxNTid [3]int // zero when not given
	Cluster          [3]int // blocks of a cluster, zero when not given
	MinCTAs, MaxNReg int
	Line             int
}

// Instr is one instruction.
type Instr struct {
	Line     int
	Op       string   // the whole opcode, such as "ld.global.v4.b32"
	Mods     []string // Op split at dots: "ld", "global", "v4", "b32"
	Guard    int      // predicate register, or -1
	GuardNot bool     // @!p
	Args     []Operand
	Text     string // as in the source, white space collapsed
	Pos, End int    // byte offsets in the source, the semicolon excluded
	OpPos    int    // where the opcode begins, behind the guard
}

// Has reports whether the opcode carries the modifier.
func (in *Instr) Has(mod string) bool {
	for _, m := range in.Mods[1:] {
		if m == mod {
			return true
		}
	}
	return false
}

// Kind says what an operand is.
type Kind uint8

// Operand kinds.
const (
	KReg     Kind = iota // Reg; with Reg2 >= 0 for "d|p"
	KSpecial             // Sym, such as "%tid.x"
	KInt                 // Imm, a 64-bit integer
	KF32                 // Imm, bits of a float32
	KF64                 // Imm, bits of a float64
	KSym                 // Sym + Imm: a label, variable or function
	KMem                 // [Base + Imm]: Base in Reg (>= 0), Sym, or absolute
	KVec                 // Vec
	KSink                // "_"
	KList                // "( ... )": Vec
)

// Operand of an instruction.
type Operand struct {
	Kind Kind
	Reg  int
	Reg2 int // second destination of "d|p", or -1
	Not  bool
	Imm  uint64
	Sym  string
	Vec  []Operand
	Sel  string // part of a register, of video instructions: "b2", "h1"

	local bool // Sym is a variable of the function
}

// Type is a PTX fundamental type.
type Type uint8

// The fundamental types.
const (
	None Type = iota
	Pred
	B8
	B16
	B32
	B64
	B128
	U8
	U16
	U32
	U64
	S8
	S16
	S32
	S64
	F16
	F16x2
	BF16
	BF16x2
	TF32
	F32
	F64
	F32x2
	E4M3
	E5M2
	E4M3x2
	E5M2x2
	S4
	U4
	B1
)

var typeInfo = [...]struct {
	name string
	size int
}{
	None: {"none", 0}, Pred: {"pred", 1},
	B8: {"b8", 1}, B16: {"b16", 2}, B32: {"b32", 4}, B64: {"b64", 8}, B128: {"b128", 16},
	U8: {"u8", 1}, U16: {"u16", 2}, U32: {"u32", 4}, U64: {"u64", 8},
	S8: {"s8", 1}, S16: {"s16", 2}, S32: {"s32", 4}, S64: {"s64", 8},
	F16: {"f16", 2}, F16x2: {"f16x2", 4}, BF16: {"bf16", 2}, BF16x2: {"bf16x2", 4},
	TF32: {"tf32", 4}, F32: {"f32", 4}, F64: {"f64", 8}, F32x2: {"f32x2", 8},
	E4M3: {"e4m3", 1}, E5M2: {"e5m2", 1}, E4M3x2: {"e4m3x2", 2}, E5M2x2: {"e5m2x2", 2},
	S4: {"s4", 1}, U4: {"u4", 1}, B1: {"b1", 1}, // of matrices, packed into registers
}

// ParseType reads a type name without its dot; None when it is not one.
func ParseType(s string) Type {
	for t := range typeInfo {
		if typeInfo[t].name == s && t != int(None) {
			return Type(t)
		}
	}
	return None
}

func (t Type) String() string { return typeInfo[t].name }

// Size is the type's size in bytes (1 for a predicate).
func (t Type) Size() int { return typeInfo[t].size }

// Signed reports whether t is a signed integer type.
func (t Type) Signed() bool { return t >= S8 && t <= S64 || t == S4 }

// Float reports whether t is a floating-point type.
func (t Type) Float() bool { return t >= F16 && t <= E5M2x2 }

// Error is a fault in the text, with its line.
type Error struct {
	Line int
	Msg  string
}

func (e *Error) Error() string { return fmt.Sprintf("ptx line %d: %s", e.Line, e.Msg) }
