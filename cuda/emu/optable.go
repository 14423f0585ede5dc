package emu

import "github.com/seed-c851cfd2/moec/cuda/emu/syntax"

// opDef is an opcode's row in the table: who decodes it, how many operands it
// takes, and what it counts as.
type opDef struct {
	decode           func(c *compiler, in *syntax.Instr)
	minArgs, maxArgs int
	class            Class
}

// opcodes is the table of every instruction the emulator knows. (A function
// and not a variable: decoding a call comes back to the table.)
func opcodes() map[string]opDef {
	return map[string]opDef{
		// integer and float arithmetic (ops_int.go, ops_float.go)
		"add":      {(*compiler).opAdd, 3, 3, ALU},
		"sub":      {(*compiler).opSub, 3, 3, ALU},
		"mul":      {(*compiler).opMul, 3, 3, ALU},
		"mad":      {(*compiler).opMad, 4, 4, ALU},
		"mul24":    {(*compiler).opMul24, 3, 3, ALU},
		"mad24":    {(*compiler).opMad24, 4, 4, ALU},
		"fma":      {(*compiler).opFma, 4, 4, ALU},
		"div":      {(*compiler).opDiv, 3, 3, ALU},
		"rem":      {(*compiler).opRem, 3, 3, ALU},
		"neg":      {(*compiler).opNeg, 2, 2, ALU},
		"abs":      {(*compiler).opAbs, 2, 2, ALU},
		"min":      {(*compiler).opMinMax, 3, 4, ALU},
		"max":      {(*compiler).opMinMax, 3, 4, ALU},
		"sad":      {(*compiler).opSad, 4, 4, ALU},
		"dp4a":     {(*compiler).opDp4a, 4, 4, ALU},
		"dp2a":     {(*compiler).opDp2a, 4, 4, ALU},
		"addc":     {(*compiler).opCarry, 3, 3, ALU},
		"subc":     {(*compiler).opCarry, 3, 3, ALU},
		"madc":     {(*compiler).opCarry, 4, 4, ALU},
		"rcp":      {(*compiler).opUnaryFloat, 2, 2, SFU},
		"sqrt":     {(*compiler).opUnaryFloat, 2, 2, SFU},
		"rsqrt":    {(*compiler).opUnaryFloat, 2, 2, SFU},
		"sin":      {(*compiler).opUnaryFloat, 2, 2, SFU},
		"cos":      {(*compiler).opUnaryFloat, 2, 2, SFU},
		"lg2":      {(*compiler).opUnaryFloat, 2, 2, SFU},
		"ex2":      {(*compiler).opUnaryFloat, 2, 2, SFU},
		"tanh":     {(*compiler).opUnaryFloat, 2, 2, SFU},
		"copysign": {(*compiler).opCopysign, 3, 3, ALU},
		"testp":    {(*compiler).opTestp, 2, 2, ALU},
		// video (ops_video.go)
		"vadd": {(*compiler).opVideo, 3, 4, ALU}, "vadd2": {(*compiler).opVideo, 4, 4, ALU}, "vadd4": {(*compiler).opVideo, 4, 4, ALU},
		"vsub": {(*compiler).opVideo, 3, 4, ALU}, "vsub2": {(*compiler).opVideo, 4, 4, ALU}, "vsub4": {(*compiler).opVideo, 4, 4, ALU},
		"vmin": {(*compiler).opVideo, 3, 4, ALU}, "vmin2": {(*compiler).opVideo, 4, 4, ALU}, "vmin4": {(*compiler).opVideo, 4, 4, ALU},
		"vmax": {(*compiler).opVideo, 3, 4, ALU}, "vmax2": {(*compiler).opVideo, 4, 4, ALU}, "vmax4": {(*compiler).opVideo, 4, 4, ALU},
		"vset": {(*compiler).opVideo, 3, 4, ALU}, "vset2": {(*compiler).opVideo, 4, 4, ALU}, "vset4": {(*compiler).opVideo, 4, 4, ALU},
		"vabsdiff": {(*compiler).opVideo, 3, 4, ALU}, "vabsdiff2": {(*compiler).opVideo, 4, 4, ALU}, "vabsdiff4": {(*compiler).opVideo, 4, 4, ALU},
		"vavrg2": {(*compiler).opVideo, 4, 4, ALU}, "vavrg4": {(*compiler).opVideo, 4, 4, ALU},
		"vshl": {(*compiler).opVideo, 3, 4, ALU}, "vshr": {(*compiler).opVideo, 3, 4, ALU}, "vmad": {(*compiler).opVmad, 4, 4, ALU},
		// logic (ops_logic.go)
		"and":   {(*compiler).opLogic, 3, 3, ALU},
		"or":    {(*compiler).opLogic, 3, 3, ALU},
		"xor":   {(*compiler).opLogic, 3, 3, ALU},
		"not":   {(*compiler).opNot, 2, 2, ALU},
		"cnot":  {(*compiler).opNot, 2, 2, ALU},
		"shl":   {(*compiler).opShift, 3, 3, ALU},
		"shr":   {(*compiler).opShift, 3, 3, ALU},
		"shf":   {(*compiler).opShf, 4, 4, ALU},
		"lop3":  {(*compiler).opLop3, 5, 6, ALU},
		"prmt":  {(*compiler).opPrmt, 4, 4, ALU},
		"bfe":   {(*compiler).opBfe, 4, 4, ALU},
		"bfi":   {(*compiler).opBfi, 5, 5, ALU},
		"bfind": {(*compiler).opBits, 2, 2, ALU},
		"brev":  {(*compiler).opBits, 2, 2, ALU},
		"clz":   {(*compiler).opBits, 2, 2, ALU},
		"popc":  {(*compiler).opBits, 2, 2, ALU},
		"fns":   {(*compiler).opFns, 4, 4, ALU},
		"bmsk":  {(*compiler).opBmsk, 3, 3, ALU},
		"szext": {(*compiler).opSzext, 3, 3, ALU},
		// comparison and selection (ops_compare.go)
		"setp": {(*compiler).opSetp, 3, 4, ALU},
		"set":  {(*compiler).opSet, 3, 4, ALU},
		"selp": {(*compiler).opSelp, 4, 4, ALU},
		"slct": {(*compiler).opSlct, 4, 4, ALU},
		// moves and conversions (ops_move.go, ops_cvt.go)
		"mov":      {(*compiler).opMov, 2, 2, ALU},
		"cvt":      {(*compiler).opCvt, 2, 4, Convert},
		"cvta":     {(*compiler).opCvta, 2, 2, ALU},
		"isspacep": {(*compiler).opIsspacep, 2, 2, ALU},
		// memory (ops_mem.go, ops_atom.go, ops_async.go)
		"ld":            {(*compiler).opLd, 2, 3, Load},
		"ldu":           {(*compiler).opLd, 2, 2, Load},
		"st":            {(*compiler).opSt, 2, 3, Store},
		"atom":          {(*compiler).opAtom, 2, 5, Atomic},
		"red":           {(*compiler).opAtom, 2, 4, Atomic},
		"cp":            {(*compiler).opCp, 0, 6, Async},
		"tensormap":     {(*compiler).opTensormap, 2, 3, Store},
		"ldmatrix":      {(*compiler).opLdmatrix, 2, 2, Load},
		"stmatrix":      {(*compiler).opStmatrix, 2, 2, Store},
		"movmatrix":     {(*compiler).opMovmatrix, 2, 2, Shuffle},
		"prefetch":      {(*compiler).opHint, 1, 2, Other},
		"prefetchu":     {(*compiler).opHint, 1, 1, Other},
		"applypriority": {(*compiler).opHint, 1, 2, Other},
		"discard":       {(*compiler).opHint, 1, 2, Other},
		"createpolicy":  {(*compiler).opCreatepolicy, 2, 4, Other},
		"mbarrier":      {(*compiler).opMbarrier, 1, 5, Barrier},
		// tensor cores (ops_mma.go)
		"mma":  {(*compiler).opMma, 4, 4, Tensor},
		"wmma": {(*compiler).opWmma, 2, 4, Tensor},
		// warp groups (ops_wgmma.go)
		"wgmma":      {(*compiler).opWgmma, 0, 8, Tensor},
		"setmaxnreg": {(*compiler).opSetmaxnreg, 1, 1, Other},
		// warps and blocks (ops_warp.go, ops_barrier.go)
		"shfl":       {(*compiler).opShfl, 4, 5, Shuffle},
		"vote":       {(*compiler).opVote, 2, 3, Shuffle},
		"match":      {(*compiler).opMatch, 3, 3, Shuffle},
		"redux":      {(*compiler).opRedux, 3, 3, Shuffle},
		"activemask": {(*compiler).opActivemask, 1, 1, Shuffle},
		"elect":      {(*compiler).opElect, 2, 2, Shuffle},
		"bar":        {(*compiler).opBar, 0, 4, Barrier},
		"barrier":    {(*compiler).opBar, 0, 4, Barrier},
		"mapa":       {(*compiler).opMapa, 3, 3, ALU},
		"getctarank": {(*compiler).opGetctarank, 2, 2, ALU},
		"membar":     {(*compiler).opFence, 0, 0, Barrier},
		"fence":      {(*compiler).opFence, 0, 2, Barrier},
		"nanosleep":  {(*compiler).opHint, 1, 1, Other},
		// control (ops_control.go)
		"bra":            {(*compiler).opBra, 1, 1, Control},
		"brx":            {(*compiler).opBrx, 2, 2, Control},
		"call":           {(*compiler).opCall, 1, 4, Control},
		"ret":            {(*compiler).opRet, 0, 0, Control},
		"exit":           {(*compiler).opExit, 0, 0, Control},
		"trap":           {(*compiler).opTrap, 0, 0, Control},
		"brkpt":          {(*compiler).opTrap, 0, 0, Control},
		"pmevent":        {(*compiler).opHint, 0, 1, Other},
		"griddepcontrol": {(*compiler).opHint, 0, 0, Other},
	}
}
