package asmgen

import (
	"strings"
	"testing"
)

// The expected words are those that GNU as (aarch64-linux-gnu-as 2.40,
// -march=armv8.2-a+dotprod) gives for the text beside them; the comment of a line, in
// lower case, must be that text.
func TestNEONWords(t *testing.T) {
	for _, c := range []struct{ line, want, text string }{
		{FADD.RRR(1, 17, 30), "4e3ed621", "fadd v1.4s, v17.4s, v30.4s"},
		{FSUB.RRR(1, 17, 30), "4ebed621", "fsub v1.4s, v17.4s, v30.4s"},
		{FMUL.RRR(31, 2, 19), "6e33dc5f", "fmul v31.4s, v2.4s, v19.4s"},
		{FDIV.RRR(1, 17, 30), "6e3efe21", "fdiv v1.4s, v17.4s, v30.4s"},
		{FMLA.RRR(9, 16, 5), "4e25ce09", "fmla v9.4s, v16.4s, v5.4s"},
		{FMLS.RRR(9, 16, 5), "4ea5ce09", "fmls v9.4s, v16.4s, v5.4s"},
		{FMAX.RRR(1, 17, 30), "4e3ef621", "fmax v1.4s, v17.4s, v30.4s"},
		{FMIN.RRR(1, 17, 30), "4ebef621", "fmin v1.4s, v17.4s, v30.4s"},
		{FCMGT.RRR(1, 17, 30), "6ebee621", "fcmgt v1.4s, v17.4s, v30.4s"},
		{FADDP.RRR(1, 17, 30), "6e3ed621", "faddp v1.4s, v17.4s, v30.4s"},
		{MUL.RRR(1, 17, 30), "4ebe9e21", "mul v1.4s, v17.4s, v30.4s"},
		{SMULL.RRR(25, 24, 20), "0e34c319", "smull v25.8h, v24.8b, v20.8b"},
		{SMULL2.RRR(26, 24, 20), "4e34c31a", "smull2 v26.8h, v24.16b, v20.16b"},
		{ADDP.RRR(25, 25, 26), "4e7abf39", "addp v25.8h, v25.8h, v26.8h"},
		{FMLAE.Elem(23, 31, 29, 3), "4fbd1bf7", "fmla v23.4s, v31.4s, v29.s[3]"},
		{FMLAE.Elem(0, 30, 24, 0), "4f9813c0", "fmla v0.4s, v30.4s, v24.s[0]"},
		{FMLAE.Elem(7, 30, 8, 1), "4fa813c7", "fmla v7.4s, v30.4s, v8.s[1]"},
		{FMLAE.Elem(7, 30, 15, 2), "4f8f1bc7", "fmla v7.4s, v30.4s, v15.s[2]"},
		{SDOT.Elem(23, 31, 29, 3), "4fbdebf7", "sdot v23.4s, v31.16b, v29.4b[3]"},
		{SDOT.Elem(0, 30, 8, 0), "4f88e3c0", "sdot v0.4s, v30.16b, v8.4b[0]"},
		{SDOT.Elem(3, 12, 25, 1), "4fb9e183", "sdot v3.4s, v12.16b, v25.4b[1]"},
		{SDOT.Elem(3, 12, 6, 2), "4f86e983", "sdot v3.4s, v12.16b, v6.4b[2]"},
		{FABS.RR(5, 22), "4ea0fac5", "fabs v5.4s, v22.4s"},
		{FNEG.RR(5, 22), "6ea0fac5", "fneg v5.4s, v22.4s"},
		{FRINTN.RR(5, 22), "4e218ac5", "frintn v5.4s, v22.4s"},
		{FCVTNS.RR(5, 22), "4e21aac5", "fcvtns v5.4s, v22.4s"},
		{SCVTF.RR(5, 22), "4e21dac5", "scvtf v5.4s, v22.4s"},
		{SADALP.RR(5, 22), "4e606ac5", "sadalp v5.4s, v22.8h"},
		{SQXTN.RR(5, 22), "0e614ac5", "sqxtn v5.4h, v22.4s"},
		{SQXTUN.RR(5, 22), "2e212ac5", "sqxtun v5.8b, v22.8h"},
		{FMAXV.RR(5, 22), "6e30fac5", "fmaxv s5, v22.4s"},
		{FMINV.RR(5, 22), "6eb0fac5", "fminv s5, v22.4s"},
		{SSHR16.RR(5, 22), "4f3006c5", "sshr v5.4s, v22.4s, #16"},
		{MOVI128.R(29), "4f04e41d", "movi v29.16b, #128"},
		{BICLow.R(30), "6f0717fe", "bic v30.4s, #255"},
		{BICNext.R(30), "6f0737fe", "bic v30.4s, #255, lsl #8"},
	} {
		word, comment, _ := strings.Cut(c.line, " // ")
		if word != "WORD $0x"+c.want || strings.ToLower(comment) != c.text {
			t.Errorf("%s: want %s, %s", c.line, c.want, c.text)
		}
	}
}

func TestARM64Frame(t *testing.T) {
	f := NewARM64("go run ./gen")
	f.Func("k", 8, "k does nothing.").I("RET")
	if s := string(f.Bytes()); !strings.Contains(s, "TEXT ·k(SB), NOSPLIT, $0-8\n") || !strings.Contains(s, "//go:build arm64\n") {
		t.Error(s)
	}
}
